import Foundation
import KalsaeData
import Testing

extension CommandLineTests {
  /// Each mistake gets one clear line and a status; nothing is left behind or overwritten.
  @Suite(.serialized) struct BadInput {
    let place: Workspace
    let train = ["train", "ddpm", "--config", "tiny.json", "-o", "run"]

    init() throws { place = try Workspace() }

    @Test func missingAndEmptyDataFolders() throws {
      try place.expectRefusal(train + ["--data", "nowhere"], "nowhere: not found", "existing folder")
      try place.write("text", "notes/readme.txt")
      try place.expectRefusal(train + ["--data", "notes"], "notes: no PNG or JPEG file")
      try place.expectRefusal(train + ["--data", "tiny.json"], "tiny.json: it is a file")
      try place.expectRefusal(train + ["--data", "cifar10:notes"], place("notes"))
      try place.expectRefusal(train + ["--data", "fashion-mnist:notes"], "not found", "apt-get install")
      #expect(!place.exists("run"))
    }

    @Test func damagedPicturesAreSkippedByName() throws {
      for index in 0..<4 {
        let picture = Image(width: 16, height: 16, channels: 3, filledWith: UInt8(40 * index))
        try FileManager.default.createDirectory(atPath: place("pictures"), withIntermediateDirectories: true)
        try picture.writePNG(to: place("pictures/\(index).png"))
      }
      try place.write("not a picture", "pictures/bad.png")
      let arguments = train + ["--data", "pictures", "--steps", "2"]
      let result = try Kalsae(place, arguments).wait()
      #expect(result.status == 0)
      #expect(result.errors.contains("skipped \(place("pictures/bad.png")): neither PNG nor JPEG\n"))
      #expect(result.errors.contains("1 of 5 pictures were skipped"))
      // The run can be continued from any folder.
      #expect(try place.text("run/config.json").contains("\"data\": \"\(place("pictures"))\""))
    }

    @Test func picturesThatAllFail() throws {
      for name in ["a.png", "b.jpg"] { try place.write("not a picture", "pictures/" + name) }
      try place.expectRefusal(
        train + ["--data", "pictures"], "none of its 2 image file(s) can be decoded", "a.png")
      #expect(!place.exists("run"))
    }

    /// Ten pictures of 16 x 16 whose header claims `count` of them.
    func idx(magic: [UInt8], count: UInt8) -> [UInt8] {
      magic + [0, 0, 0, count, 0, 0, 0, 16, 0, 0, 0, 16] + [UInt8](repeating: 7, count: 10 * 256)
    }

    @Test func damagedIDXFiles() throws {
      let images = "fashion/train-images-idx3-ubyte", data = train + ["--data", "fashion-mnist:fashion"]
      try place.write(
        [0, 0, 8, 1, 0, 0, 0, 10] + [UInt8](repeating: 1, count: 10), "fashion/train-labels-idx1-ubyte")
      try place.write(idx(magic: [7, 7, 8, 3], count: 10), images)
      try place.expectRefusal(data, place(images), "not an IDX file")
      try place.write(idx(magic: [0, 0, 8, 3], count: 11), images)
      try place.expectRefusal(data, place(images), "truncated")
      try place.write(idx(magic: [0, 0, 8, 3], count: 9), images)
      try place.expectRefusal(data, place(images), "longer than")
      #expect(!place.exists("run"))
    }

    @Test func unknownAndContradictoryKeys() throws {
      try place.edit("tiny.json", "\"steps\"", "\"stepps\"")
      try place.expectRefusal(train, "tiny.json: unknown key 'stepps' (did you mean 'steps'?)")
      try place.write(Workspace.tiny, "tiny.json")
      try place.edit("tiny.json", "layers_per_block", "layer_per_block")
      try place.expectRefusal(train, "'model.layer_per_block'", "'model.layers_per_block'")
      try place.write(Workspace.tiny, "tiny.json")
      try place.edit("tiny.json", "\"image_size\": 16", "\"image_size\": 32")
      try place.expectRefusal(train, "image_size", "is 32", "model.sample_size is 16")
      try place.write(Workspace.tiny, "tiny.json")
      try place.edit("tiny.json", "\"norm_num_groups\": 4", "\"norm_num_groups\": 3")
      try place.expectRefusal(train, "block_out_channels", "norm_num_groups 3")
      try place.write("{", "tiny.json")
      try place.expectRefusal(train, "tiny.json: not valid JSON")
      #expect(!place.exists("run"))
    }

    @Test func modelsThatDoNotFitThePictures() throws {
      try place.edit("tiny.json", "\"model\": {", "\"model\": {\"in_channels\": 1, \"out_channels\": 1,")
      try place.expectRefusal(train, "the pictures have 3 channels", "in_channels")
      try place.write(Workspace.tiny, "tiny.json")
      try place.edit("tiny.json", "\"model\": {", "\"model\": {\"num_class_embeds\": 4,")
      try place.expectRefusal(train, "num_class_embeds")
      try place.write(Workspace.tiny, "tiny.json")
      try place.edit("tiny.json", "\"image_size\": 16,", "")
      try place.expectRefusal(train, "32 x 32", "model.sample_size is 16 x 16", "--image-size")
      #expect(!place.exists("run"))
    }

    @Test func checkpointsOfAnotherArchitecture() throws {
      try place.train("run", "--steps", "1")
      try place.edit("run/config.json", "\"block_out_channels\": [8, 8]", "\"block_out_channels\": [8, 16]")
      try place.edit("run/config.json", "\"AttnUpBlock2D\"", "\"UpBlock2D\"")
      let config = try place.read("run/config.json")
      for command in [
        ["train", "ddpm", "--resume", "-o", "run", "--steps", "2"], ["export", "run", "-o", "model"],
      ] {
        let result = try Kalsae(place, command + ["-q"]).wait()
        #expect(result.status == 1)
        #expect(result.output.isEmpty)
        let summary = try #require(result.errorLines.first)
        let lists = result.errorLines.dropFirst()
        #expect(lists.contains("  missing: down_blocks.1.resnets.0.conv_shortcut.weight"))
        #expect(lists.contains("  unexpected: up_blocks.0.attentions.0.to_q.weight"))
        #expect(
          lists.contains(
            "  misshapen: down_blocks.1.resnets.0.conv1.weight: expected (16, 8, 3, 3), found (8, 8, 3, 3)"))
        for kind in ["missing", "unexpected", "misshapen"] {
          let count = lists.count { $0.hasPrefix("  \(kind): ") }
          #expect(summary.contains("\(count) \(kind)"))
        }
      }
      #expect(try place.read("run/config.json") == config)
      #expect(!place.exists("model"))
    }

    @Test func outputFoldersThatExist() throws {
      try place.train("run", "--steps", "1")
      let before = try place.read("run/config.json")
      try place.expectRefusal(train + ["--steps", "3"], "run holds a run already", "--resume", "--output")
      #expect(try place.read("run/config.json") == before)
      #expect(place.steps("run") == [1])
      try place.write("mine", "notes/readme.txt")
      try place.expectRefusal(
        ["train", "ddpm", "--data", "shapes", "-o", "notes"], "notes exists and is not empty")
      #expect(place.names("notes") == ["readme.txt"])
      try place.expectRefusal(
        ["train", "ddpm", "--data", "shapes", "-o", "tiny.json"], "tiny.json is a file")
      try place.expectRefusal(["export", "run", "-o", "notes"], "notes", "choose another name")
      try place.expectRefusal(["sample", "run", "-o", "notes"], "notes", "choose another name")
      #expect(place.names("notes") == ["readme.txt"])
    }

    @Test func batchesLargerThanTheData() throws {
      try place.expectRefusal(
        train + ["--batch-size", "10001"], "batch size 10001 is larger than shapes", "at most 10000")
      #expect(!place.exists("run"))
    }

    @Test func optionsWithoutMeaning() throws {
      try place.expectRefusal(train + ["--steps", "0"], status: 64, "--steps must be at least 1")
      try place.expectRefusal(train + ["--ema", "1"], status: 64, "--ema must be in [0, 1)")
      try place.expectRefusal(train + ["--beta-start", "2"], status: 64, "beta")
      for wrong in [
        ["--steps", "many"], ["--precision", "float8"], ["--bogus"], ["extra"], ["--resume"],
        ["--threads", "none"],
      ] {
        let result = try Kalsae(place, train + wrong).wait()
        #expect(result.status == 64, "\(wrong)")
        #expect(result.output.isEmpty)
        #expect(result.errors.contains("Usage: kalsae train ddpm"), "\(result.errors)")
      }
      #expect(try place.kalsae("train", "ddpm", "-o", "run").errors.contains("--data is missing"))
      #expect(try place.kalsae("train", "ddpm", "-o", "run").status == 64)
      #expect(try place.kalsae("bogus").status == 64)
      try place.expectRefusal(["train", "ddpm", "--resume", "-o", "run"], "run is no run folder")
      #expect(!place.exists("run"))
    }

    @Test func diverging() throws {
      try place.train("run", "--steps", "3")
      let before = try place.read("run/checkpoints/step-3/model.safetensors")
      let arguments = ["train", "ddpm", "-o", "run", "--resume", "--steps", "20", "--learning-rate", "1e30"]
      let result = try Kalsae(place, arguments + ["-q"]).wait()
      #expect(result.status == 1)
      #expect(result.errorLines.count == 1)
      let line = try #require(result.errorLines.first)
      let match = try #require(
        try line.firstMatch(of: Regex("step ([0-9]+): the first non-finite tensor is ([a-z0-9_.]+)")))
      #expect((4...20).contains(Int(match.output[1].substring ?? "") ?? 0))
      #expect(line.contains("last good checkpoint is step-3"))
      #expect(line.contains("--learning-rate"))
      #expect(place.names("run/checkpoints") == ["step-3"])
      #expect(try place.read("run/checkpoints/step-3/model.safetensors") == before)
    }
  }
}
