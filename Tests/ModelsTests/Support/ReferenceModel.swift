import Foundation
import Kalsae
import Testing

/// A small model with random weights and what PyTorch made of it in float32; `Tools/reference/text_models.py` wrote it.
struct ReferenceModel: Sendable, CustomTestStringConvertible {
  let folder: String
  var testDescription: String { folder }

  init(_ folder: String) { self.folder = folder }

  func path(_ name: String) -> String {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    return tests.appendingPathComponent("Fixtures/\(folder)/\(name)").path
  }

  func config<Config: ModelConfig>(_ type: Config.Type) throws -> Config {
    try Config(ConfigJSON(path: path("config.json")))
  }

  func weights(_ name: String = "model.safetensors") throws -> SafetensorsFile {
    try SafetensorsFile(path: path(name))
  }

  func golden() throws -> Golden { try Golden(path("golden.safetensors")) }
}

/// Inputs, outputs, activations and gradients as PyTorch has them.
struct Golden {
  let file: SafetensorsFile
  /// The names of the outputs, in order.
  let outputs: [String]
  /// Gradients that are zero in exact arithmetic.
  let zeros: Set<String>

  init(_ path: String) throws {
    file = try SafetensorsFile(path: path)
    guard case .object(let object) = try JSON(parsing: (file.metadata["cases"] ?? "{}").utf8),
      let outputs = object["outputs"].flatMap([String].init),
      let zeros = object["zero_gradients"].flatMap([String].init)
    else { throw CocoaError(.propertyListReadCorrupt) }
    (self.outputs, self.zeros) = (outputs, Set(zeros))
  }

  /// A tensor; PyTorch's integers are int64.
  func callAsFunction(_ name: String) throws -> Tensor {
    let tensor = try file.tensor(name)
    return tensor.dtype == .int64 ? tensor.cast(to: .int32) : tensor
  }

  /// Compares outputs, blocks and the gradients of all parameters of sum(output x cotangent), to 1e-4 of the largest
  /// number of each tensor. `read` makes what a golden tensor is compared with.
  func check(
    _ contents: ModuleContents, outputs values: [Tensor], blocks: [(key: String, value: Tensor)],
    read: (String, Tensor) -> Tensor = { $1 }, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    #expect(values.count == outputs.count, sourceLocation: sourceLocation)
    var loss = Tensor(0)
    for (name, value) in zip(outputs, values) {
      loss = loss + (value * (try self("cotangent." + name))).sum()
    }
    let derivatives = gradients(of: loss, withRespectTo: contents.parameters.map(\.parameter.value))
    let shown = blocks.map { read("block." + $0.key, $0.value) }
    let compared = zip(contents.parameters, derivatives).map { read("grad." + $0.path, $1) }
    evaluate(values + shown + compared)

    for (name, value) in zip(outputs, values) {
      #expect(error(value, try self("output." + name)) < 1e-4, "\(name)", sourceLocation: sourceLocation)
    }
    let expected = Set(file.names.filter { $0.hasPrefix("block.") })
    #expect(Set(blocks.map { "block." + $0.key }) == expected, sourceLocation: sourceLocation)
    for (block, value) in zip(blocks, shown) {
      #expect(
        error(value, try self("block." + block.key)) < 1e-4, "\(block.key)", sourceLocation: sourceLocation)
    }
    let gradients = Set(file.names.filter { $0.hasPrefix("grad.") })
    #expect(Set(contents.parameters.map { "grad." + $0.path }) == gradients, sourceLocation: sourceLocation)
    let largest = compared.map { $0.floats().map(abs).max()! }.max()!
    for (entry, gradient) in zip(contents.parameters, compared) {
      let key = "grad." + entry.path
      if zeros.contains(key) {
        #expect(
          gradient.floats().allSatisfy { abs($0) < 1e-5 * largest }, "\(key)", sourceLocation: sourceLocation)
      } else {
        #expect(error(gradient, try self(key)) < 1e-4, "\(key)", sourceLocation: sourceLocation)
      }
    }
  }
}

/// The largest difference, relative to the largest expected number.
func error(_ found: Tensor, _ expected: Tensor) -> Float {
  guard found.shape == expected.shape else { return .infinity }
  let (x, y) = (found.floats(), expected.floats())
  let worst = zip(x, y).map { abs($0 - $1) }.max()!
  return worst.isNaN ? .infinity : worst / max(y.map(abs).max()!, .leastNormalMagnitude)
}

/// What a forward pass shows of its blocks.
final class Blocks {
  private(set) var all: [(key: String, value: Tensor)] = []
  func see(_ key: String, _ value: Tensor) { all.append((key, value)) }
}
