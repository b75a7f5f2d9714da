import KalsaeCheckpoints
import KalsaeRuntime
import KalsaeTensors

/// The named tensors of a file, each read with the type and the shape that a model needs; a misfit is an error that
/// names file, tensor and what was expected.
struct NamedInputs {
  /// One extent of a shape: a number, or a letter whose value all inputs of a call share.
  enum Extent: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, CustomStringConvertible {
    case any(String), exactly(Int)
    init(stringLiteral name: String) { self = .any(name) }
    init(integerLiteral value: Int) { self = .exactly(value) }

    var description: String {
      switch self {
      case .any(let name): name
      case .exactly(let value): "\(value)"
      }
    }
  }

  let file: SafetensorsFile
  /// The tensors that were asked for, in order: what the model reads.
  private(set) var asked: [String] = []
  private var extents: [String: (value: Int, source: String)] = [:]

  init(_ file: SafetensorsFile) { self.file = file }

  /// Whole numbers from 0 to less than `limit`, as int32; nil when there is no such tensor. `what` has the limit.
  mutating func indices(_ name: String, _ shape: Extent..., below limit: Int, _ what: String) throws
    -> Tensor?
  {
    guard let found = try read(name, "int32 or int64", shape, { $0 == .int32 || $0 == .int64 }) else {
      return nil
    }
    let values =
      found.dtype == .int64 ? found.array(of: Int64.self) : found.array(of: Int32.self).map(Int64.init)
    if let place = values.firstIndex(where: { !(0..<Int64(limit)).contains($0) }) {
      throw ForwardError(
        "\(file.path): '\(name)' has \(values[place]) at \(indexText(place, found.shape)); \(what) has \(limit), from 0 "
          + "to \(limit - 1)")
    }
    return found.cast(to: .int32)
  }

  /// Flags of any type, not 0 where they are set, as bool; nil when there is no such tensor.
  mutating func flags(_ name: String, _ shape: Extent...) throws -> Tensor? {
    guard let found = try read(name, "any type", shape, { _ in true }) else { return nil }
    return found.dtype == .bool ? found : found .!= 0
  }

  /// Numbers as float32; nil when there is no such tensor.
  mutating func numbers(_ name: String, _ shape: Extent...) throws -> Tensor? {
    try read(name, "float32, float16 or bfloat16", shape, \.isFloatingPoint)?.cast(to: .float32)
  }

  /// A mask of PyTorch's attention, as `attention` takes it: bool true where it is not allowed, or numbers to add.
  mutating func attentionMask(_ name: String, _ shape: Extent...) throws -> Tensor? {
    guard
      let found = try read(name, "bool or float32", shape, { $0 == .bool || $0.isFloatingPoint })
    else { return nil }
    return found.dtype == .bool ? .!found : found.cast(to: .float32)
  }

  /// Numbers of any type, one for each of `count` samples or one for all.
  mutating func perSample(_ name: String, _ count: Int) throws -> Tensor? {
    guard let found = try anything(name) else { return nil }
    guard found.shape == [] || found.shape == [count] || found.shape == [1] else {
      throw ForwardError("\(file.path): '\(name)' should be () or (\(count)), found \(found.shape)")
    }
    return found.cast(to: .float32)
  }

  /// Of any type and shape.
  mutating func anything(_ name: String) throws -> Tensor? {
    asked.append(name)
    return file[name] == nil ? nil : try file.tensor(name)
  }

  /// The value that a letter of the shapes has.
  func extent(_ name: String) -> Int? { extents[name]?.value }

  /// The tensor, which must be there.
  func required(_ tensor: Tensor?, _ name: String) throws -> Tensor {
    guard let tensor else { throw ForwardError("\(file.path): has no '\(name)', which the model needs") }
    return tensor
  }

  /// Refuses tensors that nobody has asked for.
  func finish() throws {
    if let unknown = file.names.first(where: { !asked.contains($0) }) {
      throw ForwardError(
        "\(file.path): '\(unknown)' is no input of this model; it reads " + asked.joined(separator: ", "))
    }
  }

  private mutating func read(
    _ name: String, _ types: String, _ shape: [Extent], _ isFine: (DType) -> Bool
  ) throws -> Tensor? {
    asked.append(name)
    guard let entry = file[name] else { return nil }
    let wanted = "(" + shape.map(\.description).joined(separator: ", ") + ")"
    func misfit(_ reason: String = "") -> ForwardError {
      ForwardError(
        "\(file.path): '\(name)' should be \(types) \(wanted), found \(entry.dtype.rawValue) "
          + "\(Shape(entry.shape))\(reason)")
    }
    guard let dtype = entry.dtype.tensorType, isFine(dtype), entry.shape.count == shape.count else {
      throw misfit()
    }
    for (found, extent) in zip(entry.shape, shape) {
      switch extent {
      case .exactly(let value): if found != value { throw misfit() }
      case .any(let letter):
        if let known = extents[letter], known.value != found {
          throw misfit(", but \(letter) is \(known.value) in '\(known.source)'")
        }
        guard found > 0 else { throw misfit() }
        extents[letter] = (found, name)
      }
    }
    return try file.tensor(name)
  }

  private func indexText(_ place: Int, _ shape: Shape) -> String {
    let index = zip(shape.strides, shape.dimensions).map { place / $0 % $1 }
    return "[" + index.map(String.init).joined(separator: ", ") + "]"
  }
}

/// Why a forward pass was refused: one line with the file's path and what is wrong.
public struct ForwardError: Error, CustomStringConvertible, Hashable {
  public let description: String
  public init(_ description: String) { self.description = description }
}
