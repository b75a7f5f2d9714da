import KalsaeCheckpoints
import Testing

@Suite struct KeyMapTests {
  static let keyMap: KeyMap = [
    "**.query.*": "**.to_q.*",
    "**.proj_attn.*": "**.to_out.0.*",
    "**.num_batches_tracked": nil,
    "model.diffusion_model.**": "**",
    "blocks.*.mlp.**.w": "h.*.ff.**.weight",
  ]

  @Test(arguments: [
    ("mid.attentions.0.query.weight", "mid.attentions.0.to_q.weight"), ("query.bias", "to_q.bias"),
    ("a.query.b.query.c", "a.query.b.to_q.c"), ("a.proj_attn.weight", "a.to_out.0.weight"),
    ("norm.num_batches_tracked", nil), ("model.diffusion_model.time.0.weight", "time.0.weight"),
    ("blocks.3.mlp.w", "h.3.ff.weight"), ("blocks.3.mlp.a.b.w", "h.3.ff.a.b.weight"),
    ("blocks.3.4.mlp.w", "blocks.3.4.mlp.w"), ("query", "query"), ("conv_in.weight", "conv_in.weight"),
    ("", ""),
  ])
  func renames(_ key: String, _ expected: String?) {
    #expect(Self.keyMap(key) == expected)
  }
}
