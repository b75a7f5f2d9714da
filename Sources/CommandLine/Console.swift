import ArgumentParser
import Foundation
import Logging

/// Options that every command has.
struct OutputOptions: ParsableArguments {
  @Flag(name: [.short, .long], help: "Print nothing but results and errors.")
  var quiet = false
  @Flag(name: [.short, .long], help: "Print more about what is happening.")
  var verbose = false
  @Option(
    help: ArgumentHelp(
      "Least important messages to print: trace, debug, info, notice, warning, error.", valueName: "level"))
  var logLevel: Logger.Level?

  var level: Logger.Level { logLevel ?? (quiet ? .error : verbose ? .debug : .info) }
}

extension Logger.Level: @retroactive ExpressibleByArgument {}

/// Results go to standard output, everything else to standard error.
struct Console: Sendable {
  let level: Logger.Level
  /// Whether lines may be drawn over.
  let isTerminal = isatty(STDERR_FILENO) == 1

  init(_ options: OutputOptions) { level = options.level }

  func log(_ text: String, _ importance: Logger.Level = .info) {
    if importance >= level { Self.error(text) }
  }

  static func error(_ text: String) { draw(text + "\n") }

  /// Writes to standard error as it is; nobody is left to hear of a failure there.
  static func draw(_ text: String) { try? FileHandle.standardError.write(contentsOf: Data(text.utf8)) }

  /// Writes a line of the result. A standard output that takes no more ends the process with status 1, silently where
  /// its reader has gone.
  static func result(_ text: String) { draw(result: text.hasSuffix("\n") ? text : text + "\n") }

  /// Writes a part of the result as it is.
  static func draw(result text: String) {
    do {
      try FileHandle.standardOutput.write(contentsOf: Data(text.utf8))
    } catch {
      if errno != EPIPE {
        Self.error("kalsae: cannot write to standard output: \(error.localizedDescription)")
      }
      exit(1)
    }
  }

  /// Ends a line that is being drawn over.
  func endLine() {
    if isTerminal, level <= .info { Self.error("") }
  }
}

/// A line that is drawn over on a terminal, and printed now and then elsewhere.
struct ProgressLine {
  private let console: Console
  private var last = ContinuousClock.now - .seconds(3600)
  private let interval: Duration

  init(_ console: Console) {
    self.console = console
    interval = console.isTerminal ? .milliseconds(100) : .seconds(10)
  }

  /// Shows the bar of `fraction` done and what `text` says, if it is time to; always when `isLast`.
  mutating func show(_ fraction: Double, isLast: Bool = false, _ text: () -> String) {
    guard console.level <= .info else { return }
    let now = ContinuousClock.now
    guard isLast || now - last >= interval else { return }
    last = now
    guard console.isTerminal else {
      Console.error(text())
      return
    }
    let width = 24, full = Int((min(max(fraction, 0), 1) * Double(width)).rounded(.down))
    let bar = String(repeating: "█", count: full) + String(repeating: "░", count: width - full)
    let line = "\r\u{1B}[K\(bar) \(text())" + (isLast ? "\n" : "")
    Console.draw(line)
  }
}

/// Seconds as "1 h 02 min", "3 min 05 s" or "12 s".
func durationText(_ seconds: Double) -> String {
  guard seconds.isFinite, seconds < 1e7 else { return "?" }
  let s = Int(seconds.rounded())
  func padded(_ n: Int) -> String { n < 10 ? "0\(n)" : "\(n)" }
  if s >= 3600 { return "\(s / 3600) h \(padded(s % 3600 / 60)) min" }
  if s >= 60 { return "\(s / 60) min \(padded(s % 60)) s" }
  return "\(s) s"
}

/// A number with a fixed count of decimals.
func fixed(_ value: Double, _ decimals: Int) -> String { String(format: "%.\(decimals)f", value) }
