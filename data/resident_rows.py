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

READ_AT_ONCE = 256
# Batches whose rows are copied to the device together.
BATCHES_AT_ONCE = 512


class ResidentRows:
    """All rows of a dataset with heatmaps on one device, the maps as lists of their positive cells.

    ``cells``: the lists. ``target_m``: (R, J', 3) float32. A row takes 8 bytes a positive cell: a few kB for maps of
    the benchmark or in the compact form, up to 260 kB for maps whose floor is noise.
    """

    def __init__(self, cells: CellLists, target_m: Tensor):
        self.cells, self.target_m = cells, target_m

    @classmethod
    def read(
        cls, dataset: PoseDataset, device: torch.device | str, *, workers: int = 0, show_progress: bool = True
    ) -> "ResidentRows":
        """Read every row. Raises DiffPoseError for a bad row, and when the device's memory does not hold them all."""
        lists, targets = [], []
        loader = make_loader(dataset, batch_size=READ_AT_ONCE, workers=workers)
        try:
            for batch in tqdm(loader, desc=f"rows to {device}", unit="batch", disable=not show_progress, leave=False):
                lists.append(CellLists.from_maps(batch["heatmap"]).to(device))
                targets.append(batch["target_m"].to(device))
            # Piece by piece they would not be found in constant time; joining needs room for them twice.
            return cls(CellLists.joined(lists), torch.cat(targets))
        except (torch.OutOfMemoryError, MemoryError):
            held = sum(part.nbytes for part in lists) / 2**30
            raise DiffPoseError(
                f"{dataset.path}: TRAIN.ON_DEVICE: {sum(map(len, targets)):,} of {len(dataset):,} rows took {held:.1f} "
                f"GB, and {device} has no room for the rest or to join them: set it to false, or store the maps in the "
                "compact form (--compact)"
            ) from None

    def batches(self, sampler: SeededBatchSampler) -> Iterator[dict[str, Tensor | CellLists]]:
        """Endless batches of ``heatmap`` (cell lists of B rows) and ``target_m`` (B, J', 3), in a sampler's order."""
        order = iter(sampler)
        while True:
            block = np.array([next(order) for _ in range(BATCHES_AT_ONCE)], np.int64)
            for items in torch.from_numpy(block).to(self.target_m.device):
                yield {"heatmap": self.cells.batch(items), "target_m": self.target_m[items]}
