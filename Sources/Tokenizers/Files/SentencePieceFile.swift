import KalsaeFormats

/// SentencePiece's model file: a protocol buffer of pieces with scores, the trainer's and the normaliser's settings.
/// Format: sentencepiece/src/sentencepiece_model.proto.
struct SentencePieceFile {
  enum Kind: Int { case normal = 1, unknown, control, userDefined, unused, byte }

  struct Piece {
    var text: [UInt8] = []
    var score: Float = 0
    var kind = Kind.normal
  }

  var pieces: [Piece] = []
  /// 1 unigram, 2 BPE, 3 words, 4 characters.
  var modelType = 1
  var isSuffix = false, hasByteFallback = false
  var unknown = 0, start = 1, end = 2
  var unknownSurface = " \u{2047} "
  var map: [UInt8] = []
  var addsPrefix = true, removesExtraSpaces = true, escapesSpaces = true

  init() {}

  init(path: String) throws {
    let file = try MappedFile(path: path)
    try self.init(file.withUnsafeBytes { Array($0) }, path)
    guard !pieces.isEmpty else {
      throw TokenizerError(path, "holds no pieces: this is not a SentencePiece model")
    }
  }

  private init(_ bytes: [UInt8], _ path: String) throws {
    var reader = ProtocolBuffer(bytes, path)
    while let field = try reader.next() {
      switch (field.number, field.value) {
      case (1, .bytes(let range)): pieces.append(try Self.piece(reader.part(range), pieces.count))
      case (2, .bytes(let range)): try readTrainer(reader.part(range))
      case (3, .bytes(let range)): try readNormalizer(reader.part(range))
      default: break
      }
    }
  }

  private static func piece(_ reader: ProtocolBuffer, _ index: Int) throws -> Piece {
    var reader = reader, piece = Piece()
    while let field = try reader.next() {
      switch (field.number, field.value) {
      case (1, .bytes(let range)): piece.text = Array(reader.bytes[range])
      case (2, .fixed32(let bits)): piece.score = Float(bitPattern: bits)
      case (3, .integer(let value)):
        guard let kind = Kind(rawValue: value) else {
          throw TokenizerError(reader.path, "piece \(index) has the unknown type \(value)")
        }
        piece.kind = kind
      default: break
      }
    }
    guard String(validating: piece.text, as: UTF8.self) != nil else {
      throw TokenizerError(reader.path, "piece \(index) is not UTF-8; the file is damaged")
    }
    return piece
  }

  private mutating func readTrainer(_ reader: ProtocolBuffer) throws {
    var reader = reader
    while let field = try reader.next() {
      switch (field.number, field.value) {
      case (3, .integer(let value)): modelType = value
      case (24, .integer(let value)): isSuffix = value != 0
      case (35, .integer(let value)): hasByteFallback = value != 0
      case (40, .integer(let value)): unknown = value
      case (41, .integer(let value)): start = value
      case (42, .integer(let value)): end = value
      case (44, .bytes(let range)): unknownSurface = String(decoding: reader.bytes[range], as: UTF8.self)
      default: break
      }
    }
  }

  private mutating func readNormalizer(_ reader: ProtocolBuffer) throws {
    var reader = reader
    while let field = try reader.next() {
      switch (field.number, field.value) {
      case (2, .bytes(let range)): map = Array(reader.bytes[range])
      case (3, .integer(let value)): addsPrefix = value != 0
      case (4, .integer(let value)): removesExtraSpaces = value != 0
      case (5, .integer(let value)): escapesSpaces = value != 0
      default: break
      }
    }
  }
}

/// The wire format of protocol buffers, read field by field.
struct ProtocolBuffer {
  enum Value {
    case integer(Int)
    case fixed32(UInt32)
    case fixed64(UInt64)
    case bytes(Range<Int>)
  }

  let bytes: [UInt8], path: String
  private var position: Int
  private let end: Int

  init(_ bytes: [UInt8], _ path: String) {
    (self.bytes, self.path, position, end) = (bytes, path, 0, bytes.count)
  }

  private init(_ bytes: [UInt8], _ path: String, _ range: Range<Int>) {
    (self.bytes, self.path, position, end) = (bytes, path, range.lowerBound, range.upperBound)
  }

  /// The message inside a field.
  func part(_ range: Range<Int>) -> ProtocolBuffer { ProtocolBuffer(bytes, path, range) }

  private func damaged() -> TokenizerError {
    TokenizerError(
      path, "is no SentencePiece model, or a damaged one, at byte \(position); fetch the file again")
  }

  private mutating func varint() throws -> UInt64 {
    var value: UInt64 = 0
    for shift in stride(from: UInt64(0), to: 70, by: 7) {
      guard position < end else { throw damaged() }
      let byte = bytes[position]
      position += 1
      value |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 { return value }
    }
    throw damaged()
  }

  private mutating func fixed(_ count: Int) throws -> UInt64 {
    guard position + count <= end else { throw damaged() }
    defer { position += count }
    return (0..<count).reduce(0) { $0 | UInt64(bytes[position + $1]) << UInt64(8 * $1) }
  }

  mutating func next() throws -> (number: Int, value: Value)? {
    guard position < end else { return nil }
    let key = try varint()
    guard key >> 3 > 0, key >> 3 < 1 << 29 else { throw damaged() }
    let number = Int(key >> 3)
    switch key & 7 {
    case 0: return (number, .integer(Int(truncatingIfNeeded: Int32(truncatingIfNeeded: try varint()))))
    case 1: return (number, .fixed64(try fixed(8)))
    case 2:
      let count = try varint()
      guard count <= UInt64(end - position) else { throw damaged() }
      let start = position
      position += Int(count)
      return (number, .bytes(start..<position))
    case 5: return (number, .fixed32(UInt32(try fixed(4))))
    default: throw damaged()
    }
  }
}
