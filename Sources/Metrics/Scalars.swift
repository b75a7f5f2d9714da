/// Text as Python sees it: a list of Unicode scalars. (Swift's `String` takes canonically equivalent texts for equal,
/// which the metrics of translation do not.)
typealias Scalars = [Unicode.Scalar]

extension Unicode.Scalar {
  /// What Python's `str.split()` splits at: White_Space, and the four ASCII information separators.
  var isPythonSpace: Bool { properties.isWhitespace || (0x1C...0x1F).contains(value) }

  var isASCIIDigit: Bool { ("0"..."9").contains(self) }
}

extension Array where Element == Unicode.Scalar {
  init(_ text: String) { self = Array(text.unicodeScalars) }

  /// `str.split()`: the longest runs without white space.
  var words: [ArraySlice<Unicode.Scalar>] { split(whereSeparator: \.isPythonSpace) }

  /// `str.replace(pattern, replacement)`: all occurrences from left to right, not overlapping.
  func replacing(_ pattern: String, with replacement: String) -> Scalars {
    let pattern = Scalars(pattern), replacement = Scalars(replacement)
    guard contains(pattern[0]) else { return self }
    var result: Scalars = []
    var place = 0
    while place < count {
      if self[place] == pattern[0], self[place...].starts(with: pattern) {
        result += replacement
        place += pattern.count
      } else {
        result.append(self[place])
        place += 1
      }
    }
    return result
  }
}
