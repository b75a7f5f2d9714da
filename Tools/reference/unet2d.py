"""Tiny random-weight `UNet2DModel`s of diffusers, with every block's output and all gradients.

Each variant becomes `Tests/Fixtures/unet2d-<name>/`: the model folder as diffusers saves it, and
`golden.safetensors` (see README.md). Activations are NCHW and weights OIHW, as in PyTorch.
"""

import copy

import diffusers
import torch
from diffusers import UNet2DModel

from fixtures import ROOT, check, generator, normal, report, save, setup

PLAIN = dict(
    norm_num_groups=8,
    layers_per_block=2,
    attention_head_dim=None,
    down_block_types=["DownBlock2D", "AttnDownBlock2D"],
    up_block_types=["AttnUpBlock2D", "UpBlock2D"],
)

# name: (configuration of UNet2DModel, (N, H, W), timesteps, class labels)
VARIANTS = {
    # The defaults of a newly trained DDPM.
    "ddpm": (
        PLAIN | dict(sample_size=6, norm_num_groups=4, block_out_channels=[8, 12], time_embedding_dim=24),
        (2, 6, 6),
        [3, 981],
        None,
    ),
    # The four levels of the paper with the settings of google/ddpm-cifar10-32: asymmetric padding before
    # the strided convolution, sine before cosine, another epsilon.
    "cifar10": (
        dict(
            sample_size=16,
            block_out_channels=[4, 8, 8, 8],
            layers_per_block=1,
            norm_num_groups=2,
            attention_head_dim=None,
            downsample_padding=0,
            flip_sin_to_cos=False,
            freq_shift=1,
            norm_eps=1e-6,
            act_fn="silu",
            dropout=0.1,
            down_block_types=["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
            up_block_types=["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
        ),
        (1, 16, 16),
        [500],
        None,
    ),
    # improved-diffusion style: scale and shift from the time embedding, classes, several heads.
    "scale-shift-class": (
        PLAIN
        | dict(
            sample_size=8,
            layers_per_block=1,
            norm_num_groups=4,
            block_out_channels=[8, 12],
            time_embedding_dim=24,
            attention_head_dim=4,
            resnet_time_scale_shift="scale_shift",
            num_class_embeds=10,
        ),
        (3, 8, 8),
        [0, 37, 999],
        [7, 0, 9],
    ),
    # One channel, not square, and resampling inside the residual blocks, in both kinds of block.
    "resnet-resample": (
        PLAIN
        | dict(
            sample_size=[12, 8],
            in_channels=1,
            out_channels=1,
            layers_per_block=1,
            norm_num_groups=2,
            block_out_channels=[4, 4, 8],
            time_embedding_dim=16,
            add_attention=False,
            attention_head_dim=2,
            downsample_type="resnet",
            upsample_type="resnet",
            down_block_types=["ResnetDownsampleBlock2D", "AttnDownBlock2D", "DownBlock2D"],
            up_block_types=["UpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"],
        ),
        (2, 12, 8),
        [10, 640],
        None,
    ),
    # What is left of the configuration: centred input, scaled middle block, its own number of groups in the
    # middle attention, the class as a second timestep, more channels out than in.
    "class-timestep": (
        PLAIN
        | dict(
            sample_size=[6, 14],
            in_channels=2,
            out_channels=4,
            layers_per_block=1,
            norm_num_groups=2,
            block_out_channels=[4, 8],
            time_embedding_dim=24,
            attention_head_dim=8,
            center_input_sample=True,
            mid_block_scale_factor=2**0.5,
            resnet_time_scale_shift="scale_shift",
            attn_norm_num_groups=2,
            class_embed_type="timestep",
            act_fn="gelu",
        ),
        (2, 6, 14),
        [100, 900],
        [1, 5],
    ),
    # score_sde: random Fourier features of log(sigma), and the output divided by sigma.
    "fourier": (
        PLAIN
        | dict(
            sample_size=8,
            layers_per_block=1,
            norm_num_groups=2,
            block_out_channels=[4, 8],
            time_embedding_dim=16,
            time_embedding_type="fourier",
        ),
        (2, 8, 8),
        [0.75, 1.5],
        None,
    ),
    # A table of timestep embeddings, a ready-made class embedding, no middle block.
    "learned": (
        PLAIN
        | dict(
            sample_size=8,
            layers_per_block=1,
            norm_num_groups=2,
            block_out_channels=[4, 8],
            time_embedding_dim=16,
            time_embedding_type="learned",
            num_train_timesteps=20,
            class_embed_type="identity",
            mid_block_type=None,
        ),
        (2, 8, 8),
        [0, 19],
        normal((2, 16), seed=5),
    ),
}


def randomise(model, seed):
    """Weights of everyday size, and norms, biases and embeddings that are neither one nor zero."""
    g = generator(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            noise = torch.randn(p.shape, generator=g, dtype=torch.float64)
            if p.ndim >= 2:
                p.copy_(noise / max(1, p[0].numel()) ** 0.5)
            elif "norm" in name and name.endswith("weight"):
                p.copy_(1 + 0.25 * noise)
            elif name == "time_proj.weight":
                p.copy_(2 * noise)
            else:
                p.copy_(0.25 * noise)


def labels_tensor(labels):
    return labels if labels is None or torch.is_tensor(labels) else torch.tensor(labels)


def blocks(model):
    """(path, module) of everything whose output is recorded, in the order in which it runs."""
    for path in ("conv_in", "time_proj", "time_embedding", "class_embedding"):
        if getattr(model, path) is not None:
            yield path, getattr(model, path)
    for i, block in enumerate(model.down_blocks):
        yield f"down_blocks.{i}", block
    if model.mid_block is not None:
        yield "mid_block", model.mid_block
    for i, block in enumerate(model.up_blocks):
        yield f"up_blocks.{i}", block
    yield "conv_norm_out", model.conv_norm_out


def golden(model, shape, timesteps, labels, seed, dtype=torch.float32):
    """Runs model forward and backward and returns what golden.safetensors holds."""
    n, h, w = shape
    model = copy.deepcopy(model).to(dtype).eval()
    found = {}

    def keep(path):
        def hook(module, inputs, output):
            if path == "time_proj":  # float32 always; the class may pass through it after the timestep
                found.setdefault("block." + path, output)
                return output.to(dtype)
            if isinstance(output, tuple):  # a down block: (hidden states, residuals for the up blocks)
                found["block." + path] = output[0]
                for i, residual in enumerate(output[1]):
                    found[f"block.{path}.residuals.{i}"] = residual
            else:
                found["block." + path] = output

        return hook

    handles = [module.register_forward_hook(keep(path)) for path, module in blocks(model)]
    sample = normal((n, model.config.in_channels, h, w), seed + 1).to(dtype).requires_grad_()
    cotangent = normal((n, model.config.out_channels, h, w), seed + 2).to(dtype)
    t = torch.tensor(timesteps)
    labels = labels_tensor(labels)
    if labels is not None and labels.is_floating_point():
        labels = labels.to(dtype)
    output = model(sample, t, class_labels=labels).sample
    (output * cotangent).sum().backward()
    for handle in handles:
        handle.remove()

    found |= {"input.sample": sample, "input.timesteps": t, "output": output, "cotangent": cotangent}
    if labels is not None:
        found["input.class_labels"] = labels
    for name, p in model.named_parameters():
        if p.grad is not None:
            found["grad." + name] = p.grad
    found["grad_input.sample"] = sample.grad
    return {name: t.detach() for name, t in found.items()}


def legacy_names(state):
    """The names attention had when google/ddpm-cifar10-32 was published."""
    renames = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    result = {}
    for name, value in state.items():
        for new, old in renames.items():
            name = name.replace(new, old)
        result[name] = value
    return result


def main():
    setup()
    diffusers.logging.set_verbosity_error()
    for number, (name, (config, shape, timesteps, labels)) in enumerate(VARIANTS.items()):
        folder = ROOT / f"unet2d-{name}"
        model = UNet2DModel(**config)
        randomise(model, seed=100 * number)
        model.save_pretrained(folder)
        report(folder / "diffusion_pytorch_model.safetensors")
        arguments = (shape, timesteps, labels, 100 * number)
        tensors = golden(model, *arguments)
        zero = check(name, tensors, golden(model, *arguments, dtype=torch.float64), may_vanish="to_k.bias")
        save(folder / "golden.safetensors", tensors, {"zero_gradients": zero})
        if name == "cifar10":
            save(folder / "legacy_names.safetensors", legacy_names(model.state_dict()))


if __name__ == "__main__":
    main()
