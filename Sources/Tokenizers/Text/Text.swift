/// Text on its way through the pipeline: UTF-8 and, where it is asked for, which bytes of the input each byte came from.
struct Text {
  /// A range of the input.
  struct Origin: Equatable {
    var start: UInt32, end: UInt32
  }

  var bytes: [UInt8]
  /// One a byte; nil while the bytes are the input's own, which begin at `base` there.
  var origins: [Origin]?
  var base: Int
  /// Whether changes of the text keep `origins`.
  let isTracked: Bool

  init(_ bytes: [UInt8], base: Int, isTracked: Bool) {
    (self.bytes, self.base, self.isTracked) = (bytes, base, isTracked)
  }

  /// The range of the input that bytes came from.
  func origin(_ range: Range<Int>) -> Range<Int> {
    guard let origins else { return base + range.lowerBound..<base + range.upperBound }
    guard !range.isEmpty else {
      let at =
        range.lowerBound < origins.count ? Int(origins[range.lowerBound].start) : Int(origins.last?.end ?? 0)
      return at..<at
    }
    var start = UInt32.max, end: UInt32 = 0
    for origin in origins[range] { (start, end) = (min(start, origin.start), max(end, origin.end)) }
    return Int(start)..<Int(max(start, end))
  }
}

/// New text that is made of old: what is appended remembers the place it came from.
struct TextBuilder {
  private let source: Text
  var bytes: [UInt8] = []
  private var origins: [Text.Origin] = []

  init(_ source: Text) {
    self.source = source
    bytes.reserveCapacity(source.bytes.count + source.bytes.count / 8)
    if source.isTracked { origins.reserveCapacity(bytes.capacity) }
  }

  private func origin(_ range: Range<Int>) -> Text.Origin {
    let origin = source.origin(range)
    return .init(start: UInt32(origin.lowerBound), end: UInt32(origin.upperBound))
  }

  /// Appends bytes of the source as they are.
  @inline(__always)
  mutating func keep(_ range: Range<Int>) {
    if range.count <= 4 {
      for index in range { bytes.append(source.bytes[index]) }
    } else {
      bytes.append(contentsOf: source.bytes[range])
    }
    guard source.isTracked else { return }
    if let old = source.origins {
      origins.append(contentsOf: old[range])
    } else {
      // A scalar is one thing: each of its bytes comes from all of it.
      var position = range.lowerBound
      while position < range.upperBound {
        let end = min(position + UTF8Scalars.length(source.bytes[position]), range.upperBound)
        let origin = origin(position..<end)
        for _ in position..<end { origins.append(origin) }
        position = end
      }
    }
  }

  /// Appends a scalar that stands for `range` of the source.
  @inline(__always)
  mutating func append(_ scalar: UInt32, from range: Range<Int>) {
    let start = bytes.count
    UTF8Scalars.append(scalar, to: &bytes)
    guard source.isTracked else { return }
    let origin = origin(range)
    for _ in start..<bytes.count { origins.append(origin) }
  }

  mutating func append(_ content: some Collection<UInt8>, from range: Range<Int>) {
    bytes.append(contentsOf: content)
    guard source.isTracked else { return }
    let origin = origin(range)
    for _ in 0..<content.count { origins.append(origin) }
  }

  func finished() -> Text {
    var text = Text(bytes, base: source.base, isTracked: source.isTracked)
    if source.isTracked { text.origins = origins }
    return text
  }
}

extension Text {
  /// Whether all of it is ASCII, which most normalizers leave alone.
  var isASCII: Bool { bytes.allSatisfy { $0 < 0x80 } }

  /// The text with each scalar replaced by what `body` appends for it; `body` gets the scalar and its range.
  @inline(__always)
  func mappingScalars(_ body: (UInt32, Range<Int>, inout TextBuilder) -> Void) -> Text {
    var builder = TextBuilder(self)
    bytes.withUnsafeBufferPointer { bytes in
      guard let start = bytes.baseAddress else { return }
      var position = 0
      while position < bytes.count {
        let (scalar, length) = UTF8Scalars.decode(start, position)
        body(scalar, position..<position + length, &builder)
        position += length
      }
    }
    return builder.finished()
  }
}
