#!/usr/bin/env python3
"""PyTorch and diffusers on the workloads of `kalsae bench` that are diffusion models, with random weights.

`ddpm-cifar10-train` and `-sample`: the U-Net of the DDPM paper (Ho et al. 2020, appendix B), 35.7M
parameters, channels 128, 256, 256, 256, two residual blocks a level, attention at 16 x 16.
`ddpm-fashion-train`: a step of `kalsae train ddpm --data fashion-mnist` (2.7M parameters), with clipping
and averaged weights.

Eager, in either memory layout; --compile adds `torch.compile`. bfloat16 is autocast with float32 weights.
Prints one JSON object.
"""

import contextlib

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DModel
from timing import arguments, peak_rss_mib, result, seconds_of

LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


def cifar10_unet():
    """The network of the paper, dropout 0.1."""
    return UNet2DModel(
        sample_size=32,
        in_channels=3,
        out_channels=3,
        layers_per_block=2,
        dropout=0.1,
        block_out_channels=(128, 256, 256, 256),
        attention_head_dim=None,
        norm_num_groups=32,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    )


def fashion_unet():
    """Channels 32, 64, 128 at 28, 14 and 7 pixels, one residual block a level, attention at 7.

    Of several of this size the one that trains the most images a second under PyTorch.
    """
    return UNet2DModel(
        sample_size=28,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(32, 64, 128),
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        attention_head_dim=None,
    )


def autocast(options):
    narrow = options.precision == "bfloat16"
    return torch.autocast("cpu", torch.bfloat16) if narrow else contextlib.nullcontext()


def train_step(model, options, clip=None, ema=None):
    """Algorithm 1 of the paper: one Adam step on |eps - model(x_t, t)|^2.

    `clip` bounds the gradient's norm; `ema` is the decay of averaged weights.
    """
    # the three implementations take the same time here; fused needs the least memory
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-4, fused=True)
    schedule = DDPMScheduler(num_train_timesteps=1000)
    config = model.config
    images = torch.rand(options.batch, config.in_channels, config.sample_size, config.sample_size) * 2 - 1
    images = images.to(memory_format=LAYOUTS[options.layout])
    average = [p.detach().clone() for p in model.parameters()] if ema else []
    model.train()
    call = torch.compile(model) if options.compile else model

    def step():
        noise = torch.randn_like(images)
        t = torch.randint(0, 1000, (options.batch,))
        noisy = schedule.add_noise(images, noise, t)
        optimizer.zero_grad(set_to_none=True)
        with autocast(options):
            predicted = call(noisy, t).sample
        loss = F.mse_loss(predicted.float(), noise)
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        if ema:
            torch._foreach_lerp_(average, list(model.parameters()), 1 - ema)
        return loss.item()

    return step


def sample_step(model, options):
    """One evaluation of the network, which is a sampler's step but for a few elementwise operations."""
    x = torch.randn(options.batch, 3, 32, 32).to(memory_format=LAYOUTS[options.layout])
    t = torch.full((options.batch,), 500)
    model.eval()
    # constant weights may be packed once
    torch._inductor.config.freezing = True
    call = torch.compile(model) if options.compile else model

    def step():
        with torch.inference_mode(), autocast(options):
            return call(x, t).sample.float().sum().item()

    return step


# Of each workload: its network, its batch, and what makes a step.
WORKLOADS = {
    "ddpm-cifar10-train": (cifar10_unet, 16, train_step),
    "ddpm-cifar10-sample": (cifar10_unet, 16, sample_step),
    "ddpm-fashion-train": (
        fashion_unet,
        32,
        lambda model, options: train_step(model, options, clip=1.0, ema=0.9995),
    ),
}


def main():
    parser = arguments(__doc__, WORKLOADS)
    parser.add_argument("--layout", choices=LAYOUTS, default="channels_last")
    parser.add_argument("--compile", action="store_true", help="with torch.compile")
    options = parser.parse_args()
    make, batch, prepare = WORKLOADS[options.workload]
    options.batch = options.batch or batch
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    empty = peak_rss_mib()
    model = make().to(memory_format=LAYOUTS[options.layout])
    seconds = seconds_of(prepare(model, options), options)
    parameters = sum(p.numel() for p in model.parameters())
    result(options, seconds, empty, parameters=parameters, version=f"PyTorch {torch.__version__}")


if __name__ == "__main__":
    main()
