import KalsaeFormats
import KalsaeRuntime
import KalsaeTensors

extension DType {
  /// The same type in a safetensors file.
  public var safetensors: SafetensorsDType {
    switch self {
    case .float32: .float32
    case .bfloat16: .bfloat16
    case .float16: .float16
    case .int32: .int32
    case .int64: .int64
    case .uint8: .uint8
    case .bool: .bool
    }
  }
}

extension SafetensorsDType {
  /// The tensor type of the same bits, if there is one.
  public var tensorType: DType? { DType.allCases.first { $0.safetensors == self } }

  /// Whether a tensor of this type can be read as one of `dtype`: the same type, or both floating-point.
  func converts(to dtype: DType) -> Bool {
    let isReadableFloat = self == .float64 || tensorType?.isFloatingPoint == true
    return tensorType == dtype || isReadableFloat && dtype.isFloatingPoint
  }
}

/// Copies `count` elements, converting floating-point types by rounding to nearest even.
///
/// `source` need not be aligned; the types must fit by `converts(to:)`.
func copyElements(
  _ source: UnsafeRawBufferPointer, _ type: SafetensorsDType, to destination: Buffer, _ dtype: DType,
  count: Int
) {
  guard let base = source.baseAddress, count > 0 else { return }
  switch type {
  case dtype.safetensors: destination.pointer.copyMemory(from: base, byteCount: count * dtype.byteCount)
  case .float64:
    storeFloats(to: destination, dtype, count) {
      Float(base.loadUnaligned(fromByteOffset: 8 * $0, as: Double.self))
    }
  case .float32:
    storeFloats(to: destination, dtype, count) { base.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
  case .bfloat16:
    storeFloats(to: destination, dtype, count) {
      float(bfloat16: base.loadUnaligned(fromByteOffset: 2 * $0, as: UInt16.self))
    }
  case .float16:
    storeFloats(to: destination, dtype, count) {
      float(float16: base.loadUnaligned(fromByteOffset: 2 * $0, as: UInt16.self))
    }
  default: fatalError("safetensors: \(type.rawValue) does not convert to \(dtype)")
  }
}

/// Inlined, so that each pair of types becomes a loop of its own.
@inline(__always)
private func storeFloats(to destination: Buffer, _ dtype: DType, _ count: Int, _ load: (Int) -> Float) {
  let pointer = destination.pointer
  switch dtype {
  case .float32:
    let elements = pointer.bindMemory(to: Float.self, capacity: count)
    for i in 0..<count { elements[i] = load(i) }
  case .bfloat16:
    let elements = pointer.bindMemory(to: UInt16.self, capacity: count)
    for i in 0..<count { elements[i] = bfloat16Bits(load(i)) }
  case .float16:
    let elements = pointer.bindMemory(to: UInt16.self, capacity: count)
    for i in 0..<count { elements[i] = float16Bits(load(i)) }
  default: fatalError("safetensors: floating-point elements do not convert to \(dtype)")
  }
}
