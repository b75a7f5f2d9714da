import ArgumentParser
import Foundation
import Kalsae
import KalsaeFormats
import KalsaeGeneration
import KalsaeRuntime
import KalsaeTensors
import KalsaeTraining
import Logging

struct FillMask: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "fill-mask",
    abstract: "Say which words a masked language model expects behind the masks of a text.",
    discussion: """
      Prints a line for each word: the token, its probability and the text with it. A text may have several masks; all \
      are filled at once, and each has its own list.

        kalsae fill-mask runs/reviews "What a [MASK] film!" --top 3
      """)

  @Argument(
    help: ArgumentHelp(
      "A run folder, or a model folder: config.json, model.safetensors and a tokenizer.",
      valueName: "run-or-model"))
  var model: String
  @Argument(help: "The text, with [MASK] (or the tokenizer's own mask) where a word is wanted.") var text:
    String
  @Option(help: ArgumentHelp("How many words for each mask.", valueName: "k")) var top = 5
  @Option(help: "A run's averaged weights or those being trained.") var weights = RunWeights.ema
  @OptionGroup var compute: ComputeOptions
  @Flag(help: "Print JSON: an array for each mask.") var json = false
  @OptionGroup var outputOptions: OutputOptions

  func validate() throws {
    if top < 1 { throw ValidationError("--top must be at least 1, not \(top).") }
  }

  func run() throws {
    ComputeOptions.warnAboutPrecision(compute.precision ?? .float32, Console(outputOptions))
    let masks = try Backends.with(.cpu(threads: compute.threads)) {
      let filler = try MaskFiller(runOrModel: model, weights: weights)
      return try Autocast.with((compute.precision ?? .float32).autocast) { try filler.fill(text, top: top) }
    }
    if json {
      let lists = masks.map { candidates in JSON.array(candidates.map { .object(object($0)) }) }
      Console.result(JSON.array(lists).prettyText)
      return
    }
    for (number, candidates) in masks.enumerated() {
      if masks.count > 1 { Console.result("mask \(number + 1):") }
      for candidate in candidates {
        Console.result(column(candidate.token, 15) + " \(fixed(candidate.probability, 4))  \(candidate.text)")
      }
    }
  }

  private func object(_ candidate: MaskFiller.Candidate) -> JSONObject {
    [
      "id": .integer(Int(candidate.id)), "token": .string(candidate.token),
      "probability": .double(candidate.probability), "text": .string(candidate.text),
    ]
  }
}
