import ArgumentParser
import Kalsae
import KalsaeCheckpoints
import KalsaePipelines
import KalsaeRuntime
import KalsaeTensors
import Logging

struct Forward: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run a model once on the named tensors of a file.",
    discussion: """
      Names and layouts are those of the model's library: input_ids, attention_mask, pixel_values (N, C, H, W), ...;
      logits, last_hidden_state, ...

      kalsae forward gpt2 --input tokens.safetensors --output logits.safetensors
      """)

  @Argument(
    help: ArgumentHelp("A model folder: config.json and model.safetensors.", valueName: "model-folder"))
  var model: String
  @Option(help: ArgumentHelp("The safetensors file of inputs.", valueName: "file")) var input: String
  @Option(name: [.short, .long], help: ArgumentHelp("The safetensors file to write.", valueName: "file"))
  var output: String
  @Flag(help: "Also write the output of every block, under its path.") var blocks = false
  @Option(
    help: ArgumentHelp(
      "Write the gradients of all parameters of sum(output x cotangent); the input holds the cotangent.",
      valueName: "file"))
  var gradients: String?
  @OptionGroup var compute: ComputeOptions
  @OptionGroup var outputOptions: OutputOptions

  func run() throws {
    ComputeOptions.warnAboutPrecision(compute.precision ?? .float32, Console(outputOptions))
    try Backends.with(.cpu(threads: compute.threads)) {
      let model = try ForwardModel(folder: model)
      let file = try SafetensorsFile(path: input)
      var result = try Autocast.with((compute.precision ?? .float32).autocast) {
        try model(file, gradients: gradients != nil)
      }
      if !blocks { result.blocks = [:] }
      result = result.evaluated()
      try saveTensors(result.outputs.merging(result.blocks) { output, _ in output }, to: output)
      Console.result(output)
      if let gradients {
        try saveTensors(result.gradients, to: gradients)
        Console.result(gradients)
      }
    }
  }
}
