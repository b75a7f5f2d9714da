// A small diffusion model learns coloured shapes and draws some of its own: `swift run -c release TrainShapes`.
// Steps as first argument; 300 when absent.
import Kalsae

let steps = CommandLine.arguments.dropFirst().first.flatMap { Int($0) } ?? 300

var config = UNet2DConfig()
config.sample_size = ImageSize(16)
config.block_out_channels = [32, 64]
config.down_block_types = [.plain, .attention]
config.up_block_types = [.attention, .plain]
config.norm_num_groups = 8

let model = Initialization.with(seed: 0) { UNet2DModel(config) }
let contents = model.contents  // every parameter, found by reflection and named as in checkpoints
let optimizer = Adam(contents)
let process = DiffusionConfig()  // DDPM's: 1000 timesteps, linear betas
let objective = TrainingLoss(process.noiseSchedule, process.prediction)
let loader = try BatchLoader(dataset: ShapesDataset(size: 16), batchSize: 32, seed: 0)

for step in 0..<steps {
  let pixels = Tensor(try loader.next().pixels, [32, 16, 16, 3])  // (N, H, W, C), uint8
  let x0 = pixels.cast(to: .float32) * (2.0 / 255) - 1
  let key = RandomKey(seed: 0, step: UInt64(step))
  let (loss, gradients) = valueAndGradient(contents) {
    Mode.training(key) { objective(x0, key: key) { model($0, $1) } }
  }
  let clipped = gradients.clipped(toNorm: 1)
  optimizer.update(clipped, learningRate: 1e-3)
  evaluate(loss, slots: optimizer.slots)  // forward, backward, clip and update run here, as one plan
  if (step + 1) % 50 == 0 { print("step \(step + 1): loss \(loss.item())") }
}

var options = SamplingOptions()
options.count = 16
let samples = try DDPMPipeline(unet: model, diffusion: process).sample(options)
try SampleOutput(path: "shapes.png").write(samples, size: ImageSize(16), channels: 3)
