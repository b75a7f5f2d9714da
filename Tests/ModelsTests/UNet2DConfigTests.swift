import Kalsae
import Testing

@Suite struct UNet2DConfigTests {
  private func read(_ text: String) throws -> UNet2DConfig {
    try UNet2DConfig(ConfigJSON(JSON(parsing: text.utf8), file: "unet/config.json"))
  }

  private func message(_ text: String) -> String {
    do {
      _ = try read(text)
      return "no error"
    } catch { return "\(error)" }
  }

  @Test func absentKeysKeepTheirDefaults() throws {
    #expect(try read("{}") == UNet2DConfig())
    #expect(try read(#"{"_class_name": "UNet2DModel", "_diffusers_version": "0.0.4"}"#) == UNet2DConfig())
  }

  @Test func aNullHeadSizeIsOneHead() throws {
    #expect(try read("{}").attention_head_dim == 8)
    #expect(try read(#"{"attention_head_dim": null}"#).attention_head_dim == nil)
  }

  @Test func sizesAreOneNumberOrTwo() throws {
    #expect(try read(#"{"sample_size": 32}"#).sample_size == ImageSize(32))
    #expect(try read(#"{"sample_size": [24, 40]}"#).sample_size == ImageSize(rows: 24, columns: 40))
    #expect(message(#"{"sample_size": [24]}"#).contains("should be an integer or a list of height and width"))
  }

  @Test func whatIsWrittenReadsTheSame() throws {
    var config = UNet2DConfig()
    config.sample_size = ImageSize(rows: 16, columns: 24)
    config.in_channels = 1
    config.out_channels = 2
    config.center_input_sample = true
    config.time_embedding_type = .learned
    config.time_embedding_dim = 64
    config.freq_shift = 1
    config.flip_sin_to_cos = false
    config.block_out_channels = [16, 32, 48]
    config.down_block_types = [.resnet, .attention, .plain]
    config.up_block_types = [.plain, .attention, .resnet]
    config.mid_block_type = nil
    config.layers_per_block = 3
    config.mid_block_scale_factor = 1.5
    config.downsample_padding = 0
    config.downsample_type = .resnet
    config.upsample_type = .resnet
    config.dropout = 0.25
    config.act_fn = .mish
    config.attention_head_dim = nil
    config.norm_num_groups = 8
    config.attn_norm_num_groups = 4
    config.norm_eps = 1e-6
    config.resnet_time_scale_shift = .scaleShift
    config.add_attention = false
    config.class_embed_type = .timestep
    config.num_train_timesteps = 100
    let text = JSON.object(config.json).prettyText
    #expect(try read(text) == config)
    #expect(config.json.keys == config.json.keys.sorted())
    #expect(config.json.count == 29)
    // Every value above differs from its default, so none was read by luck.
    var defaults = UNet2DConfig().json
    for key in ["_class_name", "num_class_embeds"] { defaults[key] = nil }
    for (key, value) in defaults { #expect(config.json[key] != value, "\(key)") }
  }

  @Test(arguments: [
    (
      #"{"_class_name": "UNet2DConditionModel"}"#,
      "'_class_name' is \"UNet2DConditionModel\" where \"UNet2DModel\""
    ),
    (
      #"{"down_block_types": ["AttnSkipDownBlock2D"]}"#,
      "'down_block_types' should be a list, each item one of \"DownBlock2D\""
    ),
    (#"{"down_block_types": ["AttnSkipDownBlock2D"]}"#, "found the list [\"AttnSkipDownBlock2D\"]"),
    (#"{"mid_block_type": "UNetMidBlock2DCrossAttn"}"#, "found the string \"UNetMidBlock2DCrossAttn\""),
    (
      #"{"time_embedding_type": "sine"}"#,
      "'time_embedding_type' should be one of \"positional\", \"fourier\", \"learned\""
    ),
    (#"{"resnet_time_scale_shift": "ada_group"}"#, "should be one of \"default\", \"scale_shift\""),
    (#"{"act_fn": "tanh"}"#, "'act_fn' should be one of \"silu\", \"swish\", \"gelu\", \"relu\", \"mish\""),
    (
      #"{"downsample_type": "fir"}"#,
      "'downsample_type' should be one of \"conv\", \"resnet\", found the string \"fir\""
    ),
    (#"{"layers_per_blok": 2}"#, "unknown key 'layers_per_blok' (did you mean 'layers_per_block'?)"),
    (#"{"block_out_channels": [64, 128]}"#, "'down_block_types' names 4 blocks for the 2 levels"),
    (
      #"{"block_out_channels": [224, 448, 672, 900]}"#, "has 900, which does not divide by norm_num_groups 32"
    ),
    (#"{"block_out_channels": []}"#, "must name at least one level"),
    (#"{"in_channels": 0}"#, "'in_channels' must be positive, not 0"),
    (#"{"time_embedding_type": "learned"}"#, "'num_train_timesteps' is needed"),
    (#"{"class_embed_type": "timestep", "num_class_embeds": 3}"#, "contradicts class_embed_type"),
    (#"{"downsample_padding": 2}"#, "'downsample_padding' must be 0 or 1, not 2"),
    (#"{"dropout": 1}"#, "'dropout' must be in [0, 1), not 1.0"),
    (#"{"sample_size": 30}"#, "'sample_size' must be a multiple of 8 for 4 levels, not 30"),
    (#"{"attention_head_dim": 500}"#, "'attention_head_dim' 500 is larger than the 448 channels"),
    (#"{"freq_shift": 112}"#, "'freq_shift' must be from 0 to less than half of block_out_channels[0]"),
    (#"{"attn_norm_num_groups": 5}"#, "'attn_norm_num_groups' 5 does not divide"),
  ])
  func whatIsNotSupportedOrContradictsItselfIsNamed(_ text: String, _ expected: String) {
    #expect(message(text).contains(expected), "\(message(text))")
    #expect(message(text).hasPrefix("unet/config.json: "))
  }

  @Test func aContradictionTrapsInAProgram() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      var config = UNet2DConfig()
      config.block_out_channels = [32]
      _ = UNet2DModel(config)
    }
    #expect(
      printed(by: result)
        .contains("UNet2DModel: 'down_block_types' names 4 blocks for the 1 levels"))
  }
}
