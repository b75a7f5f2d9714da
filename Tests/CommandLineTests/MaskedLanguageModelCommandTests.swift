import Foundation
import KalsaeCheckpoints
import Testing

extension CommandLineTests {
  @Suite struct MaskedLanguageModels {
    let place = try! Workspace()

    private static let small = [
      "--steps", "100", "--batch-size", "16", "--evaluate-every", "50", "--threads",
      "1", "--learning-rate", "0.005", "--warmup", "5", "--ema", "0.9", "--precision", "float32", "--config",
      "model.json",
    ]

    /// Korean reviews as a table, a tokenizer for them and the configuration of a small model.
    private func prepare() throws {
      let texts = ["정말 재미있는 영화 입니다", "너무 지루한 영화 였다", "배우 연기가 아주 좋았다"]
      let rows = (0..<120).map { "\($0)\t\(texts[$0 % 3])\t\($0 % 2)\n" }
      try place.write("id\tdocument\tlabel\n" + rows.joined(), "ratings.txt")
      try place.write(
        """
        {"context_length": 16, "model": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
          "max_position_embeddings": 16, "hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0}}
        """, "model.json")
      let made = try place.kalsae(
        "tokenizer", "train", "--type", "wordpiece", "--vocab-size", "120", "--cased", "--output",
        "tokenizer.json", "ratings.txt")
      #expect(made.status == 0, "\(made.errors)")
    }

    private func train(_ run: String, _ more: String...) throws -> Finished {
      try Kalsae(
        place,
        [
          "train", "masked-language-model", "--output", run, "--text", "ratings.txt", "--tokenizer",
          "tokenizer.json",
        ] + Self.small + more
      ).wait()
    }

    @Test func learnsFromATableAndFillsMasks() throws {
      try prepare()
      // Of the table only the texts: no number is a token.
      let encoded = try place.kalsae("tokenizer", "encode", "tokenizer.json", "17", "--tokens")
      #expect(encoded.output.contains("[UNK]"), "\(encoded.output)")

      let trained = try train("run")
      #expect(trained.status == 0, "\(trained.errors)")
      #expect(trained.errors.contains("114 examples of") && trained.errors.contains("6 held out"))
      let metrics = try String(contentsOfFile: place("run/metrics.jsonl"), encoding: .utf8)
      #expect(metrics.split(separator: "\n").count { $0.contains("validation_accuracy") } == 2)

      let text = "너무 [MASK] 영화 였다"
      let filled = try place.kalsae("fill-mask", "run", text, "--top", "2")
      #expect(filled.status == 0 && filled.outputLines.count == 2, "\(filled.errors)")
      #expect(filled.outputLines.first?.hasSuffix("너무 지루한 영화 였다") == true, "\(filled.output)")
      let live = try place.kalsae("fill-mask", "run", text, "--weights", "live", "--top", "1")
      #expect(live.status == 0 && live.outputLines.count == 1, "\(live.errors)")

      let both = try place.kalsae("fill-mask", "run", "[MASK] 지루한 [MASK] 였다", "--top", "1")
      #expect(both.outputLines.count == 4 && both.outputLines[2] == "mask 2:", "\(both.output)")
      let json = try place.kalsae("fill-mask", "run", text, "--json", "--top", "3")
      guard case .array(let lists) = try JSON(parsing: json.output.utf8),
        case .array(let list)? = lists.first,
        case .object(let best)? = list.first
      else {
        Issue.record("\(json.output)")
        return
      }
      #expect(lists.count == 1 && list.count == 3)
      #expect(best["text"] == .string("너무 지루한 영화 였다") && best["id"] != nil && best["token"] != nil)
      if case .double(let p)? = best["probability"] {
        #expect(p > 0 && p <= 1)
      } else {
        Issue.record("\(best)")
      }
    }

    @Test func nextSentencesAndResuming() throws {
      try prepare()
      let documents = (0..<20).map { $0 % 2 == 0 ? "정말 재미있는\n정말 영화\n" : "너무 지루한\n너무 영화\n" }
      try place.write(documents.joined(separator: "\n"), "documents.txt")
      let short = ["--steps", "6", "--checkpoint-every", "3"]
      let start =
        [
          "train", "masked-language-model", "-o", "run", "--text", "documents.txt", "--tokenizer",
          "tokenizer.json",
        ]
        + Self.small + short
      let trained = try Kalsae(place, start + ["--next-sentence", "--validation-fraction", "0.2"]).wait()
      #expect(trained.status == 0, "\(trained.errors)")
      #expect(trained.errors.contains("validation_next_sentence_accuracy"), "\(trained.errors)")
      let files = ["model.safetensors", "ema.safetensors", "optimizer.safetensors"]
      let expected = try files.map { try place.read("run/checkpoints/step-6/" + $0) }
      try FileManager.default.removeItem(atPath: place("run/checkpoints/step-6"))
      let resumed = try place.kalsae("train", "masked-language-model", "--output", "run", "--resume")
      #expect(resumed.status == 0, "\(resumed.errors)")
      #expect(try files.map { try place.read("run/checkpoints/step-6/" + $0) } == expected)
      #expect(try place.kalsae("fill-mask", "run", "정말 [MASK]").status == 0)
    }

    @Test func whatCannotWorkIsOneClearLine() throws {
      try prepare()
      try Data([0x61, 0xFF, 0x62]).write(to: URL(fileURLWithPath: place("latin.txt")))
      try Data().write(to: URL(fileURLWithPath: place("empty.txt")))
      try place.write("하나\n둘\n셋\n", "single.txt")
      let characters = try place.kalsae(
        "tokenizer", "train", "--type", "bpe", "--vocab-size", "300", "--output", "bpe.json", "single.txt")
      #expect(characters.status == 0, "\(characters.errors)")
      let start = ["train", "masked-language-model", "--output", "run"]
      let full = start + ["--text", "ratings.txt", "--tokenizer", "tokenizer.json"]
      let other = start + ["--tokenizer", "tokenizer.json", "--text"]
      for (arguments, status, words) in [
        (start, 64, "--text"),
        (start + ["--text", "ratings.txt"], 64, "--tokenizer"),
        (start + ["--text", "ratings.txt", "--tokenizer", "nowhere.json"], 1, "nowhere.json"),
        (start + ["--text", "ratings.txt", "--tokenizer", "bpe.json"], 1, "[CLS]"),
        (other + ["missing.txt"], 1, "missing.txt"),
        (other + ["latin.txt"], 1, "UTF-8"),
        (other + ["empty.txt"], 1, "empty.txt"),
        (other + ["single.txt", "--next-sentence", "--validation-fraction", "0"], 1, "at least 2 documents"),
        (full + ["--next-sentence"], 1, "no document has two sentences"),
        (full + ["--next-sentence", "--packing"], 64, "--packing"),
        (full + ["--validation-fraction", "2"], 64, "--validation-fraction"),
        (full + ["--mask-probability", "0"], 64, "--mask-probability"),
        (full + ["--context-length", "2"], 64, "--context-length"),
        (["fill-mask", "nowhere", "a [MASK]"], 1, "nowhere"),
        (["fill-mask", "nowhere", "a [MASK]", "--top", "0"], 64, "--top"),
      ] as [([String], Int32, String)] {
        let result = try Kalsae(place, arguments).wait()
        #expect(result.status == status, "\(arguments): \(result.errors)")
        #expect(result.errors.contains(words), "\(arguments): \(result.errors)")
        // The parser adds the usage to what it refuses itself.
        #expect(status == 64 || result.errorLines.count == 1, "\(result.errors)")
        #expect(!place.names(".").contains("run"), "\(arguments)")
      }
      #expect(try train("run", "--steps", "2").status == 0)
      try place.expectRefusal(["fill-mask", "run", "정말 영화"], "write [MASK]")
      let long = "[MASK]" + String(repeating: " 영화", count: 20)
      try place.expectRefusal(["fill-mask", "run", long], "23 tokens", "context of 16")
      try place.expectRefusal(
        ["train", "masked-language-model", "-o", "run", "--resume", "--next-sentence"], status: 64,
        "no next sentences")
      try place.expectRefusal(
        ["train", "language-model", "-o", "run", "--resume"], "kalsae train masked-language-model")
      try place.train("diffusion", "--steps", "1")
      try place.expectRefusal(["fill-mask", "diffusion", "a [MASK]"], "ddpm", "masked-language-model")
    }
  }
}
