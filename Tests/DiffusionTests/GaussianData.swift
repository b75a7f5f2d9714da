import KalsaeDiffusion
import KalsaeTensors

/// Data distributed as N(mean, deviation^2): the best denoiser is known, and so is everything that samplers aim at.
struct GaussianData {
  let schedule: NoiseSchedule
  var mean = 0.6, deviation = 0.5

  /// The standard deviation of x_t.
  func deviation(_ alphaBar: Double) -> Double {
    (alphaBar * deviation * deviation + 1 - alphaBar).squareRoot()
  }

  /// The network that a perfect training of epsilon would end in, E[eps | x_t]: x (N, 1), timesteps (N).
  func network(_ x: Tensor, _ timesteps: Tensor) -> Tensor {
    func table(_ value: (Int) -> Double) -> Tensor {
      Tensor((0..<schedule.timesteps).map { Float(value($0)) }).gathered(timesteps).expanded(1)
    }
    let slope = table { schedule.sigma[$0] / square(deviation(schedule.alphaBar[$0])) }
    let center = table { schedule.alpha[$0] * mean }
    return (x - center) * slope
  }

  var denoiser: Denoiser { Denoiser(schedule, .epsilon, network: network) }

  /// Where the probability flow takes `x` from level `alphaBar` to the data: quantile to quantile.
  func flow(_ x: Double, from alphaBar: Double) -> Double {
    mean + deviation * (x - alphaBar.squareRoot() * mean) / deviation(alphaBar)
  }

  private func square(_ x: Double) -> Double { x * x }
}
