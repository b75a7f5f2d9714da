import KalsaeFormats

/// How long loading a tokenizer and encoding text take, on the calling thread.
public struct TokenizerTiming: Sendable {
  /// Seconds to load, to get numbers alone, and to get whole encodings with offsets.
  public let load: Double, ids: Double, encode: Double
  public let megabytes: Double
  public let tokens: Int

  /// Cuts the files into documents of whole lines of about `documentBytes` bytes, and repeats them up to `megabytes` MB.
  public init(path: String, files: [String], megabytes: Int, documentBytes: Int) throws {
    var texts: [String] = [], size = 0
    for file in files {
      var document: [UInt8] = []
      for line in try readText(file).split(separator: 0x0A, omittingEmptySubsequences: false) {
        document += line + [0x0A]
        if document.count >= documentBytes {
          texts.append(String(decoding: document, as: UTF8.self))
          document = []
        }
      }
      if !document.isEmpty { texts.append(String(decoding: document, as: UTF8.self)) }
    }
    guard !texts.isEmpty else { throw TokenizerError(files.joined(separator: ", "), "no text to encode") }
    var documents: [String] = []
    while size < megabytes * 1_000_000 {
      for text in texts where size < megabytes * 1_000_000 {
        documents.append(text)
        size += text.utf8.count
      }
    }
    func seconds(_ body: () throws -> Void) rethrows -> Double {
      let clock = ContinuousClock(), start = clock.now
      try body()
      return (clock.now - start) / .seconds(1)
    }
    var tokenizer: Tokenizer? = nil
    load = try seconds { tokenizer = try Tokenizer(path: path) }
    var count = 0
    ids = seconds {
      for text in documents { count += tokenizer!.ids(of: text, addsSpecialTokens: false).count }
    }
    encode = seconds { for text in documents { _ = tokenizer!.encode(text, addsSpecialTokens: false) } }
    self.megabytes = Double(size) / 1e6
    tokens = count
  }

  public var json: JSONObject {
    [
      "load_seconds": .double(load), "ids_seconds": .double(ids), "encode_seconds": .double(encode),
      "megabytes": .double(megabytes), "tokens": .integer(tokens),
    ]
  }
}
