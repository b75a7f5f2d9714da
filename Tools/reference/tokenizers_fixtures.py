"""Tiny tokenizers of Hugging Face's tokenizers library, one a published family, and what they give for tricky texts.

Writes `Tests/Fixtures/tokenizers/`: `<name>.json` as the library saves it, `<name>.expected.json` with numbers, byte offsets,
decoded text, pairs, truncation and padding; `normalizers.json` and `pre_tokenizers.json` with what single stages do.
"""

import json

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from fixtures import ROOT, report

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = CL100K.replace("{1,3}", "")
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
CLIP = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"

CORPUS = """The swift spends most of its life in the air: it eats, drinks and even sleeps on the wing, and it's faster than any other bird.
Swifts don't perch; their short legs can only cling to walls, so they'll nest under roofs and in towers. We've seen 12 or 13 of them.
A tokenizer turns text into numbers. The numbers go into a network, and what comes out is turned into text again.
In 2024 there were 1,234,567 lines of code; in 1999 there were only 89. The price was $3.50, or 20% less than before!
칼새는 하늘에서 먹고 자는 새입니다. 칼새는 아주 빠르게 납니다. 나는 어제 하늘에서 칼새를 보았습니다. 새는 날아갑니다.
アマツバメは空で眠る鳥です。とても速く飛びます。昨日、空でアマツバメを見ました。鳥は飛んで行きました。
Der Mauersegler verbringt fast sein ganzes Leben in der Luft. Le martinet noir vit presque toujours dans le ciel, à côté des toits élevés.
def forward(self, x):
    for layer in self.layers:
        x = layer(x)
    return x
if (count >= 10) { total += values[i] * 0.5; } // every tenth value counts half
"""

TEXTS = [
    "",
    " ",
    "   ",
    "\n",
    "\n\n  \n",
    "a",
    "The swift sleeps on the wing.",
    "Hello, world! It's 2024; we've seen 1234567 swifts, they'll fly. DON'T SHOUT'S",
    "  leading and   inner    runs \t of\u00a0white\u3000space  ",
    "line one\nline two\r\nline three\n\n\tindented\n",
    "def forward(self, x):\n    return x + 0.5  # half\n",
    "칼새는 하늘에서 잡니다. ㅋㅋㅋ 한글 자모: \u1112\u1161\u11ab",
    "アマツバメは空を飛ぶ。ﾊﾝｶｸ カナ、がぎぐ か\u3099",
    "昨日,空でswiftを見た123回。",
    "caf\u00e9 cafe\u0301 \u00c5ngstr\u00f6m \u01c5 \ufb01ne \u00bd \u2460 \uff21\uff22\uff23 na\u00efve d\u00e9j\u00e0 vu",
    "emoji 🐦 👩\u200d👩\u200d👧\u200d👦 🏳️\u200d🌈 🇰🇷 ❤️ 👍🏽",
    "Straße İstanbul ΣΊΣΥΦΟΣ ſtart 'ſ K",
    "zero\u200bwidth bom\ufeff control\x01\x7f\x85 nul\x00 soft\u00adhyphen",
    "עברית العربية हिन्दी ไทย தமிழ் ქართული",
    "a_b-c/d\\e f.g@h.i #tag $3.50 20% (x+y)*[z] {k: v} <tag> ~`^|",
    "<s> [CLS] [MASK]<|endoftext|>[SEP] </s>  <|endoftext|>  end",
    "x" * 60 + " " + "ab" * 40,
    "١٢٣ ²³¹ Ⅷ 五 १२३ 0123456789",
    "\u2581already\u2581there ## ##ing <0x41>",
    "ends with space ",
    "…—–“quoted” ‘single’ «guillemets» 。！？",
    "\U00020000\U0002a6df \ufffd\uffff mixed한글and日本語text",
]


def byte_offsets(text, offsets):
    before = [0]
    for character in text:
        before.append(before[-1] + len(character.encode()))
    return [[before[a], before[b]] for a, b in offsets]


def train(tokenizer, trainer):
    tokenizer.train_from_iterator(CORPUS.splitlines(keepends=True), trainer)
    return tokenizer


def byte_bpe(pre_tokenizer, special=("<|endoftext|>",), normalizer=None, **model):
    tokenizer = Tokenizer(models.BPE(**model))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=560, special_tokens=list(special), initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False, **({"end_of_word_suffix": model["end_of_word_suffix"]} if "end_of_word_suffix" in model else {}),
    )
    return train(tokenizer, trainer)


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior, invert)


def raw_bytes():
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def gpt2():
    tokenizer = byte_bpe(pre_tokenizers.ByteLevel(add_prefix_space=False))
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def roberta():
    tokenizer = byte_bpe(pre_tokenizers.ByteLevel(add_prefix_space=True), ("<s>", "<pad>", "</s>", "<unk>"))
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=True)
    return tokenizer


def llama3():
    tokenizer = byte_bpe(pre_tokenizers.Sequence([split(CL100K), raw_bytes()]), ("<|begin|>", "<|endoftext|>"))
    tokenizer.model.ignore_merges = True
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing("<|begin|> $A", "<|begin|> $A <|begin|> $B:1", [("<|begin|>", 0)]),
        ]
    )
    return tokenizer


def qwen2():
    return byte_bpe(pre_tokenizers.Sequence([split(QWEN2), raw_bytes()]), normalizer=normalizers.NFC())


def gpt4o():
    return byte_bpe(pre_tokenizers.Sequence([split(O200K), raw_bytes()]))


def deepseek():
    steps = [split(r"\p{N}{1,3}"), split(r"[一-龥぀-ゟ゠-ヿ]+"), split(DEEPSEEK), raw_bytes()]
    return byte_bpe(pre_tokenizers.Sequence(steps))


def falcon():
    steps = [
        pre_tokenizers.Punctuation("contiguous"),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        pre_tokenizers.Digits(individual_digits=False),
        split("[0-9][0-9][0-9]"),
    ]
    return byte_bpe(pre_tokenizers.Sequence(steps))


def clip():
    normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    pre_tokenizer = pre_tokenizers.Sequence([split(CLIP, "removed", True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer = byte_bpe(
        pre_tokenizer, ("<|startoftext|>", "<|endoftext|>"), normalizer, end_of_word_suffix="</w>", unk_token="<|endoftext|>"
    )
    tokenizer.post_processor = processors.RobertaProcessing(
        ("<|endoftext|>", 1), ("<|startoftext|>", 0), trim_offsets=False, add_prefix_space=False
    )
    return tokenizer


def bert(lowercase):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    train(tokenizer, trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def llama():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, max_token_length=12, limit_alphabet=100, show_progress=False
    )
    # Merges within words only, as SentencePiece learns them.
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    train(tokenizer, trainer)
    model = json.loads(tokenizer.to_str())
    model["pre_tokenizer"] = None
    model["added_tokens"] = model["added_tokens"][:3]
    tokenizer = Tokenizer.from_str(json.dumps(model))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A <s> $B", [("<s>", 1)])
    return tokenizer


def t5(byte_fallback=False):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"] + ([f"<0x{byte:02X}>" for byte in range(256)] if byte_fallback else [])
    trainer = trainers.UnigramTrainer(vocab_size=700, special_tokens=special, unk_token="<unk>", show_progress=False)
    train(tokenizer, trainer)
    if byte_fallback:
        model = json.loads(tokenizer.to_str())
        model["model"]["byte_fallback"] = True
        tokenizer = Tokenizer.from_str(json.dumps(model))
        tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", "$A </s> $B </s>", [("</s>", 1)])
    return tokenizer


def words():
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return train(tokenizer, trainers.WordLevelTrainer(vocab_size=300, special_tokens=["<unk>"], show_progress=False))


TOKENIZERS = {
    "gpt2": gpt2, "roberta": roberta, "llama3": llama3, "qwen2": qwen2, "gpt4o": gpt4o, "deepseek": deepseek, "falcon": falcon,
    "clip": clip, "bert-uncased": lambda: bert(True), "bert-cased": lambda: bert(False), "llama": llama, "t5": t5,
    "unigram-bytes": lambda: t5(True), "words": words,
}

NORMALIZERS = {
    "NFC": normalizers.NFC(), "NFD": normalizers.NFD(), "NFKC": normalizers.NFKC(), "NFKD": normalizers.NFKD(),
    "Lowercase": normalizers.Lowercase(), "StripAccents": normalizers.StripAccents(), "Nmt": normalizers.Nmt(),
    "Strip": normalizers.Strip(), "Bert": normalizers.BertNormalizer(), "ByteLevel": normalizers.ByteLevel(),
    "Prepend": normalizers.Prepend("▁"), "Replace": normalizers.Replace(Regex(r"\s{2,}|[!-/]"), "_"),
}

PRE_TOKENIZERS = {
    "Bert": pre_tokenizers.BertPreTokenizer(), "Whitespace": pre_tokenizers.Whitespace(),
    "WhitespaceSplit": pre_tokenizers.WhitespaceSplit(), "ByteLevel": pre_tokenizers.ByteLevel(),
    "Metaspace": pre_tokenizers.Metaspace(), "MetaspaceNever": pre_tokenizers.Metaspace(prepend_scheme="never", split=False),
    "Delimiter": pre_tokenizers.CharDelimiterSplit("e"), "Digits": pre_tokenizers.Digits(False),
    "DigitsEach": pre_tokenizers.Digits(True), "UnicodeScripts": pre_tokenizers.UnicodeScripts(),
} | {
    f"Punctuation {behavior}": pre_tokenizers.Punctuation(behavior)
    for behavior in ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
} | {
    f"Split {pattern}": split(pattern)
    for pattern in [
        GPT2, CL100K, O200K, DEEPSEEK, CLIP, r"\s+$", r"(?<=\d)(?=(?:\d{3})+\b)", r"(?i)[a-f]{2,3}?x*|S\w*?t", r"[^\W\d_]+(?>ab|a)?",
        r"[\p{L}&&[^a-z]]++", r"(ab?)*c|\p{Han}|\p{Hiragana}+",
    ]
}


def expected(tokenizer):
    result = {"cases": []}
    for text in TEXTS:
        encoding = tokenizer.encode(text)
        plain = tokenizer.encode(text, add_special_tokens=False)
        result["cases"].append(
            {
                "ids": encoding.ids, "offsets": byte_offsets(text, encoding.offsets) if text.isascii() else None,
                "decoded": tokenizer.decode(encoding.ids), "decoded_all": tokenizer.decode(plain.ids, skip_special_tokens=False),
            }
        )
    pair = tokenizer.encode(TEXTS[6], TEXTS[11])
    result["pair"] = {"ids": pair.ids, "type_ids": pair.type_ids, "special": pair.special_tokens_mask}
    tokenizer.enable_truncation(14, stride=2)
    cut = tokenizer.encode(TEXTS[7])
    both = tokenizer.encode(TEXTS[6], TEXTS[7])
    result["truncated"] = {"ids": cut.ids, "overflowing": [part.ids for part in cut.overflowing], "pair": both.ids}
    tokenizer.no_truncation()
    tokenizer.enable_padding(direction="left", pad_id=3, pad_token="P", pad_to_multiple_of=4)
    batch = tokenizer.encode_batch([TEXTS[5], TEXTS[6]])
    result["padded"] = [{"ids": one.ids, "mask": one.attention_mask} for one in batch]
    tokenizer.no_padding()
    return result


def main():
    folder = ROOT / "tokenizers"

    def write(name, value):
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        (folder / name).write_text(text + "\n", encoding="utf-8")
        report(folder / name)

    for name, make in TOKENIZERS.items():
        tokenizer = make()
        path = folder / f"{name}.json"
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(path), pretty=False)
        report(path)
        write(f"{name}.expected.json", expected(Tokenizer.from_file(str(path))))
    write("texts.json", {"texts": TEXTS, "corpus": CORPUS})
    normalized = {
        name: {"json": json.loads(stage.__getstate__()), "results": [stage.normalize_str(text) for text in TEXTS]}
        for name, stage in NORMALIZERS.items()
    }
    write("normalizers.json", normalized)
    pieces = {
        name: {
            "json": json.loads(stage.__getstate__()),
            "results": [[piece for piece, _ in stage.pre_tokenize_str(text)] for text in TEXTS],
        }
        for name, stage in PRE_TOKENIZERS.items()
    }
    write("pre_tokenizers.json", pieces)


if __name__ == "__main__":
    main()
