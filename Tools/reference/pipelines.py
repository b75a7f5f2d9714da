"""Tiny pipelines as diffusers saves them, and the path from noise to picture that each one takes.

`Tests/Fixtures/pipeline-ddpm/` and `pipeline-ddim/`: model_index.json, unet/, scheduler/, and
`golden.safetensors` with the starting noise, the noise of each step and what comes of them (see README.md).
"""

import copy
import unittest.mock

import diffusers
import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel

from fixtures import ROOT, normal, relative_error, report, save, setup
from unet2d import randomise

STEPS = 10
SHAPE = (2, 3, 8, 8)


def model():
    unet = UNet2DModel(
        sample_size=8,
        layers_per_block=1,
        block_out_channels=(4, 8),
        norm_num_groups=2,
        attention_head_dim=None,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )
    randomise(unet, seed=7)
    return unet.eval()


def trajectory(unet, scheduler, noise, dtype):
    """(x_T ... x_0), the model's outputs, and the picture, by the loop of the pipelines."""
    unet = copy.deepcopy(unet).to(dtype)
    scheduler.set_timesteps(STEPS)
    x = normal(SHAPE, seed=70).to(dtype)
    xs, outputs = [x], []
    with torch.no_grad():
        for i, t in enumerate(scheduler.timesteps):
            output = unet(x, t).sample
            # the DDPM scheduler draws its noise itself
            with unittest.mock.patch(
                "diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *_, **__: noise[i].to(dtype)
            ):
                x = scheduler.step(output, t, x).prev_sample
            outputs.append(output)
            xs.append(x)
    images = (x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
    return {"x": torch.stack(xs), "model_output": torch.stack(outputs), "images": images}


def main():
    setup()
    diffusers.logging.set_verbosity_error()
    unet = model()
    noise = normal((STEPS, *SHAPE), seed=71)
    for name, pipeline in {
        "ddpm": DDPMPipeline(unet, DDPMScheduler()),
        "ddim": DDIMPipeline(unet, DDIMScheduler()),
    }.items():
        folder = ROOT / f"pipeline-{name}"
        pipeline.save_pretrained(folder)
        report(folder / "unet" / "diffusion_pytorch_model.safetensors")
        tensors = trajectory(unet, pipeline.scheduler, noise, torch.float32)
        exact = trajectory(unet, pipeline.scheduler, noise, torch.float64)
        error = max(relative_error(tensors[key], exact[key]) for key in tensors)
        print(f"{name}: float32 within {error:.1e} of float64")
        if error > 2e-5:
            raise SystemExit(f"{name}: a poor fixture")
        tensors["timesteps"] = pipeline.scheduler.timesteps
        if name == "ddpm":
            tensors["noise"] = noise
        save(folder / "golden.safetensors", tensors)


if __name__ == "__main__":
    main()
