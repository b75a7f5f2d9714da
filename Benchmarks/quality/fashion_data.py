"""Fashion-MNIST from its IDX files, as the Debian package dataset-fashion-mnist installs them."""

import gzip
import pathlib
import sys

import numpy as np

DEFAULT = pathlib.Path("/usr/share/datasets/fashion-mnist")
CLASSES = [
    "T-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
]


def read_idx(path):
    """An IDX file of unsigned bytes: magic 00 00 08 rank, big-endian sizes, values."""
    try:
        raw = gzip.decompress(path.read_bytes())
    except OSError as error:
        sys.exit(
            f"{path}: {error.strerror or error}: install the package dataset-fashion-mnist,"
            " or name the folder with --data"
        )
    rank = raw[3]
    shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank)]
    values = np.frombuffer(raw, np.uint8, offset=4 + 4 * rank)
    if raw[:3] != b"\0\0\x08" or values.size != np.prod(shape):
        sys.exit(f"{path}: not an IDX file of bytes, or cut short")
    return values.reshape(shape)


def load(folder, split):
    """(images (N, 28, 28) uint8, labels (N,) uint8); split is train or t10k."""
    images = read_idx(folder / f"{split}-images-idx3-ubyte.gz")
    return images, read_idx(folder / f"{split}-labels-idx1-ubyte.gz")
