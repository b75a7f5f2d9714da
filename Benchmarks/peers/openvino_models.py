#!/usr/bin/env python3
"""OpenVINO on the workloads of `kalsae bench` that train nothing: models of PyTorch, converted.

Two threads of one stream ("latency"); bfloat16 is OpenVINO's precision hint. Prints one JSON object.
"""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np  # noqa: E402
import openvino as ov  # noqa: E402
import torch  # noqa: E402
from ddpm_models import cifar10_unet  # noqa: E402
from timing import arguments, peak_rss_mib, result, seconds_of  # noqa: E402
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


# Of each workload: its model with inputs, and its batch.
WORKLOADS = {
    "ddpm-cifar10-sample": (ddpm_sample, 16),
    "gpt2-prefill": (gpt2_prefill, 1),
    "bert-base": (bert_base, 32),
    "vit-base": (vit_base, 16),
}


def compiled(model, inputs, options):
    """The model for inputs of just these shapes."""
    with torch.inference_mode():
        converted = ov.convert_model(model, example_input=inputs, input=[tuple(x.shape) for x in inputs])
    kind = {"float32": "f32", "bfloat16": "bf16"}[options.precision]
    settings = {
        "INFERENCE_NUM_THREADS": options.threads,
        "INFERENCE_PRECISION_HINT": kind,
        "PERFORMANCE_HINT": "LATENCY",
    }
    return ov.Core().compile_model(converted, "CPU", settings)


def main():
    options = arguments(__doc__, WORKLOADS).parse_args()
    make, batch = WORKLOADS[options.workload]
    options.batch = options.batch or batch
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    empty = peak_rss_mib()
    model, inputs = make(options.batch)
    request = compiled(model, inputs, options).create_infer_request()
    fed = [x.numpy() for x in inputs]
    with torch.inference_mode():
        expected = model(*inputs)[0].float().numpy()

    def step():
        return request.infer(fed, share_inputs=True, share_outputs=True)

    error = np.abs(step()[0] - expected).max() / np.abs(expected).max()
    seconds = seconds_of(step, options)
    version = "OpenVINO " + ov.get_version().split("-")[0]
    result(options, seconds, empty, version=version, error=float(error))


if __name__ == "__main__":
    main()
