import Foundation

/// The two file formats, told apart by their first bytes, never by the name.
enum ImageFormat {
  case png, jpeg

  init?(_ bytes: [UInt8]) {
    if bytes.starts(with: [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) {
      self = .png
    } else if bytes.starts(with: [0xFF, 0xD8, 0xFF]) {
      self = .jpeg
    } else {
      return nil
    }
  }

  /// What stands at the end of every complete file: PNG's IEND chunk with its CRC, JPEG's EOI marker.
  var endMark: [UInt8] {
    self == .png ? [0, 0, 0, 0, 0x49, 0x45, 0x4E, 0x44, 0xAE, 0x42, 0x60, 0x82] : [0xFF, 0xD9]
  }
}

/// Size of a picture in a file, and the channels it decodes to.
struct ImageHeader: Equatable {
  let width: Int
  let height: Int
  let channels: Int
}

/// Why bytes are no picture; the caller adds the path.
struct CodecError: Error {
  let reason: String
  init(_ reason: String) { self.reason = reason }
}

/// PNG (libpng) and JPEG (libjpeg-turbo), 8 bits a sample.
enum ImageCodec {
  /// A header may claim any size; more pixels than this are refused before anything is allocated.
  static let maximumPixels = 1 << 27

  static func header(_ bytes: [UInt8]) throws(CodecError) -> ImageHeader {
    let header =
      switch try format(bytes) {
      case .png: try PNGCodec.header(bytes)
      case .jpeg: try JPEGCodec.header(bytes)
      }
    guard header.width > 0, header.height > 0, header.width <= maximumPixels / header.height else {
      throw CodecError("\(header.width) x \(header.height) pixels are more than \(maximumPixels)")
    }
    return header
  }

  /// Decodes; a JPEG may be decoded smaller, see `Image.init(contentsOf:minimumSide:)`.
  static func decode(_ bytes: [UInt8], minimumSide: Int? = nil) throws(CodecError) -> Image {
    let header = try header(bytes)
    switch try format(bytes) {
    case .png: return try PNGCodec.decode(bytes)
    case .jpeg: return try JPEGCodec.decode(bytes, header, minimumSide: minimumSide)
    }
  }

  private static func format(_ bytes: [UInt8]) throws(CodecError) -> ImageFormat {
    guard let format = ImageFormat(bytes) else {
      throw CodecError(bytes.isEmpty ? "the file is empty" : "neither PNG nor JPEG")
    }
    return format
  }

  /// Reads a file's header and checks that its end is there, without decoding: a few kilobytes of input.
  static func probe(_ path: String) throws(DataError) -> ImageHeader {
    let file = try InputFile(path)
    let tail = try file.read(max(0, file.size - (1 << 14))..<file.size)
    // The header usually lies in the first kilobytes; a long profile or thumbnail can push it further.
    var length = min(file.size, 1 << 14)
    while true {
      let head = try file.read(0..<length)
      do throws(CodecError) {
        let header = try header(head)
        if try contains(tail, format(head).endMark) { return header }
        throw CodecError("truncated: the end of the picture is missing")
      } catch {
        if length == file.size { throw .malformed(path: file.path, reason: error.reason) }
      }
      length = min(file.size, length * 16)
    }
  }

  private static func contains(_ bytes: [UInt8], _ mark: [UInt8]) -> Bool {
    // From the end, where the mark is in every sound file.
    stride(from: bytes.count - mark.count, through: 0, by: -1).contains { bytes[$0...].starts(with: mark) }
  }
}

extension Image {
  /// Reads a PNG or JPEG file as 8-bit grey, grey + alpha, RGB or RGB + alpha.
  ///
  /// Palettes become RGB, 16 bits become 8, CMYK becomes RGB. EXIF orientation is not applied.
  /// - Parameter minimumSide: allows a JPEG to be decoded at 1/2, 1/4 or 1/8 of its size as long as both
  ///   sides stay at least twice this: several times faster when a small picture is wanted anyway.
  public init(contentsOf path: String, minimumSide: Int? = nil) throws(DataError) {
    let bytes = try FileIO.read(path)
    do throws(CodecError) {
      self = try ImageCodec.decode(bytes, minimumSide: minimumSide)
    } catch {
      throw .malformed(path: FileIO.fullPath(path), reason: error.reason)
    }
  }

  /// The picture as the bytes of a PNG file.
  public func pngBytes() -> [UInt8] { PNGCodec.encode(self) }

  /// Writes a PNG file; `path` appears complete or not at all.
  public func writePNG(to path: String) throws(DataError) {
    let bytes = pngBytes()
    try AtomicOutput.write(to: path) { (file) throws(DataError) in try file.append(bytes) }
  }
}
