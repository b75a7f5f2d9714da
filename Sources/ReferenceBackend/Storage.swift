import KalsaeRuntime
import KalsaeTensors

extension DType {
  /// The nearest number that an element of this type holds: floats round to nearest even, as the kernels do from
  /// float32; integers wrap.
  func rounded(_ value: Double) -> Double {
    switch self {
    case .float32: return Double(Float(value))
    case .bfloat16: return Double(float(bfloat16: bfloat16Bits(Float(value))))
    case .float16: return Double(float(float16: float16Bits(Float(value))))
    case .int32: return Double(Int32(truncatingIfNeeded: wide(value)))
    case .int64: return Double(wide(value))
    case .uint8: return Double(UInt8(truncatingIfNeeded: wide(value)))
    case .bool: return value != 0 ? 1 : 0
    }
  }

  /// A float as an element of this type; integers truncate towards zero and saturate, and NaN becomes 0.
  func converted(fromFloat value: Double) -> Double {
    func saturated(_ low: Double, _ high: Double) -> Double {
      value.isNaN ? 0 : Swift.min(Swift.max(value.rounded(.towardZero), low), high)
    }
    switch self {
    case .float32, .bfloat16, .float16: return value
    case .int32: return saturated(Double(Int32.min), Double(Int32.max))
    case .int64: return saturated(Double(Int64.min), Double(Int64.max))
    case .uint8: return saturated(0, 255)
    case .bool: return value != 0 ? 1 : 0
    }
  }
}

/// The integer that `value` is, saturated at the ends of Int64.
private func wide(_ value: Double) -> Int64 {
  Int64(exactly: value) ?? (value > 0 ? .max : .min)
}

extension NDArray {
  /// The elements at `pointer`, in row-major order unless `strides` say otherwise.
  package init(_ spec: Spec, at pointer: UnsafeRawPointer, strides: [Int]? = nil) {
    let places = spec.shape.offsets(strides: strides ?? spec.shape.strides)
    func load<T: BitwiseCopyable>(_: T.Type, _ convert: (T) -> Double) -> [Double] {
      places.map { convert(pointer.loadUnaligned(fromByteOffset: $0 * MemoryLayout<T>.stride, as: T.self)) }
    }
    let values =
      switch spec.dtype {
      case .float32: load(Float.self) { Double($0) }
      case .bfloat16: load(UInt16.self) { Double(float(bfloat16: $0)) }
      case .float16: load(UInt16.self) { Double(float(float16: $0)) }
      case .int32: load(Int32.self) { Double($0) }
      case .int64: load(Int64.self) { Double($0) }
      case .uint8: load(UInt8.self) { Double($0) }
      case .bool: load(UInt8.self) { $0 != 0 ? 1 : 0 }
      }
    self.init(spec.shape, spec.dtype, values)
  }

  /// Writes the elements to `pointer`, each rounded to the element type.
  package func store(at pointer: UnsafeMutableRawPointer, strides: [Int]? = nil) {
    let places = shape.offsets(strides: strides ?? shape.strides)
    func store<T: BitwiseCopyable>(_ convert: (Double) -> T) {
      for (value, place) in zip(values, places) {
        pointer.storeBytes(of: convert(value), toByteOffset: place * MemoryLayout<T>.stride, as: T.self)
      }
    }
    switch dtype {
    case .float32: store { Float($0) }
    case .bfloat16: store { bfloat16Bits(Float($0)) }
    case .float16: store { float16Bits(Float($0)) }
    case .int32: store { Int32(truncatingIfNeeded: wide($0)) }
    case .int64: store { wide($0) }
    case .uint8: store { UInt8(truncatingIfNeeded: wide($0)) }
    case .bool: store { UInt8($0 != 0 ? 1 : 0) }
    }
  }

  /// Each value rounded to the element type.
  public func rounded() -> NDArray { NDArray(shape, dtype, values.map { dtype.rounded($0) }) }

  /// A tensor with these values, rounded to the element type.
  public func tensor() -> Tensor {
    let buffer = Buffer(byteCount: spec.byteCount)
    store(at: buffer.pointer)
    return Tensor(buffer, spec)
  }
}
