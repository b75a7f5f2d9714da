import ArgumentParser
import Foundation
import Kalsae
import KalsaeCheckpoints
import KalsaeData
import KalsaeGeneration
import KalsaeMetrics
import KalsaeRuntime
import KalsaeTraining

struct Translate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Translate sentences with a trained translator.",
    discussion: """
      Sentences come from the command line, or from a file with one a line; translations go to standard output or into \
      a file. With a reference, BLEU (as sacrebleu counts it, 13a) and chrF are printed.

        kalsae translate runs/german-english "Zwei Hunde spielen im Schnee."
        kalsae translate runs/german-english --input test.de --output test.hyp --reference test.en
      """)

  @Argument(help: ArgumentHelp("A run of kalsae train translation.", valueName: "run")) var translator: String
  @Argument(help: "The sentences.") var text: [String] = []
  @Option(help: ArgumentHelp("A file with one sentence a line (UTF-8, also .gz).", valueName: "file"))
  var input: String?
  @Option(name: [.short, .long], help: ArgumentHelp("Where the translations go.", valueName: "file"))
  var output: String?
  @Option(help: ArgumentHelp("The right translations, one a line: prints BLEU and chrF.", valueName: "file"))
  var reference: String?
  @Option(help: "Beams of the search; 1 always takes the most probable token.") var beam = 4
  @Option(help: "Exponent of the length penalty; 0: none.") var lengthPenalty = 0.6
  @Option(help: "Sentences that are decoded together.") var batchSize = 16
  @Option(help: "The averaged weights or those being trained.") var weights = RunWeights.ema
  @Option(help: "The checkpoint; the newest when not given.") var step: Int?
  @OptionGroup var compute: ComputeOptions
  @OptionGroup var outputOptions: OutputOptions

  func validate() throws {
    if text.isEmpty == (input == nil) {
      throw ValidationError("give sentences, or a file of them with --input.")
    }
    if beam < 1 { throw ValidationError("--beam must be at least 1, not \(beam).") }
    if batchSize < 1 { throw ValidationError("--batch-size must be at least 1, not \(batchSize).") }
    if !lengthPenalty.isFinite || lengthPenalty < 0 {
      throw ValidationError("--length-penalty must not be negative, but is \(lengthPenalty).")
    }
  }

  func run() throws {
    let console = Console(outputOptions)
    ComputeOptions.warnAboutPrecision(compute.precision ?? .float32, console)
    let sentences = try input.map { try TextFile.lines($0) } ?? text
    // What does not fit together is said before the work.
    let references = try reference.map { try TextFile.lines($0) }
    if let references, references.count != sentences.count {
      throw ValidationError(
        "--reference has \(references.count) lines for \(sentences.count) sentences: they belong together line by line."
      )
    }
    Interruption.install()
    let found = try Backends.with(.cpu(threads: compute.threads)) {
      var loaded = try Translator(run: translator, weights: weights, step: step)
      (loaded.beams, loaded.lengthPenalty, loaded.batchSize) = (beam, lengthPenalty, batchSize)
      return try Autocast.with((compute.precision ?? .float32).autocast) {
        var line = ProgressLine(console)
        return try loaded.translate(sentences) { done in
          if sentences.count > batchSize {
            line.show(Double(done) / Double(sentences.count), isLast: done == sentences.count) {
              "\(done) of \(sentences.count) sentences"
            }
          }
          return !Interruption.isRequested
        }
      }
    }
    guard found.count == sentences.count else { throw ExitCode(130) }
    // One line stays one line.
    let lines = found.map { $0.split(whereSeparator: \.isNewline).joined(separator: " ") }
    if let output {
      try AtomicFile.write((lines.joined(separator: "\n") + "\n").utf8, to: output)
    } else if references == nil {
      lines.forEach(Console.result)
    }
    if let references {
      let bleu = BLEU(lines, reference: references), chrF = ChrF(lines, reference: references)
      Console.result("\(bleu)\n\(chrF)")
    }
  }
}
