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
