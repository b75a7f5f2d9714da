import KalsaeFormats

/// The header of a safetensors file: `u64` little-endian length, JSON, then the tensors' bytes without gaps.
/// Format: https://huggingface.co/docs/safetensors. Nothing in it is trusted.
struct SafetensorsHeader {
  /// The format's own limit.
  static let maximumLength = 100_000_000
  private static let maximumRank = 64

  var metadata: [String: String] = [:]
  /// In the order of their data, with ranges that count from the start of the file.
  var tensors: [SafetensorsTensor] = []

  init(of bytes: UnsafeRawBufferPointer, path: String) throws(SafetensorsError) {
    guard bytes.count >= 8 else { throw SafetensorsError(path, .tooShort(bytes: bytes.count)) }
    let length = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
    guard length <= Self.maximumLength else {
      throw SafetensorsError(path, .headerTooLong(length, limit: Self.maximumLength))
    }
    let dataStart = 8 + Int(length)
    guard dataStart <= bytes.count else {
      throw SafetensorsError(path, .headerTruncated(length: Int(length), available: bytes.count - 8))
    }
    var key: String? = nil
    let raw: [RawTensor]
    do throws(JSONError) {
      raw = try bytes[8..<dataStart].withMemoryRebound(to: UInt8.self) { (text) throws(JSONError) in
        try readJSON(text, current: &key)
      }
    } catch { throw SafetensorsError(path, key: key, .header(error)) }
    try place(raw, dataStart: dataStart, available: bytes.count - dataStart, path: path)
  }

  // MARK: JSON

  private struct RawTensor {
    let name: String
    var dtype: String? = nil
    var shape: [Int]? = nil
    var offsets: [Int]? = nil
  }

  /// Reads the structure alone. `current` is the tensor being read, for the error's sake.
  private mutating func readJSON(
    _ text: UnsafeBufferPointer<UInt8>, current: inout String?
  ) throws(JSONError) -> [RawTensor] {
    var json = JSONReader(text), first = true
    guard text.first == UInt8(ascii: "{") else { throw json.failure("expected '{' as the first byte") }
    try json.expect("{")
    var raw: [RawTensor] = [], seen: Set<String> = []
    while let name = try json.nextKey(&first) {
      current = name
      guard seen.insert(name).inserted else { throw json.failure("duplicate key '\(JSON.shown(name))'") }
      if name == "__metadata__" {
        try readMetadata(&json)
      } else {
        raw.append(try Self.readTensor(&json, name))
      }
      current = nil
    }
    try json.expectEnd()
    return raw
  }

  private mutating func readMetadata(_ json: inout JSONReader) throws(JSONError) {
    try json.expect("{")
    var first = true
    while let key = try json.nextKey(&first) {
      guard json.peek() == UInt8(ascii: "\"") else {
        throw json.failure("the value of '\(JSON.shown(key))' must be a string")
      }
      guard metadata.updateValue(try json.string(), forKey: key) == nil else {
        throw json.failure("duplicate key '\(JSON.shown(key))'")
      }
    }
  }

  private static func readTensor(_ json: inout JSONReader, _ name: String) throws(JSONError) -> RawTensor {
    var tensor = RawTensor(name: name), first = true
    try json.expect("{")
    while let field = try json.nextKey(&first) {
      switch field {
      case "dtype" where tensor.dtype == nil: tensor.dtype = try json.string()
      case "shape" where tensor.shape == nil: tensor.shape = try readCounts(&json, field, limit: maximumRank)
      case "data_offsets" where tensor.offsets == nil:
        let offsets = try readCounts(&json, field, limit: 2)
        guard offsets.count == 2 else { throw json.failure("'data_offsets' must have two numbers") }
        tensor.offsets = offsets
      case "dtype", "shape", "data_offsets": throw json.failure("duplicate key '\(field)'")
      default: throw json.failure("unknown key '\(JSON.shown(field))'")
      }
    }
    let missing = [
      tensor.dtype == nil ? "dtype" : nil, tensor.shape == nil ? "shape" : nil,
      tensor.offsets == nil ? "data_offsets" : nil,
    ].compactMap { $0 }
    guard missing.isEmpty else { throw json.failure("no " + missing.joined(separator: ", no ")) }
    return tensor
  }

  private static func readCounts(
    _ json: inout JSONReader, _ field: String, limit: Int
  ) throws(JSONError) -> [Int] {
    try json.expect("[")
    var counts: [Int] = [], first = true
    while try json.nextElement(&first) {
      guard case .integer(let count) = try json.number(), count >= 0 else {
        throw json.failure("'\(field)' must hold non-negative integers that fit 64 bits")
      }
      counts.append(count)
      guard counts.count <= limit else { throw json.failure("'\(field)' has more than \(limit) numbers") }
    }
    return counts
  }

  // MARK: Layout

  /// Checks every tensor against its dtype and against its neighbours: the data must be covered exactly once.
  private mutating func place(
    _ raw: [RawTensor], dataStart: Int, available: Int, path: String
  ) throws(SafetensorsError) {
    var end = 0
    var previous = ""
    for tensor in raw.sorted(by: { ($0.offsets!, $0.name) < ($1.offsets!, $1.name) }) {
      let problem: SafetensorsError.Problem?
      let (begin, next) = (tensor.offsets![0], tensor.offsets![1])
      let dtype = SafetensorsDType(rawValue: tensor.dtype!)
      if let dtype {
        let count = dtype.byteCount(of: tensor.shape!)
        problem =
          if begin > next || next > available {
            .offsetsOutsideFile(begin: begin, end: next, available: available)
          } else if count == nil {
            .unrepresentableSize(dtype, shape: tensor.shape!)
          } else if next - begin != count! {
            .sizeMismatch(dtype, shape: tensor.shape!, expected: count!, found: next - begin)
          } else if begin < end {
            .overlap(with: previous)
          } else if begin > end {
            .unusedBytes(end..<begin)
          } else {
            nil
          }
      } else {
        problem = .unknownDType(tensor.dtype!)
      }
      if let problem { throw SafetensorsError(path, key: tensor.name, problem) }
      let range = dataStart + begin..<dataStart + next
      tensors.append(SafetensorsTensor(name: tensor.name, dtype: dtype!, shape: tensor.shape!, range: range))
      (end, previous) = (next, tensor.name)
    }
    guard end == available else { throw SafetensorsError(path, .unusedBytes(end..<available)) }
  }
}

private func < (a: ([Int], String), b: ([Int], String)) -> Bool {
  a.0 == b.0 ? JSON.ascending(a.1, b.1) : a.0.lexicographicallyPrecedes(b.0)
}
