#!/usr/bin/env python3
"""llama.cpp on `kalsae bench gpt2-decode`: GPT-2 (124M parameters) with random weights, from a GGUF file.

Writes the file on first use, float32 or bfloat16 (norms, biases and positions are float32 in both), and runs
gpt2_decode. Prints one JSON object.
"""

import json
import pathlib
import subprocess
import sys

import gguf
import numpy as np
from timing import arguments, result

WORDS, LENGTH, WIDTH, LAYERS, HEADS = 50257, 1024, 768, 12, 12
KINDS = {
    "float32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
    "bfloat16": (gguf.GGMLQuantizationType.BF16, gguf.LlamaFileType.MOSTLY_BF16),
}


def tensors(random):
    """Name and values of each tensor; matrices are (outputs, inputs). The output projection is the table."""

    def matrix(*shape):
        return random.standard_normal(shape, dtype=np.float32) * np.float32(0.02)

    def norm(name):
        yield f"{name}.weight", np.ones(WIDTH, np.float32)
        yield f"{name}.bias", np.zeros(WIDTH, np.float32)

    def linear(name, inputs, outputs):
        yield f"{name}.weight", matrix(outputs, inputs)
        yield f"{name}.bias", np.zeros(outputs, np.float32)

    yield "token_embd.weight", matrix(WORDS, WIDTH)
    yield "position_embd.weight", matrix(LENGTH, WIDTH)
    for layer in (f"blk.{i}." for i in range(LAYERS)):
        yield from norm(layer + "attn_norm")
        yield from linear(layer + "attn_qkv", WIDTH, 3 * WIDTH)
        yield from linear(layer + "attn_output", WIDTH, WIDTH)
        yield from norm(layer + "ffn_norm")
        yield from linear(layer + "ffn_up", WIDTH, 4 * WIDTH)
        yield from linear(layer + "ffn_down", 4 * WIDTH, WIDTH)
    yield from norm("output_norm")


def write(path, precision):
    """A model file without a tokenizer: token ids go in and come out."""
    matrices, file_type = KINDS[precision]
    part = path.with_suffix(".part")
    writer = gguf.GGUFWriter(part, "gpt2")
    writer.add_block_count(LAYERS)
    writer.add_context_length(LENGTH)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(4 * WIDTH)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_eps(1e-5)
    writer.add_file_type(file_type)
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(WORDS)
    for name, values in tensors(np.random.default_rng(0)):
        wide = values.ndim == 1 or name == "position_embd.weight"
        kind = gguf.GGMLQuantizationType.F32 if wide else matrices
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.rename(path)


def main():
    parser = arguments(__doc__, ["gpt2-decode"])
    parser.add_argument("--program", type=pathlib.Path, required=True, help="gpt2_decode, built")
    parser.add_argument("--models", type=pathlib.Path, required=True, help="folder of the GGUF files")
    options = parser.parse_args()
    options.batch = 1
    path = options.models / f"gpt2-random-{options.precision}.gguf"
    if not path.exists():
        write(path, options.precision)
    command = [options.program, path, str(options.threads), str(options.repeat)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if ran.returncode != 0:
        sys.exit(f"llama_gpt2.py: exit status {ran.returncode} of {options.program}")
    found = json.loads(ran.stdout)
    result(options, found["seconds"], 0.0, found["peak_rss_mib"], version="llama.cpp: " + found["features"])


if __name__ == "__main__":
    main()
