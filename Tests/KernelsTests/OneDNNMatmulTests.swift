import COneDNN
import Testing

/// One operand as a view: its buffer's length, offset-free strides of the batch axes, rows and columns.
struct MatrixView: Sendable {
  var batch: [Int] = []
  var row: Int, column: Int
}

/// A product with every stride explicit.
struct MatmulCase: CustomTestStringConvertible, Sendable {
  var batch: [Int] = []
  var m = 5, k = 7, n = 9
  var a: MatrixView, b: MatrixView, c: MatrixView
  var label: String
  var testDescription: String { "\(label) \(batch) x (\(m), \(k), \(n))" }

  /// Dense operands, A or B stored transposed on request.
  static func dense(_ batch: [Int], _ m: Int, _ k: Int, _ n: Int, _ form: String = "NN") -> MatmulCase {
    func strides(_ matrix: Int) -> [Int] {
      batch.indices.map { matrix * batch[($0 + 1)...].reduce(1, *) }
    }
    let a = Array(form)[0] == "T", b = Array(form)[1] == "T"
    return MatmulCase(
      batch: batch, m: m, k: k, n: n,
      a: MatrixView(batch: strides(m * k), row: a ? 1 : k, column: a ? m : 1),
      b: MatrixView(batch: strides(k * n), row: b ? 1 : n, column: b ? k : 1),
      c: MatrixView(batch: strides(m * n), row: n, column: 1), label: form)
  }

  func with(_ label: String, _ change: (inout MatmulCase) -> Void) -> MatmulCase {
    var copy = self
    copy.label = label
    change(&copy)
    return copy
  }

  func desc(_ type: conednn_dtype, output: conednn_dtype? = nil) -> conednn_matmul_desc {
    var desc = conednn_matmul_desc()
    (desc.m, desc.k, desc.n) = (Int64(m), Int64(k), Int64(n))
    desc.batch_rank = Int32(batch.count)
    desc.batch = four(batch)
    desc.a_batch = four(a.batch)
    desc.b_batch = four(b.batch)
    desc.c_batch = four(c.batch)
    (desc.a_row, desc.a_column) = (Int64(a.row), Int64(a.column))
    (desc.b_row, desc.b_column) = (Int64(b.row), Int64(b.column))
    desc.c_row = Int64(c.row)
    desc.type = type
    desc.output = output ?? type
    return desc
  }

  private func four(_ x: [Int]) -> (Int64, Int64, Int64, Int64) {
    let y = x.map(Int64.init) + [0, 0, 0, 0]
    return (y[0], y[1], y[2], y[3])
  }

  /// Elements from the first to the last that a view of `rows` x `columns` touches.
  func extent(_ view: MatrixView, _ rows: Int, _ columns: Int) -> Int {
    zip(batch, view.batch).reduce(1 + (rows - 1) * view.row + (columns - 1) * view.column) {
      $0 + ($1.0 - 1) * $1.1
    }
  }

  /// Offsets of each batch entry in A, B and C.
  var offsets: [(a: Int, b: Int, c: Int)] {
    batch.indices.reduce([(0, 0, 0)]) { partial, axis in
      partial.flatMap { base in
        (0..<batch[axis]).map {
          (base.0 + $0 * a.batch[axis], base.1 + $0 * b.batch[axis], base.2 + $0 * c.batch[axis])
        }
      }
    }
  }
}

/// A handle with its scratch and packed weights.
final class Matmul {
  let handle: OpaquePointer
  let scratch: Bytes, packed: Bytes
  var info: conednn_matmul_info { conednn_matmul_get_info(handle) }

  init(_ desc: conednn_matmul_desc) throws {
    handle = try checked { message, capacity in
      withUnsafePointer(to: desc) { conednn_matmul_create($0, message, capacity) }
    }
    let info = conednn_matmul_get_info(handle)
    scratch = Bytes(count: info.scratch_bytes)
    packed = Bytes(count: info.packed_bytes)
  }
  deinit { conednn_matmul_destroy(handle) }

  func pack(_ b: Values, row: Int, column: Int) throws {
    // The optimizer may free an object after its last use, which reading its pointer would be.
    try withExtendedLifetime((self, b)) {
      try checkedStatus {
        conednn_matmul_pack(handle, b.pointer, b.type, Int64(row), Int64(column), packed.pointer, $0, $1)
      }
    }
  }

  func run(_ a: Values, _ b: UnsafeRawPointer, _ bias: Values?, _ c: Values) throws {
    try withExtendedLifetime((self, a, bias, c)) {
      try checkedStatus {
        conednn_matmul_run(handle, a.pointer, b, bias?.pointer, c.pointer, scratch.pointer, $0, $1)
      }
    }
    #expect(
      scratch.isGuardIntact && packed.isGuardIntact, "a kernel wrote past its scratch or packed weights")
    #expect(c.bytes.isGuardIntact, "a kernel wrote past C")
  }
}

/// Error of one run of `desc` against loops in Double; elements of C's buffer outside the view must stay.
func product(_ shape: MatmulCase, _ desc: conednn_matmul_desc, packedFrom source: conednn_dtype? = nil) throws
  -> Double
{
  let a = noise(shape.extent(shape.a, shape.m, shape.k), seed: 1)
  let b = noise(shape.extent(shape.b, shape.k, shape.n), seed: 2)
  let old = noise(shape.extent(shape.c, shape.m, shape.n), seed: 3), bias = noise(shape.n, seed: 4)
  var expected = old
  for offset in shape.offsets {
    for i in 0..<shape.m {
      for j in 0..<shape.n {
        let at = offset.c + i * shape.c.row + j
        var sum = (desc.accumulate ? old[at] : 0) + (desc.bias ? bias[j] : 0)
        for l in 0..<shape.k {
          sum +=
            a[offset.a + i * shape.a.row + l * shape.a.column]
            * b[offset.b + l * shape.b.row + j * shape.b.column]
        }
        expected[at] = activate(desc.activation, sum)
      }
    }
  }
  let matmul = try Matmul(desc)
  let c = Values(old, desc.output), storedB = Values(b, source ?? desc.type)
  var right = UnsafeRawPointer(storedB.pointer)
  if let source {
    #expect(source == storedB.type)
    try matmul.pack(storedB, row: shape.b.row, column: shape.b.column)
    right = UnsafeRawPointer(matmul.packed.pointer)
  }
  try withExtendedLifetime((storedB, matmul)) {
    try matmul.run(Values(a, desc.type), right, desc.bias ? Values(bias, CONEDNN_F32) : nil, c)
  }
  return relativeError(c.doubles, expected)
}

let matmulTypes: [(conednn_dtype, conednn_dtype)] =
  [(CONEDNN_F32, CONEDNN_F32)]
  + (conednn_bf16_fast() ? [(CONEDNN_BF16, CONEDNN_BF16), (CONEDNN_BF16, CONEDNN_F32)] : [])

@Suite("oneDNN matmul", .serialized) struct OneDNNMatmulTests {
  static let plain =
    ["NN", "NT", "TN", "TT"].flatMap { form in
      [
        MatmulCase.dense([], 5, 7, 9, form), .dense([], 1, 33, 65, form), .dense([], 64, 1, 3, form),
        .dense([], 17, 64, 1, form), .dense([3], 8, 16, 24, form), .dense([2, 3], 6, 10, 4, form),
        .dense([], 1, 1, 1, form),
      ]
    }

  static let views: [MatmulCase] = [
    // Attention: (b, t, h, d) stored, heads as batch, for q k^T and for p v.
    MatmulCase(
      batch: [2, 3], m: 7, k: 8, n: 7, a: MatrixView(batch: [7 * 24, 8], row: 24, column: 1),
      b: MatrixView(batch: [7 * 24, 8], row: 1, column: 24),
      c: MatrixView(batch: [3 * 49, 49], row: 7, column: 1), label: "q k^T"),
    MatmulCase(
      batch: [2, 3], m: 7, k: 7, n: 8, a: MatrixView(batch: [3 * 49, 49], row: 7, column: 1),
      b: MatrixView(batch: [7 * 24, 8], row: 24, column: 1),
      c: MatrixView(batch: [7 * 24, 8], row: 24, column: 1), label: "p v"),
    // One weight for all of a batch, and one left operand for all.
    MatmulCase.dense([4, 3], 5, 6, 10).with("broadcast B") { $0.b.batch = [0, 0] },
    MatmulCase.dense([4, 3], 5, 6, 10).with("broadcast A") { $0.a.batch = [0, 0] },
    MatmulCase.dense([4, 3], 5, 6, 10).with("broadcast B over heads") { $0.b.batch = [60, 0] },
    MatmulCase.dense([4, 3], 5, 6, 10).with("broadcast A over batch") { $0.a.batch = [0, 30] },
    MatmulCase.dense([4], 1, 6, 10).with("vectors, broadcast B") { $0.b.batch = [0] },
    MatmulCase.dense([2, 1, 3, 2], 4, 5, 6).with("rank 4") { _ in },
    // Rows inside wider rows, C too; and operands that no kernel reads in place.
    MatmulCase(
      m: 6, k: 5, n: 4, a: MatrixView(row: 11, column: 1), b: MatrixView(row: 13, column: 1),
      c: MatrixView(row: 9, column: 1), label: "wide rows"),
    MatmulCase(
      m: 6, k: 5, n: 4, a: MatrixView(row: 20, column: 3), b: MatrixView(row: 2, column: 17),
      c: MatrixView(row: 4, column: 1), label: "no unit stride"),
    MatmulCase(
      batch: [3], m: 6, k: 5, n: 4, a: MatrixView(batch: [1], row: 15, column: 3),
      b: MatrixView(batch: [0], row: 8, column: 2), c: MatrixView(batch: [24], row: 4, column: 1),
      label: "batch innermost"),
  ]

  @Test(arguments: plain + views, matmulTypes)
  func strides(shape: MatmulCase, types: (conednn_dtype, conednn_dtype)) throws {
    #expect(try product(shape, shape.desc(types.0, output: types.1)) < tolerance(types.1))
  }

  @Test(arguments: matmulTypes)
  func postOps(types: (conednn_dtype, conednn_dtype)) throws {
    // Sizes on both sides of the rule between the two kernel families, and a strided batch.
    let shapes = [
      MatmulCase.dense([], 13, 24, 40), .dense([], 1, 40, 64, "NT"), .dense([], 64, 1024, 1024),
      .dense([2], 6, 8, 16),
    ]
    for shape in shapes {
      for activation in [CONEDNN_IDENTITY, CONEDNN_RELU, CONEDNN_SWISH, CONEDNN_GELU_ERF, CONEDNN_GELU_TANH] {
        for (bias, accumulate) in [(false, false), (true, false), (false, true), (true, true)] {
          if shape.k > 100 && !(bias && accumulate) { continue }
          var desc = shape.desc(types.0, output: types.1)
          (desc.bias, desc.accumulate, desc.activation) = (bias, accumulate, activation)
          let error = try product(shape, desc)
          // The library's erf and exp polynomials are good to about 1e-6 of the result.
          #expect(
            error < max(tolerance(types.1), 4e-6),
            "\(shape), act \(activation), bias \(bias), sum \(accumulate)")
        }
      }
    }
  }

  @Test(arguments: matmulTypes)
  func packedB(types: (conednn_dtype, conednn_dtype)) throws {
    var shapes = ["NN", "NT"].flatMap {
      [MatmulCase.dense([], 5, 7, 9, $0), .dense([], 1, 100, 70, $0), .dense([], 33, 64, 96, $0)]
    }
    shapes.append(MatmulCase.dense([2, 3], 4, 8, 12).with("folded batch") { $0.b.batch = [0, 0] })
    shapes.append(
      MatmulCase(
        batch: [3], m: 4, k: 8, n: 12, a: MatrixView(batch: [40], row: 8, column: 1),
        b: MatrixView(batch: [0], row: 12, column: 1), c: MatrixView(batch: [48], row: 12, column: 1),
        label: "batch with gaps"))
    for shape in shapes {
      for source in types.0 == CONEDNN_BF16 ? [CONEDNN_F32, CONEDNN_BF16] : [CONEDNN_F32] {
        var desc = shape.desc(types.0, output: types.1)
        desc.packed = true
        desc.bias = true
        #expect(try product(shape, desc, packedFrom: source) < tolerance(types.1), "\(shape) from \(source)")
      }
    }
  }

  @Test func packedLayoutTellsInterchangeableHandles() throws {
    func layout(_ m: Int, _ n: Int) throws -> UInt64 {
      var desc = MatmulCase.dense([], m, 64, n).desc(CONEDNN_F32)
      desc.packed = true
      return try Matmul(desc).info.packed_layout
    }
    #expect(try layout(32, 96) == layout(32, 96))
    #expect(try layout(32, 96) != layout(32, 80))
  }

  @Test(.enabled(if: conednn_bf16_fast())) func panelsAreWhereTheyAreSaidToBe() throws {
    let (k, n) = (70, 130)
    var desc = MatmulCase.dense([], 3, k, n).desc(CONEDNN_BF16, output: CONEDNN_F32)
    desc.packed = true
    let matmul = try Matmul(desc), b = Values(noise(k * n, seed: 5), CONEDNN_BF16)
    let panel = Int(matmul.info.packed_panel)
    #expect(panel == 96 * 64)
    try matmul.pack(b, row: n, column: 1)
    withExtendedLifetime((matmul, b)) {
      let packed = matmul.packed.pointer.assumingMemoryBound(to: UInt16.self)
      let values = b.pointer.assumingMemoryBound(to: UInt16.self)
      for l in 0..<96 {
        for i in 0..<192 {
          let at = i / 64 * panel + (l / 2 * 64 + i % 64) * 2 + l % 2
          #expect(packed[at] == (l < k && i < n ? values[l * n + i] : 0))
        }
      }
    }
  }

  @Test func failuresSayWhy() throws {
    func message(_ change: (inout conednn_matmul_desc) -> Void) -> String {
      var desc = MatmulCase.dense([2], 3, 4, 5).desc(CONEDNN_F32)
      change(&desc)
      do {
        _ = try Matmul(desc)
        return ""
      } catch {
        return "\(error)"
      }
    }
    #expect(message { $0.m = 0 }.contains("every dimension must be positive"))
    #expect(message { $0.batch.0 = 0 }.contains("every dimension must be positive"))
    #expect(message { $0.output = CONEDNN_BF16 }.contains("float32 operands have float32 output"))
    #expect(message { $0.c_row = 4 }.contains("rows of C overlap"))
    #expect(message { $0.batch_rank = 5 }.contains("too many batch axes"))
    #expect(message { $0.a_row = 0 }.contains("strides of A and B must be positive"))
    #expect(message { $0.c_batch.0 = 0 }.contains("batch strides"))
    #expect(message { _ in }.isEmpty)

    let matmul = try Matmul(MatmulCase.dense([], 3, 4, 5).desc(CONEDNN_F32))
    let a = Values(noise(12, seed: 1), CONEDNN_F32), b = Values(noise(20, seed: 2), CONEDNN_F32)
    let c = Values(count: 15, CONEDNN_F32)
    #expect(throws: OneDNNError.self) {
      try withExtendedLifetime(b) { try matmul.run(a, b.pointer, Values(noise(5, seed: 3), CONEDNN_F32), c) }
    }
    #expect(throws: OneDNNError.self) { try matmul.pack(b, row: 5, column: 1) }
  }
}
