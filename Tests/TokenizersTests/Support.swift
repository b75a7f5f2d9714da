import Foundation
import KalsaeFormats
import KalsaeTokenizers
import Testing

/// Larger data that is not part of the repository: the folder that KALSAE_DATA names.
enum ExternalData {
  static let folder: String? = ProcessInfo.processInfo.environment["KALSAE_DATA"].map { $0 + "/tokenizers" }
  static var isThere: Bool { folder.map { FileManager.default.fileExists(atPath: $0) } ?? false }
  static func path(_ name: String) -> String { (folder ?? "") + "/" + name }
  static func json(_ name: String) throws -> JSON { try read(path(name)) }
  static let message: Comment = "set KALSAE_DATA to the folder of larger test data"
}

enum Fixtures {
  static func path(_ name: String) -> String {
    URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appending(path: "Fixtures/tokenizers/" + name).path
  }
  static func json(_ name: String) throws -> JSON { try read(path(name)) }
}

func read(_ path: String) throws -> JSON { try JSON(parsing: Data(contentsOf: URL(filePath: path))) }

extension JSON {
  subscript(key: String) -> JSON {
    if case .object(let object) = self { object[key] ?? .null } else { .null }
  }
  var array: [JSON] { if case .array(let array) = self { array } else { [] } }
  var string: String { if case .string(let string) = self { string } else { "" } }
  var ids: [Int32] { array.map { if case .integer(let id) = $0 { Int32(id) } else { -1 } } }
}

extension Tokenizer {
  func plain(_ text: String) -> [Int32] {
    encode(text, addsSpecialTokens: false, parsesSpecialTokens: false).ids
  }
}
