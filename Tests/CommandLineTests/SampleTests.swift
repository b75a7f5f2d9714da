import Foundation
import Kalsae
import Testing

extension CommandLineTests {
  /// What `sample` and `export` write, and that the same request gives the same pictures.
  @Suite(.serialized) struct Sampling {
    let place: Workspace

    init() throws {
      place = try Workspace()
      try place.train("run")
    }

    func sample(_ output: String, _ more: String...) throws {
      let arguments =
        ["sample", "run", "-o", output, "--count", "5", "--steps", "4", "--threads", "1"] + more
      let result = try Kalsae(place, arguments + ["-q"]).wait()
      try #require(result.status == 0, "\(result.errors)")
      #expect(result.outputLines.first == Substring(output))
      #expect(result.errors.isEmpty)
    }

    func numbers(_ file: String) throws -> (values: [Float], shape: [Int]) {
      let x = try SafetensorsFile(path: place(file)).tensor("x")
      #expect(x.dtype == .float32)
      return (x.floats(), x.shape.dimensions)
    }

    @Test func everyFormatHoldsTheSamePictures() throws {
      try sample("x.safetensors")
      let (values, shape) = try numbers("x.safetensors")
      #expect(shape == [5, 16, 16, 3])
      #expect(values.allSatisfy(\.isFinite) && Set(values).count > 1000)
      let bytes = pixelBytes(values)

      try sample("x.npz")
      let archive = try NPZ.read(place("x.npz"))
      #expect(archive == ["arr_0": NPYArray(shape: shape, elements: .uint8(bytes))])

      try sample("pictures")
      #expect(place.names("pictures") == (0..<5).map { "0000\($0).png" })
      for index in 0..<5 {
        let picture = try Image(contentsOf: place("pictures/0000\(index).png"))
        #expect(picture.pixels == Array(bytes[index * 768..<(index + 1) * 768]))
      }

      try sample("x.png", "--trajectory", "way.png")
      let grid = ImageGrid().picture(ofBatch: bytes, height: 16, width: 16, channels: 3)
      #expect(try Image(contentsOf: place("x.png")) == grid)
      // A row for each sample, a column for each of the four steps; the last column is the result.
      let way = try Image(contentsOf: place("way.png"))
      #expect(way.width == 4 * 18 + 2 && way.height == 5 * 18 + 2)
      for row in 0..<5 {
        #expect(Array(way[2 + 3 * 18, 2 + row * 18]) == Array(bytes[row * 768..<row * 768 + 3]))
      }
    }

    @Test(arguments: ["ddim", "ddpm"]) func batchesDoNotMatter(_ sampler: String) throws {
      let more = ["--sampler", sampler, "--eta", "0.5"]
      try sample("one.safetensors", more[0], more[1], more[2], more[3], "--batch-size", "1")
      let one = try numbers("one.safetensors").values
      for size in ["2", "5"] {
        try sample("\(size).safetensors", more[0], more[1], more[2], more[3], "--batch-size", size)
        let other = try numbers("\(size).safetensors").values
        #expect(zip(one, other).allSatisfy { abs($0 - $1) <= 1e-5 })
      }
      try sample("again.safetensors", more[0], more[1], more[2], more[3], "--batch-size", "2")
      #expect(try place.read("again.safetensors") == place.read("2.safetensors"))
      try sample("seed.safetensors", more[0], more[1], more[2], more[3], "--seed", "1")
      #expect(try numbers("seed.safetensors").values != one)
    }

    @Test func startingNoiseAndLiveWeights() throws {
      let noise = (0..<2 * 768).map { Float(sin(Double($0))) }
      try saveTensors(["x": Tensor(noise, [2, 16, 16, 3])], to: place("noise.safetensors"))
      try sample("a.safetensors", "--initial", "noise.safetensors")
      try sample("b.safetensors", "--initial", "noise.safetensors", "--seed", "9")
      let (values, shape) = try numbers("a.safetensors")
      #expect(shape == [2, 16, 16, 3])
      // DDIM without noise depends on the start alone.
      #expect(try numbers("b.safetensors").values == values)
      try sample("live.safetensors", "--initial", "noise.safetensors", "--weights", "live")
      #expect(try numbers("live.safetensors").values != values)

      for (name, shape) in [("scalar", []), ("grey", [2, 16, 16, 1]), ("odd", [2, 15, 16, 3])]
        as [(String, [Int])]
      {
        let count = shape.reduce(1, *)
        try saveTensors(["x": Tensor([Float](repeating: 0, count: count), Shape(shape))], to: place(name))
        try place.expectRefusal(
          ["sample", "run", "-o", "c.png", "--initial", name], "initial noise", "(N, H, W, 3)")
      }
      try saveTensors(["y": Tensor(noise, [2, 16, 16, 3])], to: place("other"))
      try place.expectRefusal(["sample", "run", "-o", "c.png", "--initial", "other"], "other", "x")
    }

    @Test func refusals() throws {
      try place.expectRefusal(
        ["sample", "run", "-o", "no/where.png"], "no/where.png", "No such file or directory")
      try place.expectRefusal(["sample", "nowhere", "-o", "x.png"], "nowhere is neither a run folder")
      try place.expectRefusal(
        ["sample", "run", "-o", "x.png", "--steps", "21"], "21 sampling steps: choose 1 to 20")
      try place.expectRefusal(
        ["export", "run", "-o", "model", "--step", "3"], "no checkpoint of step 3", "8")
      for wrong in [
        ["--count", "0"], ["--eta", "2"], ["--sampler", "euler"], ["--trajectory", "way.jpg"],
        ["-o", "x.jpg"],
      ] {
        #expect(try Kalsae(place, ["sample", "run", "-o", "x.png"] + wrong).wait().status == 64)
      }
    }

    @Test(arguments: ["ema", "live"]) func exportedModelsOpenAgain(_ weights: String) throws {
      let result = try place.kalsae("export", "run", "-o", "model", "--weights", weights)
      #expect(result.status == 0 && result.output == "model\n")
      #expect(place.names("model") == ["model_index.json", "scheduler", "unet"])
      let exported = try SafetensorsFile(path: place("model/unet/diffusion_pytorch_model.safetensors"))
      let file = weights == "ema" ? "ema" : "model"
      let trained = try SafetensorsFile(path: place("run/checkpoints/step-8/\(file).safetensors"))
      #expect(exported.names == trained.names)
      let pipeline = try DDPMPipeline(folder: place("model"))
      #expect(pipeline.diffusion.timesteps == 20)
      let parameters = pipeline.unet.contents.parameters
      #expect(parameters.count == trained.names.count)
      for (path, parameter) in parameters.map({ ($0.path, $0.parameter) }) {
        #expect(parameter.value.floats() == (try trained.tensor(path).floats()), "\(path)")
      }
      // The folder draws what the run draws.
      try sample("run.npz", "--weights", weights)
      let drawn = try place.kalsae(
        "sample", "model", "-o", "model.npz", "--count", "5", "--steps", "4", "--threads", "1", "-q")
      #expect(drawn.status == 0)
      #expect(try place.read("model.npz") == place.read("run.npz"))
    }

    @Test func interruptedSamplingSaysSo() throws {
      let process = try Kalsae(
        place, ["sample", "run", "-o", "x.npz", "--count", "1000000", "--batch-size", "2", "--steps", "2"])
      try process.wait {
        place.names(".").contains {
          $0.hasSuffix(".err") && ((try? place.text($0)) ?? "").contains("pictures, step")
        }
      }
      process.send(SIGINT)
      let result = try process.wait()
      #expect(result.status == 130)
      #expect(result.errors.contains("of 1000000 pictures were finished"))
    }
  }
}
