"""Heatmaps -> 2D joint candidates: cells drawn from each map, with the map's value there as their likelihood."""

from functools import singledispatchmethod

import torch
from torch import Tensor

from models.candidates import Candidates, Draws, cell_xy
from utils.cell_lists import CellLists
from utils.errors import DiffPoseError
from utils.skeleton import HEATMAP_SIZE, MPII_JOINTS

# Maps looked at together on a CPU: their copies stay in its caches, and the allocator keeps the memory.
ITEMS_AT_ONCE = 8
NORM_METHODS = ("image", "image_half", "mean_std", "mean_std_per_sample", "none")


class HeatmapSampler:
    """Draws S candidates for each joint from heatmaps.

    The map, clamped at 0 from below, is an unnormalised distribution over its 4096 cells: no threshold, no sharpening.
    ``num_samples``: S. ``with_argmax``: the first candidate is the map's maximum and S - 1 cells are drawn.
    ``replacement=False``: all H (S - 1) cells of a joint come from one draw without replacement. ``ordered``: the drawn
    candidates are sorted by falling likelihood, each joint by itself.
    """

    def __init__(
        self,
        *,
        num_samples: int,
        norm_method: str = "image",
        with_argmax: bool = True,
        replacement: bool = True,
        ordered: bool = False,
    ):
        self.num_samples = num_samples
        self.norm_method = norm_method
        self.with_argmax = with_argmax
        self.replacement = replacement
        self.ordered = ordered

    @property
    def num_drawn(self) -> int:
        """Cells drawn for each joint and hypothesis: S, or S - 1 beside the maximum."""
        return self.num_samples - int(self.with_argmax)

    def __call__(
        self, heatmaps: Tensor | CellLists, num_hypotheses: int, draws: Draws, *, purpose: str = "candidates"
    ) -> Candidates:
        """Draw H candidate sets for each of B items from (B, J, 64, 64) maps, or from lists of their cells.

        Raises DiffPoseError for a joint whose map has no positive value (unless the argmax alone is taken), and for
        more draws without replacement than a map has positive cells.
        """
        uniform = None
        if self.num_drawn:
            count = num_hypotheses * self.num_drawn if self.replacement else HEATMAP_SIZE**2
            uniform = draws.uniform(purpose, heatmaps.shape[1], count)  # (B, J, count)
        parts = self._peaks_and_drawn(heatmaps, num_hypotheses, uniform)
        normalisation = [self._normalisation(cell_xy(cells)) for cells, _ in parts]
        on_grid = all(center.numel() == 1 for center, _ in normalisation)
        if on_grid:
            center, scale = normalisation[0]
        else:
            center, scale = (
                torch.cat(
                    [
                        stat.expand(-1, -1, -1, cells.shape[-1], -1)
                        for stat, (cells, _) in zip(stats, parts, strict=True)
                    ],
                    dim=3,
                )
                for stats in zip(*normalisation, strict=True)
            )
        cells, likelihood = (torch.cat(part, dim=-1) for part in zip(*parts, strict=True))
        return Candidates(cells=cells, likelihood=likelihood, center=center, scale=scale, on_grid=on_grid)

    @singledispatchmethod
    def _peaks_and_drawn(
        self, heatmaps: Tensor, num_hypotheses: int, uniform: Tensor | None
    ) -> list[tuple[Tensor, Tensor]]:
        """Cells and likelihoods (B, H, J, S'): of the maxima, if they are wanted, and of what is drawn, if anything is.

        ``heatmaps``: maps (B, J, 64, 64), or lists of their cells (which draw with replacement only).
        """
        if uniform is None:
            return [self._peaks(heatmaps, num_hypotheses)]
        batch = heatmaps.shape[0]
        size = ITEMS_AT_ONCE if heatmaps.device.type == "cpu" else max(1, batch)
        pieces = [
            self._from_maps(maps.float(), num_hypotheses, numbers, start)
            for start, maps, numbers in zip(
                range(0, batch, size), heatmaps.split(size), uniform.split(size), strict=True
            )
        ]
        return [tuple(map(torch.cat, zip(*piece, strict=True))) for piece in zip(*pieces, strict=True)]

    @_peaks_and_drawn.register
    def _(self, lists: CellLists, num_hypotheses: int, uniform: Tensor | None) -> list[tuple[Tensor, Tensor]]:
        parts = []
        if self.with_argmax:
            shape = (-1, num_hypotheses, -1, -1)
            parts.append(tuple(part[:, None, :, None].expand(shape) for part in lists.peak_cells()))
        if uniform is not None:
            drawn = (self._by_hypothesis(part, num_hypotheses) for part in lists.draw(uniform))
            parts.append(self._in_order(*drawn))
        return parts

    def _from_maps(self, maps: Tensor, num_hypotheses: int, uniform: Tensor, first: int) -> list[tuple[Tensor, Tensor]]:
        """The same for a few float32 maps (B, J, 64, 64); ``first``: the number of the first item, for messages."""
        peaks = [self._peaks(maps, num_hypotheses)] if self.with_argmax else []
        weights = maps.flatten(2).clamp(min=0)
        draw = self._with_replacement if self.replacement else self._without_replacement
        cells = draw(weights, num_hypotheses, uniform, first)  # (B, H, J, S')
        spread = weights.unsqueeze(1).expand(-1, num_hypotheses, -1, -1)
        return [*peaks, self._in_order(cells, spread.gather(-1, cells))]

    @staticmethod
    def _peaks(heatmaps: Tensor, num_hypotheses: int) -> tuple[Tensor, Tensor]:
        """Cell and value of each map's first maximum, (B, H, J, 1) each, the same for all hypotheses."""
        best, row = heatmaps.float().amax(-1).max(-1, keepdim=True)  # (B, J, 1); rows first: a fraction of the time
        values = heatmaps.gather(2, row[..., None].expand(-1, -1, -1, heatmaps.shape[-1])).squeeze(2)
        cell = row * HEATMAP_SIZE + values.float().argmax(-1, keepdim=True)
        shape = (-1, num_hypotheses, -1, -1)
        return cell.unsqueeze(1).expand(shape), best.unsqueeze(1).expand(shape)

    def _in_order(self, cells: Tensor, likelihood: Tensor) -> tuple[Tensor, Tensor]:
        """Cells and likelihoods (B, H, J, S'), sorted if they should be."""
        if self.ordered:
            likelihood, order = likelihood.sort(dim=-1, descending=True, stable=True)
            cells = cells.gather(-1, order)
        return cells, likelihood

    def _by_hypothesis(self, drawn: Tensor, num_hypotheses: int) -> Tensor:
        """(B, J, H S') -> (B, H, J, S')."""
        return drawn.unflatten(-1, (num_hypotheses, self.num_drawn)).transpose(1, 2)

    def _with_replacement(self, weights: Tensor, num_hypotheses: int, uniform: Tensor, first: int) -> Tensor:
        cumulative = weights.cumsum(dim=-1)
        total = cumulative[..., -1:]
        _require_positive(total.squeeze(-1), first)
        # Strictly below the total, so that rounding can't reach past the last positive cell.
        level = torch.minimum(uniform * total, torch.nextafter(total, torch.zeros_like(total)))
        cells = torch.searchsorted(cumulative, level, right=True)
        return self._by_hypothesis(cells, num_hypotheses)

    def _without_replacement(self, weights: Tensor, num_hypotheses: int, uniform: Tensor, first: int) -> Tensor:
        batch, joints, _ = weights.shape
        wanted = num_hypotheses * self.num_drawn
        positive = (weights > 0).sum(dim=-1)
        _require_positive(positive, first)
        if int(positive.min()) < wanted:
            item, joint = divmod(int(positive.flatten().argmin()), joints)
            raise DiffPoseError(
                f"NO_REPLACEMENT: {wanted} draws ({num_hypotheses} hypotheses x {self.num_drawn}) but the heatmap of "
                f"item {first + item}, joint {MPII_JOINTS[joint]} has {int(positive.min())} positive cells: lower "
                "NUM_SAMPLES or the number of hypotheses, or draw with replacement"
            )
        # An exponential race: the k smallest of E_i / w_i are a weighted draw of k cells without replacement.
        race = -torch.log1p(-uniform) / weights
        cells = race.topk(wanted, dim=-1, largest=False, sorted=True).indices
        # Dealt out like cards: the first cells of a draw are the likeliest, and no hypothesis should get them all.
        return cells.view(batch, joints, self.num_drawn, num_hypotheses).permute(0, 3, 1, 2)

    def _normalisation(self, xy: Tensor) -> tuple[Tensor, Tensor]:
        """Center and scale of positions (B, H, J, S, 2); statistics pool over all H hypotheses of an item."""
        if self.norm_method == "mean_std":
            pooled: tuple[int, ...] = (1, 2, 3)
        elif self.norm_method == "mean_std_per_sample":
            pooled = (1, 2)
        else:
            half = HEATMAP_SIZE / 2
            width = HEATMAP_SIZE if self.norm_method == "image_half" else half
            return xy.new_full((1, 1, 1, 1, 1), half), xy.new_full((1, 1, 1, 1, 1), width)
        center = xy.mean(dim=pooled, keepdim=True)
        scale = (xy - center).std(dim=(*pooled, 4), keepdim=True)
        return center, scale.clamp(min=1e-6)


def _require_positive(total: Tensor, first: int) -> None:
    """Raise for a joint without a positive value, from the maps' sums (B, J).

    Only on a CPU: reading a number back from a GPU would make the host wait, and the loader has checked the maps.
    """
    if total.device.type == "cpu" and bool((total <= 0).any()):
        item, joint = (int(i) for i in (total <= 0).nonzero()[0])
        raise DiffPoseError(
            f"the heatmap of item {first + item}, joint {MPII_JOINTS[joint]} has no positive value, so nothing can be "
            "drawn from it: leave the item out (eval.py --skip_bad) or repair its heatmap"
        )
