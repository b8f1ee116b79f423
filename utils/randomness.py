"""Explicit randomness: the key of a draw decides its numbers, never what was drawn before it.

Evaluation draws are keyed by (seed, frame, purpose) and training draws by (seed, step, purpose) for the whole global
batch. So they depend on neither batch size, chunks of hypotheses, loader workers nor ranks, and a run can be split,
resumed or sharded without changing its numbers.
"""

import random
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor


def seed_of(*key: int | str) -> int:
    """A 63-bit seed that depends on the whole key; text counts by its CRC-32."""
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else int(part) for part in key]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator(*key: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator for one key."""
    return torch.Generator(device=device).manual_seed(seed_of(*key))


class FrameDraws:
    """Evaluation draws for a batch of frames, keyed by (seed, frame, purpose).

    ``frames`` are the frames' numbers (rows of the split); every method returns tensors with the frames as the leading
    axis B, and the numbers of a frame are the same whatever batch it is in. ``name`` tells apart draws that would
    otherwise be equal; it goes before the purpose.
    """

    def __init__(self, seed: int, frames: Sequence[int], *, device: torch.device | str = "cpu", name: str = ""):
        self.seed = seed
        self.name = name
        self.frames = [int(frame) for frame in frames]
        self.device = torch.device(device)

    def _generators(self, purpose: str) -> list[torch.Generator]:
        purpose = f"{self.name} {purpose}" if self.name else purpose
        return [generator(self.seed, frame, purpose, device=self.device) for frame in self.frames]

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), (B, *shape)."""
        out = torch.empty(len(self.frames), *shape, device=self.device)
        for part, source in zip(out, self._generators(purpose), strict=True):
            part.uniform_(generator=source)
        return out

    def normal(self, purpose: str, *shape: int) -> Tensor:
        """Standard normal numbers, (B, *shape)."""
        return next(self.normals(purpose, 1, *shape))

    def normals(self, purpose: str, count: int, *shape: int) -> Iterator[Tensor]:
        """``count`` successive tensors of standard normal numbers, each (B, *shape)."""
        sources = self._generators(purpose)
        if self.device.type == "cuda":  # launches cost more than memory there, so one per frame
            out = torch.empty(len(self.frames), count, *shape, device=self.device)
            for part, source in zip(out, sources, strict=True):
                part.normal_(generator=source)
            yield from out.unbind(1)
            return
        for _ in range(count):
            out = torch.empty(len(self.frames), *shape, device=self.device)
            for part, source in zip(out, sources, strict=True):
                part.normal_(generator=source)
            yield out

    def part(self, frames: slice) -> "FrameDraws":
        """The draws of some of the frames."""
        return FrameDraws(self.seed, self.frames[frames], device=self.device, name=self.name)

    def named(self, name: str) -> "FrameDraws":
        """Other draws of the same frames."""
        return FrameDraws(self.seed, self.frames, device=self.device, name=name)


class StepDraws:
    """Training draws of one (micro-)step, keyed by (seed, step, purpose), for the whole global batch.

    Every rank draws for all ``global_batch`` items and keeps its own ``part``, so that the number of ranks does not
    change what an item gets.
    """

    def __init__(
        self, seed: int, step: int, *, global_batch: int, part: slice = slice(None), device: torch.device | str = "cpu"
    ):
        self.seed = seed
        self.step = step
        self.global_batch = global_batch
        self.part_of_batch = part
        self.device = torch.device(device)

    def _generator(self, purpose: str) -> torch.Generator:
        return generator(self.seed, self.step, purpose, device=self.device)

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), (B, *shape)."""
        source = self._generator(purpose)
        return torch.rand(self.global_batch, *shape, generator=source, device=self.device)[self.part_of_batch]

    def normal(self, purpose: str, *shape: int) -> Tensor:
        """Standard normal numbers, (B, *shape)."""
        source = self._generator(purpose)
        return torch.randn(self.global_batch, *shape, generator=source, device=self.device)[self.part_of_batch]

    def integers(self, purpose: str, high: int) -> Tensor:
        """Uniform integers in 0..high-1, (B,)."""
        source = self._generator(purpose)
        return torch.randint(high, (self.global_batch,), generator=source, device=self.device)[self.part_of_batch]


def generator_states(device: torch.device | str = "cpu") -> dict[str, Any]:
    """The states of Python's, numpy's and torch's global generators, in types that load with ``weights_only``.

    None of this project's draws depends on them; they are saved for code of others that draws from them.
    """
    kind, keys, *rest = cast(tuple, np.random.get_state())
    states: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(keys.astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
    }
    if torch.device(device).type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_generators(states: dict[str, Any], device: torch.device | str = "cpu") -> None:
    """Put the global generators back to what :func:`generator_states` gave."""
    random.setstate(states["python"])
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"].cpu())
    if "cuda" in states and torch.device(device).type == "cuda":
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)
