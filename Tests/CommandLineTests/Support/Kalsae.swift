import Foundation
import Testing

/// What a finished command left: exit status, or 128 + the signal that ended it, and both outputs.
struct Finished {
  let status: Int32
  let output: String, errors: String
  var outputLines: [Substring] { output.split(separator: "\n") }
  var errorLines: [Substring] { errors.split(separator: "\n") }
}

/// A running `kalsae`, in the folder of a workspace.
final class Kalsae {
  private let process = Process()
  private let outputPath: String, errorsPath: String

  /// Starts `kalsae`; `fileLimit` is the largest file it may write, in KiB, `input` a file for its standard input.
  init(
    _ workspace: Workspace, _ arguments: [String], fileLimit: Int? = nil, input: String? = nil
  ) throws {
    let name = "process-" + UUID().uuidString
    (outputPath, errorsPath) = (workspace(name + ".out"), workspace(name + ".err"))
    for path in [outputPath, errorsPath] { try Data().write(to: URL(fileURLWithPath: path)) }
    // `ulimit -f` counts blocks of 512 bytes in a POSIX shell.
    let limit = fileLimit.map { "ulimit -f \($0 * 2) && " } ?? ""
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-c", limit + "exec \"$0\" \"$@\"", try Self.binary] + arguments
    process.currentDirectoryURL = URL(fileURLWithPath: workspace.path)
    process.standardInput =
      input.flatMap { FileHandle(forReadingAtPath: workspace($0)) } ?? FileHandle.nullDevice
    process.standardOutput = FileHandle(forWritingAtPath: outputPath)
    process.standardError = FileHandle(forWritingAtPath: errorsPath)
    try process.run()
  }

  deinit { if process.isRunning { send(SIGKILL) } }

  var isRunning: Bool { process.isRunning }

  func send(_ signal: Int32) { _ = kill(process.processIdentifier, signal) }

  func wait() throws -> Finished {
    process.waitUntilExit()
    func text(_ path: String) throws -> String {
      String(decoding: try Data(contentsOf: URL(fileURLWithPath: path)), as: UTF8.self)
    }
    let signal: Int32 = process.terminationReason == .uncaughtSignal ? 128 : 0
    return Finished(
      status: signal + process.terminationStatus, output: try text(outputPath), errors: try text(errorsPath))
  }

  /// Waits, a minute at most, until the condition holds; throws when the process ends before.
  func wait(until condition: () -> Bool) throws {
    let end = ContinuousClock.now + .seconds(60)
    while !condition() {
      guard ContinuousClock.now < end else { throw Failure("nothing happened for a minute") }
      guard isRunning else { throw Failure("kalsae ended early: \(try wait().errors)") }
      usleep(2000)
    }
  }

  /// The binary that was built with the tests lies beside their bundle.
  private static var binary: String {
    get throws {
      let bundles = ["/proc/self/exe"] + CommandLine.arguments.filter { $0.contains(".xctest") }
      for bundle in bundles {
        var folder = URL(fileURLWithPath: bundle).resolvingSymlinksInPath().deletingLastPathComponent()
        // On macOS the test's executable is four levels inside the bundle.
        for _ in 0..<4 {
          let path = folder.appendingPathComponent("kalsae").path
          if FileManager.default.isExecutableFile(atPath: path) { return path }
          folder.deleteLastPathComponent()
        }
      }
      throw Failure("no kalsae beside the test bundle: build it with swift build --build-tests")
    }
  }
}

extension Workspace {
  /// Runs `kalsae` to its end.
  func kalsae(_ arguments: String..., fileLimit: Int? = nil, input: String? = nil) throws -> Finished {
    try Kalsae(self, arguments, fileLimit: fileLimit, input: input).wait()
  }

  /// Trains the tiny model in the run `run`; it must succeed.
  func train(_ run: String, _ more: String...) throws {
    let result = try Kalsae(
      self, ["train", "ddpm", "--config", "tiny.json", "-o", run, "--quiet"] + more
    ).wait()
    guard result.status == 0 else { throw Failure("training failed: \(result.errors)") }
  }

  /// Expects a refusal: one line on standard error that begins with `kalsae: ` and holds every one of `words`, nothing on
  /// standard output.
  func expectRefusal(
    _ arguments: [String], status: Int32 = 1, _ words: String...,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let result = try Kalsae(self, arguments + ["--quiet"]).wait()
    #expect(result.status == status, "\(result.errors)", sourceLocation: sourceLocation)
    #expect(result.output.isEmpty, sourceLocation: sourceLocation)
    #expect(result.errorLines.count == 1, "\(result.errors)", sourceLocation: sourceLocation)
    #expect(result.errors.hasPrefix("kalsae: "), "\(result.errors)", sourceLocation: sourceLocation)
    for word in words { #expect(result.errors.contains(word), sourceLocation: sourceLocation) }
  }
}

/// The tests that start processes, one at a time: some of them wait for a moment that a busy machine would miss.
@Suite(.serialized) enum CommandLineTests {}
