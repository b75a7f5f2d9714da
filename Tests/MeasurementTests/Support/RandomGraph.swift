import KalsaeData
import KalsaeNeural
import KalsaeRuntime
import KalsaeTensors

/// A loss of random ops on pictures (2, 8, 8, C) and tokens (2, T, C), and its gradients: what passes rewrite, in
/// neighbourhoods that nobody chose.
final class RandomGraph {
  private let seed: UInt64, length: Int
  private let precision: DType
  private var random: SplitMix64
  private var parameters: [Slot] = []
  private var used = 0

  private static let channels = 32, features = 16, tokens = 10
  /// So large that no normalisation makes much of the rounding errors of nearly constant values.
  private static let epsilon = 0.1

  init(seed: UInt64, length: Int, precision: DType) {
    (self.seed, self.length, self.precision) = (seed, length, precision)
    random = SplitMix64(key: seed)
    _ = outputs()
    evaluate([], slots: parameters)
  }

  /// The loss, its gradients, and two values on the way; the same graph every time.
  func outputs() -> [Tensor] {
    (random, used) = (SplitMix64(key: seed), 0)
    var seen: [Tensor] = []
    let loss = Mode.training(RandomKey(seed: seed)) {
      Autocast.with(precision == .bfloat16 ? precision : nil) { self.loss(&seen) }
    }
    let values = parameters.prefix(used).map(\.value)
    return [loss] + gradients(of: loss, withRespectTo: values) + seen
  }

  private func loss(_ seen: inout [Tensor]) -> Tensor {
    var pictures = [picture(), picture()], sequences = [sequence(), sequence()]
    for index in 0..<length {
      if below(2) == 0 {
        pictures.append(nextPicture(pictures, sequences.last!))
      } else {
        sequences.append(nextSequence(sequences, pictures.last!))
      }
      if index == length / 3 { seen = [pictures.last!.cast(to: .float32), sequences.last!] }
    }
    let ends = pictures.suffix(2) + sequences.suffix(2)
    return ends.map { square(tanh($0.cast(to: .float32))).mean() }.reduce(Tensor(0)) { $0 + $1 }
  }

  // MARK: - Ops

  private func nextPicture(_ all: [Tensor], _ sequence: Tensor) -> Tensor {
    let x = recent(all), c = Self.channels
    switch below(11) {
    case 0, 1: return conv2d(cast(x), cast(weight([c, c, 3, 3])), bias: cast(bias(c)), padding: 1)
    case 2: return silu(norm(x))
    case 3:
      // What other readers see of the normalised value, and what a residual adds.
      let y = norm(x)
      return x + silu(y).cast(to: x.dtype) + tanh(y).cast(to: x.dtype)
    case 4:
      let time = matmul(sequence.mean([1]).cast(to: .float32), weight([Self.features, c]))
      return norm(x + time.cast(to: x.dtype).expanded(1).expanded(1))
    case 5:
      let y = recent(all)
      return conv2d(
        cast(concatenated([x.cast(to: .float32), y.cast(to: .float32)], axis: -1)),
        cast(weight([c, 2 * c, 1, 1])), bias: nil)
    case 6: return x.transposed(0, 2, 1, 3)
    case 7: return averagePool2d(upsampleNearest2d(x, factor: 2), window: 2)
    case 8: return dropout(x, probability: 0.2)
    case 9: return relu(x) + recent(all).cast(to: x.dtype) * 0.5
    default: return concatenated([x.sliced(1, 4..<8), x.sliced(1, 0..<4)], axis: 1)
    }
  }

  private func nextSequence(_ all: [Tensor], _ picture: Tensor) -> Tensor {
    let x = recent(all), f = Self.features
    switch below(12) {
    case 0, 1: return linear(x, f)
    case 2: return gelu(linear(x, f)).cast(to: x.dtype) + x
    case 3: return layerNorm(x, weight: weight([f]), bias: bias(f), epsilon: Self.epsilon)
    case 4:
      let parts = linear(x, 3 * f).split(3, axis: -1)
      return multiHeadAttention(parts[0], parts[1], parts[2], heads: 2, isCausal: true).cast(to: .float32)
    case 5: return checkpointed { linear(gelu(linear(x, 2 * f)), f).cast(to: x.dtype) + x }
    case 6: return x - x.mean([-1], keepingAxes: true)
    case 7: return softmax(x) * 8 * recent(all).cast(to: x.dtype)
    case 8: return x.reshaped(2, Self.tokens, 4, 4).transposed(0, 1, 3, 2).reshaped(x.shape)
    case 9: return x.cast(to: precision).cast(to: .float32) * sigmoid(recent(all)).cast(to: .float32)
    case 10: return x + dropout(relu(x), probability: 0.2)
    default:
      let words = picture.reshaped(2, 64, Self.channels).sliced(1, 0..<Self.tokens)
      return linear(words, f).cast(to: x.dtype) + x
    }
  }

  private func norm(_ x: Tensor) -> Tensor {
    groupNorm(
      x, groups: 4, weight: weight([Self.channels]), bias: bias(Self.channels), epsilon: Self.epsilon)
  }

  private func linear(_ x: Tensor, _ outputs: Int) -> Tensor {
    let y = matmul(cast(x), cast(weight([outputs, x.shape[-1]])).mT)
    return y + bias(outputs).cast(to: y.dtype)
  }

  private func cast(_ x: Tensor) -> Tensor { x.cast(to: precision) }

  // MARK: - Chance

  private func below(_ bound: Int) -> Int { Int(random.below(UInt64(bound))) }

  /// One of the last three, so that chains grow long and some values have several readers.
  private func recent(_ all: [Tensor]) -> Tensor { all[all.count - 1 - below(min(3, all.count))] }

  private func picture() -> Tensor { parameter([2, 8, 8, Self.channels], 1) }
  private func sequence() -> Tensor { parameter([2, Self.tokens, Self.features], 1) }
  private func bias(_ count: Int) -> Tensor { parameter([count], 0.5) }
  private func weight(_ shape: Shape) -> Tensor {
    let inputs = shape.dimensions.dropFirst().reduce(1, *)
    return parameter(shape, shape.rank == 1 ? 1 : 1.5 / Double(inputs).squareRoot())
  }

  private func parameter(_ shape: Shape, _ scale: Double) -> Tensor {
    defer { used += 1 }
    if used == parameters.count {
      let key = RandomKey(seed: seed, step: UInt64(used))
      parameters.append(Slot(Tensor.normal(shape, key: key) * scale))
    }
    return parameters[used].value
  }
}
