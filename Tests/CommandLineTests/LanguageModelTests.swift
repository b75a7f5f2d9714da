import Foundation
import KalsaeCheckpoints
import Testing

extension CommandLineTests {
  @Suite struct LanguageModels {
    let place = try! Workspace()

    /// A text with an order that is easily learned, in the workspace.
    private func writeText() throws {
      let line = "the swift flies over the sea and the sea is blue.\n"
      try Data(String(repeating: line, count: 60).utf8).write(to: URL(fileURLWithPath: place("text.txt")))
    }

    private static let small = [
      "--steps", "40", "--batch-size", "8", "--context-length", "32", "--evaluate-every", "20", "--threads",
      "1",
      "--learning-rate", "0.005", "--warmup", "5", "--ema", "0.9", "--precision", "float32",
    ]

    private func train(_ run: String, _ more: String...) throws -> Finished {
      try Kalsae(
        place, ["train", "language-model", "--output", run, "--text", "text.txt"] + Self.small + more
      ).wait()
    }

    @Test func learnsAndContinuesAText() throws {
      try writeText()
      let trained = try train("run")
      #expect(trained.status == 0, "\(trained.errors)")
      let lines = try String(contentsOfFile: place("run/metrics.jsonl"), encoding: .utf8).split(
        separator: "\n")
      let validations = lines.filter { $0.contains("validation_loss") }
      #expect(validations.count == 2)

      let arguments = ["generate", "run", "--prompt", "the s", "--max-new-tokens", "30"]
      let greedy = try Kalsae(place, arguments + ["--temperature", "0"]).wait()
      #expect(greedy.status == 0 && greedy.output.count > 10, "\(greedy.errors)")
      // The same seed draws the same; another prompt or seed is allowed to differ.
      let first = try Kalsae(place, arguments + ["--seed", "3"]).wait()
      let second = try Kalsae(place, arguments + ["--seed", "3"]).wait()
      #expect(first.output == second.output)
      // Greedy is sampling from the single most probable token.
      let narrow = try Kalsae(place, arguments + ["--top-k", "1"]).wait()
      #expect(narrow.output == greedy.output)
      // Beams do not outgrow the context.
      let beam = try Kalsae(place, arguments + ["--beam", "1", "--length-penalty", "0"]).wait()
      #expect(beam.status == 1 && beam.errors.contains("--max-new-tokens"), "\(beam.errors)")
      let short = try Kalsae(
        place, ["generate", "run", "--prompt", "the s", "--max-new-tokens", "20", "--beam", "1"]
      ).wait()
      #expect(short.output.count > 10 && greedy.output.hasPrefix(short.output.dropLast()), "\(short.errors)")
      // More than the context: what is oldest is forgotten.
      let long = try Kalsae(
        place, ["generate", "run", "--prompt", "the s", "--max-new-tokens", "80", "--temperature", "0"]
      ).wait()
      #expect(long.status == 0 && long.output.hasPrefix(greedy.output.dropLast()), "\(long.errors)")

      let stopped = try Kalsae(place, arguments + ["--temperature", "0", "--stop", "e"]).wait()
      #expect(stopped.status == 0 && !stopped.output.contains("e"))
      let scored = try Kalsae(place, arguments + ["--logprobs", "2"]).wait()
      #expect(scored.outputLines.count == 30)
      for line in scored.outputLines {
        guard case .object(let object) = try JSON(parsing: line.utf8), case .array(let top)? = object["top"],
          case .double(let value)? = object["logprob"]
        else {
          Issue.record("\(line)")
          continue
        }
        #expect(top.count == 2 && value <= 0)
      }
    }

    @Test func aRunThatLostItsLastStepsRepeatsThem() throws {
      try writeText()
      let straight = try train("run", "--checkpoint-every", "20")
      #expect(straight.status == 0, "\(straight.errors)")
      let files = ["model.safetensors", "ema.safetensors", "optimizer.safetensors"]
      let expected = try files.map { try place.read("run/checkpoints/step-40/" + $0) }
      // As if the process had been killed between the two checkpoints.
      try FileManager.default.removeItem(atPath: place("run/checkpoints/step-40"))
      let resumed = try Kalsae(place, ["train", "language-model", "--output", "run", "--resume"]).wait()
      #expect(resumed.status == 0, "\(resumed.errors)")
      #expect(try files.map { try place.read("run/checkpoints/step-40/" + $0) } == expected)
    }

    @Test func whatCannotWorkIsOneClearLine() throws {
      try writeText()
      try Data([0x61, 0xFF, 0x62]).write(to: URL(fileURLWithPath: place("latin.txt")))
      try Data().write(to: URL(fileURLWithPath: place("empty.txt")))
      let start = ["train", "language-model", "--output", "run"]
      for (arguments, status, words) in [
        (start, 64, "--text"),
        (start + ["--text", "missing.txt"], 1, "missing.txt"),
        (start + ["--text", "latin.txt"], 1, "UTF-8"),
        (start + ["--text", "empty.txt"], 1, "empty.txt"),
        (start + ["--text", "text.txt", "--context-length", "100000"], 1, "100000"),
        (start + ["--text", "text.txt", "--validation-fraction", "2"], 64, "--validation-fraction"),
        (start + ["--text", "text.txt", "--tokenizer", "nowhere.json"], 1, "nowhere.json"),
        (["generate", "nowhere", "--prompt", "x"], 1, "nowhere"),
        (["generate", "nowhere", "--prompt", "x", "--top-p", "7"], 64, "--top-p"),
        (["generate", "nowhere", "--prompt", "x", "--max-new-tokens", "0"], 64, "--max-new-tokens"),
      ] as [([String], Int32, String)] {
        let result = try Kalsae(place, arguments).wait()
        #expect(result.status == status, "\(arguments): \(result.errors)")
        #expect(result.errors.contains(words), "\(arguments): \(result.errors)")
        #expect(!place.names(".").contains("run"), "\(arguments)")
      }
      #expect(try train("run", "--steps", "2").status == 0)
      let diffusion = try Kalsae(place, ["train", "ddpm", "--output", "run", "--resume"]).wait()
      #expect(diffusion.status == 1 && diffusion.errors.contains("kalsae train language-model"))
      let prompt = try Kalsae(
        place, ["generate", "run", "--prompt", String(repeating: "sea ", count: 100)]
      ).wait()
      #expect(prompt.status == 1 && prompt.errors.contains("400"), "\(prompt.errors)")
      let empty = try Kalsae(place, ["generate", "run", "--prompt", ""]).wait()
      #expect(empty.status == 1 && empty.errors.contains("empty prompt"), "\(empty.errors)")
    }
  }
}
