import Foundation
import Kalsae
import Testing

extension CommandLineTests {
  @Suite struct Classifiers {
    let place: Workspace

    init() throws { place = try Workspace() }

    /// Dark and bright pictures of 16 x 16, and a tiny ViT for them.
    private func writePictures() throws {
      for (name, low) in [("bright", 150), ("dark", 0)] {
        for i in 0..<12 {
          let pixels = (0..<256).map { UInt8(low + ($0 * 7 + i * 13) % 100) }
          let image = Image(width: 16, height: 16, channels: 1, pixels: pixels)
          try place.write(image.pngBytes(), "pictures/\(name)/\(i).png")
        }
      }
      try place.write(
        """
        {"data": "pictures", "steps": 40, "batch_size": 8, "warmup": 2, "learning_rate": 0.003, "ema": 0.5,
         "threads": 1, "precision": "float32", "evaluate_every": 20, "validation_fraction": 0.25,
         "model": {"model_type": "vit", "image_size": 16, "patch_size": 8, "num_channels": 1, "hidden_size": 16,
          "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}}
        """, "vit.json")
    }

    private func writeTexts() throws {
      let rows = (0..<30).map { i in
        i % 2 == 0 ? "a good film \(i % 5)\tgood" : "a bad film \(i % 5)\tbad"
      }
      try place.write("text\tlabel\n" + rows.joined(separator: "\n") + "\n", "texts.tsv")
      let words = ["a good film bad 0 1 2 3 4", "a good film bad 0 1 2 3 4"]
      try TokenizerTrainer(vocabularySize: 60).train(.wordPiece, texts: words).save(
        to: place("tokenizer.json"))
      try place.write(
        """
        {"data": "texts.tsv", "tokenizer": "tokenizer.json", "steps": 100, "batch_size": 16, "warmup": 2,
         "learning_rate": 0.005, "ema": 0.5, "threads": 1, "precision": "float32", "context_length": 8,
         "model": {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
          "intermediate_size": 32, "max_position_embeddings": 8, "hidden_dropout_prob": 0,
          "attention_probs_dropout_prob": 0}}
        """, "bert.json")
    }

    @Test func learnsPicturesAndSaysWhatTheyAre() throws {
      try writePictures()
      let trained = try place.kalsae("train", "classifier", "--config", "vit.json", "-o", "run")
      #expect(trained.status == 0, "\(trained.errors)")
      #expect(trained.output == "run/checkpoints/step-40\n")
      #expect(trained.errors.contains("validation_accuracy 1.0000"), "\(trained.errors)")
      let metrics = try place.text("run/metrics.jsonl").split(separator: "\n")
      #expect(metrics.count { $0.contains("validation_macro_f1") } == 2)

      let two = try place.kalsae(
        "classify", "run", "pictures/dark/1.png", "pictures/bright/2.png", "--top", "1")
      #expect(two.status == 0, "\(two.errors)")
      try #require(two.outputLines.count == 2)
      #expect(two.outputLines[0].hasPrefix("pictures/dark/1.png: dark 0."), "\(two.output)")
      #expect(two.outputLines[1].hasPrefix("pictures/bright/2.png: bright 0."), "\(two.output)")
      try place.write("pictures/dark/1.png\n", "list.txt")
      let json = try place.kalsae("classify", "run", "--input", "list.txt", "--json")
      guard case .object(let object) = try JSON(parsing: json.output.utf8),
        case .array(let classes)? = object["classes"], case .object(let first)? = classes.first
      else {
        Issue.record("\(json.output) \(json.errors)")
        return
      }
      #expect(object["input"] == "pictures/dark/1.png" && classes.count == 2 && first["name"] == "dark")
      let score = try place.kalsae("classify", "run", "--data", "pictures")
      #expect(score.output.hasPrefix("accuracy 1.0000, macro F1 1.0000, loss "), "\(score.errors)")

      // Another size than the model's, and colours, are brought to the model's.
      let colours = Image(width: 20, height: 31, channels: 3, filledWith: 240)
      try place.write(colours.pngBytes(), "big.png")
      #expect(try place.kalsae("classify", "run", "big.png").output.hasPrefix("big.png: bright"))
    }

    @Test func learnsTextsAndSaysWhatTheyAre() throws {
      try writeTexts()
      let trained = try place.kalsae("train", "classifier", "--config", "bert.json", "-o", "run")
      #expect(trained.status == 0, "\(trained.errors)")
      let result = try place.kalsae("classify", "run", "a bad film", "good", "--top", "5")
      try #require(result.outputLines.count == 2, "\(result.errors)")
      #expect(result.output.hasPrefix("a bad film: bad 0."), "\(result.output)")
      #expect(result.outputLines[1].hasPrefix("good: good 0.") && result.outputLines[1].contains(", bad 0."))
      let score = try place.kalsae("classify", "run", "--data", "texts.tsv", "--json")
      #expect(score.output.contains("\"examples\":30") && score.output.contains("\"macro_f1\""))
      // The classifier of one run is where another one starts, without its options repeated.
      let next = try place.kalsae(
        "train", "classifier", "--from", "run", "--data", "texts.tsv", "--steps", "2", "--batch-size", "4",
        "--context-length", "8", "--train-examples", "6", "-o", "next")
      #expect(next.status == 0 && next.errors.contains("bert, 6 texts to learn from, 3 to test on"))
      let other = try place.kalsae("generate", "run", "--prompt", "x")
      #expect(other.status == 1 && other.errors.contains("classifier"), "\(other.errors)")
    }

    @Test func whatCannotWorkIsOneClearLine() throws {
      try writePictures()
      try writeTexts()
      let grey = Image(width: 16, height: 16, channels: 1, filledWith: 7).pngBytes()
      try place.write(grey, "plain/0.png")
      try place.write(grey, "one/only/0.png")
      try place.write(grey, "other/green/0.png")
      try place.write([1, 2, 3], "broken.png")
      try place.write("text\tlabel\na\tgood\nb\n", "bad.tsv")
      try place.write("text\tlabel\na\tgreen\n", "unseen.tsv")
      try place.write([0x61, 0x09, 0x31, 0x0A, 0xFF, 0x09, 0x30], "latin.tsv")
      let start = ["train", "classifier", "--output", "run"]
      let vit = start + ["--config", "vit.json"], bert = start + ["--config", "bert.json"]
      for (arguments, status, word) in [
        (start + ["--data", "pictures"], 64, "--model is missing"),
        (start + ["--model", "vit"], 64, "--data is missing"),
        (start + ["--data", "pictures", "--model", "resnet"], 64, "resnet"),
        (vit + ["--data", "nowhere"], 1, "nowhere"),
        (vit + ["--data", "texts.tsv"], 1, "reads pictures"),
        (vit + ["--data", "plain"], 1, "plain has no labels"),
        (vit + ["--data", "one"], 1, "the one class"),
        (vit + ["--validation-data", "other"], 1, "\"green\", which is none of those learned: bright, dark"),
        (vit + ["--image-size", "24"], 1, "model.image_size is 16 x 16"),
        (vit + ["--batch-size", "1000"], 1, "batch size 1000"),
        (vit + ["--shift", "16"], 1, "shift of 16"),
        (vit + ["--label-smoothing", "1"], 64, "--label-smoothing"),
        (vit + ["--train-examples", "100"], 1, "train_examples 100"),
        (start + ["--data", "pictures", "--model", "alexnet", "--image-size", "32"], 1, "63 x 63"),
        (
          start + ["--data", "pictures", "--model", "alexnet", "--recompute"], 64,
          "--recompute is for networks"
        ),
        (start + ["--data", "texts.tsv", "--model", "bert"], 1, "--tokenizer"),
        (bert + ["--data", "pictures"], 1, "bert reads texts"),
        (bert + ["--data", "bad.tsv"], 1, "line 3: 1 column(s) instead of 2"),
        (bert + ["--data", "latin.tsv"], 1, "not UTF-8"),
        (
          bert + ["--validation-data", "unseen.tsv"], 1,
          "\"green\", which is none of those learned: bad, good"
        ),
        (bert + ["--context-length", "9"], 1, "max_position_embeddings is 8"),
        (bert + ["--from", "pictures"], 1, "neither a run folder nor a model folder"),
        (["classify", "nowhere", "x"], 1, "nowhere"),
        (["classify", "nowhere"], 64, "nothing to classify"),
        (["classify", "nowhere", "x", "--top", "0"], 64, "--top"),
        (["classify", "nowhere", "x", "--data", "y"], 64, "--data"),
      ] as [([String], Int32, String)] {
        let result = try Kalsae(place, arguments + ["-q"]).wait()
        #expect(result.status == status, "\(arguments): \(result.errors)")
        #expect(result.errors.contains(word), "\(arguments): \(result.errors)")
        #expect(!place.names(".").contains("run"), "\(arguments)")
      }
      try place.edit("vit.json", "\"patch_size\": 8", "\"patch_size\": 5")
      try place.expectRefusal(vit, "do not divide into patches of 5 x 5")
      try place.edit("vit.json", "\"vit\"", "\"resnet\"")
      try place.expectRefusal(vit, "model_type", "choose vit, alexnet, bert")
      try place.edit("bert.json", "\"hidden_size\"", "\"vocab_size\": 10, \"hidden_size\"")
      try place.expectRefusal(bert, "model.vocab_size is 10")

      try place.edit("bert.json", "\"vocab_size\": 10, ", "")
      let trained = try Kalsae(place, bert + ["--steps", "1", "-q"]).wait()
      #expect(trained.status == 0, "\(trained.errors)")
      try place.expectRefusal(["classify", "run", "--data", "unseen.tsv"], "none of those learned")
      try place.expectRefusal(
        ["train", "classifier", "-o", "run", "--resume", "--model", "vit"], status: 64, "--model vit")
      try place.expectRefusal(["train", "ddpm", "-o", "run", "--resume"], "kalsae train classifier")
      try place.edit("vit.json", "\"resnet\"", "\"vit\"")
      try place.edit("vit.json", "\"patch_size\": 5", "\"patch_size\": 8")
      #expect(
        try place.kalsae("train", "classifier", "--config", "vit.json", "--steps", "1", "-o", "run2").status
          == 0)
      try place.expectRefusal(["classify", "run2", "broken.png"], "broken.png", "neither PNG nor JPEG")
      try place.expectRefusal(["classify", "run2", "nowhere.png"], "nowhere.png")
    }
  }
}
