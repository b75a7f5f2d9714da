"""What the fixture scripts share: where fixtures go, how they are written, and seeded random numbers."""

import json
import pathlib

import torch
from safetensors.torch import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2] / "Tests" / "Fixtures"
LARGEST_FILE = 300 * 1024


def setup():
    """One thread and deterministic kernels, so that running a script again gives the same bytes."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def normal(shape, seed, dtype=torch.float32):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64).to(dtype)


def save(path, tensors, cases=None):
    """Writes a safetensors file; `cases` becomes the JSON text under the key `cases` of `__metadata__`.

    One metadata key only: the order of several is not fixed, and the file would differ from run to run.
    """
    path = ROOT / path
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = None if cases is None else {"cases": json.dumps(cases, sort_keys=True)}
    # clone: safetensors refuses tensors that share memory
    save_file({name: t.detach().clone().contiguous() for name, t in tensors.items()}, str(path), metadata)
    report(path)


def save_json(path, value):
    path = ROOT / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")
    report(path)


def report(path):
    path.chmod(0o644)
    size = path.stat().st_size
    print(f"{size / 1024:8.1f} KB  {path.relative_to(ROOT)}")
    if size > LARGEST_FILE:
        raise SystemExit(f"{path} is {size} bytes; a fixture holds at most {LARGEST_FILE}")


def relative_error(a, b):
    """max |a - b| / max |b|: the measure the tests use for a whole tensor."""
    a, b = a.double(), b.double()
    return ((a - b).abs().max() / b.abs().max().clamp_min(1e-30)).item()


def check(name, tensors, exact, may_vanish):
    """The fixture must be well-conditioned: float32 within 2e-5 of float64, or 1e-4 would test luck.

    Returns the gradients that are zero whatever the weights, and in float32 only rounding: a constant added
    to every key changes no softmax. Only names that end with `may_vanish` (a string or several) may be so.
    """
    largest = max(t.abs().max().item() for key, t in exact.items() if key.startswith("grad"))
    zero = [key for key, t in exact.items() if key.startswith("grad.") and t.abs().max() < 1e-9 * largest]
    errors = {key: relative_error(tensors[key], exact[key]) for key in tensors if key not in zero}
    worst = max(errors, key=errors.get)
    print(f"{name}: float32 within {errors[worst]:.1e} of float64 ({worst}); zero: {len(zero)}")
    if errors[worst] > 2e-5 or any(not key.endswith(may_vanish) for key in zero):
        raise SystemExit(f"{name}: a poor fixture: error {errors[worst]}, zero gradients {zero}")
    return zero
