#!/usr/bin/env python3
"""Kalsae against PyTorch with diffusers, on one machine, in turns.

Makes a virtual environment outside the repository on first use, then alternates `kalsae bench` with
ddpm_cifar10.py, and prints both programs' best and median time, how many times as fast Kalsae is by either,
and the peak memory of both. PyTorch runs in both memory layouts and the faster one counts. Run nothing else
meanwhile: two threads on two cores lose far more than their share to a third program.
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
# How many times as fast as PyTorch a training step must be for --check.
REQUIRED = {("train", "float32"): 1.3, ("train", "bfloat16"): 1.1}


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


def compare(mode, precision, options, python, kalsae):
    """Rounds of one workload in turns; the rival is the layout with the best time."""
    common = ["--precision", precision, "--threads", str(options.threads), "--repeat", str(options.repeat)]
    commands = {"kalsae": [kalsae, "bench", f"ddpm-cifar10-{mode}", "--json", *common]}
    for layout in ("channels_last", "contiguous"):
        commands[layout] = [python, str(HERE / "ddpm_cifar10.py"), mode, "--layout", layout, *common]
    runs = {name: [] for name in commands}
    for turn in range(options.rounds):
        for name, command in commands.items():
            print(f"{mode} {precision} round {turn + 1}/{options.rounds}: {name}", file=sys.stderr)
            runs[name].append(measure(command))
    kept = {name: summary(found) for name, found in runs.items()}
    rival = min(("channels_last", "contiguous"), key=lambda name: kept[name]["best_s"])
    ours, theirs = kept["kalsae"], kept[rival]
    return {
        "workload": f"ddpm-cifar10-{mode}",
        "precision": precision,
        "threads": options.threads,
        "rounds": options.rounds,
        "repeats": options.repeat,
        "torch": runs[rival][0]["torch"],
        "kalsae": ours,
        "pytorch": theirs,
        "pytorch_layout": rival,
        "pytorch_by_layout": {name: kept[name] for name in ("channels_last", "contiguous")},
        "ratio_best": theirs["best_s"] / ours["best_s"],
        "ratio_median": theirs["median_s"] / ours["median_s"],
        "ratio_rss": ours["peak_rss_mib"] / theirs["peak_rss_mib"],
        "required": REQUIRED.get((mode, precision)),
    }


def table(results):
    """One line for each result; pairs are best and median, but Kalsae and PyTorch for the memory."""
    rows = [
        ["workload", "precision", "kalsae s", "PyTorch s", "times as fast", "peak MiB", "PyTorch's layout"]
    ]
    for r in results:
        ours, theirs = r["kalsae"], r["pytorch"]
        rows.append(
            [
                r["workload"],
                r["precision"],
                f"{ours['best_s']:.3f} {ours['median_s']:.3f}",
                f"{theirs['best_s']:.3f} {theirs['median_s']:.3f}",
                f"{r['ratio_best']:.2f} {r['ratio_median']:.2f}",
                f"{ours['peak_rss_mib']:.0f} {theirs['peak_rss_mib']:.0f}",
                r["pytorch_layout"],
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def failures(results):
    for r in results:
        name = f"{r['workload']} {r['precision']}"
        if r["required"] and r["ratio_best"] < r["required"]:
            yield f"{name}: {r['ratio_best']:.2f} times as fast as PyTorch, {r['required']} required"
        if r["required"] and r["ratio_rss"] > 1:
            yield f"{name}: {r['ratio_rss']:.2f} times the memory of PyTorch"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workload", nargs="+", choices=["train", "sample"], default=["train", "sample"])
    parser.add_argument(
        "--precision", nargs="+", choices=["float32", "bfloat16"], default=["float32", "bfloat16"]
    )
    parser.add_argument("--rounds", type=int, default=3, help="turns of each program")
    parser.add_argument("--repeat", type=int, default=5, help="timed steps a turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--kalsae", help="the program; default .build/release/kalsae")
    parser.add_argument("--venv", type=pathlib.Path, default=CACHE / "venv")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--check", action="store_true", help="exit 1 if a training step misses its requirement"
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
