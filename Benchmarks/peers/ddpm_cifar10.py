#!/usr/bin/env python3
"""PyTorch and diffusers on the workloads of `kalsae bench ddpm-cifar10-train` and `ddpm-cifar10-sample`.

The U-Net of the DDPM paper (Ho et al. 2020, appendix B): 35.7M parameters, channels 128, 256, 256, 256, two
residual blocks a level, attention at 16 x 16. PyTorch as pip installs it, eager.

Prints one JSON object: workload, precision, threads, repeats, best_s, median_s, peak_rss_mib, and what ran.
"""

import argparse
import contextlib
import json
import resource
import statistics
import time

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DModel


def unet(dropout):
    model = UNet2DModel(
        sample_size=32,
        in_channels=3,
        out_channels=3,
        layers_per_block=2,
        dropout=dropout,
        block_out_channels=(128, 256, 256, 256),
        attention_head_dim=None,
        norm_num_groups=32,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    )
    count = sum(p.numel() for p in model.parameters())
    assert round(count / 1e5) == 357, f"not the model of the paper: {count} parameters"
    return model, count


def autocast(precision):
    return torch.autocast("cpu", torch.bfloat16) if precision == "bfloat16" else contextlib.nullcontext()


def train_step(model, options):
    """Algorithm 1 of the paper: one Adam step on |eps - model(x_t, t)|^2."""
    # the three implementations take the same time here; fused needs the least memory
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-4, fused=True)
    schedule = DDPMScheduler(num_train_timesteps=1000)
    images = torch.rand(options.batch, 3, 32, 32) * 2 - 1
    images = images.to(memory_format=options.memory_format)
    model.train()

    def step():
        noise = torch.randn_like(images)
        t = torch.randint(0, 1000, (options.batch,))
        noisy = schedule.add_noise(images, noise, t)
        optimizer.zero_grad(set_to_none=True)
        with autocast(options.precision):
            predicted = model(noisy, t).sample
        loss = F.mse_loss(predicted.float(), noise)
        loss.backward()
        if options.clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), options.clip)
        optimizer.step()
        return loss.item()

    return step


def sample_step(model, options):
    """One evaluation of the network, which is a sampler's step but for a few elementwise operations."""
    x = torch.randn(options.batch, 3, 32, 32).to(memory_format=options.memory_format)
    t = torch.full((options.batch,), 500)
    model.eval()

    def step():
        with torch.inference_mode(), autocast(options.precision):
            return model(x, t).sample.float().sum().item()

    return step


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("mode", choices=["train", "sample"])
    parser.add_argument(
        "--precision",
        choices=["float32", "bfloat16"],
        default="float32",
        help="bfloat16 is autocast with float32 weights",
    )
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5, help="timed steps, after --warm-up")
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--clip", type=float, default=0.0, help="clip the gradient's norm; 0 does not clip")
    parser.add_argument("--layout", choices=["channels_last", "contiguous"], default="channels_last")
    options = parser.parse_args()
    layouts = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
    options.memory_format = layouts[options.layout]

    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    model, parameters = unet(options.dropout)
    model = model.to(memory_format=options.memory_format)
    step = (train_step if options.mode == "train" else sample_step)(model, options)
    for _ in range(options.warm_up):
        step()
    seconds = []
    for _ in range(options.repeat):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    print(
        json.dumps(
            {
                "workload": f"ddpm-cifar10-{options.mode}",
                "precision": options.precision,
                "threads": options.threads,
                "repeats": options.repeat,
                "best_s": min(seconds),
                "median_s": statistics.median(seconds),
                "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "batch": options.batch,
                "parameters": parameters,
                "layout": options.layout,
                "torch": torch.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
