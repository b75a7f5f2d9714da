import KalsaeReferenceBackend
import KalsaeRuntime
import KalsaeTensors
import Testing

/// Every backend computes what the interpreter does, up to the rounding of the element type.
///
/// The oracle never rounds in between, so that a fused kernel may be better than its decomposition but not worse.
@Suite struct BackendAgreementTests {
  /// Relative to the largest expected element.
  private static func tolerance(_ dtype: DType) -> Double {
    switch dtype {
    case .float32: 1e-5
    case .bfloat16: 1e-2
    case .float16: 2e-3
    case .int32, .int64, .uint8, .bool: 0
    }
  }

  @Test(arguments: TestedBackend.all, OpCatalog.all)
  func values(_ backend: TestedBackend, _ entry: OpCase) {
    for dtype in entry.dtypes { expectAgreement(backend, entry, dtype, factor: 1) { entry($0) } }
  }

  @Test(arguments: TestedBackend.all, OpCatalog.differentiable)
  func gradients(_ backend: TestedBackend, _ entry: OpCase) {
    for dtype in entry.dtypes where dtype.isFloatingPoint {
      expectAgreement(backend, entry, dtype, factor: 3, gradientFunction { entry($0) })
    }
  }

  /// Uniform numbers and truth values are equal bit for bit, normal numbers up to the logarithm's and sine's errors.
  @Test(arguments: TestedBackend.all)
  func randomNumbers(_ backend: TestedBackend) {
    for shape in [[], [1], [3], [1023], [7, 5, 3], [0, 4], [70_001]] as [Shape] {
      for stream in [0, 1, UInt32.max] {
        let key = RandomKey(seed: 0x1234_5678_9ABC, step: 77)
        let samples: [(Tensor, Double)] = [
          (.uniform(shape, key: key, stream: stream), 0), (.normal(shape, key: key, stream: stream), 1e-6),
          (.bernoulli(shape, probability: 0.7, key: key, stream: stream), 0),
        ]
        var interpreter = ReferenceInterpreter(rounding: .toElementType)
        for (sample, tolerance) in samples {
          let error = largestError(backend.values([sample])[0], interpreter.value(sample))
          #expect(error <= tolerance, "\(sample.node.op): error \(error)")
        }
      }
    }
  }

  private func expectAgreement(
    _ backend: TestedBackend, _ entry: OpCase, _ dtype: DType, factor: Double, _ body: ([Tensor]) -> [Tensor]
  ) {
    let arrays = entry.arrays(dtype)
    let function = NumericFunction(arrays, body)
    let expected = function(arrays).map { $0.rounded() }
    let actual = backend.values(function.outputs)
    for (index, (a, e)) in zip(actual, expected).enumerated() {
      let error = entry.isElementwise ? largestElementwiseError(a, e) : largestError(a, e)
      // What is rounded most counts: a float32 statistic of bfloat16 operands is no better than they are.
      let rounding = max(Self.tolerance(a.dtype), Self.tolerance(dtype)) * (entry.isOneOp ? 1 : 2)
      let allowed = a.dtype.isFloatingPoint ? rounding * factor : 0
      #expect(
        error <= allowed,
        "output \(index) of \(entry.name), \(dtype): error \(error), \(a.values.prefix(20)) for \(e.values.prefix(20))"
      )
    }
  }
}
