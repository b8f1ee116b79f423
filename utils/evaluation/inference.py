"""The loop that samples poses for every batch of a split."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor
from tqdm import tqdm

from utils.batch import model_input
from utils.randomness import FrameDraws


def predict(
    loader: Iterable[dict[str, Tensor]],
    sampler: Callable,
    *,
    seed: int,
    device: torch.device,
    description: str = "",
) -> Iterator[dict[str, Tensor]]:
    """Sample poses for every batch of a loader, with a progress bar.

    ``sampler`` is called with inputs (B, ...) and the draws of their rows, keyed by (seed, row), and returns
    ``hypotheses_mm`` (B, H, J, 3) and ``zero_noise_mm`` (B, J, 3). Yields the loader's batches with ``hypotheses_mm``
    and ``z0_mm`` added; the truth is moved to the same device.
    """
    for batch in tqdm(loader, desc=description, unit="batch", disable=not description, leave=False):
        samples = sampler(model_input(batch).to(device), FrameDraws(seed, batch["row"].tolist(), device=device))
        yield {
            **batch,
            "gt_mm": batch["gt_mm"].to(device),
            "hypotheses_mm": samples.hypotheses_mm,
            "z0_mm": samples.zero_noise_mm,
        }
