import KalsaeRuntime
import Testing

@Suite struct RecentlyUsedTests {
  @Test func whatWasNotAskedForLongestGoes() {
    var cache = RecentlyUsed<String, Int>(limit: 3)
    for (key, value) in [("a", 1), ("b", 2), ("c", 3)] { cache.insert(value, for: key) }
    #expect(cache.value(for: "a") == 1)
    cache.insert(4, for: "d")
    #expect(cache.count == 3)
    #expect(cache.value(for: "b") == nil)
    #expect(cache.value(for: "a") == 1 && cache.value(for: "c") == 3 && cache.value(for: "d") == 4)
    // A key that is there already takes no room.
    cache.insert(30, for: "c")
    #expect(cache.count == 3 && cache.value(for: "a") == 1 && cache.value(for: "c") == 30)
  }
}
