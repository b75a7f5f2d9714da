import KalsaeTensors

/// The values of the keys that were asked for lately; the one not asked for longest makes room for a new one.
package struct RecentlyUsed<Key: Hashable & Sendable, Value: Sendable>: Sendable {
  private var entries: [Key: (value: Value, use: UInt64)] = [:]
  private var uses: UInt64 = 0
  private let limit: Int

  /// - Parameter limit: how many values are kept.
  package init(limit: Int) {
    require(limit > 0, "RecentlyUsed: a limit of \(limit)")
    self.limit = limit
  }

  package var count: Int { entries.count }

  /// The value of a key, which counts as used now.
  package mutating func value(for key: Key) -> Value? {
    // One look-up: keys may be long.
    guard let place = entries.index(forKey: key) else { return nil }
    uses += 1
    entries.values[place].use = uses
    return entries.values[place].value
  }

  package mutating func insert(_ value: Value, for key: Key) {
    if entries.count >= limit, entries[key] == nil {
      let oldest = entries.indices.min { entries.values[$0].use < entries.values[$1].use }!
      entries.remove(at: oldest)
    }
    uses += 1
    entries[key] = (value, uses)
  }

  package mutating func remove(_ key: Key) { entries[key] = nil }
}
