/// How a text is continued.
public struct GenerationOptions: Sendable {
  public var policy = SamplingPolicy()
  public var maximumNewTokens = 100
  /// The text ends before any of these.
  public var stop: [String] = []
  public var seed: UInt64 = 0
  /// How many of the most probable tokens are reported with each token.
  public var logProbabilities = 0

  public init() {}
}

/// What cannot be generated, and why.
public struct GenerationError: Error, CustomStringConvertible, Equatable {
  public let description: String
  public init(_ description: String) { self.description = description }
}

/// One generated token.
public struct GeneratedToken: Sendable, Equatable {
  public let id: Int32
  /// The text that can be shown now: whole characters only, and never a part of a stop string.
  public let text: String
  /// The model's own log-probability of this token, and of the most probable ones, before any filter; empty unless
  /// asked for.
  public let logProbability: Double?
  public let alternatives: [(id: Int32, logProbability: Double)]

  public static func == (a: GeneratedToken, b: GeneratedToken) -> Bool { a.id == b.id && a.text == b.text }
}
