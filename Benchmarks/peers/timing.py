"""How every rival's script times its workload, and the one JSON object that it prints."""

import argparse
import json
import resource
import statistics
import time


def peak_rss_mib():
    """The most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def arguments(description, workloads):
    """The options that all scripts have."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workload", choices=workloads)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument(
        "--batch-size", type=int, dest="batch", help="samples at once; the workload's own when not given"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5, help="timed runs, after --warm-up")
    parser.add_argument("--warm-up", type=int, default=2)
    return parser


def seconds_of(step, options):
    """Seconds of each of --repeat runs, after --warm-up runs that do not count."""
    for _ in range(options.warm_up):
        step()
    seconds = []
    for _ in range(options.repeat):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return seconds


def result(options, seconds, empty_mib, peak_mib=None, **more):
    """Prints the result. `empty_mib` is the memory of the process before there was a model."""
    found = {
        "workload": options.workload,
        "precision": options.precision,
        "threads": options.threads,
        "batch": options.batch,
        "seconds": seconds,
        "best_s": min(seconds),
        "median_s": statistics.median(seconds),
        "peak_rss_mib": peak_mib or peak_rss_mib(),
        "empty_rss_mib": empty_mib,
    }
    print(json.dumps(found | more))
