"""Simulated rows, block by block, as an HDF5 file."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from data.ambiguity import HARD_SUBSET_RULE
from data.hdf5.columnar import ColumnarWriter
from data.hdf5.compact import CompactForm
from data.schema import Field


def write_simulated(
    path: Path,
    blocks: Callable[[ColumnarWriter], Iterable[tuple[str, dict]]],
    *,
    source: str,
    attrs: Mapping[str, object],
    total: int,
    extra_fields: Iterable[Field],
    level: int = 4,
    compact: CompactForm | None = None,
    show_progress: bool = True,
    title: str = "simulating",
) -> dict[str, int]:
    """Write a file of simulated rows in the layout of Human3.6M; returns the rows of each split.

    Args:
        path: the file; it appears under its name only when it is whole.
        blocks: given the open writer, writes what belongs beside the rows (cameras) and returns pairs of a split and
            its next columns.
        source: the file's attribute ``source``.
        attrs: its other attributes; by default the detector is ``simulated``.
        total: how many rows there will be, for the progress bar, which ``title`` names.
        level, compact, extra_fields: as for :class:`ColumnarWriter`, whose errors are raised.
    """
    from tqdm import tqdm

    attrs = {
        "source": source,
        "detector": "simulated",
        "units": "gt_3d in mm, camera frame; gt_2d in px",
        "hard_subset": HARD_SUBSET_RULE,
        **attrs,
    }
    with (
        ColumnarWriter(
            path, dataset="h36m", attrs=attrs, level=level, compact=compact, extra_fields=extra_fields
        ) as writer,
        tqdm(total=total, unit="row", desc=title, disable=not show_progress) as bar,
    ):
        for split, columns in blocks(writer):
            writer.append(split, columns)
            bar.update(len(columns["action"]))
        return dict(writer.num_rows)
