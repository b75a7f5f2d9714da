import KalsaeTensors

/// The parameters and states of a module with their checkpoint keys, found once and then passed around.
///
/// Finding them reflects over the whole module (some milliseconds for a thousand parameters), so make one per model
/// and give it to the optimizer, to `valueAndGradient` and to whoever loads or saves.
public struct ModuleContents: Sendable {
  /// One parameter under the first key it was found by; `aliases` are the other keys of a tied one.
  public struct NamedParameter: Sendable {
    public let path: String
    public let aliases: [String]
    public let parameter: Parameter
  }

  /// One state under the first key it was found by, and its other keys.
  public struct NamedState: Sendable {
    public let path: String
    public let aliases: [String]
    public let state: State
  }

  /// In the order of declaration, which is the order of gradients and optimizer state.
  public let parameters: [NamedParameter]
  public let states: [NamedState]

  /// Finds everything in `module`; traps with the key when a parameter is where it cannot be reached, and when there is
  /// none at all.
  public init(of module: some Module) {
    do {
      self = try ModuleContents(reflecting: module)
    } catch {
      fatalError("\(error)")
    }
  }

  /// Every slot, for `evaluate(slots:)`: parameters, then states.
  public var slots: [Slot] { parameters.map(\.parameter.slot) + states.map(\.state.slot) }

  /// The parameters and states whose path `isIncluded` accepts, for loading a part of a network.
  public func filter(_ isIncluded: (_ path: String) -> Bool) -> ModuleContents {
    ModuleContents(
      parameters: parameters.filter { isIncluded($0.path) }, states: states.filter { isIncluded($0.path) })
  }

  private init(parameters: [NamedParameter], states: [NamedState]) {
    (self.parameters, self.states) = (parameters, states)
  }

  /// The number of trained numbers; tied ones count once.
  public var parameterCount: Int { parameters.reduce(0) { $0 + $1.parameter.shape.count } }
}

extension Module {
  /// The parameters and states of this module; see `ModuleContents`.
  public var contents: ModuleContents { ModuleContents(of: self) }
}

/// Why a module's parameters cannot be listed.
package struct ModuleError: Error, Equatable, CustomStringConvertible {
  package let description: String
}

extension ModuleContents {
  package init(reflecting module: some Module) throws(ModuleError) {
    var walk = ModuleWalk()
    try walk.visit(module, "")
    guard !walk.parameters.isEmpty || !walk.states.isEmpty else {
      throw ModuleError(description: "\(type(of: module)) has no parameter: hold them in stored properties")
    }
    let aliases = walk.aliases
    parameters = walk.parameters.map { path, parameter in
      NamedParameter(
        path: path, aliases: aliases[ObjectIdentifier(parameter), default: []], parameter: parameter)
    }
    states = walk.states.map { path, state in
      NamedState(path: path, aliases: aliases[ObjectIdentifier(state), default: []], state: state)
    }
  }
}

/// The walk over a module's stored properties.
private struct ModuleWalk {
  var parameters: [(String, Parameter)] = []
  var states: [(String, State)] = []
  var aliases: [ObjectIdentifier: [String]] = [:]
  private var seen: Set<ObjectIdentifier> = []
  /// Modules that are classes, on the way to the current one.
  private var ancestors: Set<ObjectIdentifier> = []

  mutating func visit(_ value: Any, _ path: String, unreachable: String? = nil) throws(ModuleError) {
    switch value {
    case let parameter as Parameter:
      try refuse(path, unreachable)
      if isNew(parameter, path) { parameters.append((path, parameter)) }
      return
    case let state as State:
      try refuse(path, unreachable)
      if isNew(state, path) { states.append((path, state)) }
      return
    case is any PlainValue: return
    default: break
    }

    let mirror = Mirror(reflecting: value)
    let isModule = value is any Module
    switch mirror.displayStyle {
    case .optional:
      for child in mirror.children { try visit(child.value, path, unreachable: unreachable) }
    case .collection:
      for (index, child) in mirror.children.enumerated() {
        try visit(child.value, join(path, "\(index)"), unreachable: unreachable)
      }
    case .class where isModule:
      let identity = ObjectIdentifier(value as AnyObject)
      guard ancestors.insert(identity).inserted else {
        throw ModuleError(description: "\(path): \(mirror.subjectType) contains itself")
      }
      var level: Mirror? = mirror
      while let current = level {
        try children(of: current, path, unreachable)
        level = current.superclassMirror
      }
      ancestors.remove(identity)
    case .enum where isModule:
      // The case is a choice, not a part: `case conv(Conv2d)` keeps the key of the property that holds it.
      for child in mirror.children { try visit(child.value, path, unreachable: unreachable) }
    case _ where isModule: try children(of: mirror, path, unreachable)
    // A class that is no module may be in use elsewhere and may refer back here.
    case .class: return
    default: try children(of: mirror, path, unreachable ?? container(mirror))
    }
  }

  private mutating func children(of mirror: Mirror, _ path: String, _ unreachable: String?)
    throws(ModuleError)
  {
    for (index, child) in mirror.children.enumerated() {
      // The elements of a tuple are called ".0", ".1".
      let label = child.label.map { $0.hasPrefix(".") ? String($0.dropFirst()) : $0 } ?? "\(index)"
      let lazyPrefix = "$__lazy_storage_$_"
      guard label.hasPrefix(lazyPrefix) else {
        try visit(child.value, join(path, label), unreachable: unreachable)
        continue
      }
      // Not made yet, a lazy property shows nothing but its type.
      let path = join(path, String(label.dropFirst(lazyPrefix.count)))
      if let wrapped = (type(of: child.value) as? any OptionalType.Type)?.wrappedType,
        wrapped == Parameter.self || wrapped == State.self || wrapped is any Module.Type
      {
        try refuse(path, "a lazy property")
      }
      try visit(child.value, path, unreachable: "a lazy property")
    }
  }

  private func container(_ mirror: Mirror) -> String {
    switch mirror.displayStyle {
    case .tuple: "a tuple"
    case .dictionary: "a dictionary, whose order is not fixed"
    case .set: "a set, whose order is not fixed"
    default: "\(mirror.subjectType), which is no Module"
    }
  }

  private func refuse(_ path: String, _ unreachable: String?) throws(ModuleError) {
    guard let unreachable else { return }
    throw ModuleError(
      description: "\(path): a parameter inside \(unreachable) has no checkpoint key; "
        + "hold it in a stored property, an optional or an array of a Module")
  }

  private mutating func isNew(_ box: AnyObject, _ path: String) -> Bool {
    if seen.insert(ObjectIdentifier(box)).inserted { return true }
    aliases[ObjectIdentifier(box), default: []].append(path)
    return false
  }

  private func join(_ path: String, _ label: String) -> String { path.isEmpty ? label : path + "." + label }
}

/// What no parameter can be inside of; it need not be looked into.
private protocol PlainValue {}
extension Tensor: PlainValue {}
extension Shape: PlainValue {}
extension Int: PlainValue {}
extension Double: PlainValue {}
extension Float: PlainValue {}
extension Bool: PlainValue {}
extension String: PlainValue {}
extension Array: PlainValue where Element: PlainValue {}

private protocol OptionalType { static var wrappedType: Any.Type { get } }
extension Optional: OptionalType { static var wrappedType: Any.Type { Wrapped.self } }
