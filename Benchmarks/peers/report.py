"""The tables of a comparison, and what misses its contract."""

import platform
import subprocess

from workloads import ACTIVATIONS, HOST_SECONDS, HOST_SHARE, MEMORY, STRONGEST, WORKLOADS

RIVALS = ["stock", "tuned", "openvino", "llama.cpp"]
# AdamW and Adam hold weights, gradients and two moments, of four bytes each.
STATE_BYTES = 16


def judged(result):
    """The rival that counts, by name, and the ratio of its median to ours; None where one did not run."""
    wanted = WORKLOADS[result["workload"]].rival
    rivals = result["rivals"]
    found = {name: r for name, r in rivals.items() if wanted in (STRONGEST, name)}
    if not found or "kalsae" not in result:
        return None
    name = min(found, key=lambda name: found[name]["median_s"])
    return name, found[name]["median_s"] / result["kalsae"]["median_s"]


def required(result):
    return WORKLOADS[result["workload"]].ratio(result["precision"])


def memory(result):
    """Of a training step, in MiB, our peak, that of the leaner PyTorch, and both activations; else None.

    Activations are the peak less the optimizer's state and, of PyTorch, its empty interpreter; ours with
    recomputation.
    """
    pytorch = [r for name, r in result["rivals"].items() if name in ("stock", "tuned")]
    if not pytorch or not WORKLOADS[result["workload"]].trains:
        return None
    theirs = min(pytorch, key=lambda r: r["peak_rss_mib"])
    state = STATE_BYTES * theirs["parameters"] / 2**20
    return {
        "ours": result.get("kalsae", {}).get("peak_rss_mib"),
        "theirs": theirs["peak_rss_mib"],
        "interpreter": theirs["empty_rss_mib"],
        "recomputing": result.get("recomputing", {}).get("peak_rss_mib"),
        "our activations": result["recomputing"]["peak_rss_mib"] - state if "recomputing" in result else None,
        "their activations": theirs["peak_rss_mib"] - theirs["empty_rss_mib"] - state,
    }


def failures(results):
    """A line for each contract that is missed."""
    for r in results:
        name = f"{r['workload']} {r['precision']}"
        against = judged(r)
        if against is None:
            yield f"{name}: not measured on both sides"
            continue
        if against[1] < required(r):
            yield f"{name}: {against[1]:.2f} times as fast as {against[0]}, {required(r):.2f} required"
        found, ours = memory(r), r["kalsae"]
        host = f"{1e3 * ours['host_s']:.2f}"
        if found:
            whole = found["ours"] / found["theirs"]
            if whole > MEMORY:
                yield f"{name}: {whole:.2f} times the memory of PyTorch, at most {MEMORY} allowed"
            active = (found["our activations"] or 0) / found["their activations"]
            if found["our activations"] is None:
                yield f"{name}: recomputation was not measured"
            elif active > ACTIVATIONS:
                yield f"{name}: {active:.2f} times the activations of PyTorch, at most {ACTIVATIONS} allowed"
            if ours["host_s"] > HOST_SHARE * ours["median_s"]:
                yield f"{name}: {host} ms outside of kernels, more than {HOST_SHARE:.0%} of a step"
        if r["workload"] == "gpt2-decode" and ours["host_s"] > HOST_SECONDS:
            yield f"{name}: {host} ms a token outside of kernels, {1e3 * HOST_SECONDS} allowed"


def times(one):
    """Best / median seconds."""
    if not one:
        return ""
    mark = " (disturbed)" if one["others"] > 0.05 else ""
    return f"{one['best_s']:.3f} / {one['median_s']:.3f}{mark}"


def speed_rows(results):
    yield ["workload", "precision", "Kalsae s", *(f"{name} s" for name in RIVALS)] + [
        "stronger, its way",
        "ratio",
        "required",
        "holds",
        "x floor",
        "host ms",
    ]
    for r in results:
        ours, rivals, against = r.get("kalsae"), r["rivals"], judged(r)
        row = [r["workload"], r["precision"], times(ours), *(times(rivals.get(name)) for name in RIVALS)]
        strongest = against[0] if against else min(rivals, key=lambda n: rivals[n]["median_s"], default=None)
        row.append(f"{strongest}, {rivals[strongest]['way']}" if strongest else "")
        row.append(f"{against[1]:.2f}" if against else "")
        row.append(f"{required(r):.2f}")
        row.append(("yes" if against[1] >= required(r) else "no") if against else "")
        row.append(f"{ours['best_s'] / ours['floor_s']:.2f}" if ours else "")
        row.append(f"{1e3 * ours['host_s']:.2f}" if ours else "")
        yield row


def memory_rows(results):
    """Peaks in MiB, and activations, ours with recomputation."""
    names = ["ours", "theirs", "interpreter", "recomputing", "our activations", "their activations"]
    titles = [
        "Kalsae MiB",
        "PyTorch",
        "its interpreter",
        "Kalsae recomputing",
        "its activations",
        "PyTorch's",
    ]
    yield ["workload", "precision", *titles, "peaks", "activations"]
    for r in results:
        found = memory(r)
        if not found:
            continue
        row = [r["workload"], r["precision"]]
        row += [f"{found[name]:.0f}" if found[name] is not None else "" for name in names]
        row.append(f"{found['ours'] / found['theirs']:.2f}" if found["ours"] else "")
        own = found["our activations"]
        row.append(f"{own / found['their activations']:.2f}" if own is not None else "")
        yield row


def aligned(rows):
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def text(results):
    parts = [list(speed_rows(results)), list(memory_rows(results))]
    return "\n\n".join(aligned(rows) for rows in parts if len(rows) > 1)


def table(rows):
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


def machine():
    """Processor, its cores, and memory."""
    with open("/proc/cpuinfo") as file:
        lines = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    with open("/proc/meminfo") as file:
        gibibytes = int(file.readline().split()[1]) / 2**20
    return f"{len(lines)} x {lines[0]}, {gibibytes:.0f} GiB, Linux {platform.release()}"


def versions(results):
    found = {r["version"].split(": ")[0] for one in results for r in one["rivals"].values()}
    compiler = subprocess.run(["c++", "--version"], stdout=subprocess.PIPE, text=True).stdout.split("\n")[0]
    return "; ".join([*sorted(found), compiler])


def markdown(results, threads):
    """Both tables, the machine and the versions."""
    workloads = dict.fromkeys(r["workload"] for r in results)
    return "\n".join(
        [
            "Seconds, best / median; the ratio is that of medians, to the rival that is named; the floor is",
            "max(FLOPs / measured peak, bytes / measured bandwidth).",
            "",
            table(list(speed_rows(results))),
            "",
            table(list(memory_rows(results))),
            "",
            *(f"- `{name}`: {WORKLOADS[name].text}" for name in workloads),
            f"- Machine: {machine()}; {threads} threads.",
            f"- Versions: {versions(results)}.",
            "",
        ]
    )
