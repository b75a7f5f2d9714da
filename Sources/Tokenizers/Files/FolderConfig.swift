import Foundation
import KalsaeFormats

/// What `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json` beside a vocabulary say. Of their many
/// keys those are read that change tokens.
struct FolderConfig {
  var className = ""
  var lowercases: Bool? = nil, stripsAccents: Bool? = nil, tokenizesChinese: Bool? = nil
  var addsPrefixSpace: Bool? = nil, addsStart: Bool? = nil, addsEnd: Bool? = nil
  var unknown: String? = nil
  var extraIDs: Int? = nil
  /// Contents of tokens with a role, such as bos_token.
  var special: [String] = []
  /// Tokens with numbers of their own.
  var numbered: [AddedToken] = []

  init() {}

  init(folder: String) throws {
    func config(_ name: String) throws -> ConfigJSON? {
      let path = folder + "/" + name
      return FileManager.default.fileExists(atPath: path) ? try ConfigJSON(path: path) : nil
    }
    if let c = try config("tokenizer_config.json") {
      className = try c("tokenizer_class", or: "")
      lowercases = try c("do_lower_case", or: nil)
      stripsAccents = try c("strip_accents", or: nil)
      tokenizesChinese = try c("tokenize_chinese_chars", or: nil)
      addsPrefixSpace = try c("add_prefix_space", or: nil)
      addsStart = try c("add_bos_token", or: nil)
      addsEnd = try c("add_eos_token", or: nil)
      extraIDs = try c("extra_ids", or: nil)
      try readRoles(c)
      if let decoder = try c.nested("added_tokens_decoder") {
        for name in decoder.object.keys {
          guard let id = Int32(name), let token = try decoder.nested(name) else {
            throw decoder.invalid(name, "should be a number")
          }
          numbered.append(
            AddedToken(
              id: id, content: try token("content"), isSpecial: try token("special", or: false),
              isSingleWord: try token("single_word", or: false), stripsLeft: try token("lstrip", or: false),
              stripsRight: try token("rstrip", or: false), isNormalized: try token("normalized", or: false)))
        }
      }
    }
    if let c = try config("special_tokens_map.json") { try readRoles(c) }
    if let c = try config("added_tokens.json") {
      for token in c.object.keys where !numbered.contains(where: { $0.content == token }) {
        numbered.append(AddedToken(id: Int32(try c(token) as Int), content: token))
      }
    }
  }

  private mutating func readRoles(_ c: ConfigJSON) throws {
    func content(_ json: JSON?) -> String? {
      switch json {
      case .string(let text): text
      case .object(let object): if case .string(let text)? = object["content"] { text } else { nil }
      default: nil
      }
    }
    for role in ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"] {
      guard let text = content(c.object[role]) else { continue }
      if role == "unk_token" { unknown = text }
      if !special.contains(text) { special.append(text) }
    }
    if case .array(let tokens)? = c.object["additional_special_tokens"] {
      for text in tokens.compactMap(content) where !special.contains(text) { special.append(text) }
    }
  }

  /// The added tokens: those with numbers, and those with a role that the vocabulary has, `defaults` among them.
  func addedTokens(_ texts: inout Vocabulary, defaults: [String]) -> [AddedToken] {
    var tokens = numbered
    for index in tokens.indices where special.contains(tokens[index].content) {
      tokens[index].isSpecial = true
    }
    for text in special + defaults where !tokens.contains(where: { $0.content == text }) {
      guard let id = texts.id(text) else { continue }
      tokens.append(AddedToken(id: id, content: text, isSpecial: true))
    }
    return tokens
  }
}
