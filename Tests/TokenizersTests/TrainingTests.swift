import Foundation
import KalsaeFormats
import KalsaeTokenizers
import Testing

@Suite struct TrainingTests {
  static func corpus() throws -> [String] {
    try Fixtures.json("texts.json")["corpus"].string.split(separator: "\n").map { $0 + "\n" }
  }

  /// The same merges in the same order as Hugging Face's trainer found in the same text.
  @Test func bytePairsAreTheReferenceOnes() throws {
    var trainer = TokenizerTrainer(vocabularySize: 560)
    trainer.minimumFrequency = 1
    let tokenizer = try trainer.train(.bytePairs, texts: Self.corpus())
    let reference = try Tokenizer(path: Fixtures.path("gpt2.json"))
    #expect(tokenizer.vocabularySize == reference.vocabularySize)
    for id in 0..<Int32(reference.vocabularySize) {
      #expect(tokenizer.token(of: id) == reference.token(of: id))
    }
  }

  @Test(arguments: [TokenizerTrainer.Kind.bytePairs, .wordPiece, .unigram])
  func trainingRepeatsAndTextComesBack(_ kind: TokenizerTrainer.Kind) throws {
    var trainer = TokenizerTrainer(vocabularySize: kind == .bytePairs ? 400 : 330)
    trainer.keepsCase = true
    trainer.specialTokens = ["<extra>"]
    let first = try trainer.train(kind, texts: Self.corpus())
    let second = try trainer.train(kind, texts: Self.corpus().reversed())
    #expect(first.vocabularySize <= trainer.vocabularySize)
    for id in 0..<Int32(first.vocabularySize) { #expect(first.token(of: id) == second.token(of: id)) }
    let text = "The swift sleeps in the air. 칼새는 하늘에서"
    #expect(first.decode(first.encode(text).ids) == text)
    #expect(first.encode(text).ids.count < text.unicodeScalars.count)
    #expect(first.id(of: "<extra>") != nil)
    let path = NSTemporaryDirectory() + "kalsae-\(UUID().uuidString).json"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try first.save(to: path)
    #expect(try Tokenizer(path: path).encode(text) == first.encode(text))
  }

  @Test func tooSmallAndEmptyAreRefused() throws {
    #expect(throws: TokenizerError.self) {
      try TokenizerTrainer(vocabularySize: 20).train(.wordPiece, texts: Self.corpus())
    }
    #expect(throws: TokenizerError.self) {
      try TokenizerTrainer(vocabularySize: 300).train(.bytePairs, texts: [""])
    }
  }

  @Test func charactersAreScalars() {
    let tokenizer = Tokenizer.characters(of: "hello e\u{301} 칼새\n")
    let text = "hell\u{301} 새\n"
    #expect(tokenizer.decode(tokenizer.encode(text).ids) == text)
    #expect(tokenizer.encode(text).ids.count == text.unicodeScalars.count)
    #expect(tokenizer.encode("z").ids == [0])
  }
}
