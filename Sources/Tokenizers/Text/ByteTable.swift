/// A fast hash of a byte string: eight bytes at a time through a 64 x 64 bit product whose halves are folded.
@inline(__always)
func hashed(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> UInt64 {
  let raw = UnsafeRawPointer(bytes)
  var state = 0x9E37_79B9_7F4A_7C15 ^ UInt64(truncatingIfNeeded: count)
  var offset = 0
  while offset + 8 <= count {
    state = folded(state ^ raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    offset += 8
  }
  var rest: UInt64 = 0
  if offset + 4 <= count {
    rest = UInt64(raw.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    offset += 4
  }
  while offset < count {
    rest = rest << 8 | UInt64(bytes[offset])
    offset += 1
  }
  return folded(state ^ rest)
}

@inline(__always)
func folded(_ value: UInt64) -> UInt64 {
  let product = value.multipliedFullWidth(by: 0xA076_1D64_78BD_642F)
  return product.high ^ product.low
}

@inline(__always)
private func equal(_ a: UnsafePointer<UInt8>, _ b: UnsafePointer<UInt8>, _ count: Int) -> Bool {
  let a = UnsafeRawPointer(a), b = UnsafeRawPointer(b)
  var offset = 0
  while offset + 8 <= count {
    if a.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
      != b.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
    {
      return false
    }
    offset += 8
  }
  while offset < count {
    if a.load(fromByteOffset: offset, as: UInt8.self) != b.load(fromByteOffset: offset, as: UInt8.self) {
      return false
    }
    offset += 1
  }
  return true
}

/// Byte strings to 32-bit values: open addressing with linear probing, the keys one after the other in one block.
struct ByteTable: Sendable {
  private struct Entry {
    var start: UInt32, count: UInt32, value: Int32, tag: UInt32
  }

  private var keys: [UInt8] = []
  private var entries: [Entry] = []
  /// Number of an entry + 1, 0 where free; the count of slots is a power of two.
  private var slots: [UInt32]

  init(capacity: Int = 16) {
    var size = 32
    while size < capacity * 2 { size *= 2 }
    slots = [UInt32](repeating: 0, count: size)
    entries.reserveCapacity(capacity)
    keys.reserveCapacity(capacity * 8)
  }

  var count: Int { entries.count }
  /// Bytes that all keys take together.
  var keyBytes: Int { keys.count }

  /// The value of the key, nil when there is none.
  @inline(__always)
  func value(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Int32? {
    let found = find(bytes, count, hashed(bytes, count))
    return found < 0 ? nil : entries[found].value
  }

  func value(_ key: some Collection<UInt8>) -> Int32? {
    withContiguous(key) { value($0, $1) }
  }

  /// Sets the value of a key; whether it is new. An old key gets the new value.
  @discardableResult
  mutating func insert(_ bytes: UnsafePointer<UInt8>, _ count: Int, _ value: Int32) -> Bool {
    let hash = hashed(bytes, count)
    let found = find(bytes, count, hash)
    if found >= 0 {
      entries[found].value = value
      return false
    }
    if entries.count * 2 >= slots.count { grow() }
    entries.append(
      Entry(
        start: UInt32(keys.count), count: UInt32(count), value: value,
        tag: UInt32(truncatingIfNeeded: hash >> 32)))
    keys.append(contentsOf: UnsafeBufferPointer(start: bytes, count: count))
    place(UInt32(entries.count), hash)
    return true
  }

  @discardableResult
  mutating func insert(_ key: some Collection<UInt8>, _ value: Int32) -> Bool {
    withContiguous(key) { insert($0, $1, value) }
  }

  mutating func removeAll() {
    keys.removeAll(keepingCapacity: true)
    entries.removeAll(keepingCapacity: true)
    for slot in slots.indices { slots[slot] = 0 }
  }

  @inline(__always)
  private func find(_ bytes: UnsafePointer<UInt8>, _ count: Int, _ hash: UInt64) -> Int {
    let tag = UInt32(truncatingIfNeeded: hash >> 32)
    let mask = slots.count - 1
    var slot = Int(truncatingIfNeeded: hash) & mask
    return keys.withUnsafeBufferPointer { keys in
      while true {
        let number = Int(slots[slot])
        if number == 0 { return -1 }
        let entry = entries[number - 1]
        if entry.tag == tag, Int(entry.count) == count,
          count == 0 || equal(keys.baseAddress! + Int(entry.start), bytes, count)
        {
          return number - 1
        }
        slot = (slot + 1) & mask
      }
    }
  }

  private mutating func place(_ number: UInt32, _ hash: UInt64) {
    let mask = slots.count - 1
    var slot = Int(truncatingIfNeeded: hash) & mask
    while slots[slot] != 0 { slot = (slot + 1) & mask }
    slots[slot] = number
  }

  private mutating func grow() {
    slots = [UInt32](repeating: 0, count: slots.count * 2)
    for number in entries.indices {
      let entry = entries[number]
      let hash = keys.withUnsafeBufferPointer { keys in
        entry.count == 0
          ? hashedEmpty() : hashed(keys.baseAddress! + Int(entry.start), Int(entry.count))
      }
      place(UInt32(number + 1), hash)
    }
  }

  private func hashedEmpty() -> UInt64 {
    withContiguous(CollectionOfOne<UInt8>(0)) { pointer, _ in hashed(pointer, 0) }
  }
}

/// The bytes of a collection at a pointer that is valid (though perhaps of no bytes) during the call.
@inline(__always)
func withContiguous<Result>(
  _ bytes: some Collection<UInt8>, _ body: (UnsafePointer<UInt8>, Int) -> Result
) -> Result {
  let direct = bytes.withContiguousStorageIfAvailable { buffer -> Result? in
    buffer.baseAddress.map { body($0, buffer.count) }
  }
  if let direct, let result = direct { return result }
  var copy = Array(bytes)
  let count = copy.count
  copy.append(0)
  return copy.withUnsafeBufferPointer { body($0.baseAddress!, count) }
}

/// Pairs of token ids to a rank and a token id: the merges of a BPE model, as a flat open-addressing table.
struct PairTable: Sendable {
  private var keys: [UInt64]
  private var values: [UInt64]
  private(set) var count = 0
  /// No pair of valid ids: both halves are negative.
  private static let free = UInt64.max
  static let none = UInt64.max

  init(capacity: Int = 16) {
    var size = 32
    while size < capacity * 2 { size *= 2 }
    keys = [UInt64](repeating: Self.free, count: size)
    values = [UInt64](repeating: 0, count: size)
  }

  @inline(__always)
  static func key(_ left: Int32, _ right: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
  }

  /// Rank in the upper, id of the merged token in the lower 32 bits; `none` when the pair does not merge.
  @inline(__always)
  func merge(_ left: Int32, _ right: Int32) -> UInt64 {
    let key = Self.key(left, right)
    let mask = keys.count - 1
    var slot = Int(truncatingIfNeeded: folded(key)) & mask
    while true {
      let found = keys[slot]
      if found == key { return values[slot] }
      if found == Self.free { return Self.none }
      slot = (slot + 1) & mask
    }
  }

  /// Keeps the value that is there already, if any.
  mutating func insert(_ left: Int32, _ right: Int32, rank: Int, id: Int32) {
    if count * 2 >= keys.count { grow() }
    put(Self.key(left, right), UInt64(rank) << 32 | UInt64(UInt32(bitPattern: id)))
  }

  private mutating func put(_ key: UInt64, _ value: UInt64) {
    let mask = keys.count - 1
    var slot = Int(truncatingIfNeeded: folded(key)) & mask
    while keys[slot] != Self.free {
      if keys[slot] == key { return }
      slot = (slot + 1) & mask
    }
    keys[slot] = key
    values[slot] = value
    count += 1
  }

  private mutating func grow() {
    let old = self
    self = PairTable(capacity: keys.count)
    for (slot, key) in old.keys.enumerated() where key != Self.free { put(key, old.values[slot]) }
  }
}
