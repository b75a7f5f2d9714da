// A Transformer learns to translate German number words into English ones, letter by letter:
//
//     swift run -c release TranslateNumbers [steps]
//
// "siebenundzwanzig" names the units before the tens, so the decoder has to look around: attention at work.
import Kalsae

let steps = CommandLine.arguments.dropFirst().first.flatMap { Int($0) } ?? 600

// MARK: - The language of numbers

let units =
  ["", "ein", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn", "elf", "zwölf"]
  + ["drei", "vier", "fünf", "sech", "sieb", "acht", "neun"].map { $0 + "zehn" }
let tens = ["", "", "zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig"]

func german(_ n: Int) -> String {
  let head = n >= 100 ? units[n / 100] + "hundert" : "", n = n % 100
  return head + (n < 20 ? units[n] : (n % 10 > 0 ? units[n % 10] + "und" : "") + tens[n / 10])
}

let ones =
  ["", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
  + ["thir", "four", "fif", "six", "seven", "eigh", "nine"].map { $0 + "teen" }
let decades = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]

func english(_ n: Int) -> String {
  let head = n >= 100 ? ones[n / 100] + " hundred" : "", n = n % 100
  let rest = n < 20 ? ones[n] : decades[n / 10] + (n % 10 > 0 ? "-" + ones[n % 10] : "")
  return head + (head.isEmpty || rest.isEmpty ? "" : " and ") + rest
}

// MARK: - Training

let numbers = Array(1..<1000), heldOut = numbers.filter { $0 % 7 == 3 },
  learned = numbers.filter { $0 % 7 != 3 }
let tokenizer = Tokenizer.characters(of: numbers.map { german($0) + english($0) }.joined())

var config = TransformerConfig()  // of "Attention Is All You Need", made small
(config.d_model, config.nhead, config.dim_feedforward) = (128, 4, 256)
(config.num_encoder_layers, config.num_decoder_layers) = (2, 2)
(config.norm_first, config.max_position_embeddings) = (true, 64)
config.vocab_size = tokenizer.vocabularySize + 3
(config.pad_token_id, config.bos_token_id, config.eos_token_id) = (
  tokenizer.vocabularySize, tokenizer.vocabularySize + 1, tokenizer.vocabularySize + 2
)

let model = Initialization.with(seed: 0) { TransformerForTranslation(config) }
let optimizer = Adam(model.contents, beta2: 0.98, epsilon: 1e-9)
let rate = LearningRate(peak: 2e-3, warmup: 60, decay: .cosine(total: steps))

let end = config.eos_token_id
func tokens(_ word: String) -> [Int32] { Translator.tokens(word, tokenizer, end: end) }
let pairs = try TranslationBatches(
  source: learned.map { tokens(german($0)) },
  target: learned.map { [Int32(config.bos_token_id)] + tokens(english($0)) },
  name: "numbers", limit: .examples(64), padding: Int32(config.pad_token_id), multiple: 16)
let loader = try TokenLoader(pairs, seed: 0)

for step in 0..<steps {
  let batch = try loader.next().batch
  let (loss, gradients) = valueAndGradient(model.contents) {
    Mode.training(RandomKey(seed: 0, step: UInt64(step))) {
      let source = model.encode(batch.sourceTensor, mask: batch.sourceMaskTensor)
      let logits = model.decode(batch.targetInputTensor, source)  // (B, T, V)
      return crossEntropy(
        logits, batch.labelTensor, labelSmoothing: 0.1, ignoredLabel: Int(ignoredTokenLabel))
    }
  }
  optimizer.update(gradients.clipped(toNorm: 1), learningRate: rate(step))
  evaluate(loss, slots: optimizer.slots)
  if (step + 1) % 100 == 0 { print("step \(step + 1): loss \(loss.item())") }
}

// MARK: - Translating what it never saw

let found = try Translator(model: model, tokenizer: tokenizer).translate(heldOut.map(german))
let right = zip(heldOut, found).count { english($0) == $1 }
for place in stride(from: 0, to: heldOut.count, by: 12) {
  print("\(german(heldOut[place])) -> \(found[place])")
}
print("\(right) of \(heldOut.count) numbers it never saw are right")
