import Kalsae

/// Prints a map (T, T) with the words at its edges: the darker, the more.
func show(_ map: Tensor, _ words: [String]) {
  let shares = map.floats(), width = words.map(\.count).max()! + 1
  func padded(_ text: String) -> String { text + String(repeating: " ", count: max(0, width - text.count)) }
  print(padded("") + words.map { padded($0) }.joined())
  for (row, word) in words.enumerated() {
    let cells = shares[row * words.count..<(row + 1) * words.count].map { share in
      let shade = [" ", "░", "▒", "▓", "█"][min(4, Int(share * 10))]
      return padded(shade + (share < 0.005 ? "" : "\(Int((100 * share).rounded()))"))
    }
    print(padded(word) + cells.joined())
  }
}
