import KalsaeTensors

extension Tensor {
  /// The elements in row-major order; evaluates the tensor if that has not been done. Traps when `T` is not its type.
  public func array<T: Element>(of type: T.Type) -> [T] {
    require(T.dtype == dtype, "array: a tensor of \(dtype) read as \(T.dtype)")
    return withElements { pointer in
      Array(UnsafeBufferPointer(start: pointer.assumingMemoryBound(to: T.self), count: count))
    }
  }

  /// The elements of any type as float32.
  public func floats() -> [Float] {
    switch dtype {
    case .float32: array(of: Float.self)
    case .bfloat16:
      withElements { p in (0..<count).map { float(bfloat16: p.load(fromByteOffset: 2 * $0, as: UInt16.self)) }
      }
    case .float16:
      withElements { p in (0..<count).map { float(float16: p.load(fromByteOffset: 2 * $0, as: UInt16.self)) }
      }
    case .int32: array(of: Int32.self).map(Float.init)
    case .int64: array(of: Int64.self).map(Float.init)
    case .uint8: array(of: UInt8.self).map(Float.init)
    case .bool: array(of: Bool.self).map { $0 ? 1 : 0 }
    }
  }

  /// The only element.
  public func item() -> Double {
    require(count == 1, "item: a tensor of shape \(shape) is not one number")
    return switch dtype {
    case .int32: Double(array(of: Int32.self)[0])
    case .int64: Double(array(of: Int64.self)[0])
    default: Double(floats()[0])
    }
  }

  /// The bytes of the elements in row-major order; evaluates the tensor if that has not been done.
  public func withElements<R>(_ body: (UnsafeRawPointer) throws -> R) rethrows -> R {
    let buffer = evaluatedBuffer()
    return try withExtendedLifetime(buffer) { try body(UnsafeRawPointer(buffer.pointer)) }
  }

  private func evaluatedBuffer() -> Buffer {
    if case .buffer(let buffer) = node.leaf { return buffer }
    if node.storage == nil, !(node.op is Leaf) { evaluate(self) }
    if let storage = node.storage { return storage[index] }
    // A copy: the memory of a slot changes with the next update.
    let copy = Tensor(Identity(), self)
    evaluate(copy)
    return copy.node.storage![0]
  }
}

extension Slot {
  /// Commits the pending value, if any.
  public func settle() { evaluate([], slots: [self]) }
}
