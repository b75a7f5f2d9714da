import KalsaeCheckpoints

/// The configuration of an architecture: what its `config.json` says, each key listed once in `fields`.
public protocol ModelConfig: Sendable {
  /// The key under which the file says what it configures, and the value it must have there.
  static var identity: (key: String, name: String) { get }

  /// Keys that files of this kind carry and that change nothing in the network: `finish` passes over them.
  static var unusedKeys: Set<String> { get }

  /// The defaults of the library that the format comes from.
  init()

  /// Visits every key with the property that holds its value.
  mutating func fields(_ field: inout ConfigFields) throws(ConfigError)

  /// The first contradiction between keys, or value without meaning: the key, and why.
  var problem: (key: String, reason: String)? { get }
}

extension ModelConfig {
  public static var unusedKeys: Set<String> { [] }

  /// Reads a configuration; absent keys keep their defaults. Keys that begin with an underscore are notes of whoever
  /// wrote the file, and `unusedKeys` are passed over; any other unknown key is an error.
  public init(_ config: ConfigJSON) throws(ConfigError) {
    self.init()
    let identity = Self.identity
    if let name: String = try config(identity.key, or: nil), name != identity.name {
      throw config.invalid(identity.key, "is \"\(name)\" where \"\(identity.name)\" is needed")
    }
    var fields = ConfigFields(source: config)
    try self.fields(&fields)
    try config.finish(ignoring: Self.unusedKeys.union(config.object.keys.filter { $0.hasPrefix("_") }))
    if let problem { throw config.invalid(problem.key, problem.reason) }
  }

  /// Every key with its value, in ascending order, as `config.json` has them.
  public var json: JSONObject {
    var copy = self
    var fields = ConfigFields(source: nil)
    do { try copy.fields(&fields) } catch {
      fatalError("writing a configuration read something: \(error)")
    }
    fields.object[Self.identity.key] = .string(Self.identity.name)
    return fields.object.sorted()
  }
}

/// Reads fields from a configuration, or collects them for writing one.
public struct ConfigFields {
  fileprivate let source: ConfigJSON?
  fileprivate var object = JSONObject()

  /// Reads `value` under `key`, keeping it where the key is absent; or writes it down.
  public mutating func callAsFunction<Value: ConfigField>(_ key: String, _ value: inout Value)
    throws(ConfigError)
  {
    if let source {
      value = try source(key, or: value)
    } else {
      object[key] = value.json
    }
  }
}

/// A type that a configuration's fields may have, for reading and for writing.
public protocol ConfigField: ConfigValue, Sendable {
  var json: JSON { get }
}

extension Int: ConfigField { public var json: JSON { .integer(self) } }
extension Double: ConfigField { public var json: JSON { .double(self) } }
extension Bool: ConfigField { public var json: JSON { .bool(self) } }
extension String: ConfigField { public var json: JSON { .string(self) } }
extension Array: ConfigField where Element: ConfigField {
  public var json: JSON { .array(map(\.json)) }
}
extension Optional: ConfigField where Wrapped: ConfigField {
  public var json: JSON { self?.json ?? .null }
}
extension ConfigField where Self: RawRepresentable, RawValue == String {
  public var json: JSON { .string(rawValue) }
}
