import KalsaeTensors

/// How the keys of a checkpoint met the keys of a module. Nothing is left out: every key of either side is in one list.
public struct LoadReport: Sendable, Equatable {
  public struct Misshapen: Sendable, Equatable {
    public let path: String, expected: Shape, found: Shape
  }

  public struct Mistyped: Sendable, Equatable {
    public let path: String, expected: DType, found: SafetensorsDType
  }

  /// Several keys of the file give one place different values.
  public struct Conflict: Sendable, Equatable {
    public let path: String, keys: [String]
  }

  /// Module keys that found their value.
  public internal(set) var loaded: [String] = []
  /// Keys of the file that the key map sets aside.
  public internal(set) var ignored: [String] = []
  /// Module keys that the file lacks.
  public internal(set) var missing: [String] = []
  /// Keys of the file that the module lacks.
  public internal(set) var unexpected: [String] = []
  public internal(set) var misshapen: [Misshapen] = []
  /// Element types that do not convert: only floating-point types convert, among themselves.
  public internal(set) var mistyped: [Mistyped] = []
  public internal(set) var conflicts: [Conflict] = []

  /// Whether everything fits.
  public var isComplete: Bool {
    missing.isEmpty && unexpected.isEmpty && misshapen.isEmpty && mistyped.isEmpty && conflicts.isEmpty
  }
}

/// A checkpoint that does not fit the module; nothing of it was loaded.
public struct LoadError: Error, Equatable, Sendable, CustomStringConvertible {
  public let path: String
  public let report: LoadReport

  /// One line of counts, then every problem on a line of its own.
  public var description: String {
    let problems: [(name: String, lines: [String])] = [
      ("missing", report.missing),
      ("unexpected", report.unexpected),
      ("misshapen", report.misshapen.map { "\($0.path): expected \($0.expected), found \($0.found)" }),
      (
        "of another type",
        report.mistyped.map { "\($0.path): expected \($0.expected), found \($0.found.rawValue)" }
      ),
      (
        "in conflict",
        report.conflicts.map { "\($0.path): different values under " + $0.keys.joined(separator: ", ") }
      ),
    ].filter { !$0.lines.isEmpty }
    let counts = problems.map { "\($0.lines.count) \($0.name)" }.joined(separator: ", ")
    let advice = "nothing was loaded; check that it was made with the same configuration"
    let lines = problems.flatMap { problem in problem.lines.map { "\n  \(problem.name): \($0)" } }
    return "\(path): does not fit the model (\(counts)); \(advice)" + lines.joined()
  }
}
