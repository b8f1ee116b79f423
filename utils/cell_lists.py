"""Heatmaps as lists of their positive cells: enough to draw joint candidates, and small enough for a GPU."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from utils.skeleton import HEATMAP_SIZE

# A list has at most 4096 = 2^12 cells: this many halvings find one of them.
HALVINGS = 12


@dataclass(frozen=True)
class CellLists:
    """The positive cells of the heatmaps of R items x J joints, one list after the other, N cells in all.

    Attributes:
        cells: (N,) int16, row-major cell numbers, rising within each list.
        values: (N,) float16 or float32, the values of the maps there.
        cumulative: (N,) float32, the running sum of a list's values.
        starts: (R J + 1,) int64, where each list begins.
        peaks: (R J,) int64, the place of each list's first maximum.
        items: (B,) int64, the items of this batch.
        num_joints: J.
    """

    cells: Tensor
    values: Tensor
    cumulative: Tensor
    starts: Tensor
    peaks: Tensor
    items: Tensor
    num_joints: int

    @classmethod
    def from_maps(cls, heatmaps: Tensor) -> "CellLists":
        """From maps (R, J, 64, 64). Raises ValueError if a map has no positive cell."""
        flat = heatmaps.reshape(-1, HEATMAP_SIZE**2)  # one row per map
        places = _positive_places(flat)
        maps, cells = places // HEATMAP_SIZE**2, places % HEATMAP_SIZE**2
        counts = torch.bincount(maps, minlength=len(flat))
        if not bool(counts.all()):
            raise ValueError("a heatmap has no positive value")
        starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        values = flat.reshape(-1)[places]
        # Lists side by side, filled up with zeros: their running sums are those of the maps, to the bit.
        within = torch.arange(len(places), device=places.device) - starts[maps]
        padded = values.new_zeros(len(flat), int(counts.max()), dtype=torch.float32)
        padded[maps, within] = values.float()
        return cls(
            cells=cells.to(torch.int16),
            values=values,
            cumulative=padded.cumsum(-1)[maps, within],
            starts=starts,
            peaks=starts[:-1] + padded.argmax(-1),  # the first maximum, like argmax on a CPU and in numpy
            items=torch.arange(len(heatmaps), device=heatmaps.device),
            num_joints=heatmaps.shape[1],
        )

    @classmethod
    def joined(cls, parts: Sequence["CellLists"]) -> "CellLists":
        """All items of several lists, in order."""
        offsets = [0]
        for part in parts:
            offsets.append(offsets[-1] + len(part.cells))
        shifted = list(zip(parts, offsets[:-1], strict=True))
        starts = [part.starts[:-1] + offset for part, offset in shifted]
        return cls(
            cells=torch.cat([part.cells for part in parts]),
            values=torch.cat([part.values for part in parts]),
            cumulative=torch.cat([part.cumulative for part in parts]),
            starts=torch.cat([*starts, starts[0].new_tensor(offsets[-1:])]),
            peaks=torch.cat([part.peaks + offset for part, offset in shifted]),
            items=torch.arange(sum(len(part.items) for part in parts), device=parts[0].items.device),
            num_joints=parts[0].num_joints,
        )

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, J, 64, 64): the shape of the maps that this batch stands for."""
        return len(self.items), self.num_joints, HEATMAP_SIZE, HEATMAP_SIZE

    @property
    def device(self) -> torch.device:
        return self.cells.device

    @property
    def nbytes(self) -> int:
        """Bytes of all lists."""
        return sum(part.nbytes for part in (self.cells, self.values, self.cumulative, self.starts, self.peaks))

    def batch(self, items: Tensor) -> "CellLists":
        """A batch of ``items`` (B,) int64, which are on the same device; nothing is copied."""
        return replace(self, items=items)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "CellLists":
        names = ("cells", "values", "cumulative", "starts", "peaks", "items")
        return replace(self, **{name: getattr(self, name).to(device, non_blocking=non_blocking) for name in names})

    def _lists(self) -> Tensor:
        """The numbers (B, J) of the batch's lists."""
        return self.items[:, None] * self.num_joints + torch.arange(self.num_joints, device=self.device)

    def peak_cells(self) -> tuple[Tensor, Tensor]:
        """Cell (int64) and value (float32) of each map's first maximum, (B, J) each."""
        places = self.peaks[self._lists()]
        return self.cells[places].long(), self.values[places].float()

    def draw(self, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Cells (int64) drawn with replacement and their values (float32), from uniform numbers, (B, J, K) each.

        This inverts the cumulative sum, and gives to the bit what :class:`models.heatmap_sampler.HeatmapSampler` draws
        from the maps themselves.
        """
        lists = self._lists()[..., None]
        low, high = self.starts[lists], self.starts[lists + 1] - 1
        total = self.cumulative[high]
        # Strictly below the total, so that rounding can't reach past the last cell.
        level = torch.minimum(uniform * total, torch.nextafter(total, torch.zeros_like(total)))
        low, high = low.expand_as(level), high.expand_as(level)
        for _ in range(HALVINGS):  # low .. high holds the first cell whose cumulative sum exceeds the level
            middle = (low + high) // 2
            above = self.cumulative[middle] > level
            low, high = torch.where(above, low, middle + 1), torch.where(above, middle, high)
        return self.cells[high].long(), self.values[high].float()


def _positive_places(values: Tensor) -> Tensor:
    """Places (N,) int64 of the positive numbers of a tensor, in the order of its memory."""
    if values.dtype == torch.float16:
        # Positive float16 numbers are those whose bits are positive integers up to infinity's: no conversion needed.
        bits = values.contiguous().view(torch.int16)
        positive = (bits > 0) & (bits <= 0x7C00)
    else:
        positive = values > 0
    return positive.reshape(-1).nonzero().squeeze(1)
