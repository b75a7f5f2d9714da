import KalsaeTensors
import Testing

@Suite struct ContextTests {
  /// Known answers of the authors' Random123 (kat_vectors, philox4x32-10).
  @Test func philoxKnownAnswers() {
    let zero = Philox.block(counter: (0, 0, 0, 0), key: (0, 0))
    #expect(zero == (0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8))
    let ones = Philox.block(counter: (.max, .max, .max, .max), key: (.max, .max))
    #expect(ones == (0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd))
    let pi = Philox.block(
      counter: (0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344), key: (0xa409_3822, 0x299f_31d0))
    #expect(pi == (0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1))
  }

  @Test func keysDifferByStepAndSeed() {
    func words(_ key: RandomKey) -> [Int32] {
      guard case .buffer(let buffer) = key.tensor.node.leaf else { return [] }
      return (0..<2).map { buffer.pointer.load(fromByteOffset: $0 * 4, as: Int32.self) }
    }
    let all = (0..<4).flatMap { seed in (0..<4).map { words(RandomKey(seed: seed, step: $0)) } }
    #expect(Set(all).count == 16)
    #expect(words(RandomKey(seed: 7, step: 3)) == words(RandomKey(seed: 7, step: 3)))
    #expect(words(RandomKey(seed: 1 << 40)) != words(RandomKey(seed: 0)))
  }

  @Test func dropoutActsInTrainingOnly() {
    let x = Tensor.ones([4])
    #expect(dropout(x, probability: 0.5).node === x.node)
    let key = RandomKey(seed: 1)
    Mode.training(key) {
      #expect(Mode.isTraining)
      let a = dropout(x, probability: 0.5), b = dropout(x, probability: 0.5)
      #expect(a.node.opID != b.node.opID, "each call has a stream of its own")
      #expect(dropout(x, probability: 0).node === x.node)
      Mode.evaluation { #expect(dropout(x, probability: 0.5).node === x.node) }
    }
    #expect(!Mode.isTraining)
  }

  @Test func autocastInsertsCastsAroundProducts() {
    let x = Tensor.ones([2, 3]), w = Tensor.ones([3, 4])
    Autocast.with(.bfloat16) {
      #expect(matmul(x, w).dtype == .bfloat16)
      #expect((x + x).dtype == .float32)
      Autocast.with(nil) { #expect(matmul(x, w).dtype == .float32) }
    }
    #expect(matmul(x, w).dtype == .float32)
  }

  /// Gradients keep the operands' types, also while autocast is on and for products that it did not touch.
  @Test func gradientsUnderAutocast() {
    let x = Tensor.ones([2, 3]), w = Tensor.ones([3, 4])
    let outside = Tensor(MatMul(), x, w)
    Autocast.with(.bfloat16) {
      let inside = matmul(x, w).cast(to: .float32)
      for gradient in gradients(of: (inside + outside).sum(), withRespectTo: [x, w]) {
        #expect(gradient.dtype == .float32)
      }
      let picture = Tensor.ones([1, 4, 4, 2])
      let resized = resizeBilinear2d(picture, rows: 3, columns: 5)
      #expect(resized.dtype == .float32)
      #expect(gradients(of: resized.sum(), withRespectTo: [picture])[0].dtype == .float32)
    }
  }
}
