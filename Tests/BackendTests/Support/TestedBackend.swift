import KalsaeCPUBackend
import KalsaeCompiler
import KalsaeReferenceBackend
import KalsaeRuntime
import KalsaeTensors
import Testing

/// A backend that the agreement tests run on.
struct TestedBackend: Sendable, CustomTestStringConvertible {
  let name: String
  let backend: any Backend
  var testDescription: String { name }

  static let all = [
    TestedBackend(name: "reference", backend: ReferenceBackend()),
    TestedBackend(name: "reference with fusions", backend: ReferenceBackend(passes: .all)),
    TestedBackend(
      name: "reference with fusions and composites",
      backend: ReferenceBackend(passes: .all, claimsComposites: true)),
    TestedBackend(name: "cpu", backend: CPUBackend()),
  ]

  /// The values of `tensors`, computed in one plan.
  func values(_ tensors: [Tensor]) -> [NDArray] {
    Backends.with(backend) {
      evaluate(tensors)
      return tensors.map { tensor in tensor.withElements { NDArray(tensor.spec, at: $0) } }
    }
  }
}
