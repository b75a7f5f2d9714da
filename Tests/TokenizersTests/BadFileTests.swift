import Foundation
import KalsaeFormats
import KalsaeTokenizers
import Testing

/// Files that cannot be used: the error names the file, the key or the place, and what is wrong.
@Suite struct BadFileTests {
  static func message(_ name: String, _ bytes: [UInt8]) throws -> String {
    let folder = NSTemporaryDirectory() + "kalsae-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try Data(bytes).write(to: URL(filePath: folder + "/" + name))
    do {
      _ = try Tokenizer(path: folder + "/" + name)
      return "nothing"
    } catch {
      return "\(error)"
    }
  }

  @Test(arguments: [
    (
      #"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "normalizer": {"type": "Magic"}}"#,
      ["normalizer.type", "Magic"]
    ),
    (#"{"model": {"type": "Magic", "vocab": {"a": 0}}}"#, ["model.type", "Magic"]),
    (
      #"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}"#,
      ["model.merges", "merge 1", "'b'"]
    ),
    (#"{"model": {"type": "BPE", "vocab": {"a": 0, "b": 0}, "merges": []}}"#, ["line 1", "number 0"]),
    (#"{"model": {"type": "WordPiece", "vocab": {"a": 0}}}"#, ["model.unk_token", "[UNK]"]),
    (#"{"model": {"type": "Unigram", "unk_id": 7, "vocab": [["a", 0]]}}"#, ["model.unk_id", "7"]),
    (#"{"version": "1.0"}"#, ["model"]),
    (
      #"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated", "invert": false}]}}"#,
      ["pre_tokenizer.pretokenizers[0].pattern.Regex", "')'", "position"]
    ),
    (#"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "surprise": 1}"#, ["surprise"]),
    (#"{"model": {"type": "BPE","#, ["line 1"]),
  ])
  func tokenizerJSON(_ text: String, _ words: [String]) throws {
    let message = try Self.message("tokenizer.json", Array(text.utf8))
    for word in words + ["tokenizer.json"] { #expect(message.contains(word), "\(message)") }
    #expect(!message.contains("\n"))
  }

  @Test func otherFiles() throws {
    #expect(try Self.message("vocab.txt", [0x61, 0x0A, 0xFF, 0xFE, 0x0A]).contains("line 2 is not UTF-8"))
    #expect(try Self.message("vocab.txt", Array("a\nb\n".utf8)).contains("[UNK]"))
    #expect(try Self.message("x.gguf", Array("GGUF".utf8)).contains("GGUF"))
    #expect(
      try Self.message("x.gguf", Array("GGUF\u{3}\0\0\0".utf8) + [UInt8](repeating: 0xFF, count: 40))
        .contains("key number 1"))
    #expect(try Self.message("x.model", [0x0A, 0x7F, 0x01]).contains("SentencePiece"))
    #expect(try Self.message("vocab.json", Array("{}".utf8)).contains("merges.txt"))
    #expect(try Self.message("x.gz", [0x1F, 0x8B, 0x08, 0, 0]).contains("gzip"))
    #expect(try Self.message("what.bin", [1, 2, 3]).contains("tokenizer.json"))
    let missing = #expect(throws: FileError.self) { try Tokenizer(path: "/nowhere/tokenizer.json") }
    #expect(missing?.path == "/nowhere/tokenizer.json")
  }
}
