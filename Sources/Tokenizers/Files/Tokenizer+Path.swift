import Foundation
import KalsaeFormats

extension Tokenizer {
  /// Reads a tokenizer: a `tokenizer.json`, a model folder, a `vocab.txt`, a `vocab.json` with `merges.txt` beside it, a
  /// SentencePiece `.model`, CLIP's `bpe_simple_vocab_16e6.txt` (also `.gz`), or the vocabulary of a `.gguf`.
  ///
  /// What stands in a `tokenizer_config.json` beside a plain vocabulary is taken into account.
  public init(path: String) throws {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
      throw FileError(path: path, operation: "open", code: ENOENT)
    }
    self = try isFolder.boolValue ? Self.read(folder: path) : Self.read(file: path)
  }

  private static func read(folder: String) throws -> Tokenizer {
    let names = [
      "tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt",
      "bpe_simple_vocab_16e6.txt.gz",
    ]
    for name in names {
      let path = folder + "/" + name
      if FileManager.default.fileExists(atPath: path) { return try read(file: path) }
    }
    throw TokenizerError(folder, "holds no tokenizer: none of \(names.joined(separator: ", "))")
  }

  private static func read(file path: String) throws -> Tokenizer {
    let url = URL(fileURLWithPath: path)
    let name = url.lastPathComponent, folder = url.deletingLastPathComponent().path
    let start = try MappedFile(path: path).withUnsafeBytes { Array($0.prefix(4)) }
    if start.elementsEqual("GGUF".utf8) { return try GGUFTokenizer.read(path) }
    switch url.pathExtension.lowercased() {
    case "gguf": throw GGUFError(path, "is not a GGUF file")
    case "model": return try sentencePiece(path, FolderConfig(folder: folder))
    case "gz": return try VocabularyFiles.clip(path)
    case "json":
      let merges = folder + "/merges.txt"
      guard name == "vocab.json" || name.hasSuffix("-vocab.json") else { return try TokenizerJSON.read(path) }
      let named = folder + "/" + name.dropLast("vocab.json".count) + "merges.txt"
      let found = [named, merges].first { FileManager.default.fileExists(atPath: $0) }
      guard let found else {
        throw TokenizerError(path, "is a vocabulary without its merges; put merges.txt beside it")
      }
      return try VocabularyFiles.byteLevel(path, found, FolderConfig(folder: folder))
    case "txt":
      if start.starts(with: Array("\"bpe".utf8)) || name.hasPrefix("bpe_simple_vocab") {
        return try VocabularyFiles.clip(path)
      }
      if name.hasSuffix("merges.txt") {
        return try read(file: folder + "/" + name.dropLast("merges.txt".count) + "vocab.json")
      }
      return try VocabularyFiles.wordPiece(path, FolderConfig(folder: folder))
    default:
      throw TokenizerError(
        path,
        "is no tokenizer by its name; known: tokenizer.json, vocab.txt, vocab.json, .model, .gguf, a folder")
    }
  }

  private static func sentencePiece(_ path: String, _ config: FolderConfig) throws -> Tokenizer {
    var settings = SentencePieceTokenizer.Settings(file: try SentencePieceFile(path: path))
    let name = config.className
    guard !["XLMRoberta", "Camembert", "MBart"].contains(where: { name.hasPrefix($0) }) else {
      throw TokenizerError(path, "\(name) numbers its pieces in its own way; use the model's tokenizer.json")
    }
    let isT5 = name.hasPrefix("T5") || name.hasPrefix("MT5")
    let isLlama = name.hasPrefix("Llama") || name.hasPrefix("CodeLlama") || name.hasPrefix("Gemma")
    settings.addsStart = config.addsStart ?? isLlama
    settings.addsEnd = config.addsEnd ?? isT5
    settings.extraIDs = isT5 ? config.extraIDs ?? 100 : 0
    return try SentencePieceTokenizer.make(settings, path: path)
  }
}
