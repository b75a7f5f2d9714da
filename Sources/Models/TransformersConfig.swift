import KalsaeCheckpoints
import KalsaeTensors

// What the configurations of Hugging Face transformers have in common.

/// The configuration of a model of transformers: `model_type` names it, `architectures` its head.
public protocol TransformersConfig: ModelConfig, Equatable {
  /// Keys of this architecture that its network does not read; those of all architectures are known.
  static var ownUnusedKeys: Set<String> { get }
}

extension TransformersConfig {
  public static var ownUnusedKeys: Set<String> { [] }

  /// Library versions, what generation and training read, labels' inverse, and what older versions wrote into every file.
  public static var unusedKeys: Set<String> {
    ownUnusedKeys.union([
      "transformers_version", "torch_dtype", "dtype", "use_cache", "label2id", "problem_type", "torchscript",
      "bos_token_id", "eos_token_id", "sep_token_id", "pad_token_id", "decoder_start_token_id", "prefix",
      "tokenizer_class", "finetuning_task", "task_specific_params", "gradient_checkpointing", "return_dict",
      "output_attentions", "output_hidden_states", "output_past", "output_scores", "use_bfloat16",
      "return_dict_in_generate", "tie_encoder_decoder", "is_encoder_decoder", "chunk_size_feed_forward",
      "pruned_heads", "remove_invalid_values", "attn_implementation", "tf_legacy_loss",
      "cross_attention_hidden_size",
      // How to generate, in files from before generation_config.json.
      "do_sample", "early_stopping", "length_penalty", "max_length", "min_length", "max_new_tokens",
      "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "num_beams", "num_beam_groups", "top_k",
      "top_p", "temperature", "typical_p", "repetition_penalty", "diversity_penalty", "bad_words_ids",
      "num_return_sequences", "forced_bos_token_id", "forced_eos_token_id", "suppress_tokens",
      "begin_suppress_tokens", "exponential_decay_length_penalty",
    ])
  }
}

/// The classes of a classification head, by number: `id2label`.
public struct LabelNames: Sendable, Equatable, ConfigField, ExpressibleByArrayLiteral {
  public var names: [String]

  public init(_ names: [String]) { self.names = names }
  public init(arrayLiteral names: String...) { self.names = names }

  /// LABEL_0, LABEL_1, ... as in transformers.
  public init(count: Int) { names = (0..<count).map { "LABEL_\($0)" } }

  public static var expectation: String { "an object from \"0\", \"1\", ... to the names of the classes" }

  public init?(_ json: JSON) {
    guard case .object(let object) = json else { return nil }
    var names: [String] = []
    for number in 0..<object.count {
      guard let json = object["\(number)"], let name = String(json) else { return nil }
      names.append(name)
    }
    self.names = names
  }

  public var json: JSON {
    var object = JSONObject()
    for (number, name) in names.enumerated() { object["\(number)"] = .string(name) }
    return .object(object)
  }
}

/// An activation by the name it has in transformers.
public enum HiddenActivation: String, CaseIterable, ConfigField {
  case gelu, gelu_new, gelu_pytorch_tanh, quick_gelu, relu, silu, swish, tanh

  public func callAsFunction(_ x: Tensor) -> Tensor {
    switch self {
    case .gelu: KalsaeTensors.gelu(x)
    // Two names of one formula.
    case .gelu_new, .gelu_pytorch_tanh: KalsaeTensors.gelu(x, approximate: true)
    case .quick_gelu: x * sigmoid(x * 1.702)
    case .relu: KalsaeTensors.relu(x)
    case .silu, .swish: KalsaeTensors.silu(x)
    case .tanh: KalsaeTensors.tanh(x)
    }
  }
}

/// The first of `counts` that is not positive.
func firstNotPositive(_ counts: KeyValuePairs<String, Int>) -> (key: String, reason: String)? {
  counts.first { $0.value <= 0 }.map { ($0.key, "must be positive, not \($0.value)") }
}

/// The first of `probabilities` outside [0, 1).
func firstNoProbability(_ probabilities: KeyValuePairs<String, Double>) -> (key: String, reason: String)? {
  probabilities.first { !(0..<1).contains($0.value) }.map { ($0.key, "must be in [0, 1), not \($0.value)") }
}

/// What is not supported and wanted all the same.
func firstUnsupported(_ options: KeyValuePairs<String, Bool>) -> (key: String, reason: String)? {
  options.first { $0.value }.map { ($0.key, "true is not supported") }
}

/// Whether heads divide the features.
func headProblem(_ key: String, _ heads: Int, _ width: String, _ features: Int) -> (
  key: String, reason: String
)? {
  features % heads == 0 ? nil : (key, "\(heads) does not divide \(width) \(features)")
}
