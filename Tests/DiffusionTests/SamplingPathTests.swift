import KalsaeDiffusion
import Testing

@Suite struct SamplingPathTests {
  @Test func spacings() throws {
    #expect(
      try TimestepSpacing.leading.timesteps(10, of: 1000) == [900, 800, 700, 600, 500, 400, 300, 200, 100, 0])
    #expect(try TimestepSpacing.leading.timesteps(3, of: 10, stepsOffset: 1) == [7, 4, 1])
    #expect(try TimestepSpacing.trailing.timesteps(4, of: 1000) == [999, 749, 499, 249])
    #expect(try TimestepSpacing.linspace.timesteps(4, of: 1000) == [999, 666, 333, 0])
    // Halves are rounded to even, as in NumPy: 2.5 -> 2 and 7.5 -> 8.
    #expect(try TimestepSpacing.trailing.timesteps(4, of: 10) == [9, 7, 4, 1])
    #expect(try TimestepSpacing.linspace.timesteps(1, of: 1000) == [0])
    #expect(try TimestepSpacing.trailing.timesteps(1, of: 1000) == [999])
  }

  @Test(arguments: TimestepSpacing.allCases, [1, 2, 10, 97, 1000])
  func everyCountGivesDistinctTimesteps(_ spacing: TimestepSpacing, _ total: Int) throws {
    for steps in Set([1, 2, 3, 7, total / 2, total - 1, total]) where steps >= 1 && steps <= total {
      let timesteps = try spacing.timesteps(steps, of: total)
      #expect(timesteps.count == steps)
      #expect(zip(timesteps, timesteps.dropFirst()).allSatisfy(>))
      #expect(timesteps.allSatisfy { (0..<total).contains($0) })
    }
    #expect(try spacing.timesteps(total, of: total) == (0..<total).reversed())
  }

  @Test func impossibleCounts() {
    for spacing in TimestepSpacing.allCases {
      for steps in [0, -1, 11] {
        #expect(throws: DiffusionError.self) { try spacing.timesteps(steps, of: 10) }
      }
    }
    #expect {
      try TimestepSpacing.leading.timesteps(10, of: 10, stepsOffset: 1)
    } throws: {
      "\($0)".contains("steps_offset 1")
    }
  }

  @Test func eachStepLeadsToTheNext() {
    let schedule = NoiseSchedule.linear()
    let path = SamplingPath(schedule, timesteps: [999, 333, 10])
    #expect(path.count == 3)
    #expect(path.timesteps == [999, 333, 10])
    #expect(path.map(\.alphaBar) == [999, 333, 10].map { schedule.alphaBar[$0] })
    #expect(path.map(\.alphaBarNext) == [schedule.alphaBar[333], schedule.alphaBar[10], 1])
  }

  @Test func strideAndFinalLevel() {
    let schedule = NoiseSchedule.linear()
    let path = SamplingPath(
      schedule, timesteps: [999, 333, 10], stride: 300, finalAlphaBar: schedule.alphaBar[0])
    #expect(path.map(\.alphaBarNext) == [699, 33, 0].map { schedule.alphaBar[$0] })
  }

  @Test func configurationErrorsNameTheKey() {
    func error(_ change: (inout DiffusionConfig) -> Void) -> String {
      var config = DiffusionConfig()
      change(&config)
      do {
        try config.validate()
        return ""
      } catch { return error.description }
    }
    #expect(error { _ in } == "")
    #expect(error { $0.timesteps = 0 }.contains("num_train_timesteps"))
    #expect(error { $0.betaStart = 0 }.contains("beta_start"))
    #expect(error { $0.betaEnd = 1 }.contains("beta_end"))
    #expect(error { $0.betaEnd = .nan }.contains("beta_end"))
    #expect(error { $0.clipSampleRange = 0 }.contains("clip_sample_range"))
    #expect(error { $0.stepsOffset = -1 }.contains("steps_offset"))
    #expect(
      error {
        $0.clipSample = false
        $0.clipSampleRange = 0
      } == "")
  }
}
