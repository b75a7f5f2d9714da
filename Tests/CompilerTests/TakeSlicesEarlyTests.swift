import KalsaeCPUBackend
import KalsaeCompiler
import KalsaeRuntime
import KalsaeTensors
import Testing

/// What is only read in part is computed in part, with the same values.
@Suite struct TakeSlicesEarlyTests {
  static let (batch, length, width, heads) = (2, 12, 64, 4)
  let backend = CPUBackend()
  let x = numbers([batch, length, width], 1)
  let qkv = Slot(numbers([width, 3 * width], 2)), bias = Slot(numbers([3 * width], 3))
  let inner = Slot(numbers([width, 4 * width], 4)), outer = Slot(numbers([4 * width, width], 5))
  let scale = Slot(numbers([width], 6)), shift = Slot(numbers([width], 7))
  let mask = numbers([1, 1, length, length], 8)

  /// A layer of a Transformer: attention, a network of its own for each position, both added.
  func layer(isCausal: Bool, mask: Tensor? = nil) -> Tensor {
    func normalised(_ x: Tensor) -> Tensor { layerNorm(x, weight: scale.value, bias: shift.value) }
    func inHeads(_ x: Tensor) -> Tensor {
      x.reshaped(Self.batch, Self.length, Self.heads, -1).swappingAxes(1, 2)
    }
    let parts = (matmul(normalised(x), qkv.value * 0.1) + bias.value).split(3, axis: -1).map(inHeads)
    let mixed = attention(parts[0], parts[1], parts[2], mask: mask, isCausal: isCausal)
    let y = x + mixed.swappingAxes(1, 2).reshaped(Self.batch, Self.length, Self.width)
    return y + matmul(gelu(matmul(normalised(y), inner.value * 0.1)), outer.value * 0.1)
  }

  func check(_ tensor: () -> Tensor, isNarrow: Bool = true) {
    Backends.with(backend) {
      evaluate([], slots: [qkv, bias, inner, outer, scale, shift])
      let whole = tensor(), sliced = tensor()
      Evaluator.shared.evaluate([whole], backend: backend, without: .slices)
      for (a, b) in zip(sliced.floats(), whole.floats()) { #expect(abs(a - b) <= 1e-5 * (1 + abs(b))) }
      let plan = Evaluator.shared.plan(for: [tensor()], backend: backend)
      // The network's hidden features, of all positions or of one.
      let rows = plan.steps.filter { $0.op is FusedMatMul || $0.op is MatMul || $0.op is PackedMatMul }
        .compactMap { step in step.outputs.first.map { $0.shape } }
        .filter { $0[-1] == 4 * Self.width }.map { $0.count / (4 * Self.width) }
      #expect(rows == [isNarrow ? Self.batch : Self.batch * Self.length], "\(plan)")
    }
  }

  @Test(arguments: [0, 5, 11]) func onePosition(_ position: Int) {
    check { layer(isCausal: false).at(position, axis: 1) }
    check { layer(isCausal: false, mask: mask).at(position, axis: 1) }
    check { layer(isCausal: true).at(position, axis: 1) }
  }

  /// Columns of rows; the bias of each part goes into its product as it is, though the sum is in bfloat16.
  @Test(.enabled(if: Machine.hasFastBFloat16)) func queriesOfOnePosition() {
    Backends.with(backend) {
      evaluate([x], slots: [qkv, bias])
      func output() -> Tensor {
        Autocast.with(.bfloat16) {
          let parts = (matmul(x, qkv.value * 0.1) + bias.value.cast(to: .bfloat16)).split(3, axis: -1)
            .map { $0.reshaped(Self.batch, Self.length, Self.heads, -1).swappingAxes(1, 2) }
          return attention(parts[0], parts[1], parts[2], isCausal: true).at(Self.length - 1, axis: 2)
        }
      }
      let plan = Evaluator.shared.plan(for: [output()], backend: backend)
      let products = plan.steps.filter { $0.op is FusedMatMul || $0.op is PackedMatMul }
      #expect(
        products.map { $0.outputs[0].shape.count }.sorted()
          == [Self.batch * Self.width] + [Int](repeating: Self.batch * Self.length * Self.width, count: 2),
        "\(plan)")
      #expect(products.allSatisfy { $0.inputs.last?.spec == Spec([Self.width], .float32) }, "\(plan)")
      let sliced = output(), whole = output()
      Evaluator.shared.evaluate([whole], backend: backend, without: .slices)
      for (a, b) in zip(sliced.floats(), whole.floats()) { #expect(abs(a - b) <= 0.01 * (1 + abs(b))) }
    }
  }

  @Test func positionsThatAreReadElsewhereStay() {
    check(
      {
        let y = layer(isCausal: true)
        return y.at(11, axis: 1) + y.sum([1])
      }, isNarrow: false)
  }

  @Test func slicesOfSlices() {
    Backends.with(backend) {
      func tensors() -> [Tensor] {
        let y = exp(x).transposed(2, 0, 1)  // (width, batch, length)
        let z = y.sliced(0, 3..<40)
        return [z.sliced(2, 2..<9), z.sliced(0, 1..<2), softmax(x).sliced(1, 4..<6).sliced(2, 0..<3)]
      }
      let whole = tensors()
      Evaluator.shared.evaluate(whole, backend: backend, without: .slices)
      for (a, b) in zip(tensors(), whole) { #expect(a.floats() == b.floats()) }
    }
  }
}
