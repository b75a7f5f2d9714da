import Foundation
import Kalsae
import Testing

extension CommandLineTests {
  /// `kalsae attention` on the reference models, on a run, and on what it cannot show.
  @Suite(.serialized) struct AttentionMapsOfModels {
    let place: Workspace

    init() throws {
      place = try Workspace()
      for name in ["gpt2", "vit-classification"] {
        let fixture = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
          .appendingPathComponent("Fixtures/" + name).path
        try FileManager.default.copyItem(atPath: fixture, toPath: place(name))
      }
      // GPT-2's fixture knows 29 tokens: these and <unk>.
      try Tokenizer.characters(of: "abcdefghijklmnopqrstuvwxyz .").save(to: place("gpt2/tokenizer.json"))
    }

    @Test func everyKindOfFile() throws {
      for name in ["maps.html", "maps.png", "maps.safetensors"] {
        let result = try place.kalsae("attention", "gpt2", "a swift flies", "--output", name)
        #expect(result.status == 0 && result.output == name + "\n", "\(result.errors)")
      }
      let page = try place.text("maps.html")
      #expect(page.hasPrefix("<!DOCTYPE html>") && page.contains("a swift flies"))
      let image = try Image(contentsOf: place("maps.png"))
      // 13 tokens of 7 pixels; four heads, two layers.
      #expect(image.width == 4 * (91 + 6) + 6 && image.height == 2 * (91 + 6) + 6)
      let file = try SafetensorsFile(path: place("maps.safetensors"))
      #expect(file.names == ["h.0.attn", "h.1.attn"] && file["h.0.attn"]?.shape == [4, 13, 13])
      #expect(file.metadata["tokens"]?.contains(#"["a"," ","s","w""#) == true)
    }

    @Test func oneLayerAndOneHead() throws {
      let result = try place.kalsae(
        "attention", "gpt2", "a bee", "-o", "maps.safetensors", "--layer", "1", "--head", "3")
      #expect(result.status == 0, "\(result.errors)")
      let file = try SafetensorsFile(path: place("maps.safetensors"))
      #expect(file.names == ["h.1.attn"] && file["h.1.attn"]?.shape == [1, 5, 5])
    }

    @Test func aPicture() throws {
      try Image(width: 30, height: 20, channels: 3, filledWith: 90).writePNG(to: place("grey.png"))
      let result = try place.kalsae("attention", "vit-classification", "grey.png", "--output", "maps.html")
      #expect(result.status == 0, "\(result.errors)")
      #expect(try place.text("maps.html").contains("data:image/png;base64,"))
      let missing = try place.kalsae("attention", "vit-classification", "some text", "--output", "no.html")
      #expect(missing.status == 1 && missing.errors.contains("some text"), "\(missing.errors)")
    }

    @Test func aRunAndItsWeights() throws {
      try place.write(String(repeating: "the sea is blue. ", count: 40), "text.txt")
      let trained = try place.kalsae(
        "train", "language-model", "--text", "text.txt", "--output", "run", "--steps", "4", "--batch-size",
        "2",
        "--context-length", "16", "--checkpoint-every", "2", "--threads", "1", "--quiet")
      #expect(trained.status == 0, "\(trained.errors)")
      func maps(_ more: String...) throws -> [Float] {
        let result = try Kalsae(
          place, ["attention", "run", "the sea", "--output", "maps.safetensors", "--threads", "1"] + more
        ).wait()
        #expect(result.status == 0, "\(result.errors)")
        return try SafetensorsFile(path: place("maps.safetensors")).tensor("h.3.attn").floats()
      }
      let newest = try maps()
      #expect(newest.count == 4 * 7 * 7)
      #expect(try maps("--step", "4") == newest)
      #expect(try maps("--step", "2") != newest)
      #expect(try maps("--weights", "live") != newest)
      try place.expectRefusal(
        ["attention", "run", "the sea", "--output", "maps.html", "--step", "3"], "no checkpoint of step 3")
    }

    /// A classifier of pictures, and an encoder that fills in masks.
    @Test func runsOfOtherTasks() throws {
      for name in ["dark", "bright"] {
        for number in 0..<4 {
          try place.write(
            Image(width: 8, height: 8, channels: 1, filledWith: name == "dark" ? 20 : 200).pngBytes(),
            "pictures/\(name)/\(number).png")
        }
      }
      try place.write(
        """
        {"data": "pictures", "steps": 2, "batch_size": 2, "validation_fraction": 0, "threads": 1, "precision": "float32",
         "model": {"model_type": "vit", "image_size": 8, "patch_size": 4, "num_channels": 1, "hidden_size": 16,
          "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}}
        """, "vit.json")
      try place.write(String(repeating: "a swift flies over the sea\n", count: 20), "text.txt")
      try TokenizerTrainer(vocabularySize: 60).train(.wordPiece, texts: [place.text("text.txt")]).save(
        to: place("tokenizer.json"))
      try place.write(
        """
        {"steps": 2, "batch_size": 2, "context_length": 16, "threads": 1, "precision": "float32",
         "model": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
          "max_position_embeddings": 16}}
        """, "bert.json")
      for (task, arguments, input, shape) in [
        ("classifier", ["--config", "vit.json"], "pictures/dark/0.png", [2, 5, 5]),
        (
          "masked-language-model",
          ["--config", "bert.json", "--text", "text.txt", "--tokenizer", "tokenizer.json"],
          "a [MASK] flies", [2, 5, 5]
        ),
      ] {
        let trained = try Kalsae(place, ["train", task, "-o", task, "--quiet"] + arguments).wait()
        #expect(trained.status == 0, "\(trained.errors)")
        let result = try place.kalsae("attention", task, input, "-o", "maps.safetensors")
        #expect(result.status == 0, "\(task): \(result.errors)")
        let file = try SafetensorsFile(path: place("maps.safetensors"))
        #expect(file.names.count == 2)
        for name in file.names { #expect(file[name]?.shape == shape, "\(task): \(name)") }
      }
    }

    @Test func whatCannotWorkIsOneClearLine() throws {
      func refusal(_ arguments: String..., words: String..., from location: SourceLocation = #_sourceLocation)
        throws
      {
        let result = try Kalsae(place, ["attention"] + arguments + ["--quiet"]).wait()
        #expect(result.status == 1 && result.output.isEmpty, "\(result.errors)", sourceLocation: location)
        #expect(result.errorLines.count == 1, "\(result.errors)", sourceLocation: location)
        for word in words {
          #expect(result.errors.contains(word), "\(result.errors)", sourceLocation: location)
        }
      }
      try refusal("gpt2", "a", "-o", "maps.pdf", words: "maps.pdf", ".html, .png or .safetensors")
      try refusal("gpt2", "a", "-o", "maps.html", "--layer", "2", words: "no layer 2", "0 to 1")
      try refusal("gpt2", "a", "-o", "maps.html", "--head", "4", words: "no head 4", "0 to 3")
      try refusal("gpt2", "", "-o", "maps.html", words: "empty text")
      try refusal("gpt2", "one text too long", "-o", "maps.html", words: "17 tokens", "only 16", "shorten it")
      try refusal("gpt2", "a", "-o", "maps.html", "--target", "b", words: "only a translator")
      try refusal("gpt2", "a", "-o", "nowhere/maps.html", words: "nowhere/maps.html")
      try refusal("nowhere", "a", "-o", "maps.html", words: "nowhere", "no config.json")
      try place.write(#"{"model_type": "alexnet"}"#, "alexnet/config.json")
      try refusal("alexnet", "a", "-o", "maps.html", words: "\"alexnet\"", "gpt2, bert, vit")
      try FileManager.default.removeItem(atPath: place("gpt2/tokenizer.json"))
      try refusal("gpt2", "a", "-o", "maps.html", words: "gpt2", "tokenizer")
      #expect(!place.exists("maps.html"))
    }
  }
}
