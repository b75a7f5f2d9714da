import Foundation
import KalsaeCheckpoints
import KalsaeReferenceBackend
import KalsaeTensors
import Testing

/// Outputs and gradients that PyTorch computed: one file of `Tests/Fixtures/ops`, made by `Tools/reference/ops.py`.
struct GoldenFile {
  /// What `torch.nn.functional` was called with.
  struct Attributes: Decodable {
    let op: String
    var stride, padding, dilation, output_padding, kernel_size, output_size, size, normalized_shape: [Int]?
    var groups, axis, ignore_index: Int?
    var eps, momentum, scale, label_smoothing: Double?
    var is_causal, align_corners, count_include_pad, training: Bool?
    var approximate, mode, reduction: String?
  }

  static let families = [
    "activation", "attention", "convolution", "cross_entropy", "normalisation", "pooling", "resampling",
  ]

  let cases: [String: Attributes]
  private let file: SafetensorsFile

  init(family: String) throws {
    let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "Fixtures/ops")
    file = try SafetensorsFile(path: folder.appending(path: family + ".safetensors").path)
    let json = try #require(file.metadata["cases"])
    cases = try JSONDecoder().decode([String: Attributes].self, from: Data(json.utf8))
  }

  /// The tensors of one case by the rest of their names.
  func arrays(of name: String) throws -> [String: NDArray] {
    var arrays: [String: NDArray] = [:]
    for key in file.names where key.hasPrefix(name + ".") {
      let tensor = try #require(file[key])
      let types: [SafetensorsDType: DType] = [.float32: .float32, .int64: .int64, .bool: .bool]
      let dtype = try #require(types[tensor.dtype], "\(key) is \(tensor.dtype)")
      arrays[String(key.dropFirst(name.count + 1))] = try file.withBytes(of: key) {
        NDArray(Spec(Shape(tensor.shape), dtype), at: $0.baseAddress!)
      }
    }
    return arrays
  }
}
