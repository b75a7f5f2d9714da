import Foundation
import KalsaeDiffusion
import Testing

@Suite struct NoiseScheduleTests {
  @Test(arguments: NoiseSchedule.Kind.allCases)
  func levelsFallFromDataToNoise(_ kind: NoiseSchedule.Kind) {
    let schedule = NoiseSchedule(kind, timesteps: 1000)
    #expect(schedule.timesteps == 1000)
    #expect(zip(schedule.alphaBar, schedule.alphaBar.dropFirst()).allSatisfy(>))
    #expect(zip(schedule.lambda, schedule.lambda.dropFirst()).allSatisfy(>))
    for t in [0, 1, 500, 999] {
      let alpha = schedule.alpha[t], sigma = schedule.sigma[t]
      #expect(isClose(alpha * alpha + sigma * sigma, 1, 1e-15))
      #expect(isClose(alpha * alpha, schedule.alphaBar[t], 1e-15))
      #expect(isClose(schedule.snr[t], alpha * alpha / (sigma * sigma), 1e-12))
      #expect(isClose(schedule.lambda[t], log(alpha / sigma), 1e-12))
      #expect(isClose(schedule.alphaBar[t] / schedule.alphaBar(before: t), 1 - schedule.beta[t], 1e-12))
    }
  }

  @Test func linear() {
    let schedule = NoiseSchedule.linear(timesteps: 5, betaStart: 0.1, betaEnd: 0.5)
    #expect(zip(schedule.beta, [0.1, 0.2, 0.3, 0.4, 0.5]).allSatisfy { isClose($0, $1, 1e-15) })
    #expect(isClose(schedule.alphaBar[4], 0.9 * 0.8 * 0.7 * 0.6 * 0.5, 1e-14))
  }

  @Test func scaledLinear() {
    let schedule = NoiseSchedule.scaledLinear(timesteps: 3, betaStart: 0.01, betaEnd: 0.09)
    #expect(zip(schedule.beta, [0.01, 0.04, 0.09]).allSatisfy { isClose($0, $1, 1e-15) })
  }

  @Test func sigmoid() {
    let schedule = NoiseSchedule.sigmoid(timesteps: 3, betaStart: 0.1, betaEnd: 0.3)
    let s = 1 / (1 + exp(6.0))
    let expected = [0.1 + 0.2 * s, 0.2, 0.3 - 0.2 * s]
    #expect(zip(schedule.beta, expected).allSatisfy { isClose($0, $1, 1e-14) })
  }

  /// alphaBar is the paper's f(t) / f(0) until the largest beta bites.
  @Test func cosine() {
    let schedule = NoiseSchedule.cosine(timesteps: 1000)
    func f(_ t: Double) -> Double { pow(cos((t / 1000 + 0.008) / 1.008 * .pi / 2), 2) }
    for t in [0, 10, 500, 998] { #expect(isClose(schedule.alphaBar[t], f(Double(t + 1)) / f(0), 1e-10)) }
    #expect(schedule.beta[999] == 0.999)
    #expect(schedule.beta[998] < 0.999)
  }

  @Test func oneTimestep() {
    #expect(NoiseSchedule(.linear, timesteps: 1).beta == [1e-4])
    #expect(NoiseSchedule(.cosine, timesteps: 1).beta == [0.999])
  }

  /// diffusers' tables in float64, and as it ships them in float32.
  @Test(arguments: NoiseSchedule.Kind.allCases)
  func diffusersTables(_ kind: NoiseSchedule.Kind) throws {
    let fixture = try Fixture("schedulers/schedules.safetensors")
    let name = try #require(kind.diffusersName)
    let schedule = NoiseSchedule(kind)
    #expect(relativeError(schedule.beta, try fixture[name + ".betas"]) < 1e-12)
    #expect(relativeError(schedule.alphaBar, try fixture[name + ".alphas_cumprod"]) < 1e-12)
    #expect(relativeError(schedule.alphaBar, try fixture[name + ".alphas_cumprod_float32"]) < 1e-5)
    #expect(relativeError(schedule.snr, try fixture[name + ".snr"]) < 1e-4)
    let posteriors = (0..<1000).map { schedule.posterior($0) }
    #expect(relativeError(posteriors.map(\.variance), try fixture[name + ".variance.fixed_small"]) < 1e-10)
    #expect(relativeError(posteriors.map(\.beta), try fixture[name + ".variance.fixed_large"]) < 1e-10)
  }
}
