import KalsaeFormats
import KalsaeRuntime
import KalsaeTensors

extension SafetensorsFile {
  /// The tensor `name`, in its own element type or, floating-point, in another.
  ///
  /// Without a conversion it lies in the mapped file itself and keeps that mapped.
  public func tensor(_ name: String, as dtype: DType? = nil) throws(SafetensorsError) -> Tensor {
    let bytes = try bytes(of: name)
    let found = self[name]!
    guard let dtype = dtype ?? found.dtype.tensorType, found.dtype.converts(to: dtype) else {
      throw SafetensorsError(path, key: name, .notConvertible(found.dtype, to: dtype))
    }
    let spec = Spec(Shape(found.shape), dtype)
    if let mapped = bytes.buffer(of: found.dtype, as: dtype) { return Tensor(mapped, spec) }
    let copy = Buffer(byteCount: spec.byteCount)
    bytes.withUnsafeBytes { copyElements($0, found.dtype, to: copy, dtype, count: spec.shape.count) }
    return Tensor(copy, spec)
  }

  /// Every tensor of the file in its own element type.
  public func tensors() throws(SafetensorsError) -> [String: Tensor] {
    var tensors: [String: Tensor] = [:]
    for name in names { tensors[name] = try tensor(name) }
    return tensors
  }
}

extension MappedBytes {
  /// These bytes as a tensor's memory, when type and alignment allow it.
  fileprivate func buffer(of type: SafetensorsDType, as dtype: DType) -> Buffer? {
    guard type == dtype.safetensors, let base = file.unsafeBytes.baseAddress, !range.isEmpty else {
      return nil
    }
    let start = UnsafeMutableRawPointer(mutating: base + range.lowerBound)
    guard UInt(bitPattern: start).isMultiple(of: UInt(dtype.byteCount)) else { return nil }
    return Buffer(pointer: start, byteCount: count, owner: file)
  }
}

extension SafetensorsWriter {
  /// Adds a tensor; it is evaluated when the file is written, if that has not been done.
  public mutating func add(_ name: String, _ tensor: Tensor) {
    add(name, tensor.dtype.safetensors, tensor.shape.dimensions) { write in
      try tensor.withElements { pointer in
        try write(UnsafeRawBufferPointer(start: pointer, count: tensor.spec.byteCount))
      }
    }
  }
}

/// Writes tensors to a safetensors file, atomically.
public func saveTensors(
  _ tensors: [String: Tensor], to path: String, metadata: [String: String] = [:]
) throws(SafetensorsError) {
  var writer = SafetensorsWriter(metadata: metadata)
  for (name, tensor) in tensors { writer.add(name, tensor) }
  try writer.writeOwn(to: path)
}

extension SafetensorsWriter {
  /// `write(to:)` for sources that have no errors of their own.
  func writeOwn(to path: String) throws(SafetensorsError) {
    do { try write(to: path) } catch let error as SafetensorsError { throw error } catch {
      fatalError("safetensors: \(error)")
    }
  }
}
