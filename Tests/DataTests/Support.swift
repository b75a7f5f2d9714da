import Foundation
import KalsaeData

/// A folder that goes away with its owner.
final class TemporaryFolder {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "kalsae-data-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// Writes a file, making its folders, and returns its path.
  @discardableResult
  func write(_ name: String, _ bytes: [UInt8]) throws -> String {
    let file = path + "/" + name
    try FileManager.default.createDirectory(
      atPath: (file as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
    try Data(bytes).write(to: URL(fileURLWithPath: file))
    return file
  }

  func names() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }
}

/// Larger real data, if this machine has them.
enum RealData {
  static let folder = ProcessInfo.processInfo.environment["KALSAE_DATA"]
  static let fashionMNIST = FileManager.default.fileExists(
    atPath: FashionMNIST.defaultFolder + "/train-images-idx3-ubyte.gz")
  static let cifar10 = has("cifar10")
  static let photos = has("photos")
  static let multi30k = has("multi30k")
  static let nsmc = has("nsmc") && has("sst2")
  static let tinyShakespeare = has("tinyshakespeare")

  private static func has(_ name: String) -> Bool {
    folder.map { FileManager.default.fileExists(atPath: $0 + "/" + name) } ?? false
  }
}

func base64(_ text: String) -> [UInt8] { [UInt8](Data(base64Encoded: text)!) }

/// An IDX file of unsigned bytes.
func idx(_ shape: [Int], _ elements: [UInt8], type: UInt8 = 8) -> [UInt8] {
  [0, 0, type, UInt8(shape.count)]
    + shape.flatMap { extent in [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: extent >> $0) } } + elements
}

/// A gzip file whose deflate stream is one stored block.
func gzip(_ bytes: [UInt8]) -> [UInt8] {
  precondition(bytes.count <= 0xFFFF)
  func little(_ value: Int, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }
  var crc: UInt32 = ~0
  for byte in bytes {
    crc ^= UInt32(byte)
    for _ in 0..<8 { crc = crc >> 1 ^ (crc & 1 == 1 ? 0xEDB8_8320 : 0) }
  }
  return [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255] + [1] + little(bytes.count, 2) + little(~bytes.count, 2)
    + bytes + little(Int(~crc), 4) + little(bytes.count, 4)
}

/// A picture whose samples all differ from their neighbours'.
func pattern(width: Int, height: Int, channels: Int) -> Image {
  Image(
    width: width, height: height, channels: channels,
    pixels: (0..<width * height * channels).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ $0 / 11) })
}

/// FNV-1a, to pin bytes in one number.
func fingerprint(_ bytes: some Sequence<UInt8>) -> UInt64 {
  bytes.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
}
