/// How often each run of `n` neighbours occurs in `symbols`.
func countedNGrams<Symbol: Hashable>(_ symbols: [Symbol], _ n: Int) -> [ArraySlice<Symbol>: Int] {
  var counts: [ArraySlice<Symbol>: Int] = [:]
  guard symbols.count >= n else { return counts }
  counts.reserveCapacity(symbols.count - n + 1)
  for start in 0...symbols.count - n { counts[symbols[start..<start + n], default: 0] += 1 }
  return counts
}

/// The sum over the n-grams of `a` of how often they occur in both.
func matches<Symbol: Hashable>(_ a: [ArraySlice<Symbol>: Int], _ b: [ArraySlice<Symbol>: Int]) -> Int {
  a.reduce(0) { $0 + min($1.value, b[$1.key] ?? 0) }
}
