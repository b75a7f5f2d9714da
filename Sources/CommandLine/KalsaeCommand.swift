import ArgumentParser
import Foundation
import Kalsae

@main
struct KalsaeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "kalsae",
    abstract: "Trains, runs and shows the inside of diffusion models and Transformers, natively.",
    version: Version.description,
    subcommands: [
      Train.self,
      Sample.self,
      Generate.self,
      Translate.self,
      FillMask.self,
      Classify.self,
      AttentionCommand.self,
      Forward.self,
      TokenizerCommand.self,
      Export.self,
      Inspect.self,
      Bench.self,
      Doctor.self,
    ])

  /// Turns errors into one clear line and exit status 1; wrong usage is 64.
  static func main() {
    // A closed pipe is an error of the write, not the end of the process.
    signal(SIGPIPE, SIG_IGN)
    // So is a file that outgrows its limit: the checkpoint fails, the one before it stays.
    signal(SIGXFSZ, SIG_IGN)
    do {
      var command = try parseAsRoot()
      shareProcessors()
      try command.run()
    } catch let error as ExitCode {
      exit(withError: error)
    } catch let error as ValidationError {
      Console.error("kalsae: \(error.message)")
      exit(withError: ExitCode.validationFailure)
    } catch {
      if isOurs(error) {
        Console.error("kalsae: \(error)")
        Foundation.exit(1)
      }
      exit(withError: error)
    }
  }

  /// Errors of the libraries describe themselves; those of the parser know how to print usage.
  private static func isOurs(_ error: any Error) -> Bool {
    let code = exitCode(for: error)
    return code == .failure
  }

  /// Lets waiting threads sleep after a tenth of a millisecond instead of some milliseconds, in which they would keep their
  /// processor from the thread that they wait for as soon as another program wants one too.
  ///
  /// libgomp reads its environment when it is loaded, so the program starts anew; where that fails it goes on as it is.
  private static func shareProcessors() {
    #if canImport(Glibc)
      guard getenv("GOMP_SPINCOUNT") == nil, getenv("OMP_WAIT_POLICY") == nil,
        let path = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
      else { return }
      setenv("GOMP_SPINCOUNT", "10000", 1)
      execv(path, Swift.CommandLine.unsafeArgv)
    #endif
  }
}
