/// A compiled regular expression over UTF-8: a program for a backtracking machine with a stack of its own, leftmost match,
/// first alternative first, as in Oniguruma. Sets and loops over one set, of which tokenizers' patterns consist, are one
/// instruction each.
struct Pattern: Sendable {
  enum Instruction: Sendable {
    case set(Int)
    /// `set{minimum, maximum}`, greedy, giving back one scalar at a time; nothing when `isPossessive`.
    case loop(Int, minimum: Int, maximum: Int, isPossessive: Bool)
    /// Tries the first target, later the second.
    case split(Int, Int)
    case jump(Int)
    /// Goes on at `target` unless nothing was consumed since `mark` of the same number.
    case mark(Int)
    case advanced(Int, else: Int)
    case look(body: Int, ahead: Bool, negated: Bool, next: Int)
    case atomic(body: Int, next: Int)
    case start, end, endBeforeNewline, wordBoundary(negated: Bool), lineStart, lineEnd
    case match
  }

  let source: String
  private var program: [Instruction] = []
  private var sets: [ScalarSet] = []
  private var markCount = 0
  /// Whether a match can begin with each byte.
  private var firstBytes = [Bool](repeating: true, count: 256)

  init(_ source: String) throws(PatternError) {
    self.source = source
    let node = try PatternParser.parse(source)
    emit(node)
    program.append(.match)
    makeLoopsPossessive()
    findFirstBytes(node)
  }

  // MARK: Compiling

  private mutating func number(of set: ScalarSet) -> Int {
    sets.append(set)
    return sets.count - 1
  }

  private mutating func emit(_ node: PatternNode) {
    switch node {
    case .empty: break
    case .set(let set): program.append(.set(number(of: set)))
    case .sequence(let nodes): for node in nodes { emit(node) }
    case .alternatives(let nodes):
      var jumps: [Int] = []
      for (index, node) in nodes.enumerated() {
        guard index < nodes.count - 1 else {
          emit(node)
          break
        }
        let split = program.count
        program.append(.split(0, 0))
        emit(node)
        jumps.append(program.count)
        program.append(.jump(0))
        program[split] = .split(split + 1, program.count)
      }
      for jump in jumps { program[jump] = .jump(program.count) }
    case .repeated(let body, let minimum, let maximum, let greed): emitLoop(body, minimum, maximum, greed)
    case .look(let body, let ahead, let negated):
      let place = program.count
      program.append(.match)
      emit(body)
      program.append(.match)
      program[place] = .look(body: place + 1, ahead: ahead, negated: negated, next: program.count)
    case .atomic(let body):
      let place = program.count
      program.append(.match)
      emit(body)
      program.append(.match)
      program[place] = .atomic(body: place + 1, next: program.count)
    case .start: program.append(.start)
    case .end: program.append(.end)
    case .endBeforeNewline: program.append(.endBeforeNewline)
    case .lineStart: program.append(.lineStart)
    case .lineEnd: program.append(.lineEnd)
    case .wordBoundary(let negated): program.append(.wordBoundary(negated: negated))
    }
  }

  private mutating func emitLoop(
    _ body: PatternNode, _ minimum: Int, _ maximum: Int?, _ greed: PatternNode.Greed
  ) {
    if case .set(let set) = body, greed != .lazy {
      let number = number(of: set)
      program.append(
        .loop(number, minimum: minimum, maximum: maximum ?? Int.max, isPossessive: greed == .possessive))
      return
    }
    if greed == .possessive {
      emit(.atomic(.repeated(body, minimum: minimum, maximum: maximum, .greedy)))
      return
    }
    for _ in 0..<minimum { emit(body) }
    func split(_ inside: Int, _ outside: Int) -> Instruction {
      greed == .greedy ? .split(inside, outside) : .split(outside, inside)
    }
    if let maximum {
      var splits: [Int] = []
      for _ in minimum..<max(maximum, minimum) {
        splits.append(program.count)
        program.append(.match)
        emit(body)
      }
      for place in splits { program[place] = split(place + 1, program.count) }
    } else {
      let mark = markCount
      markCount += 1
      let place = program.count
      program.append(.match)
      program.append(.mark(mark))
      emit(body)
      program.append(.advanced(mark, else: program.count + 2))
      program.append(.jump(place))
      program[place] = split(place + 1, program.count)
    }
  }

  /// A loop whose continuation is the end of the whole pattern need give nothing back.
  private mutating func makeLoopsPossessive() {
    func leadsToMatch(_ place: Int) -> Bool {
      var place = place
      while case .jump(let target) = program[place] { place = target }
      if case .match = program[place] { return place == program.count - 1 }
      return false
    }
    for place in program.indices {
      if case .loop(let set, let minimum, let maximum, false) = program[place], leadsToMatch(place + 1) {
        program[place] = .loop(set, minimum: minimum, maximum: maximum, isPossessive: true)
      }
    }
  }

  private mutating func findFirstBytes(_ node: PatternNode) {
    guard let first = Self.first(node) else { return }
    for byte in 0..<128 { firstBytes[byte] = first.contains(UInt32(byte)) }
  }

  /// The scalars that a match can begin with; nil when it may be empty or nothing is known.
  private static func first(_ node: PatternNode) -> ScalarSet? {
    switch node {
    case .set(let set): return set
    case .alternatives(let nodes):
      var result = ScalarSet.empty
      for node in nodes {
        guard let set = first(node) else { return nil }
        result = result.union(set)
      }
      return result
    case .sequence(let nodes):
      var result = ScalarSet.empty
      for node in nodes {
        if case .repeated(let body, 0, _, _) = node {
          guard let set = first(body) else { return nil }
          result = result.union(set)
          continue
        }
        guard let set = first(node) else { return nil }
        return result.union(set)
      }
      return nil
    case .repeated(let body, let minimum, _, _): return minimum > 0 ? first(body) : nil
    case .atomic(let body): return first(body)
    default: return nil
    }
  }

  // MARK: Matching

  /// A place to go on from when what follows fails; for loops, how far they may still give back.
  struct Retry {
    var place: Int, position: Int, least: Int
  }

  /// The first match in `range` at or after `from`; nothing outside `range` is looked at.
  func firstMatch(
    _ bytes: UnsafePointer<UInt8>, _ range: Range<Int>, from: Int, _ stack: inout [Retry]
  ) -> Range<Int>? {
    var start = from
    while start <= range.upperBound {
      if start == range.upperBound || firstBytes[Int(bytes[start])] {
        let end = run(0, bytes, range, start, &stack)
        if end >= 0 { return start..<end }
      }
      if start == range.upperBound { break }
      start += UTF8Scalars.length(bytes[start])
    }
    return nil
  }

  /// The end of the match of the program from `place` at `start`, -1 when there is none.
  private func run(
    _ place: Int, _ bytes: UnsafePointer<UInt8>, _ range: Range<Int>, _ start: Int, _ stack: inout [Retry]
  ) -> Int {
    let base = stack.count
    defer { stack.removeLast(stack.count - base) }
    var marks = markCount > 0 ? [Int](repeating: -1, count: markCount) : []
    var place = place, position = start
    let end = range.upperBound
    while true {
      var isFailed = false
      switch program[place] {
      case .match: return position
      case .set(let set):
        if position < end {
          let (scalar, length) = UTF8Scalars.decode(bytes, position)
          if sets[set].contains(scalar) {
            position += length
            place += 1
            continue
          }
        }
        isFailed = true
      case .loop(let set, let minimum, let maximum, let isPossessive):
        var count = 0, least = position
        while count < maximum, position < end {
          let (scalar, length) = UTF8Scalars.decode(bytes, position)
          guard sets[set].contains(scalar) else { break }
          position += length
          count += 1
          if count == minimum { least = position }
        }
        if count < minimum {
          isFailed = true
        } else {
          if !isPossessive, position > least {
            stack.append(Retry(place: ~(place + 1), position: position, least: least))
          }
          place += 1
        }
      case .split(let first, let second):
        stack.append(Retry(place: second, position: position, least: 0))
        place = first
      case .jump(let target): place = target
      case .mark(let number):
        marks[number] = position
        place += 1
      case .advanced(let number, let other): place = marks[number] == position ? other : place + 1
      case .look(let body, let ahead, let negated, let next):
        let found =
          ahead
          ? run(body, bytes, range, position, &stack) >= 0 : endsHere(body, bytes, range, position, &stack)
        if found != negated { place = next } else { isFailed = true }
      case .atomic(let body, let next):
        let inner = run(body, bytes, range, position, &stack)
        if inner >= 0 { (position, place) = (inner, next) } else { isFailed = true }
      case .start: if position == range.lowerBound { place += 1 } else { isFailed = true }
      case .end: if position == end { place += 1 } else { isFailed = true }
      case .endBeforeNewline:
        if position == end || position == end - 1 && bytes[position] == 0x0A {
          place += 1
        } else {
          isFailed = true
        }
      case .lineStart:
        if position == range.lowerBound || bytes[position - 1] == 0x0A { place += 1 } else { isFailed = true }
      case .lineEnd: if position == end || bytes[position] == 0x0A { place += 1 } else { isFailed = true }
      case .wordBoundary(let negated):
        if isBoundary(bytes, range, position) != negated { place += 1 } else { isFailed = true }
      }
      guard isFailed else { continue }
      guard stack.count > base else { return -1 }
      let top = stack.count - 1
      if stack[top].place >= 0 {
        (place, position) = (stack[top].place, stack[top].position)
        stack.removeLast()
      } else {
        place = ~stack[top].place
        position = UTF8Scalars.before(bytes, stack[top].position)
        if position <= stack[top].least { stack.removeLast() } else { stack[top].position = position }
      }
    }
  }

  /// Whether the program at `body` matches something that ends at `position`.
  private func endsHere(
    _ body: Int, _ bytes: UnsafePointer<UInt8>, _ range: Range<Int>, _ position: Int, _ stack: inout [Retry]
  ) -> Bool {
    var start = position
    while true {
      if run(body, bytes, range.lowerBound..<position, start, &stack) == position { return true }
      guard start > range.lowerBound else { return false }
      start = UTF8Scalars.before(bytes, start)
    }
  }

  private func isBoundary(_ bytes: UnsafePointer<UInt8>, _ range: Range<Int>, _ position: Int) -> Bool {
    func isWord(_ at: Int) -> Bool { ScalarSet.word.contains(UTF8Scalars.decode(bytes, at).value) }
    let before = position > range.lowerBound && isWord(UTF8Scalars.before(bytes, position))
    let after = position < range.upperBound && isWord(position)
    return before != after
  }
}
