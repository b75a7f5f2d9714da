"""Outputs and gradients of PyTorch's ops at odd sizes, as `Tests/Fixtures/ops/<family>.safetensors`.

A tensor is named `<case>.<input>`, `<case>.output`, `<case>.cotangent` or `<case>.grad.<input>`; the file's
`__metadata__["cases"]` is JSON, {case: {"op": ..., attributes}}. Layout as in PyTorch: NCHW and OIHW.
"""

import torch
import torch.nn.functional as F

from fixtures import normal, relative_error, save, setup


class Family:
    """The cases of one file."""

    def __init__(self, name, seed):
        self.name, self.seed, self.tensors, self.cases = name, seed, {}, {}

    def add(self, case, op, function, inputs, outputs=("output",), constants=None, **attributes):
        """Runs function(**inputs, **constants) in float32 and float64 and records it with its gradients.

        inputs: {name: shape or tensor}; those of floating point get a gradient. constants are recorded
        without one.
        """
        values = {}
        for name, value in inputs.items():
            self.seed += 1
            values[name] = value if torch.is_tensor(value) else normal(value, self.seed)
        constants = constants or {}
        results = {}
        for dtype in (torch.float64, torch.float32):
            leaves = {n: v.to(dtype).clone().requires_grad_() for n, v in values.items()}
            fixed = {n: v.to(dtype) if v.is_floating_point() else v for n, v in constants.items()}
            out = function(**leaves, **fixed)
            out = out if isinstance(out, tuple) else (out,)
            cotangent = normal(out[0].shape, self.seed + 5000)
            (out[0] * cotangent.to(dtype)).sum().backward()
            found = dict(zip(outputs, out, strict=True)) | {"cotangent": cotangent}
            found |= {f"grad.{n}": leaf.grad for n, leaf in leaves.items()}
            results[dtype] = {n: v.detach() for n, v in found.items()}
        for name, value in results[torch.float32].items():
            error = relative_error(value, results[torch.float64][name])
            assert error < 2e-5, (self.name, case, name, error)
        for name, value in (values | constants | results[torch.float32]).items():
            self.tensors[f"{case}.{name}"] = value
        self.cases[case] = {"op": op} | attributes

    def save(self):
        save(f"ops/{self.name}.safetensors", self.tensors, self.cases)


def convolution():
    f = Family("convolution", seed=0)

    def conv(case, x, weight, **a):
        f.add(
            case,
            "conv2d",
            lambda input, weight, bias: F.conv2d(input, weight, bias, **a),
            dict(input=x, weight=weight, bias=(weight[0],)),
            **a,
        )

    conv("plain", (2, 3, 7, 5), (4, 3, 3, 3), stride=[1, 1], padding=[1, 1], dilation=[1, 1], groups=1)
    conv("no_padding", (1, 3, 7, 6), (5, 3, 2, 3), stride=[1, 1], padding=[0, 0], dilation=[1, 1], groups=1)
    conv("pointwise", (2, 5, 3, 4), (7, 5, 1, 1), stride=[1, 1], padding=[0, 0], dilation=[1, 1], groups=1)
    conv("strided", (2, 3, 9, 8), (4, 3, 3, 3), stride=[2, 2], padding=[1, 1], dilation=[1, 1], groups=1)
    conv("uneven", (1, 2, 9, 11), (3, 2, 5, 3), stride=[3, 2], padding=[2, 0], dilation=[1, 2], groups=1)
    conv("dilated", (1, 3, 9, 9), (2, 3, 3, 3), stride=[1, 1], padding=[2, 2], dilation=[2, 2], groups=1)
    conv("grouped", (2, 6, 5, 7), (9, 2, 3, 3), stride=[1, 1], padding=[1, 1], dilation=[1, 1], groups=3)
    conv("depthwise", (1, 5, 7, 7), (5, 1, 3, 3), stride=[2, 2], padding=[1, 1], dilation=[1, 1], groups=5)

    def transposed(case, x, weight, **a):
        f.add(
            case,
            "conv_transpose2d",
            lambda input, weight, bias: F.conv_transpose2d(input, weight, bias, **a),
            dict(input=x, weight=weight, bias=(weight[1] * a["groups"],)),
            **a,
        )

    transposed(
        "transposed",
        (2, 3, 4, 5),
        (3, 4, 3, 3),
        stride=[1, 1],
        padding=[1, 1],
        output_padding=[0, 0],
        dilation=[1, 1],
        groups=1,
    )
    transposed(
        "transposed_strided",
        (1, 3, 4, 5),
        (3, 2, 4, 4),
        stride=[2, 2],
        padding=[1, 1],
        output_padding=[0, 0],
        dilation=[1, 1],
        groups=1,
    )
    transposed(
        "transposed_output_padding",
        (2, 4, 3, 5),
        (4, 3, 3, 3),
        stride=[2, 3],
        padding=[1, 0],
        output_padding=[1, 2],
        dilation=[1, 1],
        groups=1,
    )
    transposed(
        "transposed_grouped_dilated",
        (1, 4, 5, 3),
        (4, 3, 3, 3),
        stride=[2, 2],
        padding=[2, 1],
        output_padding=[1, 0],
        dilation=[2, 1],
        groups=2,
    )
    f.save()


def normalisation():
    f = Family("normalisation", seed=100)
    for case, shape, groups, eps in (
        ("group", (2, 6, 5, 3), 3, 1e-5),
        ("group_eps", (1, 8, 3, 7), 2, 1e-2),
        ("group_instance", (2, 5, 3, 3), 5, 1e-6),
        ("group_one", (3, 4, 1, 5), 1, 1e-5),
        ("group_tokens", (2, 6, 7), 2, 1e-5),
    ):
        f.add(
            case,
            "group_norm",
            lambda input, weight, bias: F.group_norm(input, groups, weight, bias, eps),
            dict(input=shape, weight=(shape[1],), bias=(shape[1],)),
            groups=groups,
            eps=eps,
        )
    f.add(
        "layer",
        "layer_norm",
        lambda input, weight, bias: F.layer_norm(input, (7,), weight, bias, 1e-5),
        dict(input=(2, 3, 7), weight=(7,), bias=(7,)),
        normalized_shape=[7],
        eps=1e-5,
    )
    f.add(
        "layer_two_axes",
        "layer_norm",
        lambda input, weight, bias: F.layer_norm(input, (3, 5), weight, bias, 1e-6),
        dict(input=(4, 3, 5), weight=(3, 5), bias=(3, 5)),
        normalized_shape=[3, 5],
        eps=1e-6,
    )
    f.add(
        "layer_plain",
        "layer_norm",
        lambda input: F.layer_norm(input, (33,), eps=1e-5),
        dict(input=(5, 33)),
        normalized_shape=[33],
        eps=1e-5,
    )
    f.add(
        "rms",
        "rms_norm",
        lambda input, weight: F.rms_norm(input, (9,), weight, 1e-6),
        dict(input=(3, 5, 9), weight=(9,)),
        normalized_shape=[9],
        eps=1e-6,
    )
    running = dict(running_mean=normal((5,), 150), running_var=normal((5,), 151).abs() + 0.5)

    def batch(training):
        def function(input, weight, bias, running_mean, running_var):
            mean, var = running_mean.clone(), running_var.clone()
            out = F.batch_norm(input, mean, var, weight, bias, training, 0.1, 1e-5)
            return out, mean, var  # the statistics after the call

        return function

    for training in (True, False):
        f.add(
            "batch_train" if training else "batch_eval",
            "batch_norm",
            batch(training),
            dict(input=(3, 5, 4, 3), weight=(5,), bias=(5,)),
            constants=running,
            outputs=("output", "new_running_mean", "new_running_var"),
            training=training,
            momentum=0.1,
            eps=1e-5,
        )
    f.save()


def attention():
    f = Family("attention", seed=200)

    def case(name, q, k, mask=None, **a):
        constants = {} if mask is None else {"mask": mask}

        def function(query, key, value, mask=None):
            return F.scaled_dot_product_attention(
                query, key, value, attn_mask=mask, is_causal=a.get("is_causal", False), scale=a.get("scale")
            )

        f.add(
            name,
            "scaled_dot_product_attention",
            function,
            dict(query=q, key=k, value=k),
            constants=constants,
            **a,
        )

    case("plain", (2, 3, 5, 8), (2, 3, 5, 8))
    case("cross", (2, 1, 7, 6), (2, 1, 3, 6))
    case("scaled", (1, 2, 5, 4), (1, 2, 9, 4), scale=0.3)
    case("causal", (2, 2, 9, 5), (2, 2, 9, 5), is_causal=True)
    # additive, broadcast over the heads
    case("mask_float", (2, 3, 5, 4), (2, 3, 7, 4), mask=normal((2, 1, 5, 7), 250))
    # true takes part; every query keeps at least one key
    keep = normal((2, 1, 5, 7), 251) > 0
    keep[..., 0] = True
    case("mask_bool", (2, 3, 5, 4), (2, 3, 7, 4), mask=keep)
    f.save()


def activation():
    f = Family("activation", seed=300)
    x = torch.cat([torch.linspace(-6, 6, 49), torch.tensor([0.0, -0.0, 1e-4, -1e-4, 20.0, -20.0])])
    f.add("gelu_erf", "gelu", lambda input: F.gelu(input), dict(input=x), approximate="none")
    f.add(
        "gelu_tanh",
        "gelu",
        lambda input: F.gelu(input, approximate="tanh"),
        dict(input=x),
        approximate="tanh",
    )
    f.add("silu", "silu", F.silu, dict(input=x))
    f.add("softmax", "softmax", lambda input: F.softmax(input, -1), dict(input=(3, 5, 7)), axis=-1)
    f.add("softmax_middle", "softmax", lambda input: F.softmax(input, 1), dict(input=(3, 5, 7)), axis=1)
    f.add("log_softmax", "log_softmax", lambda input: F.log_softmax(input, -1), dict(input=(5, 11)), axis=-1)
    f.save()


def resampling():
    f = Family("resampling", seed=400)
    for case, mode, size, a in (
        ("nearest_up", "nearest", (10, 14), {}),
        ("nearest_odd", "nearest", (8, 3), {}),
        ("bilinear_up", "bilinear", (10, 14), {"align_corners": False}),
        ("bilinear_odd", "bilinear", (8, 3), {"align_corners": False}),
        ("bilinear_corners", "bilinear", (9, 4), {"align_corners": True}),
        ("bilinear_corners_one", "bilinear", (1, 13), {"align_corners": True}),
    ):
        f.add(
            case,
            "interpolate",
            lambda input: F.interpolate(input, size=size, mode=mode, **a),
            dict(input=(2, 3, 5, 7)),
            mode=mode,
            size=list(size),
            **a,
        )
    f.save()


def pooling():
    f = Family("pooling", seed=500)
    for case, shape, a in (
        (
            "avg",
            (2, 3, 8, 6),
            dict(kernel_size=[2, 2], stride=[2, 2], padding=[0, 0], count_include_pad=True),
        ),
        (
            "avg_include",
            (1, 3, 7, 9),
            dict(kernel_size=[3, 3], stride=[2, 2], padding=[1, 1], count_include_pad=True),
        ),
        (
            "avg_exclude",
            (1, 3, 7, 9),
            dict(kernel_size=[3, 3], stride=[2, 2], padding=[1, 1], count_include_pad=False),
        ),
        (
            "avg_uneven",
            (2, 2, 9, 7),
            dict(kernel_size=[4, 3], stride=[3, 1], padding=[2, 0], count_include_pad=False),
        ),
    ):
        f.add(case, "avg_pool2d", lambda input: F.avg_pool2d(input, **a), dict(input=shape), **a)
    for case, shape, a in (
        ("max", (2, 3, 8, 6), dict(kernel_size=[2, 2], stride=[2, 2], padding=[0, 0], dilation=[1, 1])),
        (
            "max_padded",
            (1, 3, 7, 9),
            dict(kernel_size=[3, 3], stride=[2, 2], padding=[1, 1], dilation=[1, 1]),
        ),
        (
            "max_uneven",
            (2, 2, 9, 7),
            dict(kernel_size=[4, 3], stride=[3, 1], padding=[2, 0], dilation=[1, 2]),
        ),
    ):
        f.add(case, "max_pool2d", lambda input: F.max_pool2d(input, **a), dict(input=shape), **a)
    for size in ((1, 1), (3, 2), (5, 7)):
        name = f"{size[0]}x{size[1]}"
        f.add(
            f"adaptive_avg_{name}",
            "adaptive_avg_pool2d",
            lambda input: F.adaptive_avg_pool2d(input, size),
            dict(input=(2, 3, 7, 5)),
            output_size=list(size),
        )
        f.add(
            f"adaptive_max_{name}",
            "adaptive_max_pool2d",
            lambda input: F.adaptive_max_pool2d(input, size),
            dict(input=(2, 3, 7, 5)),
            output_size=list(size),
        )
    f.save()


def cross_entropy():
    f = Family("cross_entropy", seed=600)
    target = torch.tensor([3, 0, 6, 3, 2])
    for case, a in (
        ("mean", dict(reduction="mean", label_smoothing=0.0)),
        ("sum", dict(reduction="sum", label_smoothing=0.0)),
        ("none", dict(reduction="none", label_smoothing=0.0)),
        ("smoothed", dict(reduction="mean", label_smoothing=0.1)),
        ("ignored", dict(reduction="mean", label_smoothing=0.0, ignore_index=3)),
        ("ignored_smoothed", dict(reduction="mean", label_smoothing=0.2, ignore_index=3)),
    ):
        f.add(
            case,
            "cross_entropy",
            lambda logits, target: F.cross_entropy(logits, target, **a),
            dict(logits=(5, 7)),
            constants=dict(target=target),
            **a,
        )
    f.save()


if __name__ == "__main__":
    setup()
    for family in (convolution, normalisation, attention, activation, resampling, pooling, cross_entropy):
        family()
