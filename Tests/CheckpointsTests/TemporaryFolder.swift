import Foundation

/// A fresh folder that goes with the last reference.
final class TemporaryFolder {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.path + "/kalsae-checkpoints-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func callAsFunction(_ name: String) -> String { path + "/" + name }

  /// Everything inside, hidden files included.
  var names: [String] { get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() } }

  @discardableResult
  func write(_ bytes: some Sequence<UInt8>, _ name: String) throws -> String {
    // Not `Data.write`: it forces every file to disk, which thousands of damaged files need not.
    guard let file = fopen(self(name), "w") else { throw POSIXError(.EIO) }
    let bytes = Array(bytes)
    guard fwrite(bytes, 1, bytes.count, file) == bytes.count, fclose(file) == 0 else {
      throw POSIXError(.EIO)
    }
    return self(name)
  }

  func read(_ name: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(fileURLWithPath: self(name))))
  }
}

/// A safetensors file from its parts; the length is that of `header` unless stated.
func safetensors(_ header: String, data: [UInt8] = [], length: UInt64? = nil) -> [UInt8] {
  let length = length ?? UInt64(header.utf8.count)
  return withUnsafeBytes(of: length.littleEndian, Array.init) + Array(header.utf8) + data
}

/// What the reference implementation (safetensors 0.8.0 for Python) writes for eight small tensors.
enum ReferenceFile {
  static let header =
    #"{"__metadata__":{"format":"pt"},"steps":{"dtype":"I64","shape":[],"data_offsets":[0,8]},"#
    + #""d":{"dtype":"F64","shape":[1],"data_offsets":[8,16]},"#
    + #""b.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[16,40]},"#
    + #""empty":{"dtype":"F32","shape":[0,4],"data_offsets":[40,40]},"#
    + #""u":{"dtype":"U32","shape":[1],"data_offsets":[40,44]},"#
    + #""a.bias":{"dtype":"F16","shape":[2],"data_offsets":[44,48]},"#
    + #""q\"é":{"dtype":"U8","shape":[1],"data_offsets":[48,49]},"#
    + #""mask":{"dtype":"BOOL","shape":[3],"data_offsets":[49,52]}}     "#
  /// 7; 0.5; 0, 1, 2, 3, 4, 5; 3; 1, -2; 5; true, false, true.
  static let data: [UInt8] =
    [7, 0, 0, 0, 0, 0, 0, 0] + [0, 0, 0, 0, 0, 0, 0xE0, 0x3F]
    + [0, 0, 0, 0, 0, 0, 0x80, 0x3F, 0, 0, 0, 0x40, 0, 0, 0x40, 0x40, 0, 0, 0x80, 0x40, 0, 0, 0xA0, 0x40]
    + [3, 0, 0, 0] + [0, 0x3C, 0, 0xC0] + [5] + [1, 0, 1]
  static let bytes = safetensors(header, data: data)
}
