"""The device that computes: CPU, CUDA or MPS."""

import torch

from utils.errors import DiffPoseError

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(name: str) -> torch.device:
    """``auto`` takes CUDA, else MPS, else the CPU; ``cuda:1`` names one GPU.

    Raises DiffPoseError for an unknown name, or a device that this machine does not have.
    """
    kind = name.partition(":")[0]
    if kind not in DEVICES:
        raise DiffPoseError(f"--device {name}: it is one of {', '.join(DEVICES)}")
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if has[kind]))
    if not has[kind]:
        raise DiffPoseError(f"--device {name}: not available on this machine: use --device auto or cpu")
    return torch.device(name)
