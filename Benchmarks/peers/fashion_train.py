#!/usr/bin/env python3
"""The rival of `kalsae train ddpm --data fashion-mnist`: PyTorch and diffusers for the same minutes.

Trains a UNet2DModel of 2.7M parameters on Fashion-MNIST for --minutes of wall clock, averages its weights
with decay min(D, (1 + n) / (10 + n)), draws samples with DDIM, and writes them as .npz (`arr_0`, uint8
(N, 28, 28, 1)) for Benchmarks/quality/fashion_quality.py. Prints one JSON object; progress on stderr.
"""

import argparse
import json
import pathlib
import resource
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from ddpm_models import autocast, fashion_unet
from diffusers import DDIMScheduler, DDPMScheduler

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "quality"))
from fashion_data import DEFAULT, load  # noqa: E402

START = time.perf_counter()
SCHEDULE = dict(num_train_timesteps=1000, beta_schedule="linear")


def batches(images, size):
    """Shuffled batches (N, 1, 28, 28) in [-1, 1], without end."""
    while True:
        for rows in torch.randperm(len(images)).split(size):
            if len(rows) == size:
                yield images[rows].float().div(127.5).sub(1).unsqueeze(1)


def train(model, images, options):
    """Adam on |eps - model(x_t, t)|^2 until the time is up; returns (averaged weights, steps, last loss)."""
    optimizer = torch.optim.Adam(model.parameters(), lr=options.learning_rate, fused=True)
    schedule = DDPMScheduler(**SCHEDULE)
    average = [p.detach().clone() for p in model.parameters()]
    smooth, step = None, 0
    for x0 in batches(images, options.batch):
        if time.perf_counter() - START >= 60 * options.minutes or step == options.steps:
            break
        step += 1
        optimizer.param_groups[0]["lr"] = options.learning_rate * min(1, step / max(1, options.warmup))
        noise, t = torch.randn_like(x0), torch.randint(0, 1000, (len(x0),))
        noisy = schedule.add_noise(x0, noise, t)
        with autocast(options):
            predicted = model(noisy, t).sample
        loss = F.mse_loss(predicted.float(), noise)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), options.clip)
        optimizer.step()
        decay = min(options.ema, (1 + step) / (10 + step))
        torch._foreach_lerp_(average, list(model.parameters()), 1 - decay)
        smooth = loss.item() if smooth is None else 0.98 * smooth + 0.02 * loss.item()
        if step % 100 == 0:
            elapsed = time.perf_counter() - START
            print(
                f"step {step}  loss {smooth:.4f}  {step * options.batch / elapsed:.0f} images/s"
                f"  {elapsed:.0f} s",
                file=sys.stderr,
            )
    return average, step, smooth


@torch.inference_mode()
def sample(model, options):
    """DDIM with eta 0, leading timesteps and clipping: uint8 (count, 28, 28, 1)."""
    schedule, drawn = DDIMScheduler(**SCHEDULE), []
    generator = torch.Generator().manual_seed(options.seed + 1)
    for start in range(0, options.count, 100):
        x = torch.randn(min(100, options.count - start), 1, 28, 28, generator=generator)
        schedule.set_timesteps(options.sample_steps)
        for t in schedule.timesteps:
            with autocast(options):
                eps = model(x, t).sample
            x = schedule.step(eps.float(), t, x).prev_sample
        drawn.append(((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8))
    return torch.cat(drawn).permute(0, 2, 3, 1).numpy()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True, help="the .npz of samples")
    parser.add_argument(
        "--minutes", type=float, default=10, help="from the start of the program to the last step"
    )
    parser.add_argument("--steps", type=int, default=-1, help="stop earlier, after so many steps")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=4e-4)
    parser.add_argument("--warmup", type=int, default=200)
    parser.add_argument("--ema", type=float, default=0.999)
    parser.add_argument("--clip", type=float, default=1.0)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--sample-steps", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", type=pathlib.Path, default=DEFAULT)
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    model = fashion_unet()
    images = torch.tensor(load(options.data, "train")[0])
    began = time.perf_counter()
    average, steps, loss = train(model, images, options)
    trained = time.perf_counter()
    with torch.no_grad():
        for p, averaged in zip(model.parameters(), average, strict=True):
            p.copy_(averaged)
    samples = sample(model.eval(), options)
    np.savez(options.output, arr_0=samples)
    print(
        json.dumps(
            {
                "parameters": sum(p.numel() for p in model.parameters()),
                "precision": options.precision,
                "steps": steps,
                "images_per_second": steps * options.batch / (trained - began),
                "loss": loss,
                "train_s": trained - START,
                "sample_s": time.perf_counter() - trained,
                "output": str(options.output),
                "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "torch": torch.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
