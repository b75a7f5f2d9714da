/// A regular expression that is not understood: what, and where in it (in scalars from 1).
public struct PatternError: Error, Equatable, Sendable, CustomStringConvertible {
  public let pattern: String, position: Int, message: String
  public var description: String { "the pattern \(pattern): \(message) at position \(position)" }
}

/// The syntax of the regular expressions that tokenizers use: Oniguruma's and Rust's common part.
indirect enum PatternNode {
  case empty
  case set(ScalarSet)
  case sequence([PatternNode])
  case alternatives([PatternNode])
  case repeated(PatternNode, minimum: Int, maximum: Int?, Greed)
  case look(PatternNode, ahead: Bool, negated: Bool)
  case atomic(PatternNode)
  case start, end, endBeforeNewline, wordBoundary(negated: Bool)
  case lineStart, lineEnd

  enum Greed { case greedy, lazy, possessive }
}

struct PatternParser {
  private let pattern: String
  private let scalars: [Unicode.Scalar]
  private var position = 0
  private var ignoresCase = false, isDotAll = false, isMultiline = true
  private var depth = 0

  static func parse(_ pattern: String) throws(PatternError) -> PatternNode {
    var parser = PatternParser(pattern)
    let node = try parser.alternatives()
    guard parser.position == parser.scalars.count else { throw parser.failure("an unmatched ')'") }
    return node
  }

  private init(_ pattern: String) {
    self.pattern = pattern
    scalars = Array(pattern.unicodeScalars)
  }

  private func failure(_ message: String) -> PatternError {
    PatternError(pattern: pattern, position: position + 1, message: message)
  }

  private var next: Unicode.Scalar? { position < scalars.count ? scalars[position] : nil }

  private mutating func take(_ text: String) -> Bool {
    let wanted = Array(text.unicodeScalars)
    guard position + wanted.count <= scalars.count,
      Array(scalars[position..<position + wanted.count]) == wanted
    else { return false }
    position += wanted.count
    return true
  }

  private mutating func alternatives() throws(PatternError) -> PatternNode {
    depth += 1
    defer { depth -= 1 }
    guard depth < 100 else { throw failure("groups nested too deeply") }
    let outer = ignoresCase, outerDot = isDotAll
    var branches = [try sequence()]
    while take("|") { branches.append(try sequence()) }
    (ignoresCase, isDotAll) = (outer, outerDot)
    return branches.count == 1 ? branches[0] : .alternatives(branches)
  }

  private mutating func sequence() throws(PatternError) -> PatternNode {
    var nodes: [PatternNode] = []
    while let scalar = next, scalar != "|", scalar != ")" {
      guard let atom = try atom() else { continue }
      nodes.append(try quantified(atom))
    }
    return nodes.count == 1 ? nodes[0] : .sequence(nodes)
  }

  private mutating func quantified(_ atom: PatternNode) throws(PatternError) -> PatternNode {
    var node = atom
    while let scalar = next {
      let minimum: Int, maximum: Int?
      switch scalar {
      case "*": (minimum, maximum, position) = (0, nil, position + 1)
      case "+": (minimum, maximum, position) = (1, nil, position + 1)
      case "?": (minimum, maximum, position) = (0, 1, position + 1)
      case "{":
        guard let bounds = try bounds() else { return node }
        (minimum, maximum) = bounds
      default: return node
      }
      let greed: PatternNode.Greed = take("?") ? .lazy : take("+") ? .possessive : .greedy
      node = .repeated(node, minimum: minimum, maximum: maximum, greed)
    }
    return node
  }

  /// `{n}`, `{n,}`, `{,m}`, `{n,m}`; nil when the brace is a plain character.
  private mutating func bounds() throws(PatternError) -> (Int, Int?)? {
    let start = position
    position += 1
    func digits() -> Int? {
      var value: Int? = nil
      while let digit = next, ("0"..."9").contains(digit), (value ?? 0) < 10_000 {
        value = (value ?? 0) * 10 + Int(digit.value - 0x30)
        position += 1
      }
      return value
    }
    let low = digits()
    var high = low
    if take(",") { high = digits() } else if low == nil { high = -1 }
    guard take("}"), low != nil || high != nil, high != -1 else {
      position = start
      throw failure("a quantifier that is not {n}, {n,} or {n,m}")
    }
    guard (low ?? 0) <= high ?? Int.max, max(low ?? 0, high ?? 0) <= 1000 else {
      throw failure("a quantifier out of range")
    }
    return (low ?? 0, high)
  }

  private mutating func atom() throws(PatternError) -> PatternNode? {
    let scalar = scalars[position]
    position += 1
    switch scalar {
    case "(": return try group()
    case "[": return .set(try bracket())
    case ".": return .set(isDotAll ? .any : ScalarSet(range: 0x0A, 0x0A).inverted)
    case "^": return isMultiline ? .lineStart : .start
    case "$": return isMultiline ? .lineEnd : .endBeforeNewline
    case "*", "+", "?": throw failure("a quantifier of nothing")
    case "\\":
      switch next {
      case "b": position += 1; return .wordBoundary(negated: false)
      case "B": position += 1; return .wordBoundary(negated: true)
      case "A": position += 1; return .start
      case "z": position += 1; return .end
      case "Z": position += 1; return .endBeforeNewline
      default: return .set(try escape())
      }
    default: return .set(literal(scalar.value))
    }
  }

  private func literal(_ value: UInt32) -> ScalarSet {
    let set = ScalarSet(range: value, value)
    return ignoresCase ? set.ignoringCase : set
  }

  private mutating func group() throws(PatternError) -> PatternNode? {
    let outer = (ignoresCase, isDotAll)
    func body() throws(PatternError) -> PatternNode {
      let node = try alternatives()
      guard take(")") else { throw failure("a group without its ')'") }
      return node
    }
    if take("?=") { return .look(try body(), ahead: true, negated: false) }
    if take("?!") { return .look(try body(), ahead: true, negated: true) }
    if take("?<=") { return .look(try body(), ahead: false, negated: false) }
    if take("?<!") { return .look(try body(), ahead: false, negated: true) }
    if take("?>") { return .atomic(try body()) }
    if take("?P<") || take("?<") {
      while let scalar = next, scalar != ">" { position += 1; _ = scalar }
      guard take(">") else { throw failure("a name without its '>'") }
      return try body()
    }
    guard take("?") else { return try body() }
    var isOn = true
    while let flag = next {
      position += 1
      switch flag {
      case ":":
        let node = try body()
        (ignoresCase, isDotAll) = outer
        return node
      case ")": return nil
      case "-": isOn = false
      case "i": ignoresCase = isOn
      case "s": isDotAll = isOn
      case "m": isMultiline = isOn
      case "u": break
      default: throw failure("an unknown group '(?\(flag)'")
      }
    }
    throw failure("a group without its ')'")
  }

  // MARK: Sets

  /// After a backslash: a class or a single scalar.
  private mutating func escape() throws(PatternError) -> ScalarSet {
    guard let scalar = next else { throw failure("a backslash at the end") }
    position += 1
    switch scalar {
    case "s": return .whitespace
    case "S": return .whitespace.inverted
    case "w": return .word
    case "W": return .word.inverted
    case "d": return ScalarSet(categories: .of(.Nd))
    case "D": return ScalarSet(categories: .of(.Nd)).inverted
    case "h":
      return ScalarSet(range: 0x30, 0x39).union(.init(range: 0x41, 0x46)).union(.init(range: 0x61, 0x66))
    case "p", "P": return try property(negated: scalar == "P")
    default:
      position -= 1
      return literal(try escapedScalar())
    }
  }

  private mutating func property(negated: Bool) throws(PatternError) -> ScalarSet {
    var name = ""
    var isNegated = negated
    if take("{") {
      if take("^") { isNegated.toggle() }
      while let scalar = next, scalar != "}" {
        name.unicodeScalars.append(scalar)
        position += 1
      }
      guard take("}") else { throw failure("a property without its '}'") }
    } else if let scalar = next {
      name.unicodeScalars.append(scalar)
      position += 1
    }
    for prefix in ["Script=", "sc=", "gc=", "General_Category="] where name.hasPrefix(prefix) {
      name.removeFirst(prefix.count)
    }
    let set: ScalarSet? =
      switch name {
      case "Alphabetic", "Alpha": ScalarSet.word.intersection(ScalarSet(categories: .letter))
      case "White_Space", "Space": .whitespace
      case "Any": .any
      default: Category.mask(named: name).map { ScalarSet(categories: $0) } ?? ScalarSet.script(name)
      }
    guard let set else { throw failure("the unknown property \\p{\(name)}") }
    return isNegated ? set.inverted : set
  }

  private mutating func escapedScalar() throws(PatternError) -> UInt32 {
    let scalar = scalars[position]
    position += 1
    switch scalar {
    case "n": return 0x0A
    case "r": return 0x0D
    case "t": return 0x09
    case "f": return 0x0C
    case "v": return 0x0B
    case "a": return 0x07
    case "e": return 0x1B
    case "0": return 0
    case "x", "u", "U":
      var digits = ""
      if take("{") {
        while let digit = next, digit != "}" {
          digits.unicodeScalars.append(digit)
          position += 1
        }
        position += 1
      } else {
        for _ in 0..<(scalar == "x" ? 2 : scalar == "u" ? 4 : 8) {
          if let digit = next { digits.unicodeScalars.append(digit) }
          position += 1
        }
      }
      guard let value = UInt32(digits, radix: 16), value < 0x110000 else {
        throw failure("an escape that is not hexadecimal")
      }
      return value
    default:
      guard !scalar.properties.isAlphabetic, scalar.properties.generalCategory != .decimalNumber else {
        position -= 1
        throw failure("the unknown escape \\\(scalar)")
      }
      return scalar.value
    }
  }

  /// After '[': items up to ']', with ranges, nested sets and intersections (`&&`).
  private mutating func bracket() throws(PatternError) -> ScalarSet {
    depth += 1
    defer { depth -= 1 }
    guard depth < 100 else { throw failure("sets nested too deeply") }
    let isNegated = take("^")
    var set = ScalarSet.empty, left: ScalarSet? = nil
    var isFirst = true
    while true {
      guard let scalar = next else { throw failure("a set without its ']'") }
      if scalar == "]", !isFirst { break }
      isFirst = false
      if take("&&") {
        left = left.map { $0.intersection(set) } ?? set
        set = .empty
        continue
      }
      position += 1
      if scalar == "[" {
        if let named = try namedClass() { set = set.union(named) } else { set = set.union(try bracket()) }
        continue
      }
      let single: UInt32
      if scalar == "\\" {
        guard let escaped = next else { throw failure("a set without its ']'") }
        if "sSwWdDhpP".unicodeScalars.contains(escaped) {
          set = set.union(try escape())
          continue
        }
        single = escaped == "b" ? 0x08 : try escapedScalar()
        if escaped == "b" { position += 1 }
      } else {
        single = scalar.value
      }
      var high = single
      if next == "-", position + 1 < scalars.count, scalars[position + 1] != "]" {
        position += 1
        high = scalars[position].value
        position += 1
        if high == 0x5C { high = try escapedScalar() }
        guard single <= high else { throw failure("a range that runs backwards") }
      }
      let range = ScalarSet(range: single, high)
      set = set.union(ignoresCase ? range.ignoringCase : range)
    }
    position += 1
    if let left { set = left.intersection(set) }
    return isNegated ? set.inverted : set
  }

  /// `[:alpha:]` and its like, after the '['.
  private mutating func namedClass() throws(PatternError) -> ScalarSet? {
    let names: [(String, ScalarSet)] = [
      (":alpha:]", ScalarSet(categories: .letter)), (":digit:]", ScalarSet(categories: .of(.Nd))),
      (":space:]", .whitespace), (":punct:]", ScalarSet(categories: .punctuation)),
      (":upper:]", ScalarSet(categories: .of(.Lu))), (":lower:]", ScalarSet(categories: .of(.Ll))),
      (":alnum:]", ScalarSet(categories: .letter).union(ScalarSet(categories: .of(.Nd)))),
    ]
    guard next == ":" else { return nil }
    for (name, set) in names where take(name) { return set }
    throw failure("an unknown named class")
  }
}
