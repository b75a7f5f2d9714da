"""The matrix products and convolutions of a plan, from the time line that `kalsae bench --profile` writes."""

import collections
import re

# A projection with its loss is a product, too.
PRODUCTS = re.compile("MatMul|Convolution|LinearCrossEntropy")
OPERAND = re.compile(r"(float32|bfloat16|uint8)\(([\d, ]+)\)( strided)?")


class Operand:
    def __init__(self, kind, shape, strided):
        self.kind, self.strided = kind, bool(strided)
        self.shape = [int(n) for n in shape.split(",") if n.strip()]


def line_of(step, flops):
    """What `primitives` reads for this step; None where it is no product of matrices and no convolution.

    A step is written `op [implementation] inputs -> outputs`, an operand `type(shape)`.
    """
    op, _, rest = step.partition(" [")
    left, _, right = rest.partition("] ")[2].partition(" -> ")
    inputs = [Operand(*found) for found in OPERAND.findall(left)]
    outputs = [Operand(*found) for found in OPERAND.findall(right)]
    if len(inputs) < 2 or not outputs:
        return None
    if op.endswith("MatMul"):
        return product(inputs, outputs[0])
    for ending, kind in (("InputGradient", "data"), ("WeightGradient", "weights"), ("", "forward")):
        if op.endswith("Convolution" + ending):
            return convolution(kind, inputs, outputs[0], flops)
    return None


def product(inputs, y):
    """(m, k) x (k, n). With a transposed first operand both are activations; else the second is weights."""
    a = inputs[0]
    if len(a.shape) != 2 or len(y.shape) != 2:
        return None
    places = "transposed plain" if a.strided else "plain packed"
    return f"matmul {a.kind} {y.kind} {y.shape[0]} {a.shape[1]} {y.shape[1]} {places}"


def convolution(kind, inputs, y, flops):
    """Channels-last activations; the size of weights (outputs, inputs, size, size) is had from the FLOPs."""
    source, target = {"forward": (inputs[0], y), "data": (y, inputs[0]), "weights": (inputs[0], inputs[1])}[
        kind
    ]
    if len(source.shape) != 4 or len(target.shape) != 4:
        return None
    n, h, w, c = source.shape
    _, oh, ow, k = target.shape
    size = round((flops / (2 * n * oh * ow * c * k)) ** 0.5)
    stride = round(h / oh)
    padding = max(0, (oh - 1) * stride + size - h)
    before = padding // 2
    return (
        f"convolution {kind} {inputs[0].kind} {y.kind} {n} {h} {w} {c} {k} {size} {stride} {before}"
        f" {padding - before}"
    )


def products(trace):
    """Of each different product or convolution: line, how often it runs, FLOPs, our seconds, our kernel."""
    groups = collections.defaultdict(list)
    for event in trace["traceEvents"]:
        if event.get("cat") != "step" or event["args"]["gflop"] < 0.01:
            continue
        line = line_of(event["args"]["step"], event["args"]["gflop"] * 1e9)
        if line:
            groups[line].append(event)
    for line, events in groups.items():
        seconds = sorted(event["dur"] * 1e-6 for event in events)
        kernels = collections.Counter(event["name"] for event in events)
        yield {
            "line": line,
            "count": len(events),
            "flops": events[0]["args"]["gflop"] * 1e9,
            "seconds": seconds[len(seconds) // 2],
            "kernel": kernels.most_common(1)[0][0],
        }


def rest(trace):
    """Seconds of all steps that are no products or convolutions, their floor, and those of the whole plan."""
    steps = [event for event in trace["traceEvents"] if event.get("cat") == "step"]
    others = [event for event in steps if not PRODUCTS.search(event["args"]["step"].partition(" [")[0])]
    sums = [
        sum(event["dur"] for event in others),
        sum(event["args"]["floor_us"] for event in others),
        sum(event["dur"] for event in steps),
    ]
    return [1e-6 * microseconds for microseconds in sums]
