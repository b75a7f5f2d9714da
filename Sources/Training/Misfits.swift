import Foundation
import KalsaeData
import KalsaeModels

extension UNet2DConfig {
  /// Why this network cannot learn unconditional diffusion on `dataset`; nil when it can.
  func misfit(to dataset: any ImageDataset, timesteps: Int) -> RunError? {
    if in_channels != dataset.channels || out_channels != dataset.channels {
      return RunError(
        "the pictures have \(dataset.channels) channels, the model \(in_channels) in and "
          + "\(out_channels) out: change in_channels and out_channels")
    }
    if dataset.size % sizeMultiple != 0 {
      return RunError(
        "pictures of \(dataset.size) pixels do not halve \(block_out_channels.count - 1) times: "
          + "choose an --image-size that is a multiple of \(sizeMultiple)")
    }
    if let size = sample_size, size != ImageSize(dataset.size) {
      return RunError(
        "the pictures have \(dataset.size) x \(dataset.size) pixels, but model.sample_size is "
          + "\(size.rows) x \(size.columns): give --image-size")
    }
    if num_class_embeds != nil || class_embed_type != nil {
      return RunError(
        "the model has a class embedding, but training uses no classes: remove num_class_embeds and "
          + "class_embed_type")
    }
    if let known = num_train_timesteps, time_embedding_type == .learned, known < timesteps {
      return RunError(
        "the model embeds \(known) timesteps, the diffusion has \(timesteps): raise num_train_timesteps "
          + "or lower --timesteps")
    }
    return nil
  }
}

extension SkippedImage {
  /// Path and reason; a reason that names the path itself is enough.
  var line: String { reason.hasPrefix(path) ? reason : "\(path): \(reason)" }
}

extension DataSource {
  /// The same source by its full path.
  var absolute: DataSource {
    func full(_ path: String) -> String { URL(fileURLWithPath: path).standardizedFileURL.path }
    return switch self {
    case .shapes: .shapes
    case .fashionMNIST(let folder): .fashionMNIST(folder: full(folder))
    case .cifar10(let folder): .cifar10(folder: full(folder))
    case .folder(let folder): .folder(full(folder))
    }
  }
}
