import ArgumentParser
import Foundation
import Kalsae
import KalsaeGeneration
import KalsaeModels
import KalsaeRuntime
import KalsaeTokenizers
import KalsaeTraining
import Logging

struct Generate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Continue a text with a language model.",
    discussion: """
      The continuation appears as it is made, on standard output.

        kalsae generate runs/shakespeare --prompt "ROMEO:" --max-new-tokens 200 --temperature 0.8
      """)

  @Argument(
    help: ArgumentHelp(
      "A run folder, or a model folder: config.json, model.safetensors and a tokenizer.",
      valueName: "run-or-model"))
  var model: String
  @Option(help: "The text to continue.") var prompt: String
  @Option(
    name: [.customLong("max-new-tokens"), .customLong("max-tokens")],
    help: "The largest number of tokens to add.")
  var maxNewTokens = 100
  @Option(help: "Divides the logits; 0 always takes the most probable token.") var temperature = 1.0
  @Option(help: "Only the k most probable tokens.") var topK: Int?
  @Option(help: "Only the most probable tokens that together have this probability.") var topP: Double?
  @Option(help: "Only tokens with this share of the most probable token's probability.") var minP: Double?
  @Option(help: "Above 1, tokens that occurred before become less probable.") var repetitionPenalty = 1.0
  @Option(help: "Beams of a beam search, which replaces sampling.") var beam: Int?
  @Option(help: "Exponent of the beam search's length penalty; 0: none.") var lengthPenalty = 0.6
  @Option(help: "Ends the text before this string; may be given several times.") var stop: [String] = []
  @Option(help: "Decides every random number.") var seed: UInt64 = 0
  @Option(
    help:
      "Print a JSON line for each token instead: its log-probability, and those of the K most probable ones.")
  var logprobs: Int?
  @Option(help: "A run's averaged weights or those being trained.") var weights = RunWeights.ema
  @OptionGroup var compute: ComputeOptions
  @OptionGroup var outputOptions: OutputOptions

  func validate() throws {
    if maxNewTokens < 1 { throw ValidationError("--max-new-tokens must be at least 1, not \(maxNewTokens).") }
    if let beam, beam < 1 { throw ValidationError("--beam must be at least 1, not \(beam).") }
    if let logprobs, logprobs < 1 { throw ValidationError("--logprobs must be at least 1, not \(logprobs).") }
    if beam != nil, logprobs != nil { throw ValidationError("--logprobs and --beam exclude each other.") }
    if let problem = options.policy.problem {
      throw ValidationError("--\(problem.key.replacing("_", with: "-")) \(problem.reason).")
    }
  }

  private var options: GenerationOptions {
    var options = GenerationOptions()
    options.policy.temperature = temperature
    (options.policy.topK, options.policy.topP, options.policy.minP) = (topK, topP, minP)
    options.policy.repetitionPenalty = repetitionPenalty
    (options.maximumNewTokens, options.stop, options.seed) = (maxNewTokens, stop, seed)
    options.logProbabilities = logprobs ?? 0
    return options
  }

  func run() throws {
    ComputeOptions.warnAboutPrecision(compute.precision ?? .float32, Console(outputOptions))
    Interruption.install()
    try Backends.with(.cpu(threads: compute.threads)) {
      let generator = try TextGenerator(runOrModel: model, weights: weights)
      try Autocast.with((compute.precision ?? .float32).autocast) {
        if let beam {
          let best = try generator.beamSearch(
            prompt, BeamSearch(width: beam, lengthPenalty: lengthPenalty, maximumLength: maxNewTokens))
          var stops = StopStrings(stop)
          Console.result(stops.add(best) + stops.finish())
        } else {
          try stream(generator)
        }
      }
      if Interruption.isRequested { throw ExitCode(130) }
    }
  }

  private func stream(_ generator: TextGenerator) throws {
    try generator.generate(prompt, options) { token in
      if logprobs == nil {
        Console.draw(result: token.text)
      } else {
        Console.result(JSON.object(line(token, generator.tokenizer)).text)
      }
      return !Interruption.isRequested
    }
    if logprobs == nil { Console.draw(result: "\n") }
  }

  private func line(_ token: GeneratedToken, _ tokenizer: Tokenizer) -> JSONObject {
    func entry(_ id: Int32, _ logProbability: Double?) -> JSONObject {
      [
        "id": .integer(Int(id)), "token": tokenizer.token(of: id).map { .string($0) } ?? .null,
        "logprob": logProbability.map { .double($0) } ?? .null,
      ]
    }
    var object = entry(token.id, token.logProbability)
    object["text"] = .string(token.text)
    object["top"] = .array(token.alternatives.map { .object(entry($0.id, $0.logProbability)) })
    return object
  }
}
