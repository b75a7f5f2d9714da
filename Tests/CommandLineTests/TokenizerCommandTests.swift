import Foundation
import Testing

extension CommandLineTests {
  @Suite struct TokenizerCommandTests {
    static let corpus = String(
      repeating: "the swift flies over the tower, and the swift sleeps\n칼새는 날아갑니다\n", count: 30)

    @Test func trainedTokenizersEncodeAndDecode() throws {
      let space = try Workspace()
      try space.write(Self.corpus, "corpus.txt")
      for (type, size) in [("bpe", 300), ("wordpiece", 80), ("unigram", 80)] {
        let trained = try space.kalsae(
          "tokenizer", "train", "--type", type, "--vocab-size", "\(size)", "-o", "\(type).json", "corpus.txt",
          "--cased")
        #expect(trained.status == 0, "\(trained.errors)")
        #expect(trained.output == "\(type).json\n")
        let encoded = try space.kalsae("tokenizer", "encode", "\(type).json", "the swift sleeps 칼새는")
        #expect(encoded.status == 0, "\(encoded.errors)")
        let ids = String(encoded.outputLines[0])
        #expect(ids.split(separator: " ").allSatisfy { Int($0) != nil })
        #expect(
          try space.kalsae("tokenizer", "decode", "\(type).json", ids).output == "the swift sleeps 칼새는\n")
        let info = try space.kalsae("tokenizer", "info", "\(type).json")
        #expect(info.status == 0 && info.output.contains("vocabulary"))
      }
      let special = try space.kalsae("tokenizer", "encode", "bpe.json", "<|endoftext|>").output
      #expect(special == "0\n")
      let plain = try space.kalsae("tokenizer", "encode", "bpe.json", "--no-special", "<|endoftext|>").output
      #expect(plain != special)
    }

    @Test func arraysGoThroughStandardInput() throws {
      let space = try Workspace()
      try space.write(Self.corpus, "corpus.txt")
      let trained = try space.kalsae(
        "tokenizer", "train", "--type", "bpe", "--vocab-size", "300", "-o", "bpe.json", "corpus.txt")
      #expect(trained.status == 0, "\(trained.errors)")
      let texts = #"["the swift \u2014 \"sleeps\"\n","","칼새는 <|endoftext|>"]"#
      try space.write(texts, "texts.json")
      let encoded = try space.kalsae("tokenizer", "encode", "bpe.json", "--json", input: "texts.json")
      #expect(encoded.status == 0, "\(encoded.errors)")
      #expect(
        encoded.output.hasPrefix("[[") && encoded.output.contains(",[],")
          && encoded.output.hasSuffix(",0]]\n"))
      let first = try space.kalsae("tokenizer", "encode", "bpe.json", "the swift — \"sleeps\"\n").output
      let row = "[[" + first.dropLast().split(separator: " ").joined(separator: ",") + "],"
      #expect(encoded.output.hasPrefix(row))
      try space.write(encoded.output, "ids.json")
      let kept = try space.kalsae(
        "tokenizer", "decode", "bpe.json", "--json", "--keep-special", input: "ids.json")
      #expect(kept.output == texts.replacing("\\u2014", with: "—") + "\n", "\(kept.errors)")
      let decoded = try space.kalsae("tokenizer", "decode", "bpe.json", "--json", input: "ids.json")
      #expect(decoded.output.hasSuffix(#""칼새는 "]"# + "\n"))
      let plain = try space.kalsae(
        "tokenizer", "encode", "bpe.json", "--json", "--no-special", input: "texts.json")
      #expect(plain.status == 0 && !plain.output.hasSuffix(",0]]\n"))
    }

    @Test func badInputIsOneLine() throws {
      let space = try Workspace()
      try space.write(Self.corpus, "corpus.txt")
      try space.write("", "empty.txt")
      try space.write([0x61, 0x0A, 0xFF, 0x0A], "latin.txt")
      func train(_ file: String, _ size: String = "300") -> [String] {
        ["tokenizer", "train", "--type", "bpe", "--vocab-size", size, "-o", "t.json", file]
      }
      try space.expectRefusal(train("latin.txt"), "latin.txt", "line 2", "UTF-8")
      try space.expectRefusal(train("empty.txt"), "empty.txt", "no text")
      try space.expectRefusal(train("missing.txt"), "missing.txt")
      let usage = try Kalsae(space, train("corpus.txt", "0")).wait()
      #expect(usage.status == 64 && usage.errors.contains("--vocab-size must be at least 1, not 0"))
      try space.expectRefusal(train("corpus.txt", "100"), "too small")
      #expect(
        try space.kalsae(
          "tokenizer", "train", "--type", "bpe", "--vocab-size", "300", "-o", "t.json", "corpus.txt"
        ).status == 0)
      try space.expectRefusal(["tokenizer", "decode", "t.json", "5 99999"], "99999", "0 to 299")
      try space.expectRefusal(["tokenizer", "decode", "t.json", "five"], status: 64, "five")
      try space.expectRefusal(["tokenizer", "encode", "missing.json", "a"], "missing.json")
      try space.expectRefusal(["tokenizer", "encode", "--json", "t.json"], "standard input")
    }
  }
}
