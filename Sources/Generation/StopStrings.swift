/// Finds stop strings in text that arrives in pieces, and holds back what may still become one.
public struct StopStrings: Sendable {
  private let stops: [[UInt8]]
  private var held: [UInt8] = []
  /// Whether a stop string was found; nothing comes after it.
  public private(set) var isStopped = false

  /// Empty strings are ignored.
  public init(_ stops: [String]) { self.stops = stops.map { Array($0.utf8) }.filter { !$0.isEmpty } }

  /// Adds text, and returns what can be shown: never a stop string nor what follows it.
  public mutating func add(_ text: String) -> String {
    guard !isStopped else { return "" }
    held += Array(text.utf8)
    for start in held.indices {
      if stops.contains(where: { held[start...].starts(with: $0) }) {
        isStopped = true
        defer { held = [] }
        return String(decoding: held[..<start], as: UTF8.self)
      }
    }
    // The longest end that is the beginning of a stop string waits.
    let waiting = held.indices.first { start in
      stops.contains { $0.starts(with: held[start...]) }
    }
    let ready = waiting ?? held.count
    defer { held.removeFirst(ready) }
    return String(decoding: held[..<ready], as: UTF8.self)
  }

  /// What was held back when the text has ended.
  public mutating func finish() -> String {
    defer { held = [] }
    return String(decoding: held, as: UTF8.self)
  }
}
