"""What several tests share: the deterministic weights of the reference vectors, and recorded draws."""

import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from utils.randomness import FrameDraws

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures"


def deterministic_weights(model: nn.Module) -> nn.Module:
    """Fill a model with the weights that the reference vectors were made with: each entry follows from its name."""
    state = model.state_dict()
    schedule = [name for name in state if "." not in name]
    for name, value in state.items():
        if name in schedule or name.endswith("centers") or not value.is_floating_point():
            continue
        noise = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tuple(value.shape))
        if value.ndim >= 2:
            noise = noise / np.sqrt(np.prod(value.shape[1:]))
        elif name.endswith("running_var"):
            noise = 1 + np.abs(0.1 * noise)
        elif name.endswith(".weight"):
            noise = 1 + 0.05 * noise
        else:
            noise = 0.05 * noise
        value.copy_(torch.from_numpy(noise.astype(np.float32)))
    return model.eval()


class RecordedDraws(FrameDraws):
    """Draws that were recorded: {purpose: (B, *shape)}, and {purpose: [(B, *shape), ..]} for successive ones."""

    def __init__(self, records: dict, *, frames: list[int]):
        super().__init__(0, frames)
        self.records = records

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        return self.records[purpose]

    def normal(self, purpose: str, *shape: int) -> Tensor:
        value = self.records[purpose]
        assert value.shape[1:] == shape
        return value

    def normals(self, purpose: str, count: int, *shape: int):
        for value in self.records[purpose][:count]:
            assert value.shape[1:] == shape
            yield value

    def part(self, frames: slice) -> "RecordedDraws":
        assert frames.start == 0, "recorded draws are for one chunk"
        return self
