#!/usr/bin/env python3
"""PyTorch and transformers on the workloads of `kalsae bench` that are Transformers, with random weights.

PyTorch as pip installs it: eager, `scaled_dot_product_attention`, AdamW and Adam fused; --compile adds
`torch.compile`. bfloat16 is autocast with float32 weights, or, where nothing is trained, --half converted
weights.

Prints one JSON object.
"""

import contextlib
import math
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
import transformers  # noqa: E402
from timing import arguments, peak_rss_mib, result, seconds_of  # noqa: E402
from transformers import (  # noqa: E402
    BertConfig,
    BertModel,
    DynamicCache,
    GPT2Config,
    GPT2LMHeadModel,
    StaticCache,
    ViTConfig,
    ViTForImageClassification,
)


def autocast(options):
    narrow = options.precision == "bfloat16" and options.half == "autocast"
    return torch.autocast("cpu", torch.bfloat16) if narrow else contextlib.nullcontext()


def compiled(function, options):
    return torch.compile(function, dynamic=False) if options.compile else function


def inference(model, options):
    """The model ready to be called, and the type of its inputs."""
    model = model.eval()
    # constant weights may be packed once
    torch._inductor.config.freezing = True
    if options.precision == "bfloat16" and options.half == "convert":
        return compiled(model.to(torch.bfloat16), options), torch.bfloat16
    return compiled(model, options), torch.float32


def random_tokens(batch, length, vocabulary, first=0):
    return torch.randint(first, vocabulary, (batch, length))


def gpt2(**settings):
    return GPT2LMHeadModel(GPT2Config(attn_implementation="sdpa", **settings))


def gpt2_train(options):
    """One step on 256 tokens a sequence: cross-entropy, gradients clipped to norm 1, AdamW; no dropout."""
    model = gpt2(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01, fused=True)
    inputs, labels = (random_tokens(options.batch, 256, model.config.vocab_size) for _ in range(2))

    def loss_of(inputs, labels):
        logits = model(inputs, use_cache=False).logits
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten())

    call = compiled(loss_of, options)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with autocast(options):
            loss = call(inputs, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return model, step


def gpt2_prefill(options):
    """512 tokens into the cache, and the logits of the last."""
    model = gpt2()
    call, _ = inference(model, options)
    tokens = random_tokens(options.batch, 512, model.config.vocab_size)

    def step():
        with torch.inference_mode(), autocast(options):
            return call(tokens, use_cache=True, logits_to_keep=1).logits.float().sum().item()

    return model, step


def gpt2_decode(options):
    """A prompt of 16 tokens, then 64 tokens one after the other, each the most probable.

    A compiled model needs a cache of one size: that of all 80 tokens.
    """
    model = gpt2()
    call, _ = inference(model, options)
    prompt = random_tokens(options.batch, 16, model.config.vocab_size)
    places = torch.arange(80)[None].expand(options.batch, -1)
    fixed = StaticCache(config=model.config, max_cache_len=80) if options.compile else None

    def step():
        with torch.inference_mode(), autocast(options):
            if fixed:
                fixed.reset()
            cache = fixed or DynamicCache(config=model.config)
            found, first = prompt, 0
            for _ in range(65):
                end = first + found.shape[1]
                logits = call(
                    found,
                    position_ids=places[:, first:end],
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                ).logits
                found, first = logits[:, -1].argmax(-1, keepdim=True), end
            return logits.float().sum().item()

    return model, step


class Translator(torch.nn.Module):
    """nn.Transformer (Vaswani et al. 2017, base) with one table of 10,000 words for all three places."""

    def __init__(self, words=10_000, features=512, dropout=0.1, length=1024):
        super().__init__()
        self.words = torch.nn.Embedding(words, features)
        torch.nn.init.normal_(self.words.weight, std=features**-0.5)
        self.transformer = torch.nn.Transformer(
            features, 8, 6, 6, 2048, dropout, batch_first=True, norm_first=False
        )
        self.dropout = torch.nn.Dropout(dropout)
        rates = torch.exp(torch.arange(0, features, 2) * (-math.log(10_000) / features))
        angles = torch.arange(length)[:, None] * rates
        self.register_buffer("places", torch.stack([angles.sin(), angles.cos()], -1).flatten(1))
        self.scale = features**0.5

    def embed(self, tokens):
        return self.dropout(self.words(tokens) * self.scale + self.places[: tokens.shape[1]])

    def forward(self, source, target):
        mask = torch.nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        x = self.transformer(self.embed(source), self.embed(target), tgt_mask=mask, tgt_is_causal=True)
        return F.linear(x, self.words.weight)


def transformer_train(options):
    """One step on pairs of 32 tokens without padding: label smoothing 0.1, dropout 0.1, Adam."""
    model = Translator().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, betas=(0.9, 0.98), eps=1e-9, fused=True)
    source, target, labels = (random_tokens(options.batch, 32, 10_000, first=3) for _ in range(3))

    def loss_of(source, target, labels):
        logits = model(source, target)
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=0, label_smoothing=0.1)

    call = compiled(loss_of, options)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with autocast(options):
            loss = call(source, target, labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return model, step


def bert_base(options):
    """One call on sequences of 128 tokens."""
    model = BertModel(BertConfig(attn_implementation="sdpa"))
    call, _ = inference(model, options)
    tokens = random_tokens(options.batch, 128, model.config.vocab_size)

    def step():
        with torch.inference_mode(), autocast(options):
            found = call(tokens)
            return found.last_hidden_state.float().sum().item() + found.pooler_output.float().sum().item()

    return model, step


def vit_base(options):
    """One call on pictures of 224 x 224, patches of 16 x 16."""
    model = ViTForImageClassification(ViTConfig(attn_implementation="sdpa"))
    call, kind = inference(model, options)
    pixels = torch.randn(options.batch, 3, 224, 224, dtype=kind)

    def step():
        with torch.inference_mode(), autocast(options):
            return call(pixels).logits.float().sum().item()

    return model, step


# Of each workload: what makes it, and its batch.
WORKLOADS = {
    "gpt2-train": (gpt2_train, 4),
    "gpt2-prefill": (gpt2_prefill, 1),
    "gpt2-decode": (gpt2_decode, 1),
    "transformer-train": (transformer_train, 64),
    "bert-base": (bert_base, 32),
    "vit-base": (vit_base, 16),
}


def main():
    parser = arguments(__doc__, WORKLOADS)
    parser.add_argument(
        "--half",
        choices=["autocast", "convert"],
        default="autocast",
        help="how bfloat16 is had; training is always autocast",
    )
    parser.add_argument("--compile", action="store_true", help="with torch.compile")
    options = parser.parse_args()
    make, batch = WORKLOADS[options.workload]
    options.batch = options.batch or batch
    if options.workload.endswith("-train"):
        options.half = "autocast"
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    empty = peak_rss_mib()
    model, step = make(options)
    seconds = seconds_of(step, options)
    parameters = sum(p.numel() for p in model.parameters())
    version = f"PyTorch {torch.__version__}, transformers {transformers.__version__}"
    result(options, seconds, empty, parameters=parameters, version=version)


if __name__ == "__main__":
    main()
