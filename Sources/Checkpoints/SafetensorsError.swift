import KalsaeFormats
import KalsaeTensors

/// Why a safetensors file cannot be read or written: the file, the tensor where one is to blame, and the fault.
public struct SafetensorsError: Error, Equatable, Sendable, CustomStringConvertible {
  public let path: String
  public let key: String?
  public let problem: Problem

  public enum Problem: Error, Equatable, Sendable {
    case file(FileError)
    case tooShort(bytes: Int)
    case headerTooLong(UInt64, limit: Int)
    case headerTruncated(length: Int, available: Int)
    /// The header is not the JSON that the format asks for.
    case header(JSONError)
    case unknownDType(String)
    /// Element count times width overflows, or bits do not fill whole bytes.
    case unrepresentableSize(SafetensorsDType, shape: [Int])
    case sizeMismatch(SafetensorsDType, shape: [Int], expected: Int, found: Int)
    case offsetsOutsideFile(begin: Int, end: Int, available: Int)
    case overlap(with: String)
    case unusedBytes(Range<Int>)
    case duplicateKey
    case missingKey
    /// Asked for as another type, or (nil) as the tensor type of the same bits, which does not exist.
    case notConvertible(SafetensorsDType, to: DType?)
    case badShardName(String)
    /// The index places the tensor in this file, which does not hold it.
    case notInShard(String)
    /// This file of a sharded checkpoint holds a tensor that the index does not place there.
    case notInIndex(shard: String)
  }

  init(_ path: String, key: String? = nil, _ problem: Problem) {
    (self.path, self.key, self.problem) = (path, key, problem)
  }

  public var description: String {
    if case .file(let error) = problem { return error.description }
    return "\(path): " + (key.map { "tensor '\(JSON.shown($0))': " } ?? "") + problem.text
  }
}

extension SafetensorsError.Problem {
  fileprivate var text: String {
    let damaged = "; the file is damaged or incomplete, fetch or write it again"
    switch self {
    case .file(let error): return error.description
    case .tooShort(let bytes): return "\(bytes) bytes cannot be a safetensors file" + damaged
    case .headerTooLong(let length, let limit):
      return
        "not a safetensors file: its header would be \(length) bytes long, more than the limit of \(limit)"
    case .headerTruncated(let length, let available):
      return "the header should be \(length) bytes long, but only \(available) follow" + damaged
    case .header(let error): return "not a valid safetensors header: \(error)"
    case .unknownDType(let name):
      let known = SafetensorsDType.allCases.map(\.rawValue).joined(separator: ", ")
      return "unknown dtype '\(JSON.shown(name))' (known: \(known))"
    case .unrepresentableSize(let dtype, let shape):
      return "\(dtype.rawValue) \(shape) has no size in whole bytes"
    case .sizeMismatch(let dtype, let shape, let expected, let found):
      return "\(dtype.rawValue) \(shape) needs \(expected) bytes, found \(found)"
    case .offsetsOutsideFile(let begin, let end, let available):
      return "data_offsets [\(begin), \(end)] do not lie in the \(available) bytes of data" + damaged
    case .overlap(let other): return "its data overlap those of tensor '\(JSON.shown(other))'"
    case .unusedBytes(let range):
      return "bytes \(range.lowerBound) to \(range.upperBound) of the data belong to no tensor" + damaged
    case .duplicateKey: return "named twice"
    case .missingKey: return "not in this file"
    case .notConvertible(let found, let dtype?): return "\(found.rawValue) does not convert to \(dtype)"
    case .notConvertible(let found, nil): return "there is no tensor type for \(found.rawValue)"
    case .badShardName(let name):
      return "the index names '\(JSON.shown(name))', which is not a plain file name"
    case .notInShard(let shard): return "the index places it in '\(shard)', which does not hold it"
    case .notInIndex(let shard): return "'\(shard)' holds it, but the index does not place it there"
    }
  }
}
