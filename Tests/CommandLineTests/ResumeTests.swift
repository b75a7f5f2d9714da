import Foundation
import KalsaeCheckpoints
import Testing

extension CommandLineTests {
  /// What survives when a run is stopped, killed, or out of space.
  @Suite(.serialized) struct Resuming {
    let place: Workspace
    static let files = ["ema.safetensors", "model.safetensors", "optimizer.safetensors", "state.json"]

    init() throws { place = try Workspace() }

    func start(_ run: String, _ more: String...) throws -> Kalsae {
      try Kalsae(place, ["train", "ddpm", "--config", "tiny.json", "-o", run] + more)
    }

    func bytes(_ run: String, _ step: Int) throws -> [Data] {
      try Self.files.map { try place.read("\(run)/checkpoints/step-\(step)/\($0)") }
    }

    @Test func killedRunsEndAsIfNothingHadHappened() throws {
      try place.train("straight", "--steps", "40", "--checkpoint-every", "20")
      var stopped = ""
      // A machine that pauses this process may let the run finish: then it is tried again.
      for attempt in 0..<8 where stopped.isEmpty {
        let run = "killed-\(attempt)"
        let process = try start(run, "--steps", "40", "--checkpoint-every", "20")
        try process.wait { !place.steps(run).isEmpty }
        process.send(SIGKILL)
        _ = try process.wait()
        if place.steps(run) == [20] { stopped = run }
      }
      try #require(!stopped.isEmpty, "no run could be killed between its checkpoints")
      let resumed = try place.kalsae("train", "ddpm", "-o", stopped, "--resume")
      #expect(resumed.status == 0)
      #expect(resumed.errors.contains("resuming from step 20"))
      #expect(try bytes(stopped, 40) == bytes("straight", 40))
      // The log has every entry once, in order.
      let steps = try place.text(stopped + "/metrics.jsonl").split(separator: "\n").map {
        try ConfigJSON(JSON(parsing: Array($0.utf8)), file: "metrics.jsonl")("step", as: Int.self)
      }
      #expect(steps == [10, 20, 30, 40])
    }

    @Test func checkpointsAreWholeWheneverARunIsKilled() throws {
      for attempt in 0..<3 {
        let run = "run-\(attempt)"
        let process = try start(run, "--steps", "1000000", "--checkpoint-every", "1", "--keep", "2")
        try process.wait { place.steps(run).last ?? 0 > 3 }
        usleep(.random(in: 0..<60_000))
        process.send(SIGKILL)
        #expect(try process.wait().status == 128 + SIGKILL)

        let steps = place.steps(run)
        // Two are kept; the third is about to go.
        #expect((2...3).contains(steps.count))
        for step in steps {
          let folder = place("\(run)/checkpoints/step-\(step)")
          #expect(place.names("\(run)/checkpoints/step-\(step)") == Self.files)
          for file in Self.files.dropLast() {
            #expect(try !SafetensorsFile(path: folder + "/" + file).names.isEmpty)
          }
          #expect(try ConfigJSON(path: folder + "/state.json")("step") == step)
        }
        try place.write("half", run + "/checkpoints/.tmp-step-77/model.safetensors")
        let last = try #require(steps.last)
        let resumed = try place.kalsae("train", "ddpm", "-o", run, "--resume", "--steps", "\(last + 2)", "-q")
        #expect(resumed.status == 0, "\(resumed.errors)")
        #expect(place.names(run + "/checkpoints") == ["step-\(last + 1)", "step-\(last + 2)"].sorted())
      }
    }

    @Test(arguments: [SIGINT, SIGTERM]) func signalsSaveAndStop(_ signal: Int32) throws {
      let process = try start("run", "--steps", "1000000")
      try process.wait { (try? place.text("run/metrics.jsonl").isEmpty) == false }
      #expect(place.steps("run").isEmpty)
      process.send(signal)
      let stopped = try process.wait()
      #expect(stopped.status == 130)
      #expect(stopped.output.isEmpty)
      let step = try #require(place.steps("run").last)
      #expect(step >= 10)
      #expect(stopped.errors.contains("saved step \(step)"))
      #expect(stopped.errors.contains("--resume"))
      let resumed = try place.kalsae("train", "ddpm", "-o", "run", "--resume", "--steps", "\(step + 1)", "-q")
      #expect(resumed.status == 0)
      #expect(resumed.output == "run/checkpoints/step-\(step + 1)\n")
    }

    @Test func aRunKilledBeforeItsFirstCheckpointStartsAgain() throws {
      let process = try start("run", "--steps", "1000000")
      try process.wait { (try? place.text("run/metrics.jsonl").isEmpty) == false }
      process.send(SIGKILL)
      _ = try process.wait()
      let resumed = try place.kalsae("train", "ddpm", "-o", "run", "--resume", "--steps", "8")
      #expect(resumed.status == 0, "\(resumed.errors)")
      #expect(resumed.errors.contains("no checkpoint yet"))
      try place.train("fresh")
      #expect(try bytes("run", 8) == bytes("fresh", 8))
    }

    @Test func recomputationIsKeptByTheRunAndLearnsTheSame() throws {
      try place.train("plain", "--steps", "6", "--precision", "float32")
      try place.train("again", "--steps", "3", "--precision", "float32", "--recompute")
      let resumed = try place.kalsae("train", "ddpm", "-o", "again", "--resume", "--steps", "6", "-q")
      #expect(resumed.status == 0, "\(resumed.errors)")
      #expect(try place.text("again/config.json").contains("\"recompute\": true"))
      let weights = try ["plain", "again"].map {
        try SafetensorsFile(path: place($0 + "/checkpoints/step-6/model.safetensors"))
      }
      func numbers(_ file: SafetensorsFile, _ name: String) throws -> [Float] {
        try file.withBytes(of: name) { Array($0.bindMemory(to: Float.self)) }
      }
      for name in weights[0].names {
        let (a, b) = (try numbers(weights[0], name), try numbers(weights[1], name))
        // A few of Adam's first steps may go the other way where a gradient is nothing but rounding.
        let different = zip(a, b).filter { abs($0 - $1) > 1e-5 }.count
        #expect(different <= max(4, a.count / 50), "\(name): \(different) of \(a.count)")
      }
    }

    @Test func theNewestCheckpointsAreKept() throws {
      try place.train("run", "--steps", "11", "--checkpoint-every", "2", "--keep", "3")
      #expect(
        place.names("run/checkpoints").sorted { $0.count < $1.count } == ["step-8", "step-10", "step-11"])
    }

    @Test func checkpointsTellNothingOfTimeAndPlace() throws {
      try place.train("first")
      // Event files carry the second in their names; a checkpoint must not.
      try place.train("folder/second")
      #expect(try bytes("first", 8) == bytes("folder/second", 8))
      for file in Self.files.dropLast() {
        let metadata = try SafetensorsFile(path: place("first/checkpoints/step-8/" + file)).metadata
        #expect(metadata.isEmpty || metadata == ["format": "pt"])
      }
      guard case .object(let state) = try JSON(parsing: place.read("first/checkpoints/step-8/state.json"))
      else {
        Issue.record("state.json holds no object")
        return
      }
      #expect(Set(state.keys) == ["step", "epoch", "index", "threads"])
    }

    @Test func seedsMatter() throws {
      try place.train("first")
      try place.train("second", "--seed", "1")
      #expect(try bytes("first", 8)[1] != bytes("second", 8)[1])
    }

    @Test func aFinishedRunStaysAsItIs() throws {
      try place.train("run")
      let before = try (bytes("run", 8), place.read("run/config.json"))
      for more in [[], ["--steps", "5"]] {
        let again = try Kalsae(place, ["train", "ddpm", "-o", "run", "--resume"] + more).wait()
        #expect(again.status == 0)
        #expect(again.output == "run/checkpoints/step-8\n")
        #expect(again.errors.contains("steps are done"))
      }
      #expect(try bytes("run", 8) == before.0)
      #expect(try place.read("run/config.json") == before.1)
    }

    @Test func aFullDiskLeavesThePreviousCheckpoint() throws {
      try place.train("run", "--steps", "2")
      let before = try bytes("run", 2)
      let full = try place.kalsae(
        "train", "ddpm", "-o", "run", "--resume", "--steps", "4", "--quiet", fileLimit: 40)
      #expect(full.status == 1)
      #expect(full.errorLines.count == 1)
      #expect(full.errors.contains("free some space"))
      #expect(place.names("run/checkpoints") == ["step-2"])
      #expect(try bytes("run", 2) == before)
      // With space again it goes on.
      #expect(try place.kalsae("train", "ddpm", "-o", "run", "--resume", "--steps", "4", "-q").status == 0)
    }
  }
}
