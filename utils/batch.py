"""What a loader's batch holds for the model."""

from collections.abc import Mapping

from torch import Tensor

from utils.cell_lists import CellLists


def model_input(batch: Mapping[str, Tensor | CellLists]) -> Tensor | CellLists:
    """What the model looks at: heatmaps (B, 16, 64, 64), as maps or lists of their cells, or else 2D poses (B, P)."""
    return batch["heatmap"] if "heatmap" in batch else batch["pose_2d"]
