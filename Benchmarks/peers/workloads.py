"""What is compared, and how many times as fast as whom Kalsae has to be."""

import dataclasses

STRONGEST = None


@dataclasses.dataclass(frozen=True)
class Workload:
    """One pair. `required`: the ratio of medians in float32 and bfloat16, to `rival` or the strongest."""

    name: str
    text: str
    required: tuple[float, float]
    # The workload of `kalsae bench` and of the rivals' scripts, and its batch where that is not its own.
    program: str
    batch: int | None = None
    rival: str | None = STRONGEST

    @property
    def trains(self):
        return self.program.endswith("-train")

    def ratio(self, precision):
        return self.required[("float32", "bfloat16").index(precision)]


def workload(name, text, required, program=None, **more):
    return Workload(name, text, required, program or name, **more)


WORKLOADS = {
    found.name: found
    for found in [
        workload("ddpm-cifar10-train", "DDPM U-Net 35.7M, step, 16 of 32 x 32", (1.7, 1.25)),
        workload("ddpm-cifar10-sample", "the same, one call", (1.4, 1.1)),
        workload("gpt2-train", "GPT-2 124M, step, 4 x 256 tokens", (1.03, 1.1)),
        workload("gpt2-prefill", "GPT-2 reads 512 tokens", (1.15, 1.35)),
        workload("gpt2-decode", "GPT-2 writes 64 tokens behind 16", (1.0, 1.0), rival="llama.cpp"),
        workload("transformer-train", "base Transformer, step, 64 x (32 + 32) tokens", (1.3, 1.6)),
        workload("bert-base", "BERT-base, 32 x 128 tokens", (0.95, 0.95)),
        workload("bert-base-1", "BERT-base, 1 x 128 tokens", (0.95, 0.95), "bert-base", batch=1),
        workload("vit-base", "ViT-B/16, 16 of 224 x 224", (1.0, 1.05)),
        workload(
            "ddpm-fashion-train", "the demo's U-Net 2.7M, step, 32 of 28 x 28", (2.0, 2.0), rival="stock"
        ),
    ]
}

# A training step takes at most this part of PyTorch's peak memory, and with recomputation of its activations.
MEMORY, ACTIVATIONS = 0.7, 0.4
# At most this part of a training step is spent outside of kernels, and so many seconds of a decoding step.
HOST_SHARE, HOST_SECONDS = 0.01, 0.3e-3
