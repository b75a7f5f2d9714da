#!/usr/bin/env python3
"""Kalsae against PyTorch with diffusers and transformers, on one machine, in turns.

Makes a virtual environment outside the repository on first use, then alternates `kalsae bench` with
ddpm_cifar10.py or transformers_models.py, and prints both programs' best and median time, how many times as
fast Kalsae is by either, and the peak memory of both. PyTorch runs in every way that may be its best (memory
layouts; bfloat16 by autocast and by converted weights; with --compile, `torch.compile`), and the fastest one
counts. Run nothing else meanwhile: two threads on two cores lose far more than their share to a third program.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import venv

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "kalsae"
WORKLOADS = [
    "ddpm-cifar10-train",
    "ddpm-cifar10-sample",
    "gpt2-train",
    "gpt2-prefill",
    "gpt2-decode",
    "transformer-train",
    "bert-base",
    "vit-base",
]
# For --check, how many times as fast as PyTorch each must be, in float32 and in bfloat16.
REQUIRED = {name: {"float32": 1.8, "bfloat16": 1.2} for name in WORKLOADS[2:]}
REQUIRED["ddpm-cifar10-train"] = {"float32": 1.3, "bfloat16": 1.1}
# For --check, what may not take more memory than PyTorch.
LEAN = ["ddpm-cifar10-train"]


def python_of(folder):
    """The environment's Python, with the pinned packages of Tools/reference/requirements.txt."""
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"making {folder} (once; about 6 GB)", file=sys.stderr)
        venv.create(folder, with_pip=True)
    requirements = ROOT / "Tools" / "reference" / "requirements.txt"
    stamp = folder / "kalsae-requirements.txt"
    if not stamp.exists() or stamp.read_text() != requirements.read_text():
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", requirements], check=True)
        shutil.copyfile(requirements, stamp)
    return str(python)


def find_kalsae(given):
    kalsae = given or ROOT / ".build" / "release" / "kalsae"
    if not pathlib.Path(kalsae).exists():
        sys.exit(
            f"run.py: no {kalsae}: run `swift build -c release --product kalsae`, or name it with --kalsae"
        )
    return str(kalsae)


def measure(command):
    """Runs one benchmark process and returns the JSON object that it prints last."""
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    lines = result.stdout.strip().splitlines()
    if result.returncode != 0 or not lines:
        sys.exit(f"run.py: exit status {result.returncode} of: {' '.join(command)}")
    try:
        return json.loads(result.stdout)
    except json.JSONDecodeError:
        return json.loads(lines[-1])


def summary(runs):
    """Best of all rounds, median of the rounds' medians, largest peak."""
    return {
        "best_s": min(r["best_s"] for r in runs),
        "median_s": statistics.median(r["median_s"] for r in runs),
        "peak_rss_mib": max(r["peak_rss_mib"] for r in runs),
    }


def rivals(workload, precision, options):
    """PyTorch's ways to do a workload: a name for each, and the script's arguments."""
    if workload.startswith("ddpm-cifar10-"):
        script = [str(HERE / "ddpm_cifar10.py"), workload.removeprefix("ddpm-cifar10-")]
        batch = ["--batch", str(options.batch_size)] if options.batch_size else []
        return {name: [*script, "--layout", name, *batch] for name in ("channels_last", "contiguous")}
    script = [str(HERE / "transformers_models.py"), workload]
    if options.batch_size:
        script += ["--batch-size", str(options.batch_size)]
    if precision == "float32":
        found = {"eager": script}
    elif workload.endswith("-train"):
        found = {"autocast": script}
    else:
        found = {name: [*script, "--half", name] for name in ("autocast", "convert")}
    if options.compile:
        found |= {name + ", compiled": [*command, "--compile"] for name, command in found.items()}
    return found


def compare(workload, precision, options, python, kalsae):
    """Rounds of one workload in turns; the rival is PyTorch's way with the best time."""
    common = ["--precision", precision, "--threads", str(options.threads), "--repeat", str(options.repeat)]
    commands = {"kalsae": [kalsae, "bench", workload, "--json", *common]}
    if options.batch_size:
        commands["kalsae"] += ["--batch-size", str(options.batch_size)]
    ways = rivals(workload, precision, options)
    for name, command in ways.items():
        commands[name] = [python, *command, *common]
    runs = {name: [] for name in commands}
    for turn in range(options.rounds):
        for name, command in commands.items():
            print(f"{workload} {precision} round {turn + 1}/{options.rounds}: {name}", file=sys.stderr)
            runs[name].append(measure(command))
    kept = {name: summary(found) for name, found in runs.items()}
    rival = min(ways, key=lambda name: kept[name]["best_s"])
    ours, theirs = kept["kalsae"], kept[rival]
    return {
        "workload": workload,
        "precision": precision,
        "threads": options.threads,
        "batch": runs[rival][0]["batch"],
        "rounds": options.rounds,
        "repeats": options.repeat,
        "torch": runs[rival][0]["torch"],
        "kalsae": ours,
        "floor_s": min(run["floor_s"] for run in runs["kalsae"]),
        "pytorch": theirs,
        "pytorch_way": rival,
        "pytorch_by_way": {name: kept[name] for name in ways},
        "ratio_best": theirs["best_s"] / ours["best_s"],
        "ratio_median": theirs["median_s"] / ours["median_s"],
        "ratio_rss": ours["peak_rss_mib"] / theirs["peak_rss_mib"],
        "required": REQUIRED.get(workload, {}).get(precision),
    }


def table(results):
    """One line for each result; pairs are best and median, but Kalsae and PyTorch for the memory."""
    head = ["workload", "precision", "kalsae s", "PyTorch s", "times as fast", "of the floor", "peak MiB"]
    rows = [[*head, "PyTorch's way"]]
    for r in results:
        ours, theirs = r["kalsae"], r["pytorch"]
        rows.append(
            [
                r["workload"],
                r["precision"],
                f"{ours['best_s']:.3f} {ours['median_s']:.3f}",
                f"{theirs['best_s']:.3f} {theirs['median_s']:.3f}",
                f"{r['ratio_best']:.2f} {r['ratio_median']:.2f}",
                f"{ours['best_s'] / r['floor_s']:.2f}",
                f"{ours['peak_rss_mib']:.0f} {theirs['peak_rss_mib']:.0f}",
                r["pytorch_way"],
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def failures(results):
    for r in results:
        name = f"{r['workload']} {r['precision']}"
        if r["required"] and r["ratio_best"] < r["required"]:
            yield f"{name}: {r['ratio_best']:.2f} times as fast as PyTorch, {r['required']} required"
        if r["workload"] in LEAN and r["ratio_rss"] > 1:
            yield f"{name}: {r['ratio_rss']:.2f} times the memory of PyTorch"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workload", nargs="+", choices=WORKLOADS, default=WORKLOADS)
    parser.add_argument(
        "--precision", nargs="+", choices=["float32", "bfloat16"], default=["float32", "bfloat16"]
    )
    parser.add_argument("--rounds", type=int, default=3, help="turns of each program")
    parser.add_argument("--repeat", type=int, default=5, help="timed steps a turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-size", type=int, help="the workload's own when not given")
    parser.add_argument("--compile", action="store_true", help="also measure transformers with torch.compile")
    parser.add_argument("--kalsae", help="the program; default .build/release/kalsae")
    parser.add_argument("--venv", type=pathlib.Path, default=CACHE / "venv")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--check", action="store_true", help="exit 1 if a workload misses its requirement"
    )
    options = parser.parse_args()
    kalsae, python = find_kalsae(options.kalsae), python_of(options.venv)
    results = [compare(m, p, options, python, kalsae) for m in options.workload for p in options.precision]
    print(json.dumps(results, indent=1) if options.json else table(results))
    missed = list(failures(results)) if options.check else []
    for line in missed:
        print(f"run.py: {line}", file=sys.stderr)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
