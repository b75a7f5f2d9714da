import Foundation
import Testing

extension CommandLineTests {
  @Suite struct Translations {
    let place = try! Workspace()

    /// Sentences whose translation is word for word, and a model that learns them in seconds.
    private func writeSentences() throws {
      let words = [("rot", "red"), ("blau", "blue"), ("alt", "old"), ("neu", "new")]
      let things = [("Hund", "dog"), ("Haus", "house"), ("Boot", "boat"), ("Baum", "tree")]
      var german = "", english = ""
      for (thing, ding) in things {
        for (word, wort) in words {
          german += "Der \(thing) ist \(word).\n"
          english += "The \(ding) is \(wort).\n"
        }
      }
      try place.write(german, "de.txt")
      try place.write(english, "en.txt")
      try place.write(
        """
        {"task": "translation", "steps": 120, "batch_size": 16, "warmup": 10, "learning_rate": 0.004, "ema": 0.9,
         "vocabulary_size": 300, "dropout": 0.1, "threads": 1, "evaluate_every": 60, "precision": "float32",
         "model": {"d_model": 32, "nhead": 2, "num_encoder_layers": 1, "num_decoder_layers": 1, "dim_feedforward": 64,
           "dropout": 0.1, "attention_dropout": 0, "norm_first": true, "max_position_embeddings": 128}}
        """, "translation.json")
    }

    private func train(_ run: String, _ more: String...) throws -> Finished {
      let files = [
        "--source", "de.txt", "--target", "en.txt", "--validation-source", "de.txt", "--validation-target",
        "en.txt",
      ]
      return try Kalsae(
        place, ["train", "translation", "--config", "translation.json", "--output", run] + files + more
      ).wait()
    }

    @Test func learnsToTranslate() throws {
      try writeSentences()
      let trained = try train("run")
      #expect(trained.status == 0, "\(trained.errors)")
      let validations = try place.text("run/metrics.jsonl").split(separator: "\n").filter {
        $0.contains("bleu")
      }
      #expect(validations.count == 2)
      let sentence = try place.kalsae("translate", "run", "Der Hund ist rot.", "Das Boot ist alt.")
      #expect(sentence.status == 0 && sentence.outputLines.count == 2, "\(sentence.errors)")
      #expect(sentence.outputLines.first == "The dog is red.", "\(sentence.output)")
      // A file, and how good its translations are; sampled by one beam or by four.
      for beam in ["1", "4"] {
        let scored = try place.kalsae(
          "translate", "run", "--input", "de.txt", "--output", "hyp.txt", "--reference", "en.txt", "--beam",
          beam)
        #expect(scored.status == 0, "\(scored.errors)")
        #expect(
          scored.outputLines.first
            == "BLEU = 100.00 100.0/100.0/100.0/100.0 (BP = 1.000 ratio = 1.000 hyp_len = 80 ref_len = 80)",
          "\(scored.output)")
        #expect(scored.outputLines.last == "chrF2 = 100.00", "\(scored.output)")
        #expect(try place.text("hyp.txt") == place.text("en.txt"))
      }
    }

    @Test func aRunThatLostItsLastStepsRepeatsThem() throws {
      try writeSentences()
      let straight = try train("run", "--steps", "12", "--checkpoint-every", "6")
      #expect(straight.status == 0, "\(straight.errors)")
      let files = ["model.safetensors", "ema.safetensors", "optimizer.safetensors"]
      let expected = try files.map { try place.read("run/checkpoints/step-12/" + $0) }
      // As if the process had been killed between the two checkpoints.
      try FileManager.default.removeItem(atPath: place("run/checkpoints/step-12"))
      let resumed = try place.kalsae("train", "translation", "--output", "run", "--resume")
      #expect(resumed.status == 0, "\(resumed.errors)")
      #expect(try files.map { try place.read("run/checkpoints/step-12/" + $0) } == expected)
    }

    @Test func whatCannotWorkIsOneClearLine() throws {
      try writeSentences()
      try place.write("one line\n", "short.txt")
      try place.write([0x61, 0xFF, 0x0A], "latin.txt")
      try place.write("", "empty.txt")
      let start = ["train", "translation", "--output", "run"]
      for (arguments, words) in [
        (start + ["--source", "de.txt"], "--source and --target"), (["translate", "run"], "--input"),
        (["translate", "run", "Hund", "--beam", "0"], "--beam"),
        (["translate", "run", "Hund", "--length-penalty", "-1"], "--length-penalty"),
      ] {
        let result = try Kalsae(place, arguments).wait()
        #expect(result.status == 64 && result.errors.contains(words), "\(arguments): \(result.errors)")
      }
      let both = start + ["--source", "de.txt", "--target", "en.txt"]
      try place.expectRefusal(
        start + ["--source", "de.txt", "--target", "short.txt"], "has 16 line", "has 1;")
      try place.expectRefusal(start + ["--source", "de.txt", "--target", "latin.txt"], "UTF-8", "latin.txt")
      try place.expectRefusal(start + ["--source", "empty.txt", "--target", "en.txt"], "empty.txt")
      try place.expectRefusal(both + ["--tokenizer", "nowhere.json"], "nowhere.json")
      try place.expectRefusal(both + ["--label-smoothing", "1"], status: 64, "--label-smoothing")
      try place.expectRefusal(both + ["--validation-source", "de.txt"], status: 64, "--validation-target")
      try place.expectRefusal(both + ["--vocabulary-size", "3"], status: 64, "--vocabulary-size")
      try place.expectRefusal(both + ["--maximum-length", "2"], "no text")
      #expect(!place.exists("run"))

      #expect(try train("run", "--steps", "1").status == 0)
      try place.expectRefusal(["translate", "nowhere", "Hund"], "nowhere")
      try place.expectRefusal(["translate", "run", "Hund", "--step", "7"], "step 7")
      try place.expectRefusal(["translate", "run", "--input", "empty.txt"], "empty.txt")
      try place.expectRefusal(
        ["translate", "run", "--input", "de.txt", "--reference", "short.txt"], status: 64, "--reference", "16"
      )
      let long = String(repeating: "Hund ", count: 100)
      try place.expectRefusal(["translate", "run", long], "text 1", "128")
      // A tokenizer that does not fit the model.
      try place.edit("translation.json", "\"d_model\": 32", "\"d_model\": 32, \"vocab_size\": 20")
      try place.expectRefusal(
        [
          "train", "translation", "--config", "translation.json", "-o", "other", "--source", "de.txt",
          "--target", "en.txt",
        ],
        "vocab_size")
    }
  }
}
