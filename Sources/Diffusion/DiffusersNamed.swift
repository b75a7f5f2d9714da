/// An option whose raw value is its name on the command line, and which diffusers may call by another name.
public protocol DiffusersNamed: RawRepresentable<String>, CaseIterable, Hashable {
  /// The value in diffusers' `scheduler_config.json`; nil where diffusers has no such option.
  var diffusersName: String? { get }
}

extension DiffusersNamed {
  /// The option that diffusers calls `name`; nil if there is none.
  public init?(diffusersName name: String) {
    guard let option = Self.allCases.first(where: { $0.diffusersName == name }) else { return nil }
    self = option
  }
}
