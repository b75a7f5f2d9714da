#!/usr/bin/env python3
"""Fixtures for the choice of the next token: transformers' logits processors on random logits.

Writes Tests/Fixtures/sampling/cases.json: the logits and the tokens so far, and for each setting the
probabilities that are left, by token.
"""

import json
import pathlib

import torch
from transformers import generation

OUTPUT = pathlib.Path(__file__).resolve().parents[2] / "Tests" / "Fixtures" / "sampling" / "cases.json"
VOCABULARY = 40

SETTINGS = [
    {},
    {"temperature": 0.5},
    {"temperature": 1.7},
    {"top_k": 1},
    {"top_k": 5},
    {"top_k": 39},
    {"top_p": 0.1},
    {"top_p": 0.6},
    {"top_p": 0.95},
    {"min_p": 0.05},
    {"min_p": 0.5},
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.8, "top_k": 7},
    {"temperature": 0.7, "top_k": 20, "top_p": 0.8, "min_p": 0.05, "repetition_penalty": 1.2},
    {"temperature": 1.4, "top_p": 0.9, "repetition_penalty": 1.1},
]


def processors(setting):
    """In the order in which transformers' generate applies them."""
    result = generation.LogitsProcessorList()
    if "repetition_penalty" in setting:
        result.append(generation.RepetitionPenaltyLogitsProcessor(setting["repetition_penalty"]))
    if "temperature" in setting:
        result.append(generation.TemperatureLogitsWarper(setting["temperature"]))
    if "top_k" in setting:
        result.append(generation.TopKLogitsWarper(setting["top_k"]))
    if "top_p" in setting:
        result.append(generation.TopPLogitsWarper(setting["top_p"]))
    if "min_p" in setting:
        result.append(generation.MinPLogitsWarper(setting["min_p"]))
    return result


def main():
    torch.manual_seed(0)
    cases = []
    for scale in (1.0, 4.0):
        logits = (torch.randn(VOCABULARY) * scale).float()
        seen = torch.randint(0, VOCABULARY, (12,))
        for setting in SETTINGS:
            left = processors(setting)(seen.unsqueeze(0), logits.unsqueeze(0).clone())[0].double().softmax(0)
            kept = {str(i): p for i, p in enumerate(left.tolist()) if p > 0}
            cases.append({"logits": logits.tolist(), "seen": seen.tolist(), "setting": setting, "kept": kept})
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(cases, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
