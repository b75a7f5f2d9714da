// A small GPT learns a text, character by character, and writes some of its own: `swift run -c release TrainGPT`.
// A text file as first argument; a nursery rhyme when absent. Steps as second argument; 400 when absent.
import Kalsae

let arguments = CommandLine.arguments.dropFirst()
let text = try arguments.first.map { try TextFile.read($0) } ?? theHouseThatJackBuilt
let steps = arguments.dropFirst().first.flatMap { Int($0) } ?? 400

// Every character is a token, and the last tenth of the tokens is held out.
let tokenizer = Tokenizer.characters(of: text)
let stream = try TokenStream(tokenizer.ids(of: text), name: "text")
let (training, validation) = try stream.split(validationFraction: 0.1)

var config = GPT2Config()
config.vocab_size = tokenizer.vocabularySize
config.n_positions = 64  // tokens that the model sees at once
(config.n_layer, config.n_head, config.n_embd) = (2, 4, 64)
(config.resid_pdrop, config.embd_pdrop, config.attn_pdrop) = (0, 0, 0)

let model = Initialization.with(seed: 0) { GPT2LMHeadModel(config) }
let contents = model.contents  // every parameter, found by reflection and named as in checkpoints
let optimizer = AdamW(contents, beta2: 0.99)
let rate = LearningRate(peak: 5e-3, warmup: 20, decay: .cosine(total: steps, minimum: 5e-4))

/// The mean of -log p(next token | tokens before it), in nats.
func nextTokenLoss(_ batch: LanguageModelBatch) -> Tensor {
  let logits = model(batch.inputTensor)  // (B, T, V); position t sees tokens 0...t
  return crossEntropy(logits, batch.labelTensor, ignoredLabel: Int(ignoredTokenLabel))
}

/// The same over the held-out text.
func validationLoss() throws -> Double {
  let length = min(64, validation.count - 1)
  let windows = try LanguageModelWindows(validation, length: length, batchSize: 16, order: .sequential)
  let losses = try windows.batches().map { nextTokenLoss($0).item() }
  return losses.reduce(0, +) / Double(losses.count)
}

// A batch is 16 windows of 64 tokens from anywhere in the text; the labels are the same tokens, one later.
let loader = try TokenLoader(LanguageModelWindows(training, length: 64, batchSize: 16), seed: 0)
for step in 0..<steps {
  let batch = try loader.next().batch
  let (loss, gradients) = valueAndGradient(contents) { nextTokenLoss(batch) }
  optimizer.update(gradients.clipped(toNorm: 1), learningRate: rate(step))
  evaluate(loss, slots: optimizer.slots)  // forward, backward, clip and update run here, as one plan
  if (step + 1) % 50 == 0 { print("step \(step + 1): loss \(loss.item()), held out \(try validationLoss())") }
}

var options = GenerationOptions()
options.maximumNewTokens = 300
options.policy.temperature = 0.8
let prompt = String(text.prefix(10))
print("\n" + prompt, terminator: "")
try TextGenerator(model: model, tokenizer: tokenizer).generate(prompt, options) { token in
  print(token.text, terminator: "")
  return true
}
print()
