/// The tokenization of mteval-v13a, which WMT and sacrebleu's default ("13a") use.
///
/// Minimal and language-independent but for its idea of punctuation: ASCII symbols stand alone, a period or comma
/// does unless it lies between digits, and so does a dash after a digit.
enum MTEvalTokenizer {
  /// The tokens of one sentence.
  static func tokens(_ sentence: String) -> [Scalars] {
    var line = Scalars(sentence)
    while let last = line.last, last.isPythonSpace { line.removeLast() }
    line = line.replacing("<skipped>", with: "").replacing("-\n", with: "").replacing("\n", with: " ")
    if line.contains("&") {
      line = line.replacing("&quot;", with: "\"").replacing("&amp;", with: "&").replacing("&lt;", with: "<")
        .replacing("&gt;", with: ">")
    }
    line = [" "] + line + [" "]
    line = line.flatMap { isSymbol($0) ? [" ", $0, " "] : [$0] }
    // A period or comma that no digit precedes, then one that no digit follows, then a dash that a digit precedes.
    line = separating(line) { first, second in !first.isASCIIDigit && isPoint(second) ? .after : nil }
    line = separating(line) { first, second in isPoint(first) && !second.isASCIIDigit ? .before : nil }
    line = separating(line) { first, second in first.isASCIIDigit && second == "-" ? .after : nil }
    return line.words.map { Array($0) }
  }

  private static func isPoint(_ scalar: Unicode.Scalar) -> Bool { scalar == "." || scalar == "," }

  /// ASCII punctuation and the space, except the apostrophe, comma, dash and period.
  private static func isSymbol(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar {
    case " "..."&", "("..."+", "/", ":"..."@", "["..."`", "{"..."~": true
    default: false
    }
  }

  private enum Place { case before, after }

  /// Puts spaces into pairs of neighbours, found from left to right without overlap: "ab" becomes " a b" (before) or
  /// "a b " (after).
  private static func separating(
    _ line: Scalars, _ match: (Unicode.Scalar, Unicode.Scalar) -> Place?
  ) -> Scalars {
    var result: Scalars = []
    result.reserveCapacity(line.count + 8)
    var i = 0
    while i < line.count {
      guard i + 1 < line.count, let place = match(line[i], line[i + 1]) else {
        result.append(line[i])
        i += 1
        continue
      }
      result += place == .before ? [" ", line[i], " ", line[i + 1]] : [line[i], " ", line[i + 1], " "]
      i += 2
    }
    return result
  }
}
