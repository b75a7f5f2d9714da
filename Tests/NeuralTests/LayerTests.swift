import Kalsae
import Testing

/// Numbers that repeat: normal, of a seed and a stream.
private func numbers(_ shape: Shape, _ stream: UInt32) -> Tensor {
  .normal(shape, key: RandomKey(seed: 11), stream: stream)
}

private func isClose(_ a: Tensor, _ b: Tensor, within tolerance: Float = 1e-5) -> Bool {
  let (x, y) = (a.floats(), b.floats())
  return a.shape == b.shape && zip(x, y).allSatisfy { abs($0 - $1) <= tolerance * max(1, abs($1)) }
}

@Suite struct LayerTests {
  @Test func linear() {
    let layer = Linear(3, 2)
    layer.weight.value = Tensor([1, 2, 3, 4, 5, 6] as [Float], [2, 3])
    layer.bias!.value = Tensor([10, 20] as [Float])
    #expect(layer(Tensor([1, 0, -1] as [Float], [1, 3])).floats() == [8, 18])
    #expect(layer(numbers([2, 4, 3], 1)).shape == [2, 4, 2])
    #expect(Linear(3, 2, bias: false).contents.parameters.map(\.path) == ["weight"])
  }

  @Test func linearComputesInTheAutocastPrecision() {
    let layer = Linear(3, 2), x = numbers([4, 3], 1)
    let (y, gradient) = Autocast.with(.bfloat16) { () -> (Tensor, Tensor) in
      let y = layer(x)
      let (_, gradients) = valueAndGradient(layer.contents) { layer(x).cast(to: .float32).sum() }
      return (y, gradients.tensors[0])
    }
    #expect(y.dtype == .bfloat16)
    #expect(gradient.dtype == .float32)
    #expect(isClose(y.cast(to: .float32), layer(x), within: 0.02))
  }

  @Test func embedding() {
    let table = Embedding(4, 2)
    table.weight.value = Tensor([0, 1, 2, 3, 4, 5, 6, 7] as [Float], [4, 2])
    let y = table(Tensor([3, 0, 3] as [Int32], [1, 3]))
    #expect(y.shape == [1, 3, 2])
    #expect(y.floats() == [6, 7, 0, 1, 6, 7])
  }

  @Test func convolutionWithSidesOfItsOwn() {
    let layer = Conv2d(
      2, 4, kernel: (3, 3),
      ConvolutionGeometry(stride: [2, 2], padding: (top: 0, bottom: 1, left: 0, right: 1), groups: 2))
    let x = numbers([2, 6, 4, 2], 2)
    let padded = x.padded(low: [0, 0, 0, 0], high: [0, 1, 1, 0])
    let y = layer(x)
    #expect(y.shape == [2, 3, 2, 4])
    #expect(
      isClose(y, conv2d(padded, layer.weight.value, bias: layer.bias!.value, stride: 2, groups: 2)))
    #expect(layer.weight.shape == [4, 1, 3, 3])
    #expect(Conv2d(2, 3, kernel: 3, padding: 2, dilation: 2)(x).shape == [2, 6, 4, 3])
  }

  /// <conv(x), y> = <x, convTranspose(y)> for every x and y.
  @Test func transposedConvolutionIsTheAdjoint() {
    let forward = Conv2d(3, 5, kernel: 3, stride: 2, padding: 1, bias: false)
    let backward = ConvTranspose2d(5, 3, kernel: 3, stride: 2, padding: 1, outputPadding: 1, bias: false)
    #expect(backward.weight.shape == forward.weight.shape)
    backward.weight.value = forward.weight.value
    let x = numbers([2, 6, 8, 3], 3), y = numbers([2, 3, 4, 5], 4)
    #expect(isClose((forward(x) * y).sum(), (x * backward(y)).sum(), within: 1e-4))
    #expect(ConvTranspose2d(4, 6, kernel: 2, stride: 2, groups: 2).weight.shape == [4, 3, 2, 2])
  }

  @Test func normalisations() {
    let x = numbers([2, 3, 3, 6], 5) * 3 + 1
    let group = GroupNorm(groups: 2, channels: 6)(x).reshaped(2, 9, 2, 3)
    #expect(isClose(group.mean([1, 3]), .zeros([2, 2])))
    #expect(isClose(group.variance([1, 3]), .ones([2, 2]), within: 1e-4))
    let layer = LayerNorm(6)
    layer.weight.value = .full(2, [6])
    layer.bias!.value = .full(5, [6])
    #expect(isClose(layer(x).mean([-1]), .full(5, [2, 3, 3])))
    #expect(isClose(layer(x).variance([-1]), .full(4, [2, 3, 3]), within: 1e-3))
    #expect(isClose(square(RMSNorm(6)(x)).mean([-1]), .ones([2, 3, 3]), within: 1e-4))
    #expect(
      isClose(
        GroupNorm(groups: 2, channels: 6)(x, activation: .silu), silu(GroupNorm(groups: 2, channels: 6)(x))))
  }

  @Test func batchNormUsesTheBatchInTrainingAndItsRunningStatisticsOtherwise() {
    let layer = BatchNorm(2, momentum: 0.25)
    let x = Tensor([1, 10, 3, 20, 5, 60] as [Float], [3, 2])
    #expect(isClose(layer(x), x, within: 1e-4), "a new layer normalises by mean 0 and variance 1")
    let y = Mode.training(RandomKey(seed: 0)) { layer(x) }
    evaluate(y, slots: layer.contents.slots)
    #expect(isClose(y.mean([0]), .zeros([2])))
    #expect(isClose(y.variance([0]), .ones([2]), within: 1e-4))
    // Means 3 and 30, unbiased variances 4 and 700.
    #expect(isClose(layer.running_mean.value, Tensor([0.75, 7.5] as [Float])))
    #expect(isClose(layer.running_var.value, Tensor([0.75 + 1, 0.75 + 175] as [Float])))
    #expect(layer.num_batches_tracked.value.item() == 1)
    let used = layer(x).floats()
    #expect(abs(Double(used[0]) - (1 - 0.75) / 1.75.squareRoot()) < 1e-4)
    _ = Mode.training(RandomKey(seed: 1)) { layer(x) }
    evaluate([], slots: layer.contents.slots)
    #expect(layer.num_batches_tracked.value.item() == 2)
  }

  @Test func attentionIsSoftmaxOfEachHead() {
    let layer = Attention(6, heads: 2, contextFeatures: 4, bias: true)
    #expect(
      layer.contents.parameters.map(\.path) == [
        "to_q.weight", "to_q.bias", "to_k.weight", "to_k.bias", "to_v.weight", "to_v.bias", "to_out.0.weight",
        "to_out.0.bias",
      ])
    let x = numbers([2, 3, 6], 6), context = numbers([2, 5, 4], 7)
    let (q, k, v) = (layer.to_q(x), layer.to_k(context), layer.to_v(context))
    let heads = (0..<2).map { head -> Tensor in
      let columns = head * 3..<head * 3 + 3
      let scores = matmul(q.sliced(2, columns), k.sliced(2, columns).mT) / 3.0.squareRoot()
      return matmul(softmax(scores), v.sliced(2, columns))
    }
    #expect(isClose(layer(x, context: context), layer.to_out[0](concatenated(heads, axis: 2))))
  }

  @Test func causalAttentionSeesNothingLater() {
    let layer = Attention(4, heads: 1), x = numbers([1, 4, 4], 8)
    let changed = concatenated([x.sliced(1, 0..<2), x.sliced(1, 2..<4) * 7], axis: 1)
    let (a, b) = (layer(x, isCausal: true), layer(changed, isCausal: true))
    #expect(isClose(a.sliced(1, 0..<2), b.sliced(1, 0..<2)))
    #expect(!isClose(a.sliced(1, 2..<4), b.sliced(1, 2..<4)))
  }

  @Test func dropoutKeepsTheMeanAndActsInTrainingOnly() {
    let layer = Dropout(0.25), x = Tensor.ones([40_000])
    #expect(layer(x).floats() == x.floats())
    let y = Mode.training(RandomKey(seed: 5)) { layer(x) }.floats()
    #expect(y.allSatisfy { $0 == 0 || abs($0 - 4 / 3) < 1e-6 })
    #expect(abs(Double(y.filter { $0 == 0 }.count) / 40_000 - 0.25) < 0.01)
    let again = Mode.training(RandomKey(seed: 5)) { layer(x) }.floats()
    #expect(y == again)
    #expect(y != Mode.training(RandomKey(seed: 5, step: 1)) { layer(x) }.floats())
  }

  @Test func resampling() {
    let x = Tensor([1, 2, 3, 4] as [Float], [1, 2, 2, 1])
    #expect(
      Upsample2d()(x).floats() == [1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4])
    #expect(Downsample2d()(Upsample2d()(x)).floats() == x.floats())
    #expect(Upsample2d(factor: 3, method: .bilinear)(x).shape == [1, 6, 6, 1])
    #expect(Downsample2d()(numbers([1, 5, 7, 2], 9)).shape == [1, 2, 3, 2])
  }
}
