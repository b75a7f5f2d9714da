"""Kalsae's tokenizers against Hugging Face's (Rust), on the same documents, one thread each, in turns.

    python3 Benchmarks/peers/tokenizers_speed.py tokenizer.json TEXT... [--kalsae .build/release/kalsae] [--megabytes 100] [--check]

The files are cut into documents of whole lines of about --document-bytes bytes and repeated up to --megabytes. Peer: the
faster of `encode_batch` and `encode_batch_fast`, with RAYON_NUM_THREADS=1 and without parallelism.
"""

import argparse
import json
import os
import subprocess
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"


def documents(files, megabytes, size):
    texts = []
    for path in files:
        document, count = [], 0
        lines = open(path, encoding="utf-8", newline="").read().split("\n")
        for line in lines:
            document.append(line + "\n")
            count += len(document[-1].encode())
            if count >= size:
                texts.append("".join(document))
                document, count = [], 0
        if document:
            texts.append("".join(document))
    result, total = [], 0
    sizes = [len(text.encode()) for text in texts]
    while total < megabytes * 1_000_000:
        for text, count in zip(texts, sizes):
            if total >= megabytes * 1_000_000:
                break
            result.append(text)
            total += count
    return result, total / 1e6


def peer(path, texts):
    from tokenizers import Tokenizer

    start = time.perf_counter()
    tokenizer = Tokenizer.from_file(path)
    result = {"load_seconds": time.perf_counter() - start}
    for name in ["encode_batch", "encode_batch_fast"]:
        tokens, start = 0, time.perf_counter()
        for first in range(0, len(texts), 100):
            batch = getattr(tokenizer, name)(texts[first : first + 100], add_special_tokens=False)
            tokens += sum(len(encoding) for encoding in batch)
        result[name] = time.perf_counter() - start
        result["tokens"] = tokens
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizer")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--kalsae", default=".build/release/kalsae")
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--document-bytes", type=int, default=10_000)
    parser.add_argument("--check", action="store_true", help="fail unless Kalsae is at least as fast and loads in 100 ms")
    options = parser.parse_args()
    command = [options.kalsae, "tokenizer", "bench", options.tokenizer, *options.files, "--json"]
    command += ["--megabytes", str(options.megabytes), "--document-bytes", str(options.document_bytes)]
    ours = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    texts, megabytes = documents(options.files, options.megabytes, options.document_bytes)
    theirs = peer(options.tokenizer, texts)
    fastest = min(theirs["encode_batch"], theirs["encode_batch_fast"])
    print(f"{megabytes:.1f} MB, {len(texts)} documents")
    print(f"kalsae      load {ours['load_seconds'] * 1e3:6.1f} ms   {megabytes / ours['ids_seconds']:7.2f} MB/s   with offsets {megabytes / ours['encode_seconds']:7.2f} MB/s   {ours['tokens']} tokens")
    print(f"tokenizers  load {theirs['load_seconds'] * 1e3:6.1f} ms   {megabytes / theirs['encode_batch_fast']:7.2f} MB/s   with offsets {megabytes / theirs['encode_batch']:7.2f} MB/s   {theirs['tokens']} tokens")
    print(f"ratio       {fastest / ours['ids_seconds']:.2f}   with offsets {theirs['encode_batch'] / ours['encode_seconds']:.2f}")
    if ours["tokens"] != theirs["tokens"]:
        sys.exit("the two do not give the same number of tokens")
    if options.check and (fastest < ours["ids_seconds"] or ours["load_seconds"] > 0.1):
        sys.exit("slower than tokenizers, or loading takes over 100 ms")


if __name__ == "__main__":
    main()
