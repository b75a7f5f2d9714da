/// A type that a field of a configuration may have. An enum of strings conforms by saying so:
/// `enum Prediction: String, CaseIterable, ConfigValue { case epsilon, v = "v_prediction" }`.
public protocol ConfigValue {
  /// What an error says was expected, with its article: "an integer".
  static var expectation: String { get }
  /// nil when the value does not fit.
  init?(_ json: JSON)
}

extension Int: ConfigValue {
  public static var expectation: String { "an integer" }
  public init?(_ json: JSON) {
    guard case .integer(let value) = json else { return nil }
    self = value
  }
}

extension Double: ConfigValue {
  public static var expectation: String { "a number" }
  public init?(_ json: JSON) {
    switch json {
    case .double(let value): self = value
    case .integer(let value):
      // An integer too long for 53 bits would silently become another number.
      guard let exact = Double(exactly: value) else { return nil }
      self = exact
    default: return nil
    }
  }
}

extension Bool: ConfigValue {
  public static var expectation: String { "true or false" }
  public init?(_ json: JSON) {
    guard case .bool(let value) = json else { return nil }
    self = value
  }
}

extension String: ConfigValue {
  public static var expectation: String { "a string" }
  public init?(_ json: JSON) {
    guard case .string(let value) = json else { return nil }
    self = value
  }
}

extension JSON: ConfigValue {
  public static var expectation: String { "a value" }
  public init?(_ json: JSON) { self = json }
}

extension Array: ConfigValue where Element: ConfigValue {
  public static var expectation: String { "a list, each item " + Element.expectation }
  public init?(_ json: JSON) {
    guard case .array(let elements) = json else { return nil }
    var values: [Element] = []
    for element in elements {
      guard let value = Element(element) else { return nil }
      values.append(value)
    }
    self = values
  }
}

/// nil for null and, in `c(key)`, for an absent key.
extension Optional: ConfigValue where Wrapped: ConfigValue {
  public static var expectation: String { Wrapped.expectation + " or null" }
  public init?(_ json: JSON) {
    if case .null = json {
      self = .none
      return
    }
    guard let value = Wrapped(json) else { return nil }
    self = .some(value)
  }
}

extension ConfigValue where Self: RawRepresentable & CaseIterable, RawValue == String {
  public static var expectation: String {
    "one of " + allCases.map { "\"\($0.rawValue)\"" }.joined(separator: ", ")
  }
  public init?(_ json: JSON) {
    guard case .string(let name) = json else { return nil }
    self.init(rawValue: name)
  }
}
