import Foundation
import Testing

/// A text of `Tests/Fixtures` that holds until somebody changes it knowingly.
struct Snapshot {
  private let url: URL

  /// - Parameter path: below `Tests/Fixtures`.
  init(_ path: String) {
    url = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "Fixtures/" + path)
  }

  /// Whether texts are written instead of compared.
  static let isUpdating = ProcessInfo.processInfo.environment["KALSAE_UPDATE_SNAPSHOTS"] == "1"

  /// Fails with the lines that differ. `update` is the command that writes the text anew.
  func expect(_ text: String, update: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
    let stored = (try? String(contentsOf: url, encoding: .utf8)) ?? ""
    let text = Self.settled(text, stored)
    if Self.isUpdating {
      try FileManager.default.createDirectory(
        at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
      return try text.write(to: url, atomically: true, encoding: .utf8)
    }
    guard stored != text else { return }
    Issue.record(
      """
      \(url.lastPathComponent) says otherwise (- stored, + now):
      \(Self.difference(stored, text))
      If that is meant, write what holds now, and commit it with the reason:
        \(update)
      """, sourceLocation: sourceLocation)
  }

  /// The text with the stored lines of mallocs wherever they are as good as equal: hash tables and arrays grow by what
  /// memory they are given, so that a few more or less are asked for each time.
  static func settled(_ text: String, _ stored: String) -> String {
    let old = stored.split(separator: "\n", omittingEmptySubsequences: false)
    let new = text.split(separator: "\n", omittingEmptySubsequences: false)
    guard old.count == new.count else { return text }
    func numbers(_ line: Substring) -> [Int] { line.split(separator: " ").compactMap { Int($0) } }
    return zip(new, old).map { new, old -> Substring in
      let (a, b) = (numbers(new), numbers(old))
      guard new.hasPrefix("mallocs, "), new.prefix(20) == old.prefix(20), a.count == b.count,
        zip(a, b).allSatisfy({ abs($0 - $1) <= max(8, $1 / 50) })
      else { return new }
      return old
    }.joined(separator: "\n")
  }

  /// One line of a table: a name, and cells under each other.
  static func line(_ name: String, _ cells: [String]) -> String {
    cells.reduce(name + String(repeating: " ", count: max(32 - name.count, 1))) {
      $0 + String(repeating: " ", count: max(24 - $1.count, 1)) + $1
    }
  }

  /// The lines that only one of the texts has, in order, each with its number.
  static func difference(_ stored: String, _ now: String) -> String {
    let old = stored.split(separator: "\n", omittingEmptySubsequences: false)
    let new = now.split(separator: "\n", omittingEmptySubsequences: false)
    let changes = new.difference(from: old).map { change -> (line: Int, sign: String, text: Substring) in
      switch change {
      case .remove(let offset, let text, _): (offset, "-", text)
      case .insert(let offset, let text, _): (offset, "+", text)
      }
    }
    return changes.sorted { ($0.line, $1.sign) < ($1.line, $0.sign) }
      .map { "\($0.sign) \($0.line + 1): \($0.text)" }.joined(separator: "\n")
  }
}
