"""Runs one program of the comparison, and notices when others disturbed it."""

import contextlib
import fcntl
import json
import os
import resource
import statistics
import subprocess
import sys
import time

# A run is repeated when other programs took more than this part of the processors.
DISTURBED = 0.05


class Failed(Exception):
    """A program that did not give a result: why, in one line."""


@contextlib.contextmanager
def alone(path):
    """Holds the lock file, where one is named, so that nothing else that uses it runs meanwhile."""
    if path is None:
        yield
        return
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def busy_seconds():
    """Processor seconds that all programs have used since the machine started, and that it was denied."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, _, _, stolen = map(int, file.readline().split()[1:9])
    return (user + nice + system + stolen) / os.sysconf("SC_CLK_TCK")


def own_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(command, options):
    """The JSON object that the program prints last; `others` is the part of the processors others took."""
    kept = None
    for _ in range(options.attempts):
        with alone(options.lock):
            busy, own, start = busy_seconds(), own_seconds(), time.perf_counter()
            found = result_of(command, options.timeout)
            elapsed = time.perf_counter() - start
            others = busy_seconds() - busy - (own_seconds() - own)
        found["others"] = max(0.0, others / (elapsed * os.cpu_count()))
        kept = min(kept or found, found, key=lambda run: run["others"])
        if kept["others"] <= DISTURBED:
            break
        print(f"  disturbed: others took {found['others']:.0%} of the processors", file=sys.stderr)
    return kept


def result_of(command, timeout):
    try:
        ran = subprocess.run(
            command.arguments,
            env=os.environ | command.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"took more than {timeout} s") from None
    if ran.returncode != 0:
        said = ran.stderr.strip().splitlines() or ["it said nothing"]
        raise Failed(f"exit status {ran.returncode}: {said[-1]}")
    text = ran.stdout.strip()
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return json.loads(text.splitlines()[-1])


def summary(runs):
    """Best of all rounds, median of the rounds' medians, memory."""
    return {
        "best_s": min(run["best_s"] for run in runs),
        "median_s": statistics.median(run["median_s"] for run in runs),
        "peak_rss_mib": max(run["peak_rss_mib"] for run in runs),
        "empty_rss_mib": max(run.get("empty_rss_mib", 0) for run in runs),
        "others": max(run["others"] for run in runs),
        "rounds": len(runs),
    }
