"""Training rows that stay on a device: read once, then batches cost neither reading nor copying."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from data.loader import SeededBatchSampler, make_loader
from data.pose_dataset import PoseDataset
from utils.cell_lists import CellLists
from utils.errors import DiffPoseError
from utils.skeleton import HEATMAP_SIZE, NUM_HEATMAPS

READ_AT_ONCE = 256
# Lists of so many batches are joined at once: thousands of small blocks that stay would leave holes in the heap.
JOINED_AT_ONCE = 64
# Batches whose rows are copied to the device together.
BATCHES_AT_ONCE = 512
# Of a row whose maps are kept as they are; lists of cells are kept where they are smaller.
ROW_BYTES = 2 * NUM_HEATMAPS * HEATMAP_SIZE**2


class ResidentRows:
    """All rows of a dataset with heatmaps on one device.

    ``maps``: the heatmaps' positive cells as lists, 8 bytes each; or, where more than a quarter is positive (a floor of
    noise), the maps themselves, (R, 16, 64, 64) float16, 131 kB per row. ``target_m``: (R, J', 3) float32.
    """

    def __init__(self, maps: CellLists | Tensor, target_m: Tensor):
        self.maps, self.target_m = maps, target_m

    @classmethod
    def read(
        cls, dataset: PoseDataset, device: torch.device | str, *, workers: int = 0, show_progress: bool = True
    ) -> "ResidentRows":
        """Read every row. Raises DiffPoseError for a bad row, and when the device's memory does not hold them all."""
        parts: list[CellLists] = []
        recent: list[CellLists] = []
        whole = None
        targets: list[Tensor] = []
        loader = make_loader(dataset, batch_size=READ_AT_ONCE, workers=workers)
        try:
            for batch in tqdm(loader, desc=f"rows to {device}", unit="batch", disable=not show_progress, leave=False):
                maps = batch["heatmap"]
                if not targets and CellLists.from_maps(maps).nbytes > maps.nbytes:
                    whole = torch.empty(len(dataset), *maps.shape[1:], dtype=maps.dtype, device=device)
                if whole is None:
                    recent.append(CellLists.from_maps(maps).to(device))
                    if len(recent) == JOINED_AT_ONCE:
                        parts.append(CellLists.joined(recent))
                        recent = []
                else:
                    start = sum(map(len, targets))
                    whole[start : start + len(maps)] = maps.to(device)
                targets.append(batch["target_m"].to(device))
            return cls(CellLists.joined(parts + recent) if whole is None else whole, torch.cat(targets))
        except (MemoryError, RuntimeError) as error:
            full = isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
            if not full:  # of a CPU, torch says it in no type of its own
                raise
            raise DiffPoseError(
                f"{dataset.path}: TRAIN.ON_DEVICE: {device} has no room for the {len(dataset):,} rows (up to "
                f"{len(dataset) * ROW_BYTES / 2**30:.0f} GB, and twice that while cells are joined): set it to false"
            ) from None

    def batches(self, sampler: SeededBatchSampler) -> Iterator[dict[str, Tensor | CellLists]]:
        """Endless batches in a sampler's order: ``heatmap`` (B maps or their lists) and ``target_m`` (B, J', 3)."""
        order = iter(sampler)
        while True:
            block = np.array([next(order) for _ in range(BATCHES_AT_ONCE)], np.int64)
            for items in torch.from_numpy(block).to(self.target_m.device):
                maps = self.maps.batch(items) if isinstance(self.maps, CellLists) else self.maps[items]
                yield {"heatmap": maps, "target_m": self.target_m[items]}
