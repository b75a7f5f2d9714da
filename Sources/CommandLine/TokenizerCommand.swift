import ArgumentParser
import Foundation
import Kalsae
import KalsaeData
import KalsaeFormats
import KalsaeTokenizers
import Logging

struct TokenizerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokenizer", abstract: "Train tokenizers and use them.",
    subcommands: [Train.self, Encode.self, Decode.self, Info.self, Bench.self])

  /// The tokenizer of a subcommand.
  struct Source: ParsableArguments {
    @Argument(
      help: ArgumentHelp(
        "tokenizer.json, a model folder, vocab.txt, vocab.json, a SentencePiece .model, or a .gguf.",
        valueName: "tokenizer"))
    var path: String

    func open() throws -> Tokenizer { try Tokenizer(path: path) }
  }

  struct Train: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Train a tokenizer on text files.")

    enum Kind: String, ExpressibleByArgument, CaseIterable { case bpe, wordpiece, unigram }

    @Option(help: "bpe (of bytes, as GPT-2), wordpiece (as BERT) or unigram (as T5).") var type: Kind
    @Option(help: ArgumentHelp("Tokens in all, the special ones included.", valueName: "n")) var vocabSize:
      Int
    @Option(name: [.short, .long], help: ArgumentHelp("The tokenizer.json to write.", valueName: "file"))
    var output: String
    @Option(help: ArgumentHelp("Leave out what occurs less often (2; 1 for unigram).", valueName: "n"))
    var minFrequency: Int?
    @Flag(help: "Keep capitals and accents, which wordpiece drops otherwise.") var cased = false
    @Option(
      help: ArgumentHelp(
        "A token that is found in text and never split; may be repeated.", valueName: "token"))
    var specialToken: [String] = []
    @Argument(help: ArgumentHelp("Text files in UTF-8, or tables of texts (.tsv).", valueName: "files"))
    var files: [String]
    @OptionGroup var outputOptions: OutputOptions

    func validate() throws {
      if vocabSize < 1 { throw ValidationError("--vocab-size must be at least 1, not \(vocabSize).") }
      if let minFrequency, minFrequency < 1 {
        throw ValidationError("--min-frequency must be at least 1, not \(minFrequency).")
      }
    }

    func run() throws {
      var trainer = TokenizerTrainer(vocabularySize: vocabSize)
      trainer.minimumFrequency = minFrequency
      trainer.keepsCase = cased
      trainer.specialTokens = specialToken
      let kind: TokenizerTrainer.Kind =
        switch type {
        case .bpe: .bytePairs
        case .wordpiece: .wordPiece
        case .unigram: .unigram
        }
      let tokenizer = try trained(trainer, kind)
      try tokenizer.save(to: output)
      Console(outputOptions).log("\(tokenizer.vocabularySize) tokens")
      Console.result(output)
    }

    /// On the files; of tables, on their texts alone.
    private func trained(_ trainer: TokenizerTrainer, _ kind: TokenizerTrainer.Kind) throws -> Tokenizer {
      guard files.contains(where: Corpus.isTable) else { return try trainer.train(kind, files: files) }
      let lines = try Corpus(contentsOf: files).documents.joined()
      // The end of a line is text to those who split by spaces.
      return try trainer.train(kind, texts: lines.map { kind == .bytePairs ? $0 + "\n" : $0 })
    }
  }

  struct Encode: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Turn text into token numbers.")

    @OptionGroup var source: Source
    @Argument(help: "The text; from standard input with --json.") var text: String?
    @Flag(help: "Read an array of strings from standard input, write an array of arrays of numbers.")
    var json = false
    @Flag(help: "Add no tokens around the text and take special tokens in it for plain text.") var noSpecial =
      false
    @Flag(help: "Print a line a token: number, bytes of the text, token.") var tokens = false
    @OptionGroup var outputOptions: OutputOptions

    func validate() throws {
      if json == (text != nil) {
        throw ValidationError("Give a text, or --json and an array of strings on standard input.")
      }
    }

    func run() throws {
      var tokenizer = try source.open()
      tokenizer.padding = nil
      func encode(_ text: String) -> Encoding {
        tokenizer.encode(text, addsSpecialTokens: !noSpecial, parsesSpecialTokens: !noSpecial)
      }
      if let text {
        let encoding = encode(text)
        if tokens {
          for index in 0..<encoding.count {
            let range = encoding.offsets[index]
            Console.result(
              column("\(encoding.ids[index])", 9) + column("\(range.lowerBound)..<\(range.upperBound)", 13)
                + encoding.tokens[index])
          }
        } else {
          Console.result(encoding.ids.map(String.init).joined(separator: " "))
        }
        return
      }
      guard case .array(let elements) = try TokenizerCommand.standardInput() else {
        throw ValidationError("Standard input should hold an array of strings.")
      }
      let rows = try elements.enumerated().map { index, element -> JSON in
        guard case .string(let text) = element else {
          throw TokenizerError(
            "standard input", "item \(index) is no string; --json takes an array of strings")
        }
        return .array(encode(text).ids.map { .integer(Int($0)) })
      }
      Console.result(JSON.array(rows).text)
    }
  }

  struct Decode: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Turn token numbers into text.")

    @OptionGroup var source: Source
    @Argument(help: "Token numbers with spaces or commas between; from standard input with --json.") var ids:
      String?
    @Flag(help: "Read an array of arrays of numbers from standard input, write an array of strings.")
    var json = false
    @Flag(help: "Write special tokens too, which are left out otherwise.") var keepSpecial = false
    @OptionGroup var outputOptions: OutputOptions

    func validate() throws {
      if json == (ids != nil) {
        throw ValidationError("Give token numbers, or --json and arrays of them on standard input.")
      }
    }

    func run() throws {
      let tokenizer = try source.open()
      func decode(_ ids: [Int]) throws -> String {
        for id in ids where Int32(exactly: id).flatMap({ tokenizer.token(of: $0) }) == nil {
          throw TokenizerError(
            source.path, "\(id) is no token; numbers go from 0 to \(tokenizer.vocabularySize - 1)")
        }
        return tokenizer.decode(ids.map { Int32($0) }, skipsSpecialTokens: !keepSpecial)
      }
      if let ids {
        let numbers = try ids.split(whereSeparator: { " ,[]\t\n".contains($0) }).map { word in
          guard let id = Int(word) else { throw ValidationError("'\(word)' is no token number.") }
          return id
        }
        Console.result(try decode(numbers))
        return
      }
      guard case .array(let rows) = try TokenizerCommand.standardInput() else {
        throw ValidationError("Standard input should hold an array of arrays of numbers.")
      }
      let texts = try rows.enumerated().map { index, row -> JSON in
        guard let ids = [Int](row) else {
          throw TokenizerError("standard input", "item \(index) is no array of integers")
        }
        return .string(try decode(ids))
      }
      Console.result(JSON.array(texts).text)
    }
  }

  struct Info: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show what a tokenizer is made of.")

    @OptionGroup var source: Source
    @Flag(help: "Print JSON.") var json = false
    @OptionGroup var outputOptions: OutputOptions

    func run() throws {
      let info = try source.open().info
      if json {
        Console.result(JSON.object(info).prettyText)
        return
      }
      for (key, value) in info {
        let text: String =
          switch value {
          case .string(let text): text
          case .array(let items): items.map(\.text).joined(separator: " ")
          default: value.text
          }
        Console.result(column(key, 18) + text)
      }
    }
  }

  struct Bench: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Time loading and encoding, on one thread.")

    @OptionGroup var source: Source
    @Argument(help: ArgumentHelp("Text files, cut into documents of whole lines.", valueName: "files"))
    var files: [String]
    @Option(help: ArgumentHelp("The text is repeated up to this size.", valueName: "n")) var megabytes = 100
    @Option(help: ArgumentHelp("Bytes of a document, about.", valueName: "n")) var documentBytes = 10_000
    @Flag(help: "Print JSON.") var json = false
    @OptionGroup var outputOptions: OutputOptions

    func validate() throws {
      if megabytes < 1 { throw ValidationError("--megabytes must be at least 1, not \(megabytes).") }
      if documentBytes < 1 {
        throw ValidationError("--document-bytes must be at least 1, not \(documentBytes).")
      }
    }

    func run() throws {
      let report = try TokenizerTiming(
        path: source.path, files: files, megabytes: megabytes, documentBytes: documentBytes)
      Console.result(
        json
          ? JSON.object(report.json).prettyText
          : "load \(fixed(report.load * 1e3, 1)) ms; \(fixed(report.megabytes, 1)) MB in \(fixed(report.ids, 2)) s, "
            + "\(fixed(report.megabytes / report.ids, 1)) MB/s (with offsets \(fixed(report.megabytes / report.encode, 1)) MB/s), "
            + "\(report.tokens) tokens")
    }
  }

  /// The JSON on standard input.
  static func standardInput() throws -> JSON {
    let data = try FileHandle.standardInput.readToEnd() ?? Data()
    do {
      return try JSON(parsing: data)
    } catch {
      throw TokenizerError("standard input", "not valid JSON: \(error)")
    }
  }
}
