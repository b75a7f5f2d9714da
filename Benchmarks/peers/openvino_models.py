#!/usr/bin/env python3
"""OpenVINO on the workloads of `kalsae bench` that train nothing: models of PyTorch, converted on first use.

Latency hint; bfloat16 is OpenVINO's precision hint. Prints one JSON object.
"""

import pathlib
import subprocess
import sys

import numpy as np
import openvino as ov
from timing import arguments, peak_rss_mib, result, seconds_of

# Of each workload its batch.
WORKLOADS = {"ddpm-cifar10-sample": 16, "gpt2-prefill": 1, "bert-base": 32, "vit-base": 16}


def converted(options):
    """The model for inputs of just these shapes."""
    path = options.models / f"{options.workload}-{options.batch}.xml"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        script = pathlib.Path(__file__).with_name("openvino_convert.py")
        command = [sys.executable, script, options.workload, str(options.batch), path]
        ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if ran.returncode != 0:
            sys.exit((ran.stdout.strip().splitlines() or [f"exit status {ran.returncode}"])[-1])
    return ov.Core().read_model(path)


def random_input(port):
    random, shape = np.random.default_rng(0), tuple(port.shape)
    if port.element_type == ov.Type.f32:
        return random.standard_normal(shape, dtype=np.float32)
    return random.integers(0, 1000, shape)


def main():
    parser = arguments(__doc__, WORKLOADS)
    parser.add_argument("--models", type=pathlib.Path, required=True, help="folder of the converted models")
    options = parser.parse_args()
    options.batch = options.batch or WORKLOADS[options.workload]
    empty = peak_rss_mib()
    settings = {
        "INFERENCE_NUM_THREADS": options.threads,
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[options.precision],
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = ov.Core().compile_model(converted(options), "CPU", settings)
    request, fed = compiled.create_infer_request(), [random_input(port) for port in compiled.inputs]

    def step():
        return request.infer(fed, share_inputs=True, share_outputs=True)

    seconds = seconds_of(step, options)
    result(options, seconds, empty, version="OpenVINO " + ov.get_version().split("-")[0])


if __name__ == "__main__":
    main()
