import CKernels
import COneDNN

extension kk_gemm {
  /// The product as the kernels of CKernels want it; nil where oneDNN's are to do it: without AVX-512, with several
  /// matrices, and where there are too few rows to be worth packing the right operand in every call.
  init?(_ d: conednn_matmul_desc) {
    let type = d.type.kernelType
    guard kk_gemm_is_available(type), d.n >= 32, d.k >= 16, d.packed || d.m >= 48,
      let rows = Self.joinedRows(d)
    else { return nil }
    self.init()
    (m, n, k) = (rows.count, d.n, d.k)
    (a_row, a_column) = (rows.stride, d.a_column)
    (b_row, b_column) = d.packed ? (d.n, 1) : (d.b_row, d.b_column)
    guard a_row == 1 || a_column == 1, b_row == 1 || b_column == 1 else { return nil }
    c_row = d.c_row
    (self.type, a_type, b_type, output) = (type, type, type, d.output.kernelType)
    (bias, accumulate, packed) = (d.bias, d.accumulate, d.packed)
    activation = d.activation.kernelActivation
  }

  /// All rows of a, where its batches lie behind each other like those of c and share b.
  private static func joinedRows(_ d: conednn_matmul_desc) -> (count: Int64, stride: Int64)? {
    guard d.batch_rank <= 1 else { return nil }
    guard d.batch_rank == 1, d.batch.0 > 1 else { return (d.m, d.a_row) }
    guard d.packed || d.b_batch.0 == 0 else { return nil }
    if d.m == 1 { return d.c_batch.0 == d.c_row ? (d.batch.0, d.a_batch.0) : nil }
    guard d.a_batch.0 == d.m * d.a_row, d.c_batch.0 == d.m * d.c_row else { return nil }
    return (d.batch.0 * d.m, d.a_row)
  }

  /// The arrangement that `kk_gemm_pack` makes of a right operand of this type.
  var packing: (layout: UInt64, byteCount: Int) {
    var gemm = self
    return (UInt64(type.rawValue) + 1, Int(kk_gemm_packed_bytes(&gemm)))
  }
}

extension conednn_dtype {
  fileprivate var kernelType: kk_dtype { self == CONEDNN_BF16 ? KK_BF16 : KK_F32 }
}

extension conednn_activation {
  var kernelActivation: kk_activation {
    switch self {
    case CONEDNN_RELU: KK_RELU
    case CONEDNN_SWISH: KK_SILU
    case CONEDNN_GELU_ERF: KK_GELU_ERF
    case CONEDNN_GELU_TANH: KK_GELU_TANH
    default: KK_IDENTITY
    }
  }
}
