import Foundation
import KalsaeCheckpoints
import Testing

extension CommandLineTests {
  @Suite struct Profiles {
    /// A time line has every step of the plan, one behind the other, and says what each one is.
    private func check(_ text: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
      guard case .object(let trace) = try JSON(parsing: text.utf8),
        case .array(let events)? = trace["traceEvents"]
      else { throw Failure("no trace: \(text.prefix(200))") }
      #expect(events.count > 1, sourceLocation: sourceLocation)
      var end = 0.0
      for event in events.dropFirst() {
        guard case .object(let object) = event, let start = object["ts"].flatMap(Double.init),
          let duration = object["dur"].flatMap(Double.init), case .object(let arguments)? = object["args"]
        else { throw Failure("no step: \(event.text)") }
        #expect(object["ph"] == "X" && duration > 0, sourceLocation: sourceLocation)
        #expect(abs(start - end) < 1e-3, sourceLocation: sourceLocation)
        end = start + duration
        for key in ["step", "gflop", "megabytes", "floor_us", "times_floor"] {
          #expect(arguments[key] != nil, sourceLocation: sourceLocation)
        }
      }
    }

    @Test func ofAWorkload() throws {
      let place = try Workspace()
      let result = try place.kalsae("bench", "matmul", "--repeat", "1", "--profile", "matmul.json")
      #expect(result.status == 0, "\(result.errors)")
      #expect(result.output.contains("x floor"), "\(result.output)")
      try check(place.text("matmul.json"))
      try place.expectRefusal(
        ["bench", "matmul", "--repeat", "1", "--profile", "no/where.json"], "no/where.json")
    }

    @Test func onlyTrainingIsRecomputed() throws {
      let place = try Workspace()
      let result = try place.kalsae("bench", "gpt2-decode", "--recompute")
      #expect(result.status == 64 && result.output.isEmpty)
      #expect(result.errors.contains("gpt2-decode computes no gradient: no --recompute"), "\(result.errors)")
    }

    @Test func ofATrainingRunWhichItDoesNotChange() throws {
      let place = try Workspace()
      try place.train("plain", "--steps", "10")
      let result = try place.kalsae(
        "train", "ddpm", "--config", "tiny.json", "-o", "profiled", "--steps", "10", "--profile", "step.json")
      #expect(result.status == 0, "\(result.errors)")
      #expect(result.errors.contains("step.json: a step of"), "\(result.errors)")
      try check(place.text("step.json"))
      let weights = "checkpoints/step-10/model.safetensors"
      #expect(try place.read("plain/" + weights) == place.read("profiled/" + weights))
    }
  }
}
