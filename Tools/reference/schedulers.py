"""DDPM and DDIM step sequences of diffusers' schedulers on the closed-form model of their own tests.

The model answers x t / (t + 1) whatever the prediction means. `Tests/Fixtures/schedulers/` gets
manifest.json (the configuration of every sequence), ddpm.safetensors, ddim.safetensors, and
schedules.safetensors (tables and the forward process); see README.md.
"""

import unittest.mock

import torch
from diffusers import DDIMScheduler, DDPMScheduler
from diffusers.training_utils import compute_snr

from fixtures import normal, relative_error, save, save_json, setup

SHAPE = (1, 3, 2, 4)
SCHEDULES = ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"]
PREDICTIONS = ["epsilon", "sample", "v_prediction"]

# (configuration that differs from the scheduler's defaults, inference steps, eta)
DDPM = (
    [(dict(beta_schedule=schedule), 10, None) for schedule in SCHEDULES]
    + [(dict(variance_type="fixed_large", beta_schedule=schedule), 10, None) for schedule in SCHEDULES]
    + [(dict(prediction_type=prediction), 10, None) for prediction in PREDICTIONS[1:]]
    + [(dict(prediction_type=p, clip_sample=False), 10, None) for p in PREDICTIONS]
    + [(dict(clip_sample_range=2.0), 10, None)]
    + [(dict(timestep_spacing=spacing), 10, None) for spacing in ("trailing", "linspace")]
    + [(dict(timestep_spacing=spacing), 7, None) for spacing in ("leading", "trailing", "linspace")]
    + [(dict(steps_offset=1), 10, None)]
    + [(dict(variance_type=v), 50, None) for v in ("fixed_small", "fixed_large")]
    + [(dict(num_train_timesteps=100), 100, None)]
)
DDIM = (
    [(dict(beta_schedule=schedule), 10, 0.0) for schedule in SCHEDULES]
    + [(dict(beta_schedule=schedule), 10, 1.0) for schedule in SCHEDULES]
    + [(dict(), 10, 0.5)]
    + [
        (dict(prediction_type=p, clip_sample=clip), 10, 0.0)
        for p in PREDICTIONS[1:]
        for clip in (True, False)
    ]
    + [(dict(prediction_type=p, clip_sample=False), 10, 0.5) for p in PREDICTIONS]
    + [(dict(clip_sample=False), 10, 0.0)]
    + [(dict(timestep_spacing=spacing), 10, 0.0) for spacing in ("trailing", "linspace")]
    + [(dict(timestep_spacing=spacing), 7, 0.0) for spacing in ("leading", "trailing", "linspace")]
    + [(dict(set_alpha_to_one=False), 10, eta) for eta in (0.0, 0.5)]
    # the scheduler of Stable Diffusion
    + [
        (
            dict(
                set_alpha_to_one=False,
                steps_offset=1,
                clip_sample=False,
                beta_schedule="scaled_linear",
                beta_start=0.00085,
                beta_end=0.012,
            ),
            10,
            0.0,
        )
    ]
    + [(dict(), 50, eta) for eta in (0.0, 0.5)]
    + [(dict(num_train_timesteps=100), 100, 0.0)]
)


def dummy_sample(shape, dtype):
    """The ramp of diffusers' scheduler tests: i / n with the batch as the fastest axis."""
    n, c, h, w = shape
    count = n * c * h * w
    return (torch.arange(count) / count).reshape(c, h, w, n).permute(3, 0, 1, 2).to(dtype)


def exact_betas(config):
    """The schedule in float64; diffusers computes it in float32."""
    start, end, count = config["beta_start"], config["beta_end"], config["num_train_timesteps"]
    match config["beta_schedule"]:
        case "linear":
            return torch.linspace(start, end, count, dtype=torch.float64)
        case "scaled_linear":
            return torch.linspace(start**0.5, end**0.5, count, dtype=torch.float64) ** 2
        case "sigmoid":
            return torch.sigmoid(torch.linspace(-6, 6, count, dtype=torch.float64)) * (end - start) + start
        case "squaredcos_cap_v2":
            t = torch.arange(count + 1, dtype=torch.float64) / count
            bar = torch.cos((t + 0.008) / 1.008 * torch.pi / 2) ** 2
            return (1 - bar[1:] / bar[:-1]).clamp(max=0.999)


def make(kind, config, dtype):
    """A scheduler; in float64 with the exact tables."""
    config = dict(config)
    schedule = config.get("beta_schedule")
    if kind is DDIMScheduler and schedule == "sigmoid":  # DDIM does not know it by name
        config["trained_betas"] = DDPMScheduler(**config).betas.numpy()
        del config["beta_schedule"]
    scheduler = kind(**config)
    if dtype == torch.float64:
        scheduler.betas = exact_betas(
            dict(scheduler.config) | ({"beta_schedule": schedule} if schedule else {})
        )
        scheduler.alphas = 1 - scheduler.betas
        scheduler.alphas_cumprod = scheduler.alphas.cumprod(0)
        scheduler.one = torch.tensor(1.0, dtype=dtype)
        if kind is DDIMScheduler:
            to_one = scheduler.config.set_alpha_to_one
            scheduler.final_alpha_cumprod = scheduler.one if to_one else scheduler.alphas_cumprod[0]
    return scheduler


def run(scheduler, steps, eta, noise, dtype, shape=SHAPE):
    """x of every step (the first is the start), the predicted x0, and the scheduler's (t, previous t)."""
    scheduler.set_timesteps(steps)
    x = dummy_sample(shape, dtype)
    xs, x0s, times = [x], [], []
    for i, t in enumerate(scheduler.timesteps.tolist()):
        output = x * t / (t + 1)
        if eta is None:
            with unittest.mock.patch(
                "diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *_, **__: noise[i].to(dtype)
            ):
                result = scheduler.step(output, t, x)
            previous = int(scheduler.previous_timestep(t))
        else:
            result = scheduler.step(output, t, x, eta=eta, variance_noise=noise[i].to(dtype) if eta else None)
            previous = t - scheduler.config.num_train_timesteps // steps
        x = result.prev_sample
        xs.append(x)
        x0s.append(result.pred_original_sample)
        times.append((t, max(previous, -1)))
    return torch.stack(xs), torch.stack(x0s), times


def sequences(kind, cases):
    """Tensors and manifest entries of one scheduler's sequences."""
    family = "ddpm" if kind is DDPMScheduler else "ddim"
    tensors, entries = {}, []
    for number, (config, steps, eta) in enumerate(cases):
        name = f"{family}.{number:02}"
        noise = normal((steps, *SHAPE), seed=1000 + number)
        x, x0, times = run(make(kind, config, torch.float32), steps, eta, noise, torch.float32)
        exact, _, _ = run(make(kind, config, torch.float64), steps, eta, noise, torch.float64)
        error = max(relative_error(a, b) for a, b in zip(x, exact, strict=True))
        assert error < 1e-4, (name, error)
        print(f"{name}: {config} {steps} steps, eta {eta}: float32 within {error:.1e} of float64")
        tensors |= {f"{name}.x": x, f"{name}.x_exact": exact, f"{name}.x0": x0}
        if eta != 0:
            tensors[f"{name}.noise"] = noise
        full = {k: v for k, v in make(kind, config, torch.float32).config.items() if not k.startswith("_")}
        full["beta_schedule"] = config.get("beta_schedule", "linear")
        del full["trained_betas"]
        entries.append(
            dict(
                name=name,
                scheduler=kind.__name__,
                file=f"{family}.safetensors",
                config=full,
                steps=steps,
                eta=eta,
                timesteps=[t for t, _ in times],
                previous_timesteps=[p for _, p in times],
                shape=list(SHAPE),
                float32_error=float(f"{error:.1e}"),
            )
        )
    return tensors, entries


def tables():
    """Every schedule's tables, and the forward process at a few timesteps, all in float64."""
    tensors = {}
    timesteps = torch.tensor([0, 1, 249, 998, 999])
    x0, noise = (normal((5, *SHAPE[1:]), seed=seed, dtype=torch.float64) for seed in (900, 901))
    tensors |= {"forward.timesteps": timesteps, "forward.x0": x0, "forward.noise": noise}
    for schedule in SCHEDULES:
        shipped = DDPMScheduler(beta_schedule=schedule)
        exact = make(DDPMScheduler, dict(beta_schedule=schedule), torch.float64)
        assert relative_error(shipped.betas, exact.betas) < 1e-5, schedule
        tensors |= {
            f"{schedule}.betas": exact.betas,
            f"{schedule}.alphas_cumprod": exact.alphas_cumprod,
            f"{schedule}.alphas_cumprod_float32": shipped.alphas_cumprod,
            f"{schedule}.snr": compute_snr(exact, torch.arange(1000)),
            f"{schedule}.x_t": exact.add_noise(x0, noise, timesteps),
            f"{schedule}.velocity": exact.get_velocity(x0, noise, timesteps),
        }
        for variance in ("fixed_small", "fixed_large"):
            values = [exact._get_variance(t, variance_type=variance) for t in range(1000)]
            tensors[f"{schedule}.variance.{variance}"] = torch.stack(values)
    return tensors


def self_check():
    """The numbers that diffusers' own tests expect of the full-size loops."""
    for config, expected in (({}, 172.0067), ({"prediction_type": "v_prediction"}, 52.5302)):
        x, _, _ = run(DDIMScheduler(**config), 10, 0.0, None, torch.float32, shape=(4, 3, 8, 8))
        total = x[-1].abs().sum().item()
        assert abs(total - expected) < 1e-2, (total, expected)


def main():
    setup()
    self_check()
    manifest = []
    for kind, cases in ((DDPMScheduler, DDPM), (DDIMScheduler, DDIM)):
        tensors, entries = sequences(kind, cases)
        save(f"schedulers/{entries[0]['file']}", tensors)
        manifest += entries
    save("schedulers/schedules.safetensors", tables())
    save_json("schedulers/manifest.json", manifest)


if __name__ == "__main__":
    main()
