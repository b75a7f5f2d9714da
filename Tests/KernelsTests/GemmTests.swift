import CKernels
import Foundation
import Testing

/// The matrix product against sums in Double.
@Suite(.enabled(if: kk_gemm_is_available(KK_F32), "this processor has no AVX-512")) struct GemmTests {
  /// Extents that fill no tile and no vector, several panels, blocks and parts of k.
  static let extents: [(m: Int, n: Int, k: Int)] = [
    (1, 1, 1), (3, 33, 7), (14, 32, 16), (15, 31, 17), (29, 100, 65), (61, 1100, 5), (5, 70, 1200),
    (70, 40, 2051),
  ]

  @Test(arguments: extents)
  func products(_ extents: (m: Int, n: Int, k: Int)) {
    let (m, n, k) = extents
    for type in [KK_F32, KK_BF16] where kk_gemm_is_available(type) {
      for (aIsTransposed, bIsTransposed) in [(false, false), (false, true), (true, false), (true, true)] {
        check(Product(m, n, k, type, aIsTransposed, bIsTransposed))
      }
    }
  }

  @Test(arguments: [KK_IDENTITY, KK_RELU, KK_SILU, KK_GELU_ERF, KK_GELU_TANH])
  func epilogues(_ activation: kk_activation) {
    for (m, n, k) in [(17, 45, 20), (4, 64, 1100)] {
      for type in [KK_F32, KK_BF16] where kk_gemm_is_available(type) {
        for output in type == KK_F32 ? [KK_F32] : [KK_F32, KK_BF16] {
          for (bias, accumulates) in [(false, false), (true, false), (false, true), (true, true)] {
            var product = Product(m, n, k, type, false, true)
            (product.output, product.hasBias, product.accumulates) = (output, bias, accumulates)
            product.activation = activation
            check(product)
          }
        }
      }
    }
  }

  /// Float32 operands are rounded on the way; packed ones multiply like those that lie as they are.
  @Test func storage() {
    for (m, n, k) in [(20, 50, 33), (30, 40, 1301)] {
      for type in [KK_F32, KK_BF16] where kk_gemm_is_available(type) {
        for stored in type == KK_F32 ? [KK_F32] : [KK_F32, KK_BF16] {
          for isPacked in [false, true] {
            for transposed in [false, true] {
              var product = Product(m, n, k, type, transposed, transposed)
              (product.stored, product.isPacked) = (stored, isPacked)
              check(product)
            }
          }
        }
      }
    }
  }

  /// Every split among threads gives the same bits.
  @Test func threads() {
    let product = Product(100, 300, 70, KK_F32, false, false)
    let one = result(of: product, threads: 1)
    for threads in [2, 3, 6] {
      #expect(result(of: product, threads: threads) == one, "\(threads) threads")
    }
  }

  struct Product {
    let m, n, k: Int, type: kk_dtype
    let aIsTransposed, bIsTransposed: Bool
    var output = KK_F32, stored: kk_dtype
    var hasBias = false, accumulates = false, isPacked = false
    var activation = KK_IDENTITY

    init(_ m: Int, _ n: Int, _ k: Int, _ type: kk_dtype, _ aIsTransposed: Bool, _ bIsTransposed: Bool) {
      (self.m, self.n, self.k, self.type, stored) = (m, n, k, type, type)
      (self.aIsTransposed, self.bIsTransposed) = (aIsTransposed, bIsTransposed)
    }
  }

  /// Operands with gaps behind their rows.
  private struct Operands {
    let a, b, bias, c: Storage
    var gemm = kk_gemm()

    init(_ p: Product) {
      var random = Seeded(90)
      let gap = 5
      let (aPitch, bPitch) = ((p.aIsTransposed ? p.m : p.k) + gap, (p.bIsTransposed ? p.k : p.n) + gap)
      a = Storage(random.values(aPitch * (p.aIsTransposed ? p.k : p.m)), p.stored)
      b = Storage(random.values(bPitch * (p.bIsTransposed ? p.n : p.k)), p.stored)
      bias = Storage(random.values(p.n))
      c = Storage(random.values(p.m * (p.n + gap)), p.output)
      (gemm.m, gemm.n, gemm.k) = (Int64(p.m), Int64(p.n), Int64(p.k))
      (gemm.a_row, gemm.a_column) = p.aIsTransposed ? (1, Int64(aPitch)) : (Int64(aPitch), 1)
      (gemm.b_row, gemm.b_column) = p.bIsTransposed ? (1, Int64(bPitch)) : (Int64(bPitch), 1)
      gemm.c_row = Int64(p.n + gap)
      (gemm.type, gemm.a_type, gemm.b_type, gemm.output) = (p.type, p.stored, p.stored, p.output)
      (gemm.bias, gemm.accumulate, gemm.packed) = (p.hasBias, p.accumulates, p.isPacked)
      gemm.activation = p.activation
    }

    func a(_ i: Int, _ p: Int) -> Double { rounded(a.get(i * Int(gemm.a_row) + p * Int(gemm.a_column))) }
    func b(_ p: Int, _ j: Int) -> Double { rounded(b.get(p * Int(gemm.b_row) + j * Int(gemm.b_column))) }
    private func rounded(_ x: Double) -> Double {
      gemm.type == KK_F32 ? x : Double(Float(bitPattern: UInt32(bfloat16Bits(Float(x))) << 16))
    }

    func run() {
      let gemm = gemm
      kernels { [a, b, bias, c] in
        var gemm = gemm
        var right: UnsafeRawPointer = UnsafeRawPointer(b.data)
        let packed = Storage(KK_U8, count: Int(kk_gemm_packed_bytes(&gemm)) + 64)
        if gemm.packed {
          kk_gemm_pack(&gemm, b.data, aligned(packed.data))
          right = UnsafeRawPointer(aligned(packed.data))
        }
        let scratch = Storage(KK_U8, count: Int(kk_gemm_scratch(&gemm)) + 64)
        kk_gemm_run(&gemm, a.data, right, bias.floats, c.data, aligned(scratch.data))
      }
    }
  }

  private func result(of product: Product, threads: Int) -> [Double] {
    let operands = Operands(product)
    kernels { kk_set_threads(Int32(threads)) }
    operands.run()
    kernels { kk_set_threads(2) }
    return (0..<product.m * product.n).map {
      operands.c.get($0 / product.n * Int(operands.gemm.c_row) + $0 % product.n)
    }
  }

  private func check(_ p: Product, sourceLocation: SourceLocation = #_sourceLocation) {
    let operands = Operands(p), pitch = Int(operands.gemm.c_row)
    var expected: [(value: Double, size: Double)] = []
    let rows = (0..<p.m).map { i in (0..<p.k).map { operands.a(i, $0) } }
    for j in 0..<p.n {
      let column = (0..<p.k).map { operands.b($0, j) }
      for i in 0..<p.m {
        var sum = 0.0, size = 0.0
        for (x, y) in zip(rows[i], column) { (sum, size) = (sum + x * y, size + abs(x * y)) }
        for term in [p.hasBias ? operands.bias.get(j) : 0, p.accumulates ? operands.c.get(i * pitch + j) : 0]
        {
          (sum, size) = (sum + term, size + abs(term))
        }
        expected.append((p.activation.value(sum), size))
      }
    }
    let gaps = (0..<p.m).map { operands.c.get($0 * pitch + p.n) }
    operands.run()
    var worst = 0.0
    for (index, (value, size)) in expected.enumerated() {
      let (j, i) = (index / p.m, index % p.m)
      let error = abs(operands.c.get(i * pitch + j) - value)
      worst = max(worst, error / (1e-6 * size + p.output.epsilon * abs(value)))
    }
    #expect(worst <= 1, "\(p)", sourceLocation: sourceLocation)
    #expect((0..<p.m).map { operands.c.get($0 * pitch + p.n) } == gaps, "wrote behind a row")
  }
}

extension kk_activation {
  fileprivate func value(_ x: Double) -> Double {
    switch self {
    case KK_RELU: max(x, 0)
    case KK_SILU: x / (1 + exp(-x))
    case KK_GELU_ERF: 0.5 * x * (1 + erf(x / 2.0.squareRoot()))
    case KK_GELU_TANH: 0.5 * x * (1 + tanh((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
    default: x
    }
  }
}

private func aligned(_ p: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer {
  p.alignedUp(toMultipleOf: 64)
}
