/// A trie over bytes whose edges lie in one hash table.
struct ByteTrie: Sendable {
  /// node << 8 | byte, + 1, beside the node it leads to; 0 where free.
  private var keys: [UInt64]
  private var targets: [Int32]
  private var edgeCount = 0
  /// The value of each node, -1 where no key ends.
  private(set) var values: [Int32] = [-1]

  init(capacity: Int = 16) {
    var size = 64
    while size < capacity * 2 { size *= 2 }
    keys = [UInt64](repeating: 0, count: size)
    targets = [Int32](repeating: 0, count: size)
  }

  @inline(__always)
  func child(_ node: Int32, _ byte: UInt8) -> Int32 {
    let key = (UInt64(UInt32(bitPattern: node)) << 8 | UInt64(byte)) + 1
    let mask = keys.count - 1
    var slot = Int(truncatingIfNeeded: folded(key)) & mask
    while true {
      if keys[slot] == key { return targets[slot] }
      if keys[slot] == 0 { return -1 }
      slot = (slot + 1) & mask
    }
  }

  mutating func insert(_ key: some Collection<UInt8>, _ value: Int32) {
    var node: Int32 = 0
    for byte in key {
      let next = child(node, byte)
      if next >= 0 {
        node = next
      } else {
        let new = Int32(values.count)
        values.append(-1)
        if edgeCount * 2 >= keys.count { grow() }
        place((UInt64(UInt32(bitPattern: node)) << 8 | UInt64(byte)) + 1, new)
        edgeCount += 1
        node = new
      }
    }
    values[Int(node)] = value
  }

  /// The node that a key leads to, -1 when there is none.
  func node(_ key: some Sequence<UInt8>) -> Int32 {
    var node: Int32 = 0
    for byte in key {
      node = child(node, byte)
      if node < 0 { return -1 }
    }
    return node
  }

  private mutating func place(_ key: UInt64, _ target: Int32) {
    let mask = keys.count - 1
    var slot = Int(truncatingIfNeeded: folded(key)) & mask
    while keys[slot] != 0 { slot = (slot + 1) & mask }
    keys[slot] = key
    targets[slot] = target
  }

  private mutating func grow() {
    let (oldKeys, oldTargets) = (keys, targets)
    keys = [UInt64](repeating: 0, count: oldKeys.count * 2)
    targets = [Int32](repeating: 0, count: oldKeys.count * 2)
    for slot in oldKeys.indices where oldKeys[slot] != 0 { place(oldKeys[slot], oldTargets[slot]) }
  }
}
