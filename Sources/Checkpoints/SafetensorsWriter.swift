import KalsaeFormats
import KalsaeTensors

/// Writes a safetensors file: tensors ordered by descending element width, then by name, as the reference
/// implementation does, so that the same tensors give the same bytes.
///
///     var writer = SafetensorsWriter(metadata: ["format": "pt"])
///     try writer.add("weight", .float32, [2, 3]) { write in try write(bytes) }
///     try writer.write(to: "model.safetensors")
public struct SafetensorsWriter {
  /// Passes a tensor's bytes, in as many pieces as suit it, to `write`.
  public typealias Source = (_ write: (UnsafeRawBufferPointer) throws -> Void) throws -> Void

  private var tensors: [(tensor: SafetensorsTensor, source: Source)] = []
  private let metadata: [String: String]

  public init(metadata: [String: String] = [:]) { self.metadata = metadata }

  /// Adds a tensor whose bytes (little-endian, row-major) `source` gives when the file is written.
  ///
  /// A negative extent, a size that overflows and a name reserved by the format are programmer errors.
  public mutating func add(
    _ name: String, _ dtype: SafetensorsDType, _ shape: [Int], source: @escaping Source
  ) {
    guard let count = dtype.byteCount(of: shape) else {
      fatalError("safetensors: '\(name)': \(dtype.rawValue) \(shape) has no size in whole bytes")
    }
    require(name != "__metadata__", "safetensors: the name '__metadata__' is reserved")
    tensors.append((SafetensorsTensor(name: name, dtype: dtype, shape: shape, range: 0..<count), source))
  }

  /// Writes the file atomically: on any error `path` is as before. Two tensors of one name are refused, and so is a
  /// source that gives too few or too many bytes. Errors of a source pass through; others are `SafetensorsError`.
  public func write(to path: String) throws {
    let ordered = tensors.sorted { a, b in
      a.tensor.dtype == b.tensor.dtype
        ? JSON.ascending(a.tensor.name, b.tensor.name) : a.tensor.dtype > b.tensor.dtype
    }
    var names: Set<String> = []
    for (tensor, _) in ordered where !names.insert(tensor.name).inserted {
      throw SafetensorsError(path, key: tensor.name, .duplicateKey)
    }
    let header = self.header(ordered.map(\.tensor))
    do {
      let file = try AtomicFile(path: path)
      try withUnsafeBytes(of: UInt64(header.count).littleEndian) { try file.write($0) }
      try file.write(header)
      for (tensor, source) in ordered { try Self.write(tensor, source, to: file) }
      try file.commit()
    } catch let error as FileError { throw SafetensorsError(path, .file(error)) }
  }

  private static func write(_ tensor: SafetensorsTensor, _ source: Source, to file: AtomicFile) throws {
    var written = 0
    try source { bytes in
      try file.write(bytes)
      written += bytes.count
    }
    guard written == tensor.range.count else {
      throw SafetensorsError(
        file.path, key: tensor.name,
        .sizeMismatch(tensor.dtype, shape: tensor.shape, expected: tensor.range.count, found: written))
    }
  }

  /// The JSON header, padded with spaces so that the data start at a multiple of 8.
  private func header(_ tensors: [SafetensorsTensor]) -> [UInt8] {
    var object = JSONObject()
    if !metadata.isEmpty {
      var entries = JSONObject()
      for (key, value) in metadata.sorted(by: { JSON.ascending($0.key, $1.key) }) {
        entries[key] = .string(value)
      }
      object["__metadata__"] = .object(entries)
    }
    var offset = 0
    for tensor in tensors {
      let end = offset + tensor.range.count
      object[tensor.name] = [
        "dtype": .string(tensor.dtype.rawValue), "shape": .array(tensor.shape.map { .integer($0) }),
        "data_offsets": [.integer(offset), .integer(end)],
      ]
      offset = end
    }
    let text = Array(JSON.object(object).text.utf8)
    return text + Array(repeating: UInt8(ascii: " "), count: (8 - text.count % 8) % 8)
  }
}
