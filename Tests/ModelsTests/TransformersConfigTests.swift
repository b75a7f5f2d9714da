import Kalsae
import Testing

@Suite struct TransformersConfigTests {
  private func read<Config: ModelConfig>(_ text: String, _ type: Config.Type) throws -> Config {
    try Config(ConfigJSON(JSON(parsing: text.utf8), file: "model/config.json"))
  }

  private func message(_ text: String, _ type: any ModelConfig.Type) -> String {
    do {
      _ = try type.init(ConfigJSON(JSON(parsing: text.utf8), file: "model/config.json"))
      return "no error"
    } catch { return "\(error)" }
  }

  @Test func whatIsWrittenReadsTheSame() throws {
    func check<Config: ModelConfig & Equatable>(
      _ config: Config, _ count: Int, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
      #expect(config != Config(), sourceLocation: sourceLocation)
      #expect(
        try read(JSON.object(config.json).prettyText, Config.self) == config, sourceLocation: sourceLocation)
      #expect(config.json.count == count, sourceLocation: sourceLocation)
    }
    var gpt2 = GPT2Config()
    (gpt2.n_inner, gpt2.eos_token_id, gpt2.activation_function) = (7, nil, .relu)
    try check(gpt2, 20)
    var bert = BertConfig()
    (bert.id2label, bert.pad_token_id, bert.classifier_dropout) = (["bad", "good", "so so"], nil, 0.25)
    try check(bert, 21)
    var vit = ViTConfig()
    (vit.image_size, vit.pooler_output_size) = (ImageSize(rows: 32, columns: 64), 5)
    try check(vit, 18)
    var alexNet = AlexNetConfig()
    (alexNet.num_classes, alexNet.id2label) = (2, ["cat", "dog"])
    try check(alexNet, 5)
    var transformer = TransformerConfig()
    (transformer.vocab_size, transformer.norm_first, transformer.attention_dropout) = (8000, true, 0)
    try check(transformer, 21)
  }

  @Test func absentKeysKeepTheirDefaults() throws {
    #expect(try read(#"{"model_type": "gpt2"}"#, GPT2Config.self) == GPT2Config())
    #expect(try read("{}", BertConfig.self) == BertConfig())
  }

  /// The keys of published files that change nothing here.
  @Test func keysThatChangeNothingArePassedOver() throws {
    let gpt2 = """
      {"activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1,
       "bos_token_id": 50256, "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02,
       "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12,
       "n_positions": 1024, "resid_pdrop": 0.1, "summary_activation": null, "summary_first_dropout": 0.1,
       "summary_proj_to_labels": true, "summary_type": "cls_index", "summary_use_proj": true,
       "task_specific_params": {"text-generation": {"do_sample": true, "max_length": 50}}, "vocab_size": 50257}
      """
    #expect(try read(gpt2, GPT2Config.self) == GPT2Config())
    let bert = """
      {"architectures": ["BertForMaskedLM"], "attention_probs_dropout_prob": 0.1, "gradient_checkpointing": false,
       "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": 768, "initializer_range": 0.02,
       "intermediate_size": 3072, "layer_norm_eps": 1e-12, "max_position_embeddings": 512, "model_type": "bert",
       "num_attention_heads": 12, "num_hidden_layers": 12, "pad_token_id": 0, "position_embedding_type": "absolute",
       "transformers_version": "4.6.0.dev0", "type_vocab_size": 2, "use_cache": true, "vocab_size": 30522}
      """
    #expect(try read(bert, BertConfig.self).architectures == ["BertForMaskedLM"])
    let vit = """
      {"architectures": ["ViTForImageClassification"], "encoder_stride": 16, "id2label": {"0": "cat", "1": "dog"},
       "label2id": {"cat": 0, "dog": 1}, "model_type": "vit", "torch_dtype": "float32"}
      """
    #expect(try read(vit, ViTConfig.self).id2label.names == ["cat", "dog"])
  }

  @Test(arguments: [
    (
      #"{"model_type": "bert"}"#, GPT2Config.self as any ModelConfig.Type,
      "'model_type' is \"bert\" where \"gpt2\""
    ),
    (#"{"n_layers": 3}"#, GPT2Config.self, "unknown key 'n_layers' (did you mean 'n_layer'?)"),
    (#"{"n_head": 5}"#, GPT2Config.self, "'n_head' 5 does not divide n_embd 768"),
    (#"{"n_layer": 0}"#, GPT2Config.self, "'n_layer' must be positive, not 0"),
    (#"{"attn_pdrop": 1}"#, GPT2Config.self, "'attn_pdrop' must be in [0, 1), not 1.0"),
    (#"{"activation_function": "mish"}"#, GPT2Config.self, "'activation_function' should be one of \"gelu\""),
    (#"{"quantization_config": {}}"#, GPT2Config.self, "unknown key 'quantization_config'"),
    (#"{"is_decoder": true}"#, BertConfig.self, "'is_decoder' true is not supported"),
    (#"{"position_embedding_type": "relative_key"}"#, BertConfig.self, "should be one of \"absolute\""),
    (#"{"id2label": {"1": "a", "2": "b"}}"#, BertConfig.self, "'id2label' should be an object from \"0\""),
    (#"{"id2label": {}}"#, BertConfig.self, "'id2label' must name at least one class"),
    (#"{"pad_token_id": 40000}"#, BertConfig.self, "'pad_token_id' 40000 is not in the vocabulary of 30522"),
    (#"{"image_size": 8}"#, ViTConfig.self, "'image_size' 8 is smaller than patch_size 16"),
    (#"{"num_classes": 0}"#, AlexNetConfig.self, "'num_classes' must be positive, not 0"),
    (
      #"{"num_classes": 3, "id2label": {"0": "cat", "1": "dog"}}"#, AlexNetConfig.self,
      "'id2label' names 2 class(es), but num_classes is 3"
    ),
    (
      #"{"vocab_size": 9, "target_vocab_size": 8}"#, TransformerConfig.self,
      "'share_embeddings' needs one vocabulary, but target_vocab_size is 8"
    ),
    (#"{"vocab_size": 2}"#, TransformerConfig.self, "'eos_token_id' 2 is not in a vocabulary of 2"),
  ])
  func whatIsNotSupportedOrContradictsItselfIsNamed(
    _ text: String, _ type: any ModelConfig.Type, _ expected: String
  ) {
    let message = message(text, type)
    #expect(message.contains(expected), "\(message)")
    #expect(message.hasPrefix("model/config.json: "))
  }
}
