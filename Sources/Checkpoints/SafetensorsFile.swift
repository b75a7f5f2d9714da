import Foundation
import KalsaeFormats

/// What a safetensors header says of one tensor.
public struct SafetensorsTensor: Sendable, Equatable {
  public let name: String
  public let dtype: SafetensorsDType
  public let shape: [Int]
  /// Where its bytes (little-endian, row-major) lie in the file.
  let range: Range<Int>
}

/// A safetensors checkpoint, mapped into memory: one `.safetensors` file, or the shards that a
/// `.safetensors.index.json` lists, read as one. The whole header is checked before anything is believed.
public struct SafetensorsFile: Sendable {
  public let path: String
  /// In ascending order.
  public let names: [String]
  /// The `__metadata__` of the file; of shards, what their files agree on or only one states.
  public let metadata: [String: String]
  private let entries: [String: (tensor: SafetensorsTensor, file: MappedFile)]

  public init(path: String) throws(SafetensorsError) {
    let files = try path.hasSuffix(".json") ? Self.openShards(index: path) : [Self.open(path)]
    var entries: [String: (tensor: SafetensorsTensor, file: MappedFile)] = [:]
    var metadata: [String: String] = [:], disputed: Set<String> = []
    for (header, file) in files {
      for tensor in header.tensors { entries[tensor.name] = (tensor, file) }
      for (key, value) in header.metadata {
        if let other = metadata.updateValue(value, forKey: key), other != value { disputed.insert(key) }
      }
    }
    self.path = path
    self.entries = entries
    self.metadata = metadata.filter { !disputed.contains($0.key) }
    names = entries.keys.sorted(by: JSON.ascending)
  }

  /// The weights `NAME.safetensors` of a model folder or, where it has none, the shards of
  /// `NAME.safetensors.index.json`.
  public init(folder: String, name: String) throws(SafetensorsError) {
    let single = "\(folder)/\(name).safetensors", index = single + ".index.json"
    try self.init(path: access(single, F_OK) != 0 && access(index, F_OK) == 0 ? index : single)
  }

  /// What the header says of `name`; nil when the checkpoint has no such tensor.
  public subscript(name: String) -> SafetensorsTensor? { entries[name]?.tensor }

  /// The bytes of a tensor, without a copy; holding them holds the mapping. Their address need not be a multiple of
  /// the element's size in files of other writers.
  public func bytes(of name: String) throws(SafetensorsError) -> MappedBytes {
    guard let entry = entries[name] else { throw SafetensorsError(path, key: name, .missingKey) }
    return MappedBytes(file: entry.file, range: entry.tensor.range)
  }

  /// Calls `body` with the bytes of a tensor, without a copy.
  public func withBytes<Result>(of name: String, _ body: (UnsafeRawBufferPointer) throws -> Result) throws
    -> Result
  {
    try bytes(of: name).withUnsafeBytes(body)
  }

  // MARK: Opening

  private typealias Opened = (header: SafetensorsHeader, file: MappedFile)

  private static func open(_ path: String) throws(SafetensorsError) -> Opened {
    let file = try map(path)
    let header = try file.withUnsafeBytes { (bytes) throws(SafetensorsError) in
      try SafetensorsHeader(of: bytes, path: path)
    }
    return (header, file)
  }

  private static func map(_ path: String) throws(SafetensorsError) -> MappedFile {
    do { return try MappedFile(path: path) } catch { throw SafetensorsError(path, .file(error)) }
  }

  /// Opens every shard of an index and checks that index and shards tell the same story.
  private static func openShards(index path: String) throws(SafetensorsError) -> [Opened] {
    let shardOf = try readIndex(path)
    var opened: [Opened] = []
    var holder: [String: String] = [:]
    for shard in Set(shardOf.values).sorted(by: JSON.ascending) {
      let next = try open(parentFolder(of: path) + "/" + shard)
      for tensor in next.header.tensors {
        guard shardOf[tensor.name] == shard else {
          throw SafetensorsError(path, key: tensor.name, .notInIndex(shard: shard))
        }
        holder[tensor.name] = shard
      }
      opened.append(next)
    }
    for name in shardOf.keys.sorted(by: JSON.ascending) where holder[name] == nil {
      throw SafetensorsError(path, key: name, .notInShard(shardOf[name]!))
    }
    return opened
  }

  /// The `weight_map` of an index: tensor name to the name of a file in the same folder.
  private static func readIndex(_ path: String) throws(SafetensorsError) -> [String: String] {
    let file = try map(path)
    let json: JSON
    do { json = try JSON(parsing: file) } catch { throw SafetensorsError(path, .header(error)) }
    guard case .object(let root) = json, case .object(let map)? = root["weight_map"] else {
      throw SafetensorsError(path, .header(JSONError(line: 1, column: 1, message: "no object 'weight_map'")))
    }
    var shardOf: [String: String] = [:]
    for (name, value) in map {
      guard case .string(let shard) = value, !shard.isEmpty, !shard.contains("/"), shard != "..", shard != "."
      else {
        throw SafetensorsError(path, key: name, .badShardName(value.text))
      }
      shardOf[name] = shard
    }
    return shardOf
  }
}
