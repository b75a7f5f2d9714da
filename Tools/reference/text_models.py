"""Tiny random-weight Transformers, with every block's output and all gradients.

GPT-2, BERT and ViT of transformers, AlexNet of torchvision, nn.Transformer of PyTorch. Each variant becomes
`Tests/Fixtures/<name>/`: `config.json` and `model.safetensors` as the library saves them, and `golden.safetensors`:
`input.*` as the library takes them, `block.*`, `output.*`, `cotangent.*` for each output, and `grad.*`, the gradients
of sum(output x cotangent) over all outputs. `legacy_names.safetensors` is the same model in an older naming.
"""

import copy
import math

import torch
import torchvision
import transformers
from torch import nn

from fixtures import ROOT, check, generator, normal, report, save, save_json, setup


def randomise(model, seed):
    """Weights of everyday size, and norms and biases that are neither one nor zero."""
    g = generator(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            noise = torch.randn(p.shape, generator=g, dtype=torch.float64)
            is_norm = any(word in name.lower() for word in ("norm", "ln_"))
            if p.ndim >= 2:
                p.copy_(noise / max(1, p[0].numel()) ** 0.5)
            elif is_norm and name.endswith("weight"):
                p.copy_(1 + 0.25 * noise)
            else:
                p.copy_(0.25 * noise)


def integers(shape, low, high, seed):
    return torch.randint(low, high, shape, generator=generator(seed))


def golden(model, inputs, outputs, blocks, seed, dtype=torch.float32):
    """Runs model forward and backward and returns what golden.safetensors holds."""
    model = copy.deepcopy(model).to(dtype).eval()
    found = {}

    def keep(path):
        def hook(module, arguments, output):
            # A copy: activations of AlexNet work in place.
            found["block." + path] = (output[0] if isinstance(output, tuple) else output).clone()

        return hook

    handles = [model.get_submodule(path).register_forward_hook(keep(path)) for path in blocks]
    arguments = {name: t.to(dtype) if t.is_floating_point() else t for name, t in inputs.items()}
    result = model(**arguments)
    loss = 0
    for number, name in enumerate(outputs):
        output = getattr(result, name) if hasattr(result, name) else result
        cotangent = normal(output.shape, seed + 10 + number).to(dtype)
        found |= {"output." + name: output, "cotangent." + name: cotangent}
        loss = loss + (output * cotangent).sum()
    loss.backward()
    for handle in handles:
        handle.remove()
    found |= {"input." + name: t for name, t in inputs.items()}
    # PyTorch has no gradient for what the outputs do not depend on.
    for name, p in model.named_parameters():
        found["grad." + name] = torch.zeros_like(p) if p.grad is None else p.grad
    return {name: t.detach() for name, t in found.items()}


def attentions(model, inputs, dtype=torch.float32):
    """The attention map of every layer, (B, heads, T, S), in the order in which the model computes them."""
    model = copy.deepcopy(model).to(dtype).eval()
    arguments = {name: t.to(dtype) if t.is_floating_point() else t for name, t in inputs.items()}
    if isinstance(model, transformers.PreTrainedModel):
        # The fused attention has no maps.
        model.set_attn_implementation("eager")
        maps = model(**arguments, output_attentions=True).attentions
    else:
        maps = []

        def ask(module, arguments, options):
            return arguments, options | {"need_weights": True, "average_attn_weights": False}

        for module in model.modules():
            if isinstance(module, nn.MultiheadAttention):
                module.register_forward_pre_hook(ask, with_kwargs=True)
                module.register_forward_hook(lambda module, arguments, output: maps.append(output[1]))
        model(**arguments)
    return {f"attention.{i}": map.detach() for i, map in enumerate(maps)}


def write(name, model, inputs, outputs, blocks, seed, may_vanish="nothing"):
    arguments = (inputs, outputs, blocks, seed)
    tensors = golden(model, *arguments) | attentions(model, inputs)
    exact = golden(model, *arguments, dtype=torch.float64) | attentions(model, inputs, torch.float64)
    zero = check(name, tensors, exact, may_vanish)
    save(f"{name}/golden.safetensors", tensors, {"outputs": outputs, "zero_gradients": zero})


def save_pretrained(name, model):
    folder = ROOT / name
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    for file in ("config.json", "model.safetensors"):
        report(folder / file)


def gpt2(name, seed, legacy=False, **options):
    config = transformers.GPT2Config(
        **(
            dict(vocab_size=29, n_positions=16, n_embd=16, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0)
            | options
        )
    )
    model = transformers.GPT2LMHeadModel(config)
    randomise(model, seed)
    save_pretrained(name, model)
    mask = torch.ones(3, 9, dtype=torch.int64)
    mask[1, 6:] = 0
    mask[2, :2] = 0
    inputs = {"input_ids": integers((3, 9), 0, 29, seed + 1), "attention_mask": mask}
    blocks = ["transformer.drop", "transformer.ln_f"]
    for i in range(2):
        blocks += [f"transformer.h.{i}" + part for part in ("", ".attn", ".mlp")]
    write(name, model, inputs, ["logits"], blocks, seed)
    if legacy:
        # As openai-community/gpt2 has them: no prefix, and the causal masks.
        state = {key.removeprefix("transformer."): t for key, t in model.state_dict().items() if "lm_head" not in key}
        for i in range(2):
            state[f"h.{i}.attn.bias"] = torch.ones(1, 1, 16, 16).tril()
            state[f"h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
        save(f"{name}/legacy_names.safetensors", state)


def bert(name, architecture, outputs, seed, legacy=False, **options):
    config = transformers.BertConfig(
        vocab_size=31,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=24,
        max_position_embeddings=12,
        **options,
    )
    model = getattr(transformers, architecture)(config)
    randomise(model, seed)
    save_pretrained(name, model)
    ids = integers((2, 9), 1, 31, seed + 1)
    mask = torch.ones(2, 9, dtype=torch.int64)
    # Token 0 is padding, whose embedding the lookup does not train.
    ids[1, 6:], mask[1, 6:] = 0, 0
    segments = torch.tensor([[0] * 4 + [1] * 5, [0] * 3 + [1] * 3 + [0] * 3])
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}
    blocks = ["bert.embeddings"]
    for i in range(2):
        blocks += [f"bert.encoder.layer.{i}" + part for part in ("", ".attention")]
    if model.bert.pooler is not None:
        blocks.append("bert.pooler")
    if hasattr(model, "cls"):
        blocks.append("cls.predictions.transform")
    write(name, model, inputs, outputs, blocks, seed, may_vanish=("key.bias", "predictions.bias"))
    if legacy:
        # As google-bert/bert-base-uncased has them, and the positions that its older files hold.
        state = {}
        for key, t in model.state_dict().items():
            if "decoder" not in key:
                key = key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
                state[key] = t
        state["bert.embeddings.position_ids"] = torch.arange(12)[None]
        save(f"{name}/legacy_names.safetensors", state)


def vit(name, architecture, outputs, seed, **options):
    config = transformers.ViTConfig(
        **(
            dict(
                hidden_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=24,
                image_size=12,
                patch_size=4,
                num_labels=3,
            )
            | options
        )
    )
    model = getattr(transformers, architecture)(config)
    randomise(model, seed)
    save_pretrained(name, model)
    size = config.image_size if isinstance(config.image_size, (list, tuple)) else [config.image_size] * 2
    inputs = {"pixel_values": normal((2, config.num_channels, *size), seed + 1)}
    prefix = "vit." if hasattr(model, "vit") else ""
    blocks = [prefix + "embeddings", prefix + "layernorm"]
    for i in range(2):
        blocks += [f"{prefix}layers.{i}" + part for part in ("", ".attention", ".mlp")]
    if not prefix:
        blocks.append("pooler")
    write(name, model, inputs, outputs, blocks, seed, may_vanish="k_proj.bias")


class Formula:
    """Weights that both sides can compute: the file of an AlexNet would have 230 MB."""

    @staticmethod
    def fill(model):
        with torch.no_grad():
            for number, (name, p) in enumerate(model.named_parameters()):
                i = torch.arange(p.numel(), dtype=torch.int64)
                # A multiplicative hash of the place (Knuth), uniform in [-1/2, 1/2).
                hashed = ((i + 1) * 2654435761 + number * 97_003) % 2**32
                unit = ((hashed >> 8).double() / 2**24 - 0.5).float().reshape(p.shape)
                p.copy_(unit * (2 / math.sqrt(p[0].numel()) if p.ndim > 1 else 0.5))


def alexnet(name, seed):
    model = torchvision.models.AlexNet(num_classes=5)
    Formula.fill(model)
    save_json(f"{name}/config.json", {"model_type": "alexnet", "num_classes": 5, "dropout": 0.5})
    inputs = {"pixel_values": normal((1, 3, 70, 64), seed + 1)}

    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.features, self.avgpool, self.classifier = model.features, model.avgpool, model.classifier

        def forward(self, pixel_values):
            x = self.avgpool(self.features(pixel_values))
            return self.classifier(torch.flatten(x, 1))

    blocks = [f"features.{i}" for i in range(13)] + ["avgpool"] + [f"classifier.{i}" for i in range(7)]
    arguments = (inputs, ["logits"], blocks, seed)
    tensors = golden(Named(), *arguments)
    check(name, tensors, golden(Named(), *arguments, dtype=torch.float64), "nothing")
    for key, t in tensors.items():
        # 997 numbers of each large one, spread evenly.
        if key.startswith(("grad.", "block.")) and t.numel() > 2000:
            tensors[key] = t.flatten()[:: t.numel() // 997][:997]
    save(f"{name}/golden.safetensors", tensors, {"outputs": ["logits"], "zero_gradients": []})


class Torch(nn.Transformer):
    """nn.Transformer whose arguments all have names."""

    def forward(self, src, tgt, src_key_padding_mask, memory_key_padding_mask, tgt_mask):
        return super().forward(
            src,
            tgt,
            tgt_mask=tgt_mask,
            src_key_padding_mask=src_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
        )


def torch_transformer(name, seed, **options):
    arguments = dict(
        d_model=16, nhead=4, num_encoder_layers=2, num_decoder_layers=2, dim_feedforward=24, batch_first=True
    )
    arguments |= options
    model = Torch(**arguments)
    randomise(model, seed)
    save_json(f"{name}/config.json", {"model_type": "transformer", "architectures": ["Transformer"]} | arguments)
    save(f"{name}/model.safetensors", model.state_dict())
    padding = torch.zeros(2, 7, dtype=torch.bool)
    padding[1, 5:] = True
    inputs = {
        "src": normal((2, 7, 16), seed + 1),
        "tgt": normal((2, 5, 16), seed + 2),
        "src_key_padding_mask": padding,
        "memory_key_padding_mask": padding,
        "tgt_mask": torch.ones(5, 5, dtype=torch.bool).triu(1),
    }
    if not arguments["batch_first"]:
        inputs |= {key: inputs[key].transpose(0, 1) for key in ("src", "tgt")}
    blocks = ["encoder", "decoder"] + [f"{side}.layers.{i}" for side in ("encoder", "decoder") for i in range(2)]
    write(name, model, inputs, ["output"], blocks, seed)


class Translation(nn.Module):
    """What Vaswani et al. 2017 put around the Transformer, sections 3.4 and 3.5."""

    def __init__(self, words, targets, shared, **arguments):
        super().__init__()
        width = arguments["d_model"]
        self.source_embedding = nn.Embedding(words, width, padding_idx=0)
        self.target_embedding = self.source_embedding if shared else nn.Embedding(targets, width, padding_idx=0)
        self.transformer = nn.Transformer(batch_first=True, **arguments)
        self.generator = nn.Linear(width, targets, bias=False)
        if shared:
            self.generator.weight = self.target_embedding.weight
        self.width = width

    def embed(self, table, tokens):
        position = torch.arange(tokens.shape[1], dtype=torch.float64)[:, None]
        i = torch.arange(0, self.width, 2, dtype=torch.float64)
        angle = position / 10000 ** (i / self.width)
        places = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
        return table(tokens) * self.width**0.5 + places.to(table.weight.dtype)

    def forward(self, input_ids, attention_mask, decoder_input_ids, decoder_attention_mask):
        length = decoder_input_ids.shape[1]
        hidden = self.transformer(
            self.embed(self.source_embedding, input_ids),
            self.embed(self.target_embedding, decoder_input_ids),
            tgt_mask=torch.ones(length, length, dtype=torch.bool).triu(1),
            src_key_padding_mask=attention_mask == 0,
            tgt_key_padding_mask=decoder_attention_mask == 0,
            memory_key_padding_mask=attention_mask == 0,
        )
        return self.generator(hidden)


def translation(name, seed, shared, targets):
    arguments = dict(
        d_model=16, nhead=4, num_encoder_layers=2, num_decoder_layers=2, dim_feedforward=24, norm_first=not shared
    )
    model = Translation(23, targets, shared, **arguments)
    randomise(model, seed)
    config = {"model_type": "transformer", "architectures": ["TransformerForTranslation"], "vocab_size": 23}
    config |= {"share_embeddings": shared, "target_vocab_size": targets, "max_position_embeddings": 16}
    save_json(f"{name}/config.json", config | arguments)
    state = {key: t for key, t in model.state_dict().items()}
    if shared:
        del state["target_embedding.weight"], state["generator.weight"]
    save(f"{name}/model.safetensors", state)
    source, target = integers((2, 7), 3, 23, seed + 1), integers((2, 6), 3, min(23, targets), seed + 2)
    source[1, 4:], target[1, 5:] = 0, 0
    inputs = {
        "input_ids": source,
        "attention_mask": (source != 0).long(),
        "decoder_input_ids": target,
        "decoder_attention_mask": (target != 0).long(),
    }
    sides = ("transformer.encoder", "transformer.decoder")
    blocks = list(sides) + [f"{side}.layers.{i}" for side in sides for i in range(2)]
    write(name, model, inputs, ["logits"], blocks, seed)


def attention():
    """What the models above do not use: rotary embedding, grouped queries, T5's relative bias."""
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb, repeat_kv
    from transformers.models.t5.modeling_t5 import T5Attention

    tensors = {name: normal(shape, seed) for seed, (name, shape) in enumerate(
        [("q", (2, 5, 24)), ("k", (2, 7, 12)), ("v", (2, 7, 12)), ("cotangent", (2, 5, 24)), ("bias", (8, 4))]
    )}
    leaves = {name: tensors[name].requires_grad_() for name in ("q", "k", "v", "bias")}
    config = transformers.LlamaConfig(hidden_size=24, num_attention_heads=4, head_dim=6, num_key_value_heads=2)
    config.rope_parameters = {"rope_type": "default", "rope_theta": 500.0}
    rotary = LlamaRotaryEmbedding(config)
    heads = lambda x, n: x.view(2, x.shape[1], n, -1).transpose(1, 2)
    q, k, v = heads(leaves["q"], 4), heads(leaves["k"], 2), heads(leaves["v"], 2)
    # The queries are the last 5 of 7 positions.
    cos, sin = rotary(v, torch.arange(7)[None])
    q, _ = apply_rotary_pos_emb(q, q, cos[:, 2:], sin[:, 2:])
    _, k = apply_rotary_pos_emb(k, k, cos, sin)
    distances = torch.arange(7)[None, :] - torch.arange(2, 7)[:, None]
    buckets = T5Attention._relative_position_bucket(distances, bidirectional=True, num_buckets=8, max_distance=20)
    mask = leaves["bias"][buckets].permute(2, 0, 1)[None]
    y = nn.functional.scaled_dot_product_attention(q, repeat_kv(k, 2), repeat_kv(v, 2), attn_mask=mask)
    y = y.transpose(1, 2).reshape(2, 5, 24)
    (y * tensors["cotangent"]).sum().backward()
    tensors |= {"rotated": q, "mask": mask, "output": y} | {"grad." + name: t.grad for name, t in leaves.items()}
    far = torch.arange(-300, 301)
    for name, both in (("bidirectional", True), ("causal", False)):
        tensors["buckets." + name] = T5Attention._relative_position_bucket(far, both, 32, 128)
    save("attention/golden.safetensors", tensors)


def main():
    setup()
    transformers.logging.set_verbosity_error()
    gpt2("gpt2", 1000, legacy=True)
    gpt2(
        "gpt2-options",
        1100,
        n_inner=24,
        activation_function="relu",
        tie_word_embeddings=False,
        scale_attn_by_inverse_layer_idx=True,
        scale_attn_weights=False,
    )
    heads = ["prediction_logits", "seq_relationship_logits"]
    bert("bert-pretraining", "BertForPreTraining", heads, 2000, legacy=True)
    bert("bert-masked-lm", "BertForMaskedLM", ["logits"], 2100, tie_word_embeddings=False, hidden_act="gelu_new")
    bert("bert-classification", "BertForSequenceClassification", ["logits"], 2200, num_labels=3)
    vit("vit-classification", "ViTForImageClassification", ["logits"], 3000)
    vit(
        "vit",
        "ViTModel",
        ["last_hidden_state", "pooler_output"],
        3100,
        image_size=[8, 12],
        num_channels=1,
        qkv_bias=False,
        pooler_output_size=6,
    )
    alexnet("alexnet", 4000)
    torch_transformer("transformer", 5000)
    torch_transformer("transformer-prenorm", 5100, norm_first=True, activation="gelu", bias=False, batch_first=False)
    translation("translation", 6000, shared=True, targets=23)
    translation("translation-unshared", 6100, shared=False, targets=19)
    attention()


if __name__ == "__main__":
    main()
