import Foundation

/// A configuration file read one line per field, in the reader's own words:
///
///     let c = try ConfigJSON(path: "unet/config.json")
///     hidden_size = try c("hidden_size")
///     num_key_value_heads = try c("num_key_value_heads", or: num_attention_heads)
///     prediction_type = try c("prediction_type", or: .epsilon)      // an enum of strings
///     try c.finish()                                                // nothing left unread
///
/// A key that is absent, or null where the field has no null, falls back to the stated default; a wrong value names
/// file, key, what was expected and what was found.
public struct ConfigJSON: Sendable {
  /// Where the values come from, as errors name it.
  public let file: String
  public let object: JSONObject
  /// Keys of the objects around this one, each followed by a dot.
  private let prefix: String
  private let asked: Asked

  public init(path: String) throws(ConfigError) {
    let json: JSON
    do {
      json = try JSON(parsing: MappedFile(path: path))
    } catch let error as FileError {
      throw ConfigError(file: path, .unreadable(error))
    } catch let error as JSONError {
      throw ConfigError(file: path, .syntax(error))
    } catch { fatalError("\(error)") }
    try self.init(json, file: path)
  }

  /// A configuration that is in memory already; `file` is what errors call it.
  public init(_ json: JSON, file: String) throws(ConfigError) {
    guard case .object(let object) = json else {
      throw ConfigError(file: file, .value(key: "", expected: "an object", found: json.summary))
    }
    self.init(object, file: file, prefix: "")
  }

  private init(_ object: JSONObject, file: String, prefix: String) {
    (self.object, self.file, self.prefix, asked) = (object, file, prefix, Asked())
  }

  /// The value of `key`, which must be there (or be optional).
  public func callAsFunction<Value: ConfigValue>(_ key: String, as: Value.Type = Value.self)
    throws(ConfigError) -> Value
  {
    asked.insert(key)
    return try convert(object[key], key)
  }

  /// The value of `key`, or `fallback` when it is absent or null.
  public func callAsFunction<Value: ConfigValue>(
    _ key: String, or fallback: @autoclosure () -> Value
  ) throws(ConfigError) -> Value {
    asked.insert(key)
    guard let json = object[key], json != .null || Value(json) != nil else { return fallback() }
    return try convert(json, key)
  }

  /// The object under `key` as a configuration of its own; nil when it is absent or null. It has its own `finish`.
  public func nested(_ key: String) throws(ConfigError) -> ConfigJSON? {
    asked.insert(key)
    switch object[key] {
    case nil, .null?: return nil
    case .object(let object)?: return ConfigJSON(object, file: file, prefix: prefix + key + ".")
    case let other?:
      throw ConfigError(file: file, .value(key: prefix + key, expected: "an object", found: other.summary))
    }
  }

  /// The objects in the list under `key`, each a configuration of its own; nil when it is absent or null.
  public func nestedList(_ key: String) throws(ConfigError) -> [ConfigJSON]? {
    asked.insert(key)
    switch object[key] {
    case nil, .null?: return nil
    case .array(let elements)?:
      var result: [ConfigJSON] = []
      for (index, element) in elements.enumerated() {
        let place = "\(prefix)\(key)[\(index)]"
        guard case .object(let object) = element else {
          throw ConfigError(file: file, .value(key: place, expected: "an object", found: element.summary))
        }
        result.append(ConfigJSON(object, file: file, prefix: place + "."))
      }
      return result
    case let other?:
      throw ConfigError(file: file, .value(key: prefix + key, expected: "a list", found: other.summary))
    }
  }

  /// Reports every key that no line has read, except `ignored` ones, with the nearest key that exists.
  public func finish(ignoring ignored: Set<String> = []) throws(ConfigError) {
    let known = asked.keys
    let unknown = object.keys.filter { !known.contains($0) && !ignored.contains($0) }
    guard unknown.isEmpty else {
      let suggestions = unknown.map { key in
        ConfigError.UnknownKey(
          key: prefix + key, suggestion: nearest(to: key, among: known).map { prefix + $0 })
      }
      throw ConfigError(file: file, .unknownKeys(suggestions))
    }
  }

  /// The error to throw for a value of the right type that makes no sense: `c.invalid("steps", "must be positive")`.
  public func invalid(_ key: String, _ reason: String) -> ConfigError {
    ConfigError(file: file, .invalid(key: prefix + key, reason: reason))
  }

  private func convert<Value: ConfigValue>(_ json: JSON?, _ key: String) throws(ConfigError) -> Value {
    if let value = Value(json ?? .null) { return value }
    throw ConfigError(
      file: file, .value(key: prefix + key, expected: Value.expectation, found: json?.summary ?? "nothing"))
  }

  /// The keys that were read: shared by copies, since reading a field does not change the configuration.
  private final class Asked: @unchecked Sendable {
    private let lock = NSLock()
    private var set: Set<String> = []
    var keys: Set<String> { lock.withLock { set } }
    func insert(_ key: String) { lock.withLock { _ = set.insert(key) } }
  }
}

/// Why a configuration was refused.
public struct ConfigError: Error, Equatable, Sendable, CustomStringConvertible {
  public let file: String
  public let problem: Problem

  public struct UnknownKey: Equatable, Sendable {
    public let key: String
    public let suggestion: String?
  }

  public enum Problem: Equatable, Sendable {
    case unreadable(FileError)
    case syntax(JSONError)
    case value(key: String, expected: String, found: String)
    case invalid(key: String, reason: String)
    case unknownKeys([UnknownKey])
  }

  public init(file: String, _ problem: Problem) { (self.file, self.problem) = (file, problem) }

  public var description: String {
    switch problem {
    case .unreadable(let error): return error.description
    case .syntax(let error): return "\(file): not valid JSON: \(error)"
    case .value(let key, let expected, let found):
      return "\(file): " + (key.isEmpty ? "" : "'\(key)' ") + "should be \(expected), found \(found)"
    case .invalid(let key, let reason): return "\(file): '\(key)' \(reason)"
    case .unknownKeys(let keys):
      let list = keys.map { "'\($0.key)'" + ($0.suggestion.map { " (did you mean '\($0)'?)" } ?? "") }
      return "\(file): unknown " + (keys.count == 1 ? "key " : "keys ") + list.joined(separator: ", ")
    }
  }
}

extension JSON {
  /// The value in an error message: kind and, where it is short, the value.
  package var summary: String {
    let text = self.text
    let short = text.count <= 40 ? text : String(text.prefix(37)) + "..."
    return switch self {
    case .null: "null"
    case .bool: short
    case .integer, .double: "the number \(short)"
    case .string: "the string \(short)"
    case .array: "the list \(short)"
    case .object: "an object"
    }
  }
}

/// The candidate that a slip of the fingers would turn into `key`: at most a third of its letters changed.
package func nearest(to key: String, among candidates: some Sequence<String>) -> String? {
  let scored = candidates.map { (editDistance(key, $0), $0) }
  let best = scored.min { $0.0 == $1.0 ? JSON.ascending($0.1, $1.1) : $0.0 < $1.0 }
  guard let best, best.0 <= max(1, key.count / 3) else { return nil }
  return best.1
}

/// Levenshtein's distance: insertions, deletions and substitutions.
private func editDistance(_ a: String, _ b: String) -> Int {
  let b = Array(b)
  var row = Array(0...b.count)
  for (i, x) in a.enumerated() {
    var diagonal = row[0]
    row[0] = i + 1
    for (j, y) in b.enumerated() {
      let substitution = diagonal + (x == y ? 0 : 1)
      diagonal = row[j + 1]
      row[j + 1] = min(substitution, row[j] + 1, diagonal + 1)
    }
  }
  return row[b.count]
}
