import Foundation
import KalsaeFormats
import KalsaeTokenizers
import Testing

/// Published vocabularies against the tokens that their own implementations gave: every number, no exceptions.
@Suite(.enabled(if: ExternalData.isThere, ExternalData.message))
struct ConformanceTests {
  @Test(arguments: ["gpt-2", "llama-spm", "bert-bge", "mpt"])
  func vocabulariesOfGGUF(_ name: String) throws {
    let path = ExternalData.path("llama-vocab/ggml-vocab-\(name).gguf")
    let tokenizer = try Tokenizer(path: path)
    let texts = try String(contentsOfFile: path + ".inp", encoding: .utf8)
      .components(separatedBy: "\n__ggml_vocab_test__\n").dropLast()
    let lines = try String(contentsOfFile: path + ".out", encoding: .utf8)
      .split(separator: "\n", omittingEmptySubsequences: false)
    #expect(texts.count == 46)
    for (text, line) in zip(texts, lines) {
      let expected = line.split(separator: " ").map { Int32($0)! }
      #expect(tokenizer.plain(text) == expected, "\(name): \(text.debugDescription)")
      #expect(
        tokenizer.ids(of: text, addsSpecialTokens: false, parsesSpecialTokens: false) == expected)
      // WordPiece and unknown characters lose what they drop; byte-level models and bytes lose nothing.
      if name != "bert-bge" { #expect(tokenizer.decode(expected) == text) }
    }
  }

  @Test func bert() throws {
    let tokenizer = try Tokenizer(path: ExternalData.path("bert/bert-base-uncased-vocab.txt"))
    let questions = try ExternalData.json("bert/question_tokens.json").array
    let ids = try ExternalData.json("bert/tokenized_questions.json").array
    #expect(questions.count == 10570)
    for (question, ids) in zip(questions, ids) {
      let encoding = tokenizer.encode(question["original"].string, addsSpecialTokens: false)
      #expect(encoding.ids == ids.ids)
      #expect(encoding.tokens == question["wordpiece"].array.map(\.string))
    }
  }

  @Test func clip() throws {
    let tokenizer = try Tokenizer(path: ExternalData.path("clip/bpe_simple_vocab_16e6.txt.gz"))
    let cases = try ExternalData.json("clip/expected_ids.json")["cases"].array
    #expect(cases.count == 12)
    for item in cases {
      #expect(tokenizer.encode(item["text"].string).ids == item["ids"].ids, "\(item["text"])")
    }
  }

  @Test(arguments: ["test_model.model", "test_ja_model.model", "t5_seqio_test.model"])
  func sentencePiece(_ name: String) throws {
    let tokenizer = try Tokenizer(path: ExternalData.path("sentencepiece/" + name))
    let cases = try ExternalData.json("sentencepiece/expected_ids.json")["models"][name]["cases"].array
    #expect(cases.count == 45)
    for item in cases {
      let text = item["text"].string
      #expect(tokenizer.plain(text) == item["ids"].ids, "\(name): \(text.debugDescription)")
      #expect(
        tokenizer.decode(item["ids"].ids) == item["decoded"].string, "\(name): \(text.debugDescription)")
    }
  }

  @Test(arguments: [
    ("bert_uncased_encoded", "bert/bert-base-uncased-vocab.txt"),
    ("gpt2_encoded_tokens", "llama-vocab/ggml-vocab-gpt-2.gguf"),
    ("llama_encoded", "llama-vocab/ggml-vocab-llama-spm.gguf"),
  ])
  func frenchText(_ name: String, _ vocabulary: String) throws {
    let tokenizer = try Tokenizer(path: ExternalData.path(vocabulary))
    let item = try ExternalData.json("encoded/\(name).json")
    let ids = item["token_ids"].ids
    let added = tokenizer.encode(item["text"].string).ids, plain = tokenizer.plain(item["text"].string)
    #expect(ids == added || ids == plain)
    #expect(
      tokenizer.decode(ids, skipsSpecialTokens: false) == item["decoded_text"].string
        || name == "bert_uncased_encoded")
  }

  @Test func tokenizersSurviveBeingWritten() throws {
    let folder = NSTemporaryDirectory() + "kalsae-tokenizers-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let text = "The swift, 칼새 (アマツバメ), flies 1234 km; it's \u{1F426} café\n\tdef f(x):\n    return x"
    for name in [
      "llama-vocab/ggml-vocab-gpt-2.gguf", "llama-vocab/ggml-vocab-llama-spm.gguf",
      "bert/bert-base-uncased-vocab.txt", "clip/bpe_simple_vocab_16e6.txt.gz",
      "sentencepiece/test_model.model",
    ] {
      let tokenizer = try Tokenizer(path: ExternalData.path(name))
      let path = folder + "/tokenizer.json"
      try tokenizer.save(to: path)
      let copy = try Tokenizer(path: path)
      #expect(copy.encode(text).ids == tokenizer.encode(text).ids, "\(name)")
      // The format has no sign for what is unknown, as SentencePiece has.
      if name.hasSuffix(".model") { continue }
      #expect(copy.decode(copy.encode(text).ids) == tokenizer.decode(tokenizer.encode(text).ids), "\(name)")
    }
  }
}
