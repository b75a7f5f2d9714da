import KalsaeReferenceBackend
import KalsaeTensors
import Testing

/// The library's functions against PyTorch's, values and gradients, computed in Double.
@Suite struct GoldenTests {
  private typealias Operands = [String: Tensor]
  private typealias Results = [String: Tensor]

  /// PyTorch's float32 is within 2e-5 of its float64; the files are float32.
  private let tolerance = 3e-5

  @Test(arguments: GoldenFile.families)
  func valuesAndGradients(_ family: String) throws {
    let file = try GoldenFile(family: family)
    var compared = 0
    for (name, attributes) in file.cases.sorted(by: { $0.key < $1.key }) {
      let arrays = try file.arrays(of: name)
      let operands = arrays.mapValues { $0.tensor() }
      guard let results = results(attributes, operands) else { continue }
      compared += 1
      var expected: [String: Tensor] = results
      let output = try #require(results["output"]), cotangent = try #require(operands["cotangent"])
      let variables = arrays.keys.filter { arrays["grad." + $0] != nil }.sorted()
      let gradients = vectorJacobianProduct(
        of: [output], [cotangent], withRespectTo: variables.map { operands[$0]! })
      for (variable, gradient) in zip(variables, gradients) { expected["grad." + variable] = gradient }
      for (key, tensor) in expected {
        var interpreter = ReferenceInterpreter()
        let golden = try #require(arrays[key], "\(family) \(name) has no \(key)")
        let error = largestError(interpreter.value(tensor), golden)
        #expect(error <= tolerance, "\(family) \(name).\(key): error \(error)")
      }
    }
    #expect(compared >= 6, "cases of \(family)")
  }

  private func results(_ a: GoldenFile.Attributes, _ x: Operands) -> Results? {
    switch a.op {
    case "conv2d", "conv_transpose2d": ["output": convolution(a, x)]
    case "batch_norm": batchNormalization(a, x)
    case "group_norm", "layer_norm", "rms_norm": ["output": normalization(a, x)]
    case "scaled_dot_product_attention":
      [
        "output": attention(
          x["query"]!, x["key"]!, x["value"]!, mask: x["mask"], isCausal: a.is_causal ?? false, scale: a.scale
        )
      ]
    case "cross_entropy": ["output": entropy(a, x)]
    default: pictures(a, x).map { ["output": $0] }
    }
  }

  private func nhwc(_ x: Tensor) -> Tensor { x.transposed(0, 2, 3, 1) }
  private func nchw(_ x: Tensor) -> Tensor { x.transposed(0, 3, 1, 2) }

  private func convolution(_ a: GoldenFile.Attributes, _ x: Operands) -> Tensor {
    let (input, weight, bias) = (nhwc(x["input"]!), x["weight"]!, x["bias"]!)
    let (stride, padding, dilation) = (a.stride!, a.padding!, a.dilation!)
    let geometry = ConvolutionGeometry(
      stride: stride, padding: (padding[0], padding[0], padding[1], padding[1]), dilation: dilation,
      groups: a.groups!)
    guard a.op == "conv_transpose2d" else { return nchw(conv2d(input, weight, bias: bias, geometry)) }
    let more = a.output_padding!
    if stride[0] == stride[1], padding[0] == padding[1], dilation[0] == dilation[1], more[0] == more[1] {
      return nchw(
        convTransposed2d(
          input, weight, bias: bias, stride: stride[0], padding: padding[0], outputPadding: more[0],
          dilation: dilation[0], groups: a.groups!))
    }
    let size = (0..<2).map { i in
      (input.shape[i + 1] - 1) * stride[i] - 2 * padding[i] + dilation[i] * (weight.shape[i + 2] - 1)
        + more[i] + 1
    }
    return nchw(
      Tensor(ConvolutionInputGradient(geometry, rows: size[0], columns: size[1]), input, weight) + bias)
  }

  /// Groups of channels are the last axis here and the second one there.
  private func normalization(_ a: GoldenFile.Attributes, _ x: Operands) -> Tensor {
    let input = x["input"]!
    if a.op == "group_norm" {
      let last = [0] + Array(2..<input.rank) + [1], back = [0, input.rank - 1] + Array(1..<input.rank - 1)
      return groupNorm(
        input.transposed(last), groups: a.groups!, weight: x["weight"], bias: x["bias"], epsilon: a.eps!
      ).transposed(back)
    }
    let flat = input.flattened(from: -a.normalized_shape!.count)
    let (weight, bias) = (x["weight"]?.flattened(), x["bias"]?.flattened())
    let y =
      a.op == "rms_norm"
      ? rmsNorm(flat, weight: weight, epsilon: a.eps!)
      : layerNorm(flat, weight: weight, bias: bias, epsilon: a.eps!)
    return y.reshaped(input.shape)
  }

  private func batchNormalization(_ a: GoldenFile.Attributes, _ x: Operands) -> Results {
    let input = nhwc(x["input"]!), mean = x["running_mean"]!, variance = x["running_var"]!
    guard a.training! else {
      let y = batchNorm(
        input, mean: mean, variance: variance, weight: x["weight"], bias: x["bias"], epsilon: a.eps!)
      return ["output": nchw(y), "new_running_mean": mean, "new_running_var": variance]
    }
    let batch = batchNorm(input, weight: x["weight"], bias: x["bias"], epsilon: a.eps!)
    // The running variance is of the unbiased estimate.
    let n = Double(input.count / input.shape[-1]), momentum = a.momentum!
    return [
      "output": nchw(batch.y),
      "new_running_mean": mean * (1 - momentum) + batch.mean * momentum,
      "new_running_var": variance * (1 - momentum) + batch.variance * (momentum * n / (n - 1)),
    ]
  }

  private func entropy(_ a: GoldenFile.Attributes, _ x: Operands) -> Tensor {
    let logits = x["logits"]!, target = x["target"]!.cast(to: .int32)
    let smoothing = a.label_smoothing!
    if a.reduction == "mean" {
      return crossEntropy(logits, target, labelSmoothing: smoothing, ignoredLabel: a.ignore_index)
    }
    let rows = Tensor(CrossEntropy(labelSmoothing: smoothing, ignoredLabel: a.ignore_index), logits, target)
    return a.reduction == "sum" ? rows.sum() : rows
  }

  /// Activations and what changes the size of pictures; nil for windows that are not square.
  private func pictures(_ a: GoldenFile.Attributes, _ x: Operands) -> Tensor? {
    let input = x["input"]!
    switch a.op {
    case "gelu": return gelu(input, approximate: a.approximate == "tanh")
    case "silu": return silu(input)
    case "softmax": return softmax(input, axis: a.axis!)
    case "log_softmax": return logSoftmax(input, axis: a.axis!)
    case "interpolate":
      let (rows, columns) = (a.size![0], a.size![1])
      return nchw(
        a.mode == "nearest"
          ? resizeNearest2d(nhwc(input), rows: rows, columns: columns)
          : resizeBilinear2d(nhwc(input), rows: rows, columns: columns, alignsCorners: a.align_corners!))
    case "adaptive_avg_pool2d":
      return nchw(adaptiveAveragePool2d(nhwc(input), rows: a.output_size![0], columns: a.output_size![1]))
    case "adaptive_max_pool2d":
      return nchw(adaptiveMaxPool2d(nhwc(input), rows: a.output_size![0], columns: a.output_size![1]))
    case "avg_pool2d", "max_pool2d":
      let (window, stride, padding) = (a.kernel_size!, a.stride!, a.padding!)
      guard window[0] == window[1] else { return nil }
      return nchw(
        a.op == "max_pool2d"
          ? maxPool2d(nhwc(input), window: window[0], stride: stride[0], padding: padding[0])
          : averagePool2d(
            nhwc(input), window: window[0], stride: stride[0], padding: padding[0],
            countsPadding: a.count_include_pad!))
    default:
      Issue.record("no counterpart of \(a.op)")
      return nil
    }
  }
}
