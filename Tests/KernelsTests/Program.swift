import CKernels

/// Builds an elementwise program and keeps its operands alive.
final class Program {
  var shape: [Int]
  var inputs: [kk_operand] = [], outputs: [kk_operand] = []
  var code: [kk_instruction] = []
  private var kept: [Storage] = []

  init(shape: [Int]) { self.shape = shape }

  @discardableResult
  func input(_ s: Storage, _ reg: Int, strides: [Int64]? = nil, offset: Int = 0) -> Program {
    inputs.append(operand(s, reg, strides, offset))
    return self
  }

  @discardableResult
  func output(_ s: Storage, _ reg: Int, strides: [Int64]? = nil, offset: Int = 0) -> Program {
    outputs.append(operand(s, reg, strides, offset))
    return self
  }

  @discardableResult
  func iota(_ reg: Int, strides: [Int64]) -> Program {
    inputs.append(kk_operand_make(nil, KK_IOTA, Int32(reg), Int32(shape.count), strides))
    return self
  }

  @discardableResult
  func mask(_ keep: UnsafeMutablePointer<kk_keep>, _ reg: Int, strides: [Int64]) -> Program {
    inputs.append(kk_operand_make(keep, KK_KEEP, Int32(reg), Int32(shape.count), strides))
    return self
  }

  @discardableResult
  func step(_ op: kk_opcode, _ dst: Int, _ a: Int, _ b: Int = -1, _ c: Int = -1) -> Program {
    code.append(kk_instruction(op: op, dst: Int32(dst), a: Int32(a), b: Int32(b), c: Int32(c)))
    return self
  }

  private func operand(_ s: Storage, _ reg: Int, _ strides: [Int64]?, _ offset: Int) -> kk_operand {
    kept.append(s)
    return kk_operand_make(
      s.data + offset * kk_dtype_size(s.type), s.type, Int32(reg), Int32(shape.count),
      strides ?? rowMajor(shape))
  }

  func run(integer: Bool = false) {
    inputs.withUnsafeBufferPointer { i in
      outputs.withUnsafeBufferPointer { o in
        code.withUnsafeBufferPointer { c in
          var e = kk_elementwise()
          e.rank = Int32(shape.count)
          e.input_count = Int32(i.count)
          e.output_count = Int32(o.count)
          e.instruction_count = Int32(c.count)
          withUnsafeMutableBytes(of: &e.shape) { bytes in
            for (d, size) in shape.enumerated() {
              bytes.storeBytes(of: Int64(size), toByteOffset: 8 * d, as: Int64.self)
            }
          }
          (e.inputs, e.outputs, e.instructions) = (i.baseAddress, o.baseAddress, c.baseAddress)
          kernels { integer ? kk_elementwise_i64(&e) : kk_elementwise_f32(&e) }
        }
      }
    }
    withExtendedLifetime(kept) {}
  }
}
