"""Ten steps of PyTorch's optimizers with recorded gradients, clipping, schedules and averaged weights.

`Tests/Fixtures/optimizers/` gets optimizers.safetensors (gradients and the parameters after every step) and
training.safetensors (clipping, learning-rate schedules, exponential moving average); see README.md.
"""

import torch
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel

from fixtures import normal, relative_error, save, setup

STEPS = 10
SHAPES = {"matrix": (5, 3), "vector": (7,)}

OPTIMIZERS = {
    "adam": (torch.optim.Adam, dict(lr=0.01, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)),
    "adam_l2": (torch.optim.Adam, dict(lr=0.01, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.1)),
    "adamw": (torch.optim.AdamW, dict(lr=0.02, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.05)),
    "sgd": (torch.optim.SGD, dict(lr=0.1, momentum=0.0, weight_decay=0.0, nesterov=False, dampening=0.0)),
    "sgd_momentum": (
        torch.optim.SGD,
        dict(lr=0.05, momentum=0.9, weight_decay=0.0, nesterov=False, dampening=0.0),
    ),
    "sgd_dampening": (
        torch.optim.SGD,
        dict(lr=0.05, momentum=0.9, weight_decay=0.0, nesterov=False, dampening=0.5),
    ),
    "sgd_nesterov": (
        torch.optim.SGD,
        dict(lr=0.05, momentum=0.9, weight_decay=0.02, nesterov=True, dampening=0.0),
    ),
}


def gradients(dtype=torch.float32):
    """Gradients over several orders of magnitude, with one step of exact zeros."""
    result = {}
    for i, (name, shape) in enumerate(SHAPES.items()):
        g = normal((STEPS, *shape), seed=20 + i) * 10.0 ** normal((STEPS, *[1] * len(shape)), seed=30 + i)
        g[4] = 0
        result[name] = g.to(dtype)
    return result


def trajectory(kind, options, dtype):
    """{name: (STEPS + 1, ...)}: the parameters before the first and after every step."""
    parameters = {
        n: torch.nn.Parameter(normal(s, seed=10 + i).to(dtype)) for i, (n, s) in enumerate(SHAPES.items())
    }
    optimizer = kind(parameters.values(), **options)
    history = {name: [p.detach().clone()] for name, p in parameters.items()}
    recorded = gradients(dtype)
    for step in range(STEPS):
        for name, p in parameters.items():
            p.grad = recorded[name][step].clone()
        optimizer.step()
        for name, p in parameters.items():
            history[name].append(p.detach().clone())
    return {name: torch.stack(values) for name, values in history.items()}


def optimizers():
    tensors = {f"gradient.{name}": g for name, g in gradients().items()}
    for case, (kind, options) in OPTIMIZERS.items():
        for name, values in trajectory(kind, options, torch.float32).items():
            error = relative_error(values, trajectory(kind, options, torch.float64)[name])
            assert error < 1e-5, (case, name, error)
            tensors[f"{case}.{name}"] = values
    cases = {case: {"op": kind.__name__} | options for case, (kind, options) in OPTIMIZERS.items()}
    save("optimizers/optimizers.safetensors", tensors, cases)


def clipping(tensors, cases):
    """Gradient clipping by the norm over all parameters, above and below the limit."""
    for case, limit in (("clip_active", 1.0), ("clip_idle", 1000.0)):
        parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in SHAPES.values()]
        for p, (name, g) in zip(parameters, gradients().items(), strict=True):
            p.grad = g[0].clone()
            tensors[f"{case}.{name}"] = g[0].clone()
        tensors[f"{case}.norm"] = torch.nn.utils.clip_grad_norm_(parameters, limit)
        for p, name in zip(parameters, SHAPES, strict=True):
            tensors[f"{case}.clipped.{name}"] = p.grad
        cases[case] = {"op": "clip_grad_norm", "max_norm": limit}


def learning_rates(tensors, cases):
    """Learning rate of steps 0..<60 by diffusers' schedules (warm-up 10, total 50)."""
    for name in ("constant", "constant_with_warmup", "linear", "cosine"):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        scheduler = get_scheduler(name, optimizer, num_warmup_steps=10, num_training_steps=50)
        rates = []
        for _ in range(60):
            rates.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
        tensors[f"schedule_{name}.rate"] = torch.tensor(rates, dtype=torch.float64)
        cases[f"schedule_{name}"] = {"op": name, "lr": 0.1, "warmup": 10, "total": 50}


def averages(tensors, cases):
    """diffusers' EMAModel, whose decay is min(decay, (1 + n) / (10 + n)) at its n-th step from zero."""
    values = normal((STEPS + 1, 7), seed=40)
    for case, decay in (("ema_short", 0.9999), ("ema_reached", 0.3)):
        p = torch.nn.Parameter(values[0].clone())
        # update_after_step -1: average from the first step on
        ema = EMAModel([p], decay=decay, use_ema_warmup=False, update_after_step=-1)
        shadow, decays = [ema.shadow_params[0].clone()], []
        for step in range(1, STEPS + 1):
            p.data.copy_(values[step])
            ema.step([p])
            decays.append(ema.cur_decay_value)
            shadow.append(ema.shadow_params[0].clone())
        tensors |= {
            f"{case}.parameter": values,
            f"{case}.average": torch.stack(shadow),
            f"{case}.decay": torch.tensor(decays, dtype=torch.float64),
        }
        cases[case] = {"op": "ema", "decay": decay}


def main():
    setup()
    optimizers()
    tensors, cases = {}, {}
    for family in (clipping, learning_rates, averages):
        family(tensors, cases)
    save("optimizers/training.safetensors", tensors, cases)
    for case in ("ema_short", "ema_reached"):
        print(case, tensors[f"{case}.decay"].tolist())


if __name__ == "__main__":
    main()
