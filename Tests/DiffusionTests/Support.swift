import Foundation
import KalsaeCheckpoints
import KalsaeTensors

/// Whether `a` is within `tolerance` of `b`, relative to `b`.
func isClose(_ a: Double, _ b: Double, _ tolerance: Double) -> Bool { abs(a - b) <= tolerance * abs(b) }

/// The largest difference, relative to the largest magnitude of the reference.
func relativeError(_ values: [Double], _ reference: [Double]) -> Double {
  guard values.count == reference.count else { return .infinity }
  let difference = zip(values, reference).reduce(0.0) { $1.0.isNaN ? .infinity : max($0, abs($1.0 - $1.1)) }
  return difference == 0 ? 0 : difference / (reference.map(abs).max() ?? 1)
}

func relativeError(_ values: [Float], _ reference: [Double]) -> Double {
  relativeError(values.map(Double.init), reference)
}

/// A file of `Tests/Fixtures`, its numbers as Double whatever their type.
struct Fixture {
  static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Fixtures")

  private let file: SafetensorsFile

  init(_ path: String) throws { file = try SafetensorsFile(path: Self.folder.appending(path: path).path) }

  func contains(_ name: String) -> Bool { file[name] != nil }

  func shape(_ name: String) throws -> [Int] {
    guard let tensor = file[name] else {
      throw FixtureError(description: "no tensor \(name) in \(file.path)")
    }
    return tensor.shape
  }

  subscript(name: String) -> [Double] {
    get throws {
      guard let tensor = file[name] else {
        throw FixtureError(description: "no tensor \(name) in \(file.path)")
      }
      return try file.withBytes(of: name) { bytes in
        func read<T>(_: T.Type, _ convert: (T) -> Double) -> [Double] {
          stride(from: 0, to: bytes.count, by: MemoryLayout<T>.size).map {
            convert(bytes.loadUnaligned(fromByteOffset: $0, as: T.self))
          }
        }
        switch "\(tensor.dtype)".lowercased() {
        case "f64", "float64": return read(Double.self) { $0 }
        case "f32", "float32": return read(Float.self, Double.init)
        case "i64", "int64": return read(Int64.self, Double.init)
        default: throw FixtureError(description: "\(name): \(tensor.dtype)")
        }
      }
    }
  }

  /// One entry of the first axis of `name`, as a tensor of the remaining ones.
  func tensor(_ name: String, at index: Int) throws -> Tensor {
    let shape = Array(try shape(name).dropFirst()), count = shape.reduce(1, *)
    return Tensor(try self[name][index * count..<(index + 1) * count].map(Float.init), Shape(shape))
  }
}

struct FixtureError: Error, CustomStringConvertible { let description: String }
