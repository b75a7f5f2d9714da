/// How llama.cpp's `tokenizer.ggml.pre` splits text, by name: patterns that are applied one after the other, each match a
/// piece of its own.
struct GGUFPattern {
  var patterns: [String]
  var ignoresMerges = false
  /// Whether the model's own start and end tokens are added when the file does not say.
  var addsStart = false, addsEnd = false
  /// Bytes are spelt in GPT-2's alphabet; else spaces are U+2581 and characters stand for themselves.
  var spellsBytes = true

  private static let contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
  private static let gpt2 = GPTScanner.gpt2Pattern
  private static let llama3 = GPTScanner.cl100kPattern(digits: "{1,3}")
  private static let qwen2 = GPTScanner.cl100kPattern(digits: "")
  private static let spaces = #"|\s*[\r\n]+|\s+(?!\S)|\s+"#
  private static let deepSeek3 =
    ##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+"##
  private static let kana = #"[一-龥぀-ゟ゠-ヿ]+"#
  /// GPT-4o's: words by upper and lower case.
  private static func cased(
    _ suffix: String, _ digits: String, _ except: String = "", after: String = "[\\r\\n/]*"
  )
    -> String
  {
    let upper = #"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}"# + except + "]",
      lower = #"[\p{Ll}\p{Lm}\p{Lo}\p{M}"# + except + "]"
    let lead = #"[^\r\n\p{L}\p{N}]?"#
    return lead + upper + "*" + lower + "+" + suffix + "|" + lead + upper + "+" + lower + "*" + suffix
      + #"|\p{N}"#
      + digits + #"| ?[^\s\p{L}\p{N}]+"# + after + spaces
  }

  /// nil for a name that is not known.
  static func named(_ name: String) -> GGUFPattern? {
    switch name {
    case "default", "":
      GGUFPattern(patterns: [#"[\p{P}\$\+<=>\^~\|]+"#, gpt2, #"\p{N}+"#, "[0-9][0-9][0-9]"])
    case "llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
      "jina-v5-nano":
      GGUFPattern(patterns: [llama3], ignoresMerges: true, addsStart: true)
    case "dbrx", "smaug-bpe", "glm4", "chatglm-bpe": GGUFPattern(patterns: [llama3])
    case "gpt-2", "phi-2", "jina-es", "jina-de", "gigachat", "jina-v2-es", "jina-v2-de", "a.x-4.0", "mellum",
      "modern-bert", "exaone4", "mpt", "olmo", "jais", "trillion", "granite-docling":
      GGUFPattern(patterns: [gpt2])
    case "jina-v1-en", "jina-v2-code", "roberta-bpe":
      GGUFPattern(patterns: [gpt2], addsStart: true, addsEnd: true)
    case "qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "stablelm2", "megrez", "hunyuan", "solar-open",
      "grok-2":
      GGUFPattern(patterns: [qwen2])
    case "qwen35":
      GGUFPattern(patterns: [
        contractions + #"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"# + spaces
      ])
    case "ufakzeka":
      GGUFPattern(patterns: [#"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"# + spaces])
    case "laguna": GGUFPattern(patterns: [#"[^\n]+|[\n]+"#, qwen2])
    case "minicpm5":
      GGUFPattern(patterns: [#"\p{N}{1,3}"#, GPTScanner.cl100kPattern(digits: "+")], ignoresMerges: true)
    case "seed-coder":
      GGUFPattern(patterns: [
        contractions + #"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+"# + spaces
      ])
    case "bailingmoe", "bailingmoe2", "llada-moe":
      GGUFPattern(patterns: [
        #"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"#
      ])
    case "exaone-moe":
      GGUFPattern(patterns: [
        contractions
          + #"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]"#
          + #"|\s+(?!\S)|\s+"#
      ])
    case "jais-2":
      GGUFPattern(patterns: [
        contractions + #"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"#
          + [512, 256, 128, 64, 32, 16, 8, 4].map { "|\\s{\($0)}(?!\\S)" }.joined() + #"|\s{1,2}(?!\S)|\s{1}"#
      ])
    case "deepseek-llm":
      GGUFPattern(patterns: [
        #"[\r\n]"#,
        #"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+"#,
        #"\s?[!-/:-~！-／：-～‘-‟　-。]+"#, #"\s+$"#, #"[一-龥ࠀ-一가-퟿]+"#, #"\p{N}+"#,
      ])
    case "deepseek-coder":
      GGUFPattern(patterns: [#"[\r\n]"#, #"\s?\p{L}+"#, #"\s?\p{P}+"#, #"[一-龥ࠀ-一가-퟿]+"#, #"\p{N}"#])
    case "deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4":
      GGUFPattern(patterns: [#"\p{N}{1,3}"#, kana, deepSeek3 + #"[\r\n]*"# + spaces])
    case "spark2_5":
      GGUFPattern(patterns: [#"\p{N}{1,3}"#, kana, deepSeek3 + #"|[\r\n]|\s+(?!\S)|\s+"#, #"\p{N}"#])
    case "afmoe":
      GGUFPattern(patterns: [
        #"\p{Nd}{1,3}(?=(?:\p{Nd}{3})*(?!\p{Nd}))"#,
        #"[一-鿿㐀-䶿豈-﫿぀-ゟ゠-ヿ･-ﾟ⼀-⿟เ-๿຀-໿ក-៿က-႟ꩠ-ꩿꧠ-꧿가-힯ᄀ-ᇿ]+"#, deepSeek3 + #"[\r\n]*"# + spaces,
      ])
    case "youtu":
      GGUFPattern(
        patterns: [#"[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|"# + kana, cased(contractions + "?", "")],
        ignoresMerges: true)
    case "falcon": GGUFPattern(patterns: [#"[\p{P}\$\+<=>\^~\|`]+"#, gpt2, "[0-9][0-9][0-9]"])
    case "starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2":
      GGUFPattern(patterns: [#"\p{N}"#, gpt2])
    case "poro-chat", "bloom", "gpt3-finnish": GGUFPattern(patterns: [#" ?[^(\s|.,!?…。，、।۔،)]+"#])
    case "viking": GGUFPattern(patterns: [#" ?[^(\s|.,!?…。，、।۔،)]+"#, #"\p{N}"#])
    case "tekken": GGUFPattern(patterns: [cased("", "")], ignoresMerges: true, addsStart: true)
    case "gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2":
      GGUFPattern(patterns: [cased(contractions + "?", "{1,3}")])
    case "granite-embed-multi-97m":
      GGUFPattern(patterns: [cased(contractions + "?", "{1,3}")], ignoresMerges: true)
    case "tiny_aya", "cohere2moe":
      GGUFPattern(patterns: [#"\d{1,3}(?=(?:\d{3})*\b)"#, cased(contractions + "?", "{1,3}")])
    case "kimi-k2":
      GGUFPattern(patterns: [
        #"\p{Han}+|"# + cased(contractions + "?", "{1,3}", #"&&[^\p{Han}]"#, after: #"[\r\n]*"#)
      ])
    case "superbpe": GGUFPattern(patterns: [#"\p{N}+"#, #"(?=(\d{3})+(?!\d))"#])
    case "chameleon":
      GGUFPattern(
        patterns: [
          "<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", #"([\t\n]|    |  )"#, #"\p{N}"#,
          #"[\p{P}!-/:-@\[-`{-~]"#, gpt2,
        ], addsStart: true)
    case "gemma4": GGUFPattern(patterns: [#"[^\n]+|[\n]+"#], addsStart: true, spellsBytes: false)
    case "granite-embed-multi-311m", "sarvam-moe":
      GGUFPattern(patterns: [#"[^\n]+|[\n]+"#], spellsBytes: false)
    case "whitespace": GGUFPattern(patterns: [#"\S+"#], spellsBytes: false)
    default: nil
    }
  }
}
