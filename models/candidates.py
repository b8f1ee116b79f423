"""What a condition is made from: drawn joint candidates, whole heatmaps, or a 2D pose.

All three have a length (B items), can be sliced by items, and give ``rows()``, which is what the embeddings take: one
row for each condition vector. The two made from heatmaps also know the sums that the embedding transformer needs.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from utils.errors import DiffPoseError
from utils.skeleton import HEATMAP_SIZE


class Draws(Protocol):
    """Where uniform numbers come from: see :mod:`utils.randomness`."""

    def uniform(self, purpose: str, *shape: int) -> Tensor: ...


def cell_xy(cells: Tensor) -> Tensor:
    """Cell numbers (...) -> (column, row) as float32 (..., 2)."""
    return torch.stack([cells % HEATMAP_SIZE, cells // HEATMAP_SIZE], dim=-1).float()


@dataclass(frozen=True)
class Candidates:
    """Joint candidates on the heatmap grid: H sets for each of B items, S candidates for each joint.

    ``cells``: (B, H, J, S) int64, row-major cell numbers (column x = cell mod 64, row y = cell div 64).
    ``likelihood``: (B, H, J, S) float32, the map's value at the cell.
    ``center`` and ``scale``: normalised position = (cell's (x, y) - center) / scale; center broadcasts over
    (B, H, J, S, 2), scale over (B, H, J, S, 1). ``on_grid``: center and scale are the same for everything, so there are
    only 64 different positions on an axis.
    """

    cells: Tensor
    likelihood: Tensor
    center: Tensor
    scale: Tensor
    on_grid: bool

    def __len__(self) -> int:
        return self.cells.shape[0]

    def __getitem__(self, items: slice) -> "Candidates":
        """Some of the items."""
        shared = self.on_grid
        return replace(
            self,
            cells=self.cells[items],
            likelihood=self.likelihood[items],
            center=self.center if shared else self.center[items],
            scale=self.scale if shared else self.scale[items],
        )

    def rows(self) -> "Candidates":
        """Items and hypotheses as one leading axis: (B * H, 1, J, S)."""
        batch, hypotheses = self.cells.shape[:2]
        if self.on_grid:
            center, scale = self.center, self.scale
        else:
            center, scale = (
                stat.expand(batch, hypotheses, *stat.shape[2:]).flatten(0, 1).unsqueeze(1)
                for stat in (self.center, self.scale)
            )
        return replace(
            self,
            cells=self.cells.flatten(0, 1).unsqueeze(1),
            likelihood=self.likelihood.flatten(0, 1).unsqueeze(1),
            center=center,
            scale=scale,
        )

    @property
    def count(self) -> int:
        """Candidates for each joint, S."""
        return self.cells.shape[-1]

    @property
    def positions(self) -> Tensor:
        """Normalised (x, y), (B, H, J, S, 2)."""
        return (cell_xy(self.cells) - self.center) / self.scale

    @property
    def weights(self) -> Tensor:
        """Of rows: the likelihoods, (R, J, S)."""
        return self.likelihood.squeeze(1)

    @property
    def grid(self) -> Tensor:
        """The 64 normalised positions of an axis, (64,); only for ``on_grid`` candidates."""
        cells = torch.arange(HEATMAP_SIZE, device=self.cells.device, dtype=self.scale.dtype)
        return (cells - self.center.flatten()[0]) / self.scale.flatten()[0]

    def spread(self) -> Tensor:
        """Of rows: standard deviation of a joint's positions over candidates and both axes, (R, J)."""
        return self.positions.flatten(3).std(dim=-1)[:, 0]

    def axis_histograms(self, weights: Tensor) -> Tensor:
        """Of rows: weights (R, J, S) summed by column and by row of their cells, side by side: (R, J, 64 + 64)."""
        cells = self.cells.squeeze(1)
        histogram = weights.new_zeros(*weights.shape[:2], 2 * HEATMAP_SIZE)
        histogram.scatter_add_(-1, cells % HEATMAP_SIZE, weights)
        histogram.scatter_add_(-1, HEATMAP_SIZE + cells // HEATMAP_SIZE, weights)
        return histogram

    def sum_over_cells(self, table: Tensor, weights: Tensor) -> Tensor:
        """Of rows: weights (R, J, S) times the entries of a table (4096, D) at their cells, summed: (R, J, D)."""
        bags = self.cells.flatten(0, 2)
        summed = F.embedding_bag(bags, table, per_sample_weights=weights.flatten(0, 1).to(table.dtype), mode="sum")
        return summed.view(*weights.shape[:2], -1)


@dataclass(frozen=True)
class WholeHeatmaps:
    """All 4096 cells of each map as candidates, shared by all hypotheses: ``maps`` (B, J, 64, 64)."""

    maps: Tensor
    on_grid = True
    count = HEATMAP_SIZE**2

    def __len__(self) -> int:
        return self.maps.shape[0]

    def __getitem__(self, items: slice) -> "WholeHeatmaps":
        return WholeHeatmaps(self.maps[items])

    def rows(self) -> "WholeHeatmaps":
        """One row for each item."""
        return self

    @property
    def weights(self) -> Tensor:
        """The likelihoods, (B, J, 64, 64) float32: the maps' values, negative ones as 0."""
        return self.maps.float().clamp(min=0)

    @property
    def grid(self) -> Tensor:
        """The 64 normalised positions of an axis, (64,)."""
        return torch.linspace(-1, 1, HEATMAP_SIZE, device=self.maps.device)

    def spread(self) -> Tensor:
        """There is none to measure. Raises DiffPoseError."""
        raise DiffPoseError("DROP_METHOD uncertain needs drawn candidates: it can't go with FULL_HEATMAP")

    def axis_histograms(self, weights: Tensor) -> Tensor:
        """Weights (B, J, 64, 64) summed by column and by row, side by side: (B, J, 64 + 64)."""
        return torch.cat([weights.sum(2), weights.sum(3)], dim=-1)

    def sum_over_cells(self, table: Tensor, weights: Tensor) -> Tensor:
        """Weights (B, J, 64, 64) times the entries of a table (4096, D), summed over the cells: (B, J, D)."""
        return weights.flatten(2) @ table.to(weights.dtype)


@dataclass(frozen=True)
class Poses2D:
    """A 2D pose for each item, shared by all hypotheses: ``values`` (B, P)."""

    values: Tensor

    def __len__(self) -> int:
        return self.values.shape[0]

    def __getitem__(self, items: slice) -> "Poses2D":
        return Poses2D(self.values[items])

    def rows(self) -> "Poses2D":
        """One row for each item."""
        return self


ConditionInput = Candidates | WholeHeatmaps | Poses2D
