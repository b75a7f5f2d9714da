#!/usr/bin/env python3
"""Kalsae's products and convolutions against oneDNN called directly, and against MKL, at a workload's shapes.

Runs `kalsae bench WORKLOAD --profile`, takes the costliest products and convolutions of its plan, and
times oneDNN from C++ (primitives.cpp, with packed weights, without bias, activation or residual) and, for
float32 products, MKL with AVX-512 at the same shapes. Both take turns, and medians of all turns count: machines
are not equally fast from minute to minute. A ratio above 1 says that Kalsae, in the plan and
with what is fused, is the faster. The last line of the table has all of them together, by how often each
runs. Below it: what everything else costs, the medians of several profiles. --check fails where the products
are below 0.97 of oneDNN, or everything else is above 1.5 times its floor or 15 % of a training step.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "peers"))
from environment import CACHE, ROOT, Environment, Unavailable, run  # noqa: E402
from measuring import alone  # noqa: E402
from report import aligned, table  # noqa: E402
from steps import products, rest  # noqa: E402

REQUIRED = 0.97
# Everything else: times its floor, and its part of a training step.
TIMES_FLOOR, SHARE = 1.5, 0.15


def primitives(cache):
    """The compiled program, linked with the library that `kalsae` uses."""
    source, program = HERE / "primitives.cpp", cache / "onednn-primitives"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        run(["c++", "-std=c++17", "-O2", "-o", program, source, "-ldnnl"])
    return program


def profile(options):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "profile.json"
        command = [options.kalsae, "bench", options.workload, "--precision", options.precision]
        command += ["--threads", str(options.threads), "--repeat", "2", "--profile", str(path)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return json.loads(path.read_text())


def asked(command, lines, threads, **variables):
    """The answers of a program that reads a line for each shape."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)} | variables
    ran = subprocess.run(
        [str(part) for part in command],
        input="\n".join(lines) + "\n",
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=environment,
    )
    return ran.stdout.splitlines()


def costliest(trace, count):
    """The lines of the products and convolutions that take most of a step's time."""
    found = sorted(products(trace), key=lambda group: -group["seconds"] * group["count"])
    return [group["line"] for group in found[:count]]


def merged(traces, lines):
    """The products of these lines, each with the median of its times in the profiles."""
    profiles = [{group["line"]: group for group in products(trace)} for trace in traces]
    for line in lines:
        yield profiles[0][line] | {"seconds": statistics.median(found[line]["seconds"] for found in profiles)}


def direct_times(program, lines, threads):
    """oneDNN's version, and its seconds and implementation for each line."""
    version, *answers = asked([program], lines, threads)
    return version, [(float(answer.split()[0]), answer.split()[2]) for answer in answers]


def mkl_seconds(lines, environment, threads):
    """Of each line that is a float32 product its seconds; the others have none."""
    wanted = [line for line in lines if line.startswith("matmul float32 float32")]
    if not wanted:
        return {}
    try:
        variables = {"LD_PRELOAD": environment.tuning()}
    except Unavailable as reason:
        print(f"compare.py: MKL is not measured: {reason}", file=sys.stderr)
        return {}
    command = [environment.python, HERE / "mkl_matmul.py", str(threads)]
    found = asked(command, wanted, threads, **variables)
    return dict(zip(wanted, map(float, found), strict=True))


def middle(values, form):
    """The median, and in brackets the range of several values."""
    text = format(statistics.median(values), form)
    return text if len(values) == 1 else f"{text} ({min(values):{form}} to {max(values):{form}})"


def rows(groups, direct, mkl):
    yield [
        "shape",
        "runs",
        "Kalsae ms",
        "oneDNN ms",
        "ratio",
        "MKL ms",
        "ratio",
        "GFLOPS",
        "Kalsae's",
        "oneDNN's",
    ]
    ours = theirs = 0.0
    for group, (seconds, name) in zip(groups, direct, strict=True):
        line, own = group["line"], group["seconds"]
        other = mkl.get(line)
        yield [
            line,
            str(group["count"]),
            f"{1e3 * own:.2f}",
            f"{1e3 * seconds:.2f}" if seconds < 1e9 else "",
            f"{seconds / own:.2f}" if seconds < 1e9 else "",
            f"{1e3 * other:.2f}" if other else "",
            f"{other / own:.2f}" if other else "",
            f"{group['flops'] / own / 1e9:.0f}",
            group["kernel"],
            name,
        ]
        if seconds < 1e9:
            ours, theirs = ours + group["count"] * own, theirs + group["count"] * seconds
    total = ["all", "", f"{1e3 * ours:.1f}", f"{1e3 * theirs:.1f}", f"{theirs / ours:.3f}"]
    yield total + [""] * 5


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workload", help="of `kalsae bench`")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--top", type=int, default=16, help="how many shapes, costliest first")
    parser.add_argument("--kalsae", default=str(ROOT / ".build" / "release" / "kalsae"))
    parser.add_argument("--turns", type=int, default=5, help="how often both are measured")
    parser.add_argument("--trace", type=pathlib.Path, help="a profile that was made before")
    parser.add_argument("--venv", type=pathlib.Path, default=CACHE / "venv")
    parser.add_argument("--lock", type=pathlib.Path, help="a lock file to hold while something is measured")
    parser.add_argument("--markdown", type=pathlib.Path, help="write the table there, too")
    parser.add_argument("--check", action="store_true", help=f"exit 1 below {REQUIRED} of oneDNN")
    options = parser.parse_args()
    environment = Environment(options.venv)
    try:
        program = primitives(environment.cache)
    except Unavailable as reason:
        sys.exit(f"compare.py: {reason}: it needs oneDNN's headers (apt-get install libdnnl-dev)")
    with alone(options.lock):
        traces = [json.loads(options.trace.read_text()) if options.trace else profile(options)]
        lines = costliest(traces[0], options.top)
        version, answers = direct_times(program, lines, options.threads)
        turns = [answers]
        while len(turns) < options.turns and not options.trace:
            traces.append(profile(options))
            turns.append(direct_times(program, lines, options.threads)[1])
        mkl = mkl_seconds(lines, environment, options.threads)
    direct = [(statistics.median(seconds for seconds, _ in times), times[0][1]) for times in zip(*turns)]
    made = list(rows(merged(traces, lines), direct, mkl))
    rests = [rest(trace) for trace in traces]
    milliseconds = [1e3 * others for others, _, _ in rests]
    times_floor = [others / floor for others, floor, _ in rests]
    shares = [others / whole for others, _, whole in rests]
    summary = (
        f"{options.workload} {options.precision}, {version}: what is no product or convolution takes"
        f" {middle(milliseconds, '.1f')} ms, {middle(times_floor, '.2f')} times its floor,"
        f" {middle(shares, '.1%')} of the step"
    )
    print(f"{aligned(made)}\n{summary}")
    if options.markdown:
        options.markdown.write_text(f"{table(made)}\n\n{summary}.\n")
    missed = []
    if float(made[-1][4]) < REQUIRED:
        missed.append(f"{made[-1][4]} of oneDNN's speed, {REQUIRED} required")
    too_much = statistics.median(times_floor) > TIMES_FLOOR or statistics.median(shares) > SHARE
    if options.workload.endswith("-train") and too_much:
        missed.append(f"the rest may take {TIMES_FLOOR} times its floor and {SHARE:.0%} of the step")
    if options.check and missed:
        sys.exit(f"compare.py: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
