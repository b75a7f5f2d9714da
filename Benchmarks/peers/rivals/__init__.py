"""The rivals: each module has a class with a `name` and the ways in which it may do a workload."""

from .llama_cpp import LlamaCpp
from .openvino import OpenVINO
from .pytorch import PyTorch

__all__ = ["all_rivals"]


def all_rivals(environment, compiles=True):
    """Every rival, ready to be asked for its ways."""
    return [
        PyTorch("stock", environment, compiles),
        PyTorch("tuned", environment, compiles),
        OpenVINO("openvino", environment),
        LlamaCpp("llama.cpp", environment),
    ]
