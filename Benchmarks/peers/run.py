#!/usr/bin/env python3
"""Kalsae against the best that people use, on one machine, in turns.

Sets everything up outside the repository on first use, then alternates `kalsae bench` with the rivals:
PyTorch as pip installs it (stock), PyTorch made as strong as it can be (tuned), OpenVINO and llama.cpp.
Each rival runs in every way that may be its best (memory layouts; autocast or converted weights; eager or
compiled); after the first round only the ways within a tenth of its best go on, and the fastest counts.
Prints for each workload the seconds of everyone, the ratio of medians to the stronger rival, the ratio
that is required, and the ratio to the floor.

Run nothing else meanwhile: two threads on two cores lose far more than their share to a third program. A
run that others disturbed is repeated.
"""

import argparse
import json
import pathlib
import sys

import report
from environment import CACHE, ROOT, Environment, Unavailable
from measuring import Failed, measure, summary
from rivals import all_rivals
from rivals.command import Command
from workloads import WORKLOADS

# After the first round, ways slower than this many times a rival's best are left out.
CLOSE = 1.1


def find_kalsae(given):
    kalsae = pathlib.Path(given or ROOT / ".build" / "release" / "kalsae")
    if not kalsae.exists():
        sys.exit(
            f"run.py: no {kalsae}: run `swift build -c release --product kalsae`, or name it with --kalsae"
        )
    return str(kalsae)


def kalsae_command(kalsae, workload):
    batch = ["--batch-size", str(workload.batch)] if workload.batch else []
    return Command([kalsae, "bench", workload.program, "--json", *batch])


def entrants(workload, precision, options, rivals):
    """Who runs, by (name, way)."""
    found = {}
    if options.kalsae:
        found["kalsae", ""] = kalsae_command(options.kalsae, workload)
    for rival in rivals:
        try:
            for way, command in rival.ways(workload, precision).items():
                found[rival.name, way] = command
        except Unavailable as reason:
            say(f"{rival.name} cannot run {workload.name}: {reason}")
    return found


def compare(workload, precision, options, rivals):
    """All rounds of one workload: Kalsae's summary, and each rival's with all its ways."""
    common = ["--precision", precision, "--threads", str(options.threads)]
    repeat = ["--repeat", str(options.repeat)]
    commands = {
        key: Command([*command.arguments, *common, *repeat], command.variables)
        for key, command in entrants(workload, precision, options, rivals).items()
    }
    title = f"{workload.name} {precision}"
    runs = measured(commands, title, options)
    found = {"workload": workload.name, "precision": precision, "rivals": {}}
    for name in {name for name, _ in runs if name != "kalsae"}:
        found["rivals"][name] = best_way({way: r for (other, way), r in runs.items() if other == name})
    if ours := runs.get(("kalsae", "")):
        found["kalsae"] = summary(ours) | {key: min(r[key] for r in ours) for key in ("floor_s", "host_s")}
    if ours and workload.trains:
        command = kalsae_command(options.kalsae, workload).arguments + common
        again = {("kalsae", "recomputing"): Command([*command, "--repeat", "1", "--recompute"])}
        for one in measured(again, title, options, rounds=1).values():
            found["recomputing"] = summary(one)
    return found


def measured(commands, title, options, rounds=None):
    """The results of each command, which take turns; without those that fail."""
    runs = {key: [] for key in commands}
    rounds = rounds or options.rounds
    for turn in range(rounds):
        for key, command in commands.items():
            say(f"{title} round {turn + 1}/{rounds}: {' '.join(key)}")
            try:
                runs[key].append(measure(command, options))
            except Failed as reason:
                say(f"{' '.join(key)} cannot run {title}: {reason}")
                del runs[key]
        commands = {key: command for key, command in commands.items() if key in runs and is_close(key, runs)}
    return runs


def best_way(ways):
    """The summary of the fastest way of a rival, of the results of each; `ways` has all summaries."""
    kept = {way: summary(runs) for way, runs in ways.items()}
    way = min(kept, key=lambda way: kept[way]["median_s"])
    last = ways[way][-1]
    what = {"way": way, "version": last["version"], "parameters": last.get("parameters")}
    return kept[way] | what | {"ways": kept}


def is_close(key, runs):
    """Whether a way is near its rival's best."""
    own = min(run["median_s"] for run in runs[key])
    return own <= CLOSE * min(run["median_s"] for other in runs if other[0] == key[0] for run in runs[other])


def say(line):
    print(f"run.py: {line}", file=sys.stderr, flush=True)


def parsed():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workload", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument(
        "--precision", nargs="+", choices=["float32", "bfloat16"], default=["float32", "bfloat16"]
    )
    parser.add_argument(
        "--rival", nargs="+", metavar="NAME", help="only these: stock tuned openvino llama.cpp"
    )
    parser.add_argument("--rounds", type=int, default=3, help="turns of each program")
    parser.add_argument("--repeat", type=int, default=5, help="timed runs a turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--eager", action="store_true", help="leave out torch.compile, which takes minutes on first use"
    )
    parser.add_argument("--kalsae", help="the program; default .build/release/kalsae")
    parser.add_argument("--rivals-only", action="store_true", help="do not run Kalsae")
    parser.add_argument("--venv", type=pathlib.Path, default=CACHE / "venv")
    parser.add_argument("--timeout", type=int, default=1800, help="seconds that one program may take")
    parser.add_argument("--attempts", type=int, default=2, help="runs until one is not disturbed by others")
    parser.add_argument("--lock", type=pathlib.Path, help="a lock file to hold while a program is measured")
    parser.add_argument(
        "--results", type=pathlib.Path, help="JSON file: what it has is kept and shown, new results are added"
    )
    parser.add_argument(
        "--markdown", type=pathlib.Path, help="write the tables of Documentation/Performance.md"
    )
    parser.add_argument("--check", action="store_true", help="exit 1 if a required ratio is missed")
    return parser.parse_args()


def main():
    options = parsed()
    options.kalsae = None if options.rivals_only else find_kalsae(options.kalsae)
    rivals = all_rivals(Environment(options.venv), compiles=not options.eager)
    if options.rival:
        unknown = set(options.rival) - {rival.name for rival in rivals}
        if unknown:
            sys.exit(
                f"run.py: no rival {', '.join(unknown)}: --rival takes stock, tuned, openvino, llama.cpp"
            )
        rivals = [rival for rival in rivals if rival.name in options.rival]
    file = options.results
    results = json.loads(file.read_text()) if file and file.exists() else {}
    for name in options.workload:
        for precision in options.precision:
            found = compare(WORKLOADS[name], precision, options, rivals)
            key = f"{name} {precision}"
            before = results.get(key, {})
            found["rivals"] = before.get("rivals", {}) | found["rivals"]
            results[key] = before | found
            if file:
                file.write_text(json.dumps(results, indent=1))
    ordered = [
        results[f"{w} {p}"] for w in WORKLOADS for p in ("float32", "bfloat16") if f"{w} {p}" in results
    ]
    print(report.text(ordered))
    if options.markdown:
        options.markdown.write_text(report.markdown(ordered, options.threads))
    missed = list(report.failures(ordered)) if options.check else []
    for line in missed:
        say(line)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
