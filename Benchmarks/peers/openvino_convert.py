#!/usr/bin/env python3
"""Converts a model of PyTorch, with random weights, for openvino_models.py, and checks its result.

openvino_convert.py WORKLOAD BATCH MODEL.xml
"""

import os
import pathlib
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np  # noqa: E402
import openvino as ov  # noqa: E402
import torch  # noqa: E402
from ddpm_models import cifar10_unet  # noqa: E402
from transformers import (  # noqa: E402
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    ViTConfig,
    ViTForImageClassification,
)


class Outputs(torch.nn.Module):
    """A model whose result is the tuple of tensors that `chosen` takes from its own."""

    def __init__(self, model, chosen, **settings):
        super().__init__()
        self.model, self.chosen, self.settings = model.eval(), chosen, settings

    def forward(self, *inputs):
        return self.chosen(self.model(*inputs, **self.settings))


def random_tokens(batch, length, vocabulary):
    return torch.randint(0, vocabulary, (batch, length))


def ddpm_sample(batch):
    model = Outputs(cifar10_unet(), lambda found: (found.sample,))
    return model, (torch.randn(batch, 3, 32, 32), torch.full((batch,), 500))


def gpt2_prefill(batch):
    """512 tokens; the logits of the last, and of all the projections that hold keys and values."""
    model = GPT2LMHeadModel(GPT2Config(attn_implementation="sdpa"))
    kept = []
    for block in model.transformer.h:
        block.attn.c_attn.register_forward_hook(lambda layer, inputs, output: kept.append(output))

    def chosen(found):
        outputs = (found.logits, *kept)
        kept.clear()
        return outputs

    tokens = random_tokens(batch, 512, model.config.vocab_size)
    # a mask of transformers' own making is not converted
    mask = torch.full((1, 1, 512, 512), torch.finfo(torch.float32).min).triu(1)
    settings = {"use_cache": False, "logits_to_keep": 1, "attention_mask": mask}
    return Outputs(model, chosen, **settings), (tokens,)


def bert_base(batch):
    model = BertModel(BertConfig(attn_implementation="sdpa"))
    chosen = Outputs(model, lambda found: (found.last_hidden_state, found.pooler_output))
    return chosen, (random_tokens(batch, 128, model.config.vocab_size),)


def vit_base(batch):
    model = ViTForImageClassification(ViTConfig(attn_implementation="sdpa"))
    return Outputs(model, lambda found: (found.logits,)), (torch.randn(batch, 3, 224, 224),)


# Of each workload: its model, with inputs.
WORKLOADS = {
    "ddpm-cifar10-sample": ddpm_sample,
    "gpt2-prefill": gpt2_prefill,
    "bert-base": bert_base,
    "vit-base": vit_base,
}


def main():
    workload, batch, path = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
    torch.manual_seed(0)
    model, inputs = WORKLOADS[workload](batch)
    with torch.inference_mode():
        found = ov.convert_model(model, example_input=inputs, input=[tuple(x.shape) for x in inputs])
        expected = model(*inputs)[0].numpy()
    compiled = ov.Core().compile_model(found, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    error = np.abs(compiled([x.numpy() for x in inputs])[0] - expected).max() / np.abs(expected).max()
    if not error < 1e-4:
        sys.exit(f"openvino_convert.py: {workload} is {error:.1e} from PyTorch's result")
    # the .xml comes last, when the weights are complete
    part = path.with_name("part-" + path.name)
    ov.save_model(found, part, compress_to_fp16=False)
    part.with_suffix(".bin").rename(path.with_suffix(".bin"))
    part.rename(path)


if __name__ == "__main__":
    main()
