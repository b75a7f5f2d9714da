import COneDNN
import Foundation
import Testing

/// One convolution shape, with names short enough for a table.
struct ConvCase: CustomTestStringConvertible, Sendable {
  var n = 2, h = 7, w = 7, c = 16, k = 16
  var kernel = (3, 3), stride = (1, 1), dilation = (1, 1)
  var pads = (1, 1, 1, 1)  // top, left, bottom, right
  var groups = 1

  var testDescription: String {
    "(\(n), \(h), \(w), \(c)) -> \(k) kernel \(kernel) stride \(stride) dilation \(dilation) pads \(pads) groups \(groups)"
  }

  func desc(
    _ kind: conednn_conv_kind, _ type: conednn_dtype = CONEDNN_F32, output: conednn_dtype? = nil,
    algorithm: conednn_algorithm = CONEDNN_AUTO
  ) -> conednn_conv_desc {
    conednn_conv_desc(
      kind: kind, algorithm: algorithm, n: Int64(n), h: Int64(h), w: Int64(w), c: Int64(c), k: Int64(k),
      kh: Int64(kernel.0), kw: Int64(kernel.1), stride_h: Int64(stride.0), stride_w: Int64(stride.1),
      dilation_h: Int64(dilation.0), dilation_w: Int64(dilation.1), pad_top: Int64(pads.0),
      pad_left: Int64(pads.1), pad_bottom: Int64(pads.2), pad_right: Int64(pads.3), groups: Int64(groups),
      type: type, output: output ?? type, bias: CONEDNN_NO_BIAS, accumulate: false,
      activation: CONEDNN_IDENTITY, allow_reference: false)
  }

  var outH: Int { (h + pads.0 + pads.2 - (kernel.0 - 1) * dilation.0 - 1) / stride.0 + 1 }
  var outW: Int { (w + pads.1 + pads.3 - (kernel.1 - 1) * dilation.1 - 1) / stride.1 + 1 }
  var dataCount: Int { n * h * w * c }
  var outputCount: Int { n * outH * outW * k }
  var weightCount: Int { k * (c / groups) * kernel.0 * kernel.1 }

  /// Visits every product of the convolution: flat index in NHWC data, OIHW weights, NHWC output.
  func forEachProduct(_ body: (Int, Int, Int) -> Void) {
    let cg = c / groups, kg = k / groups
    for image in 0..<n {
      for oy in 0..<outH {
        for ox in 0..<outW {
          for o in 0..<k {
            for ky in 0..<kernel.0 {
              let y = oy * stride.0 - pads.0 + ky * dilation.0
              if y < 0 || y >= h { continue }
              for kx in 0..<kernel.1 {
                let x = ox * stride.1 - pads.1 + kx * dilation.1
                if x < 0 || x >= w { continue }
                for i in 0..<cg {
                  body(
                    ((image * h + y) * w + x) * c + o / kg * cg + i,
                    ((o * cg + i) * kernel.0 + ky) * kernel.1 + kx,
                    ((image * outH + oy) * outW + ox) * k + o)
                }
              }
            }
          }
        }
      }
    }
  }
}

/// A handle with its buffers, run through the C interface.
final class Conv {
  let handle: OpaquePointer
  let desc: conednn_conv_desc
  var info: conednn_conv_info { conednn_conv_get_info(handle) }
  let scratch: Bytes, packed: Bytes

  init(_ desc: conednn_conv_desc) throws {
    self.desc = desc
    handle = try checked { message, capacity in
      withUnsafePointer(to: desc) { conednn_conv_create($0, message, capacity) }
    }
    let info = conednn_conv_get_info(handle)
    scratch = Bytes(count: info.scratch_bytes)
    packed = Bytes(count: info.packed_bytes)
  }
  deinit { conednn_conv_destroy(handle) }

  func pack(_ weights: Values) throws {
    // The optimizer may free an object after its last use, which reading its pointer would be.
    try withExtendedLifetime((self, weights)) {
      try checkedStatus { conednn_conv_pack(handle, weights.pointer, weights.type, packed.pointer, $0, $1) }
    }
  }

  func unpack(_ type: conednn_dtype, count: Int) throws -> Values {
    let weights = Values(count: count, type)
    try withExtendedLifetime((self, weights)) {
      try checkedStatus { conednn_conv_unpack(handle, packed.pointer, type, weights.pointer, $0, $1) }
    }
    return weights
  }

  func run(data: Values, output: Values, bias: Values? = nil) throws {
    try withExtendedLifetime((self, data, output, bias)) {
      try checkedStatus { message, capacity in
        switch desc.kind {
        case CONEDNN_CONV_FORWARD:
          conednn_conv_forward(
            handle, data.pointer, packed.pointer, bias?.pointer, output.pointer, scratch.pointer, message,
            capacity)
        case CONEDNN_CONV_BACKWARD_DATA:
          conednn_conv_backward_data(
            handle, output.pointer, packed.pointer, data.pointer, scratch.pointer, message, capacity)
        default:
          conednn_conv_backward_weights(
            handle, data.pointer, output.pointer, packed.pointer, bias?.pointer, scratch.pointer, message,
            capacity)
        }
      }
    }
    #expect(
      scratch.isGuardIntact && packed.isGuardIntact, "a kernel wrote past its scratch or packed weights")
    #expect(data.bytes.isGuardIntact && output.bytes.isGuardIntact, "a kernel wrote past a map")
  }
}

/// Error of one run of `desc` against loops in Double, for each of the kinds.
func conv(_ shape: ConvCase, _ desc: conednn_conv_desc) throws -> Double {
  let conv = try Conv(desc)
  let type = desc.type
  let data = noise(shape.dataCount, seed: 1), weights = noise(shape.weightCount, seed: 2)
  let output = noise(shape.outputCount, seed: 3), biases = noise(shape.k, seed: 4)
  #expect(conv.info.out_h == Int64(shape.outH) && conv.info.out_w == Int64(shape.outW))
  let biasType = desc.bias == CONEDNN_BIAS_SAME ? type : CONEDNN_F32
  switch desc.kind {
  case CONEDNN_CONV_FORWARD:
    var expected = desc.accumulate ? output : [Double](repeating: 0, count: output.count)
    shape.forEachProduct { expected[$2] += data[$0] * weights[$1] }
    if desc.bias != CONEDNN_NO_BIAS { for i in expected.indices { expected[i] += biases[i % shape.k] } }
    expected = expected.map { activate(desc.activation, $0) }
    try conv.pack(Values(weights, CONEDNN_F32))
    let result = Values(output, desc.output)
    let bias = desc.bias == CONEDNN_NO_BIAS ? nil : Values(biases, biasType)
    try conv.run(data: Values(data, type), output: result, bias: bias)
    return relativeError(result.doubles, expected)
  case CONEDNN_CONV_BACKWARD_DATA:
    var expected = [Double](repeating: 0, count: data.count)
    shape.forEachProduct { expected[$0] += output[$2] * weights[$1] }
    try conv.pack(Values(weights, CONEDNN_F32))
    let result = Values(data, desc.output)
    try conv.run(data: result, output: Values(output, type))
    return relativeError(result.doubles, expected)
  default:
    var expected = [Double](repeating: 0, count: weights.count)
    shape.forEachProduct { expected[$1] += data[$0] * output[$2] }
    let bias = desc.bias == CONEDNN_NO_BIAS ? nil : Values(biases, biasType)
    try conv.run(data: Values(data, type), output: Values(output, type), bias: bias)
    var error = relativeError(try conv.unpack(desc.output, count: weights.count).doubles, expected)
    if let bias {
      var sums = [Double](repeating: 0, count: shape.k)
      for (i, value) in output.enumerated() { sums[i % shape.k] += value }
      error = max(error, relativeError(bias.doubles, sums))
    }
    return error
  }
}

func activate(_ activation: conednn_activation, _ x: Double) -> Double {
  switch activation {
  case CONEDNN_RELU: max(x, 0)
  case CONEDNN_SWISH: x / (1 + exp(-x))
  case CONEDNN_GELU_ERF: x * (1 + erf(x / 2.0.squareRoot())) / 2
  case CONEDNN_GELU_TANH: x * (1 + tanh((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x))) / 2
  default: x
  }
}

let convKinds = [CONEDNN_CONV_FORWARD, CONEDNN_CONV_BACKWARD_DATA, CONEDNN_CONV_BACKWARD_WEIGHTS]

@Suite("oneDNN convolution", .serialized) struct OneDNNConvolutionTests {
  static let shapes: [ConvCase] = [
    ConvCase(),
    ConvCase(n: 1, h: 5, w: 9, c: 3, k: 5),
    ConvCase(n: 3, h: 9, w: 8, c: 33, k: 17, stride: (2, 2), pads: (0, 0, 1, 1)),
    ConvCase(h: 11, w: 6, c: 8, k: 24, kernel: (5, 3), stride: (2, 1), pads: (2, 0, 1, 2)),
    ConvCase(h: 12, w: 12, c: 16, k: 32, dilation: (2, 3), pads: (2, 3, 2, 3)),
    ConvCase(h: 8, w: 8, c: 32, k: 64, kernel: (1, 1), pads: (0, 0, 0, 0)),
    ConvCase(n: 1, h: 9, w: 9, c: 20, k: 12, kernel: (1, 1), stride: (2, 2), pads: (0, 0, 0, 0)),
    ConvCase(n: 1, h: 16, w: 16, c: 3, k: 32, kernel: (4, 4), stride: (4, 4), pads: (0, 0, 0, 0)),
    ConvCase(h: 6, w: 6, c: 32, k: 64, groups: 2),
    ConvCase(h: 7, w: 5, c: 48, k: 48, stride: (2, 2), groups: 48),
    ConvCase(h: 1, w: 40, c: 16, k: 16, kernel: (1, 3), pads: (0, 2, 0, 0)),
  ]

  @Test(arguments: shapes, convKinds)
  func float32(shape: ConvCase, kind: conednn_conv_kind) throws {
    var desc = shape.desc(kind)
    if kind != CONEDNN_CONV_BACKWARD_DATA { desc.bias = CONEDNN_BIAS_F32 }
    #expect(try conv(shape, desc) < tolerance(CONEDNN_F32))
  }

  @Test(.enabled(if: conednn_bf16_fast()), arguments: shapes, convKinds)
  func bfloat16(shape: ConvCase, kind: conednn_conv_kind) throws {
    for output in [CONEDNN_BF16, CONEDNN_F32] {
      for bias in [CONEDNN_NO_BIAS, CONEDNN_BIAS_F32, CONEDNN_BIAS_SAME] {
        if bias != CONEDNN_NO_BIAS && kind == CONEDNN_CONV_BACKWARD_DATA { continue }
        var desc = shape.desc(kind, CONEDNN_BF16, output: output)
        desc.bias = bias
        let bound = bias == CONEDNN_BIAS_SAME && kind == CONEDNN_CONV_BACKWARD_WEIGHTS ? CONEDNN_BF16 : output
        #expect(try conv(shape, desc) < tolerance(bound), "output \(output), bias \(bias)")
      }
    }
  }
}
