import Foundation
import KalsaeCheckpoints
import Testing

extension CommandLineTests {
  /// What all commands have in common.
  @Suite(.serialized) struct Conventions {
    let place: Workspace

    init() throws { place = try Workspace() }

    @Test func resultsAndProgressGoSeparateWays() throws {
      let result = try place.kalsae("train", "ddpm", "--config", "tiny.json", "-o", "run")
      #expect(result.status == 0)
      #expect(result.output == "run/checkpoints/step-8\n")
      // Plain lines: nothing is drawn over where there is no terminal.
      #expect(!result.errors.contains("\r") && !result.errors.contains("\u{1B}"))
      #expect(result.errorLines.contains { $0.hasPrefix("step 8/8  loss ") && $0.contains("images/s") })
      #expect(result.errorLines.allSatisfy { !$0.isEmpty })

      let quiet = try place.kalsae("train", "ddpm", "--config", "tiny.json", "-o", "quiet", "--quiet")
      #expect(quiet.status == 0)
      #expect(quiet.output == "quiet/checkpoints/step-8\n")
      #expect(quiet.errors.isEmpty)

      let json = try place.kalsae("inspect", "run", "--json", "--batch-size", "2", "--threads", "1")
      #expect(json.status == 0)
      guard case .object(let report) = try JSON(parsing: Array(json.output.utf8)) else {
        Issue.record("no object: \(json.output)")
        return
      }
      #expect(report["parameters"] == .integer(try parameters("run")))
    }

    func parameters(_ run: String) throws -> Int {
      let file = try SafetensorsFile(path: place(run + "/checkpoints/step-8/model.safetensors"))
      return file.names.reduce(0) { $0 + file[$1]!.shape.reduce(1, *) }
    }

    @Test func versionAndHelp() throws {
      let version = try place.kalsae("--version")
      #expect(version.status == 0)
      #expect(version.output.wholeMatch(of: /kalsae \d+\.\d+\.\d+ \(\w+\+?\), oneDNN \d+\.\d+\.\d+\n/) != nil)
      for command in [
        [], ["train"], ["train", "ddpm"], ["sample"], ["export"], ["inspect"], ["bench"], ["doctor"],
      ] {
        let help = try Kalsae(place, command + ["--help"]).wait()
        #expect(help.status == 0, "\(command)")
        #expect(help.output.contains("USAGE: kalsae"), "\(command)")
        #expect(help.errors.isEmpty)
      }
    }

    @Test func aConfigurationRepeatsARunAndTheCommandLineWins() throws {
      try place.train(
        "first", "--learning-rate", "0.002", "--loss", "huber", "--ema", "0.5", "--min-snr-gamma", "5")
      let again = try place.kalsae("train", "ddpm", "--config", "first/config.json", "-o", "second", "-q")
      #expect(again.status == 0, "\(again.errors)")
      #expect(try place.read("second/config.json") == place.read("first/config.json"))
      for file in ["model", "ema"] {
        let path = "checkpoints/step-8/\(file).safetensors"
        #expect(try place.read("second/" + path) == place.read("first/" + path))
      }
      let third = try place.kalsae(
        "train", "ddpm", "--config", "first/config.json", "--loss", "l1", "--no-flip", "--dropout", "0",
        "--steps", "2",
        "-o", "third", "-q")
      #expect(third.status == 0, "\(third.errors)")
      let config = try ConfigJSON(path: place("third/config.json"))
      #expect(try config("loss", as: String.self) == "l1")
      #expect(try config("learning_rate", as: Double.self) == 0.002)
      #expect(try config("flip", as: Bool.self) == false)
      #expect(try config.nested("model")?("dropout", as: Double.self) == 0)
    }

    @Test func bfloat16Trains() throws {
      let result = try place.kalsae(
        "train", "ddpm", "--config", "tiny.json", "--precision", "bfloat16", "-o", "run")
      #expect(result.status == 0, "\(result.errors)")
      let warnings = result.errorLines.count { $0.contains("no bfloat16 arithmetic") }
      #expect(warnings <= 1)
      // Weights stay float32, and differ from those that float32 arithmetic gives.
      let file = try SafetensorsFile(path: place("run/checkpoints/step-8/model.safetensors"))
      #expect(file.names.allSatisfy { file[$0]?.dtype == .float32 })
      try place.train("exact", "--precision", "float32")
      #expect(
        try place.read("run/checkpoints/step-8/model.safetensors")
          != place.read("exact/checkpoints/step-8/model.safetensors"))
    }

    @Test func samplesAreDrawnWhileTraining() throws {
      try place.train("run", "--sample-every", "4")
      #expect(place.names("run/samples") == ["step-4.png", "step-8.png"])
      // Drawing them changes nothing.
      try place.train("plain")
      let path = "checkpoints/step-8/model.safetensors"
      #expect(try place.read("run/" + path) == place.read("plain/" + path))
    }
  }
}
