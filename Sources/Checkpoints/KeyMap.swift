import KalsaeTensors

/// How the keys of a foreign checkpoint become the keys of a module: rules of dot-separated patterns, the first that
/// fits applies, and a key that fits none keeps its name. `*` stands for one part of a key, `**` for any number of
/// them; on the right they give back in order what they stood for on the left. nil sets a key aside on purpose.
///
///     let keyMap: KeyMap = [
///       "**.query.*": "**.to_q.*",
///       "**.proj_attn.*": "**.to_out.0.*",
///       "**.num_batches_tracked": nil,
///     ]
public struct KeyMap: Sendable, ExpressibleByDictionaryLiteral {
  private let rules: [(pattern: [Substring], replacement: [Substring]?)]

  public init(dictionaryLiteral rules: (String, String?)...) { self.init(rules) }

  /// Traps when a right side needs more wildcards than its left side has, or others.
  public init(_ rules: [(String, String?)]) {
    self.rules = rules.map { pattern, replacement in
      let (left, right) = (Self.parts(pattern), replacement.map(Self.parts))
      require(
        right == nil || right!.filter(Self.isWildcard) == left.filter(Self.isWildcard),
        "KeyMap: '\(pattern)' and '\(replacement ?? "")' must have the same wildcards in the same order")
      return (left, right)
    }
  }

  /// The module's key for a checkpoint's key; nil when the key is set aside.
  public func callAsFunction(_ key: String) -> String? {
    let parts = Self.parts(key)
    for (pattern, replacement) in rules {
      guard let matches = Self.match(parts[...], pattern[...]) else { continue }
      guard let replacement else { return nil }
      var rest = matches[...]
      return replacement.flatMap { Self.isWildcard($0) ? rest.removeFirst() : [$0][...] }.joined(
        separator: ".")
    }
    return key
  }

  private static func parts(_ key: String) -> [Substring] {
    key.split(separator: ".", omittingEmptySubsequences: false)
  }

  private static func isWildcard(_ part: Substring) -> Bool { part == "*" || part == "**" }

  /// What each wildcard of `pattern` stands for in `key`, or nil when it does not fit; `**` takes as little as it can.
  private static func match(
    _ key: ArraySlice<Substring>, _ pattern: ArraySlice<Substring>
  ) -> [ArraySlice<Substring>]? {
    guard let part = pattern.first else { return key.isEmpty ? [] : nil }
    let rest = pattern.dropFirst()
    switch part {
    case "**":
      for count in 0...key.count {
        if let matches = match(key.dropFirst(count), rest) { return [key.prefix(count)] + matches }
      }
      return nil
    case "*": return key.isEmpty ? nil : match(key.dropFirst(), rest).map { [key.prefix(1)] + $0 }
    default: return key.first == part ? match(key.dropFirst(), rest) : nil
    }
  }
}
