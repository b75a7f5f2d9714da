#!/usr/bin/env python3
"""Times MKL, by PyTorch, at the matrix products that are read from standard input; run it tuned.

Reads the `matmul` lines of primitives.cpp and prints the median of each in seconds. Operands come from
memory: copies of them take turns.
"""

import sys
import time

import torch

COLD_BYTES = 96 << 20


def operand(rows, columns, kind, transposed):
    values = torch.randn(columns, rows).T if transposed else torch.randn(rows, columns)
    return values.to(kind)


def seconds_of(line):
    kind, _, m, k, n, first, second = line.split()[1:]
    m, k, n, kind = int(m), int(k), int(n), getattr(torch, kind)
    copies = []
    while not copies or len(copies) * kind.itemsize * (m * k + k * n + m * n) < COLD_BYTES:
        a = operand(m, k, kind, first == "transposed")
        # weights of a layer are (n, k)
        b = operand(k, n, kind, second == "packed")
        copies.append((a, b, torch.empty(m, n, dtype=kind)))
    seconds = []
    while len(seconds) < 9 or sum(seconds) < 0.4:
        a, b, out = copies[len(seconds) % len(copies)]
        start = time.perf_counter()
        torch.mm(a, b, out=out)
        seconds.append(time.perf_counter() - start)
    seconds = sorted(seconds[2:])
    return seconds[len(seconds) // 2]


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    for text in sys.stdin:
        print(f"{seconds_of(text):.9f}", flush=True)
