/// Tokens by number and back. Numbers may leave holes, as they do in published files.
struct Vocabulary: Sendable {
  private var blob: [UInt8] = []
  /// Where each token's text lies; an unused number has a start of -1.
  private var places: [(start: Int32, count: Int32)] = []
  private var ids: ByteTable

  init(capacity: Int = 16) {
    ids = ByteTable(capacity: capacity)
    places.reserveCapacity(capacity)
    blob.reserveCapacity(capacity * 8)
  }

  /// One more than the largest number.
  var count: Int { places.count }

  /// Sets a token's number. The last of two equal texts gives the number of the text; whether it was new.
  @discardableResult
  mutating func insert(_ token: some Collection<UInt8>, id: Int32) -> Bool {
    while places.count <= Int(id) { places.append((-1, 0)) }
    places[Int(id)] = (Int32(blob.count), Int32(token.count))
    blob.append(contentsOf: token)
    return ids.insert(token, id)
  }

  /// The first of two equal texts keeps the number.
  mutating func append(_ token: some Collection<UInt8>) {
    let id = Int32(places.count), old = ids.value(token)
    insert(token, id: id)
    if let old { ids.insert(token, old) }
  }

  @inline(__always)
  func id(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Int32? { ids.value(bytes, count) }

  func id(_ token: some Collection<UInt8>) -> Int32? { ids.value(token) }

  func id(_ token: String) -> Int32? { ids.value(Array(token.utf8)) }

  /// A token's text, nil where the number is not used.
  func token(_ id: Int32) -> ArraySlice<UInt8>? {
    guard id >= 0, Int(id) < places.count, places[Int(id)].start >= 0 else { return nil }
    let (start, count) = places[Int(id)]
    return blob[Int(start)..<Int(start + count)]
  }

  @inline(__always)
  func byteCount(_ id: Int32) -> Int { Int(places[Int(id)].count) }

  func text(_ id: Int32) -> String? { token(id).map { String(decoding: $0, as: UTF8.self) } }

  /// All tokens in the order of their numbers.
  var tokens: some Sequence<(id: Int32, token: ArraySlice<UInt8>)> {
    places.indices.lazy.compactMap { index in token(Int32(index)).map { (Int32(index), $0) } }
  }
}

/// A piece of a model's answer: a token and how many bytes of the word it covers.
struct Token: Equatable {
  var id: Int32, length: Int32
}
