import KalsaeFormats

extension Tokenizer {
  /// Writes a `tokenizer.json`, which Hugging Face's tokenizers library reads and which gives the same tokens there.
  ///
  /// A model that the format cannot express (RWKV's longest match) is an error.
  public func save(to path: String) throws {
    guard let json = try? pipeline.json(truncation, padding) else {
      throw TokenizerError(path, "a tokenizer of the kind \(modelName) cannot be written as tokenizer.json")
    }
    try AtomicFile.write(json.prettyText.utf8, to: path)
  }
}

private func text(_ bytes: some Collection<UInt8>) -> JSON { .string(String(decoding: bytes, as: UTF8.self)) }

private func character(_ scalar: UInt32) -> JSON { .string(String(Unicode.Scalar(scalar) ?? "\u{FFFD}")) }

private struct Inexpressible: Error {}

extension Pipeline {
  fileprivate func json(_ truncation: Truncation?, _ padding: Padding?) throws -> JSON {
    // SentencePiece's spaces are its normalizer's work there, a pre-tokenizer's here.
    var pre = preTokenizer?.json ?? .null
    if case .sentencePiece(_, let removesExtra, let addsPrefix, let escapes, _)? = normalizer, escapes,
      preTokenizer == nil
    {
      pre =
        PreTokenizer.metaspace(
          replacement: 0x2581, scheme: addsPrefix ? .always : .never, splits: cutsAtSpaces && removesExtra
        ).json
    }
    return [
      "version": "1.0",
      "truncation": truncation?.json ?? .null,
      "padding": padding?.json ?? .null,
      "added_tokens": .array(addedTokens.sorted { $0.id < $1.id }.map(\.json)),
      "normalizer": normalizer?.json ?? .null,
      "pre_tokenizer": pre,
      "post_processor": postProcessor?.json ?? .null,
      "decoder": decoder?.json ?? .null,
      "model": try model.json(texts),
    ]
  }
}

extension AddedToken {
  fileprivate var json: JSON {
    [
      "id": .integer(Int(id)), "content": .string(content), "single_word": .bool(isSingleWord),
      "lstrip": .bool(stripsLeft), "rstrip": .bool(stripsRight), "normalized": .bool(isNormalized),
      "special": .bool(isSpecial),
    ]
  }
}

extension Truncation {
  fileprivate var json: JSON {
    [
      "direction": .string(fromLeft ? "Left" : "Right"), "max_length": .integer(maximumLength),
      "strategy": .string(strategy.rawValue), "stride": .integer(stride),
    ]
  }
}

extension Padding {
  fileprivate var json: JSON {
    [
      "strategy": length.map { ["Fixed": .integer($0)] } ?? "BatchLongest",
      "direction": .string(fromLeft ? "Left" : "Right"),
      "pad_to_multiple_of": multiple.map { .integer($0) } ?? .null,
      "pad_id": .integer(Int(id)), "pad_type_id": .integer(Int(typeID)), "pad_token": .string(token),
    ]
  }
}

extension Normalizer.Literal {
  var json: JSON {
    switch self {
    case .string(let bytes): ["String": text(bytes)]
    case .pattern(let pattern): ["Regex": .string(pattern.source)]
    }
  }
}

extension Normalizer {
  var json: JSON {
    switch self {
    case .bert(let options):
      [
        "type": "BertNormalizer", "clean_text": .bool(options.cleansText),
        "handle_chinese_chars": .bool(options.separatesHan),
        "strip_accents": options.stripsAccents.map { .bool($0) } ?? .null,
        "lowercase": .bool(options.lowercases),
      ]
    case .strip(let left, let right):
      ["type": "Strip", "strip_left": .bool(left), "strip_right": .bool(right)]
    case .stripAccents: ["type": "StripAccents"]
    case .unicode(let form): ["type": .string(form.rawValue)]
    case .sequence(let steps): ["type": "Sequence", "normalizers": .array(steps.map(\.json))]
    case .lowercase: ["type": "Lowercase"]
    case .nmt: ["type": "Nmt"]
    case .precompiled(let map):
      ["type": "Precompiled", "precompiled_charsmap": .string(Base64.encode(map.blob))]
    case .replace(let literal, let content):
      ["type": "Replace", "pattern": literal.json, "content": text(content)]
    case .prepend(let prefix): ["type": "Prepend", "prepend": text(prefix)]
    case .byteLevel: ["type": "ByteLevel"]
    case .sentencePiece(let map, let removesExtra, _, _, _):
      [
        "type": "Sequence",
        "normalizers": .array(
          (map.map { [Normalizer.precompiled($0).json] } ?? [])
            + (removesExtra
              ? [
                Normalizer.strip(left: true, right: true).json,
                ["type": "Replace", "pattern": ["Regex": " {2,}"], "content": " "],
              ] : [])),
      ]
    }
  }
}

extension PreTokenizer {
  var json: JSON {
    switch self {
    case .bert: ["type": "BertPreTokenizer"]
    case .byteLevel(let prefix, let trims, let pattern):
      [
        "type": "ByteLevel", "add_prefix_space": .bool(prefix), "trim_offsets": .bool(trims),
        "use_regex": .bool(pattern),
      ]
    case .delimiter(let delimiter): ["type": "CharDelimiterSplit", "delimiter": character(delimiter)]
    case .digits(let individually): ["type": "Digits", "individual_digits": .bool(individually)]
    case .fixedLength(let length): ["type": "FixedLength", "length": .integer(length)]
    case .metaspace(let replacement, let scheme, let splits):
      [
        "type": "Metaspace", "replacement": character(replacement),
        "prepend_scheme": .string(scheme.rawValue),
        "split": .bool(splits),
      ]
    case .punctuation(let behavior): ["type": "Punctuation", "behavior": .string(behavior.rawValue)]
    case .sequence(let steps): ["type": "Sequence", "pretokenizers": .array(steps.map(\.json))]
    case .split(let splitter, let behavior, let inverted):
      [
        "type": "Split", "pattern": splitter.json, "behavior": .string(behavior.rawValue),
        "invert": .bool(inverted),
      ]
    case .unicodeScripts: ["type": "UnicodeScripts"]
    case .whitespace: ["type": "Whitespace"]
    case .whitespaceSplit: ["type": "WhitespaceSplit"]
    }
  }
}

extension PreTokenizer.Splitter {
  var json: JSON {
    switch self {
    case .scanner(let scanner): ["Regex": .string(scanner.pattern)]
    case .literal(let literal): literal.json
    }
  }
}

extension PostProcessor {
  var json: JSON {
    func pair(_ pair: TokenPair) -> JSON { [.string(pair.token), .integer(Int(pair.id))] }
    func pieces(_ pieces: [Piece]) -> JSON {
      .array(
        pieces.map { piece in
          switch piece {
          case .text(let isSecond, let type):
            ["Sequence": ["id": isSecond ? "B" : "A", "type_id": .integer(Int(type))]]
          case .special(let name, let type):
            ["SpecialToken": ["id": .string(name), "type_id": .integer(Int(type))]]
          }
        })
    }
    switch self {
    case .bert(let separator, let start):
      return ["type": "BertProcessing", "sep": pair(separator), "cls": pair(start)]
    case .roberta(let separator, let start, let trims, let prefix):
      return [
        "type": "RobertaProcessing", "sep": pair(separator), "cls": pair(start), "trim_offsets": .bool(trims),
        "add_prefix_space": .bool(prefix),
      ]
    case .byteLevel(let trims, let prefix, let pattern):
      return [
        "type": "ByteLevel", "add_prefix_space": .bool(prefix), "trim_offsets": .bool(trims),
        "use_regex": .bool(pattern),
      ]
    case .sequence(let steps): return ["type": "Sequence", "processors": .array(steps.map(\.json))]
    case .template(let single, let pair, let tokens):
      var special = JSONObject()
      for (name, token) in tokens.sorted(by: { $0.key < $1.key }) {
        special[name] = [
          "id": .string(name), "ids": .array(token.ids.map { .integer(Int($0)) }),
          "tokens": .array(token.tokens.map { .string($0) }),
        ]
      }
      return [
        "type": "TemplateProcessing", "single": pieces(single), "pair": pieces(pair),
        "special_tokens": .object(special),
      ]
    }
  }
}

extension Decoder {
  var json: JSON {
    switch self {
    case .bpe(let suffix): ["type": "BPEDecoder", "suffix": text(suffix)]
    case .byteLevel: ["type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true]
    case .byteFallback: ["type": "ByteFallback"]
    case .ctc(let pad, let delimiter, let cleansUp):
      [
        "type": "CTC", "pad_token": text(pad), "word_delimiter_token": text(delimiter),
        "cleanup": .bool(cleansUp),
      ]
    case .fuse: ["type": "Fuse"]
    case .metaspace(let replacement, let scheme, let splits):
      [
        "type": "Metaspace", "replacement": character(replacement),
        "prepend_scheme": .string(scheme.rawValue),
        "split": .bool(splits),
      ]
    case .replace(let literal, let content):
      ["type": "Replace", "pattern": literal.json, "content": text(content)]
    case .sequence(let steps): ["type": "Sequence", "decoders": .array(steps.map(\.json))]
    case .strip(let content, let start, let stop):
      ["type": "Strip", "content": character(content), "start": .integer(start), "stop": .integer(stop)]
    case .wordPiece(let prefix, let cleansUp):
      ["type": "WordPiece", "prefix": text(prefix), "cleanup": .bool(cleansUp)]
    // Goes with a model that is refused.
    case .escaped: .null
    case .sentencePiece(let options):
      [
        "type": "Sequence",
        "decoders": .array(
          [
            ["type": "ByteFallback"], ["type": "Fuse"],
            ["type": "Replace", "pattern": ["String": "\u{2581}"], "content": " "],
          ]
            + (options.stripsPrefix
              ? [
                [
                  "type": "Strip", "content": " ", "start": options.isSuffix ? 0 : 1,
                  "stop": options.isSuffix ? 1 : 0,
                ]
              ] : [])),
      ]
    }
  }
}

extension Model {
  fileprivate func json(_ texts: Vocabulary) throws -> JSON {
    func name(_ id: Int32?) -> JSON { id.flatMap { texts.text($0) }.map { .string($0) } ?? .null }
    func vocabulary(_ model: Vocabulary) -> JSON {
      var object = JSONObject()
      for (id, _) in model.tokens {
        if let token = texts.text(id) { object[token] = .integer(Int(id)) }
      }
      return .object(object)
    }
    switch self {
    case .bpe(let model):
      let suffix = model.isByteLevel ? ByteAlphabet.encode(model.endSuffix) : model.endSuffix
      return [
        "type": "BPE", "dropout": .null, "unk_token": name(model.unknown),
        "continuing_subword_prefix": model.continuingPrefix.isEmpty ? .null : text(model.continuingPrefix),
        "end_of_word_suffix": suffix.isEmpty ? .null : text(suffix), "fuse_unk": .bool(model.fusesUnknown),
        "byte_fallback": .bool(model.byteTokens != nil), "ignore_merges": .bool(model.ignoresMerges),
        "vocab": vocabulary(model.vocabulary),
        "merges": .array(model.mergeList.map { [name($0.left), name($0.right)] }),
      ]
    case .wordPiece(let model):
      return [
        "type": "WordPiece", "unk_token": name(model.unknown),
        "continuing_subword_prefix": text(model.continuingPrefix),
        "max_input_chars_per_word": .integer(model.maximumWordLength), "vocab": vocabulary(model.vocabulary),
      ]
    case .wordLevel(let model):
      return ["type": "WordLevel", "vocab": vocabulary(model.vocabulary), "unk_token": name(model.unknown)]
    case .unigram(let model):
      return [
        "type": "Unigram", "unk_id": model.unknown.map { .integer(Int($0)) } ?? .null,
        "vocab": .array(
          model.scores.indices.map { [name(Int32($0)), .double(model.scores[$0])] }),
        "byte_fallback": .bool(model.byteTokens != nil),
      ]
    case .longestMatch: throw Inexpressible()
    }
  }
}
