#!/usr/bin/env python3
"""Judges generated Fashion-MNIST pictures with a small convolutional network trained on the real ones.

Input: an .npz with `arr_0`, uint8 (N, 28, 28, 1), as `kalsae sample -o FILE.npz` writes it. Prints JSON:

- frechet: Frechet distance |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of the judge's 128 penultimate
  features (after ReLU) to those of the 10,000 real test images. Its scale is that of these features: compare
  it with `real_frechet`, the same for as many real training images, and with rivals under this judge only.
- confidence: mean probability of the most probable class; class_shares: share of samples by that class.
- nearest: mean distance to the nearest of 60,000 training images, in pixels (of values 0 to 1) and in
  features, of the samples and of the real test images. Copies of training images would be closer than real
  test images are: `copies` is the share of samples closer than 99 % of the test images are, about 0.01
  for pictures that are not copied. (Smooth pictures have a lower mean in pixels: test images blurred by 1.5
  pixels have 0.96 of it, and no copies.)

With --check the exit status is 1 unless the samples reach the limits given by the options, every class has
between 3 and 25 % of them, and no more than 2 % are copies.

The judge trains once, in about a minute on two cores, and is kept in the user's cache folder.
"""

import argparse
import json
import os
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F
from fashion_data import CLASSES, DEFAULT, load
from torch import nn

FEATURES = 128
EPOCHS = 4
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "kalsae"


class Judge(nn.Module):
    """Two convolutions and two linear layers, (N, 1, 28, 28) in [0, 1] to ten classes."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.hidden = nn.Linear(64 * 7 * 7, FEATURES)
        self.classes = nn.Linear(FEATURES, 10)

    def features(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return F.relu(self.hidden(x.flatten(1)))

    def forward(self, x):
        return self.classes(F.dropout(self.features(x), 0.25, self.training))


def pixels(images):
    """(N, 1, 28, 28) float32 in [0, 1] of uint8 (N, 28, 28)."""
    return torch.tensor(images, dtype=torch.float32).div_(255).unsqueeze(1)


def train(images, labels):
    """A seeded judge: Adam, batches of 128, one-cycle learning rate."""
    torch.manual_seed(0)
    model, x, y = Judge(), pixels(images), torch.from_numpy(labels).long()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    steps = EPOCHS * (len(x) // 128)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for epoch in range(EPOCHS):
        order = torch.randperm(len(x))
        for batch in order[: len(x) // 128 * 128].split(128):
            optimizer.zero_grad()
            F.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
            schedule.step()
        print(f"judge: epoch {epoch + 1}/{EPOCHS}", file=sys.stderr)
    return model.eval()


@torch.inference_mode()
def evaluate(model, images):
    """(features (N, 128) float64, class probabilities (N, 10))."""
    features = torch.cat([model.features(x) for x in pixels(images).split(500)])
    return features.double().numpy(), model.classes(features).softmax(1).numpy()


def judge(cache, train_set, test_set):
    """The trained judge from the cache, or a new one."""
    path = cache / f"fashion-judge-{FEATURES}-{EPOCHS}.pt"
    model = Judge().eval()
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
    else:
        model = train(*train_set)
        cache.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        torch.save(model.state_dict(), partial)
        partial.rename(path)
    accuracy = (evaluate(model, test_set[0])[1].argmax(1) == test_set[1]).mean()
    return model, float(accuracy)


def frechet(a, b):
    """Frechet distance of two Gaussians fitted to the rows of a and b."""
    ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(ca)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    # tr (ca cb)^(1/2) = tr (root cb root)^(1/2), and that matrix is symmetric
    cross = np.sqrt(np.linalg.eigvalsh(root @ cb @ root).clip(0)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca) + np.trace(cb) - 2 * cross)


def nearest(samples, references):
    """Euclidean distance of each row to the nearest row of references."""
    samples, references = (torch.as_tensor(v, dtype=torch.float32) for v in (samples, references))
    squares = references.square().sum(1)
    index = torch.cat([(squares - 2 * x @ references.T).argmin(1) for x in samples.split(250)])
    return (samples - references[index]).norm(dim=1).numpy()  # the exact distance to the one found


def flat(images):
    return images.reshape(len(images), -1).astype(np.float32) / 255


def read_samples(path):
    try:
        with np.load(path) as file:
            samples = file["arr_0"]
    except (OSError, KeyError, ValueError) as error:
        sys.exit(f"{path}: not an .npz with arr_0: {error}")
    if samples.dtype != np.uint8 or samples.shape[1:] not in ((28, 28), (28, 28, 1)):
        sys.exit(f"{path}: arr_0 is {samples.dtype} {samples.shape}, not uint8 (N, 28, 28, 1)")
    if len(samples) <= FEATURES:
        sys.exit(
            f"{path}: {len(samples)} samples; the covariance of {FEATURES} features needs more, best 2,000"
        )
    return samples.reshape(-1, 28, 28)


def report(samples, train_set, test_set, model, accuracy):
    found, probabilities = evaluate(model, samples)
    real_test, real_train = evaluate(model, test_set[0])[0], evaluate(model, train_set[0])[0]
    rows = np.random.default_rng(0).choice(
        len(real_train), len(samples), replace=len(samples) > len(real_train)
    )
    shares = np.bincount(probabilities.argmax(1), minlength=10) / len(samples)
    distances = {}
    for space, of_samples, of_test, references in (
        ("pixels", flat(samples), flat(test_set[0]), flat(train_set[0])),
        ("features", found, real_test, real_train),
    ):
        ours, theirs = nearest(of_samples, references), nearest(of_test, references)
        distances[space] = {
            "samples": float(ours.mean()),
            "test_images": float(theirs.mean()),
            "ratio": float(ours.mean() / theirs.mean()),
            "copies": float((ours < np.quantile(theirs, 0.01)).mean()),
        }
    return {
        "samples": len(samples),
        "features": FEATURES,
        "judge_accuracy": accuracy,
        "frechet": frechet(found, real_test),
        "real_frechet": frechet(real_train[rows], real_test),
        "confidence": float(probabilities.max(1).mean()),
        "real_confidence": float(evaluate(model, test_set[0])[1].max(1).mean()),
        "class_shares": {name: float(share) for name, share in zip(CLASSES, shares, strict=True)},
        "nearest": distances,
    }


def failures(result, options):
    if result["frechet"] > options.max_frechet:
        yield f"Frechet distance {result['frechet']:.1f}, at most {options.max_frechet:g} required"
    if result["confidence"] < options.min_confidence:
        yield f"confidence {result['confidence']:.3f}, at least {options.min_confidence:g} required"
    for name, share in result["class_shares"].items():
        if not 0.03 <= share <= 0.25:
            yield f"{name}: {share:.1%} of the samples, 3 to 25 % required"
    for space, distances in result["nearest"].items():
        if distances["copies"] > 0.02:
            yield f"{distances['copies']:.1%} of the samples are near copies of training images, in {space}"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("samples", type=pathlib.Path)
    parser.add_argument(
        "--data", type=pathlib.Path, default=DEFAULT, help=f"folder of the IDX files; {DEFAULT}"
    )
    parser.add_argument("--cache", type=pathlib.Path, default=CACHE, help=f"where the judge is kept; {CACHE}")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--check", action="store_true", help="exit 1 if the samples miss a limit")
    parser.add_argument("--max-frechet", type=float, default=38)
    parser.add_argument("--min-confidence", type=float, default=0.80)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    samples = read_samples(options.samples)
    train_set, test_set = load(options.data, "train"), load(options.data, "t10k")
    model, accuracy = judge(options.cache, train_set, test_set)
    result = report(samples, train_set, test_set, model, accuracy)
    print(json.dumps(result, indent=1))
    missed = list(failures(result, options)) if options.check else []
    for line in missed:
        print(f"fashion_quality.py: {line}", file=sys.stderr)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
