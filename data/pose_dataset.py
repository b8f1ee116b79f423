"""The dataset behind training and evaluation: lazy, worker-safe, and the same for every source of rows."""

import os
from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from data.hdf5.access import listed
from data.hdf5.row_meta import RowMeta
from data.hdf5.split_file import SplitFile
from data.pose_items import annotated_pose_2d, detected_pose_2d, target_m, truth_mm
from data.schema import TRUTH_COLUMN
from utils.errors import DiffPoseError
from utils.heatmaps import peak_bits
from utils.skeleton import MPII_JOINTS

_POSE_2D_COLUMN = {"p2d_hrnet": "argmax_2d", "p2d_gt": "gt_2d"}
CONDITION_KEYS = ("heatmaps", *_POSE_2D_COLUMN)
_SKIP = "fix the row, or leave such rows out with --skip_bad"


class PoseDataset(Dataset):
    """Rows of a split as CPU tensors; nothing but the rows' names is held in memory.

    Args:
        path: HDF5 file in the published or the columnar layout.
        dataset: ``h36m``, ``3DHP``, ``3dpw`` or ``SkiPose``.
        split: ``train`` or ``test``.
        subjects, actions: keep only these; None keeps all.
        stride: keep every stride-th row of the split's table, by row number, before the other filters.
        hard_only: keep every row marked as hard; the stride does not apply.
        condition_key: what an item carries: ``heatmaps``, or a 2D pose: ``p2d_hrnet`` or ``p2d_gt``.
        skip_bad: give unusable rows as ``valid`` False with harmless content, instead of an error.
        show_progress: show the bar of a published file's first scan.

    An item is a dict of ``row`` (int64, row number in the file's split), ``heatmap`` (16, 64, 64) float16 or
    ``pose_2d`` (32,) or (36,) float32, ``target_m`` (16, 3) or (24, 3) float32, ``gt_mm`` (17, 3) or (24, 3) float32
    (see data/pose_items.py for these three) and ``valid`` (bool).

    Attributes: ``rows`` (int64), ``meta`` (columns by name, aligned with ``rows``), ``source``, ``detector``,
    ``is_human36m``, ``dataset``, ``path``.

    Raises DiffPoseError for an unusable file, an unknown key, filters that leave no row, and, when an item is read,
    for a non-finite pose or heatmap and for a joint whose heatmap has no positive value.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        dataset: str = "h36m",
        split: str = "train",
        subjects: Sequence[str] | None = None,
        actions: Sequence[str] | None = None,
        stride: int = 1,
        hard_only: bool = False,
        condition_key: str = "heatmaps",
        skip_bad: bool = False,
        show_progress: bool = True,
    ):
        if condition_key not in CONDITION_KEYS:
            raise DiffPoseError(
                f"unknown condition '{condition_key}': MODEL.CONDITION_KEY is one of {', '.join(CONDITION_KEYS)}"
            )
        if stride < 1:
            raise DiffPoseError(f"stride {stride}: it must be at least 1 (every row)")
        self._file = SplitFile(path, dataset=dataset, split=split, show_progress=show_progress)
        self.path, self.dataset = self._file.path, self._file.dataset
        self.condition_key, self.skip_bad, self.stride = condition_key, skip_bad, 1 if hard_only else stride
        needed = _POSE_2D_COLUMN.get(condition_key)
        if needed is not None and needed not in self._file.columns:
            raise DiffPoseError(
                f"{self.path}: {self._file.split} has no field '{needed}': MODEL.CONDITION_KEY {condition_key} needs it"
            )
        self.rows = self._filter(subjects, actions, stride, hard_only)
        self.meta: RowMeta = self._file.meta.take(self.rows)
        # From here on workers inherit or unpickle this object: the names of the rows that were left out stay behind.
        del self._file.meta

    @property
    def source(self) -> str:
        """What the file says it was made from."""
        return self._file.source

    @property
    def detector(self) -> str:
        """What made the heatmaps, as the file says."""
        return self._file.detector

    @property
    def is_human36m(self) -> bool:
        """The rows are Human3.6M's, not the synthetic benchmark's or others'."""
        return self._file.is_human36m

    @property
    def cameras(self) -> dict[tuple[str, str], dict[str, np.ndarray]]:
        """(subject, cam) -> ``K`` (3, 3) px, ``R`` (3, 3), ``t`` (3,) mm; empty for a file without cameras."""
        return self._file.cameras()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, torch.Tensor]]:
        """Several items, read in the order of the file: what a DataLoader calls for a batch."""
        rows = self.rows[np.asarray(indices, np.int64)]
        poses, valid = self._poses(rows)
        name, condition = self._condition(rows, valid)
        arrays = {"row": rows, name: condition, **poses, "valid": valid}
        items = {name: torch.from_numpy(values) for name, values in arrays.items()}
        return [{name: values[place] for name, values in items.items()} for place in range(len(rows))]

    def poses_mm(self, limit: int | None = None) -> np.ndarray:
        """(N, J, 3) float32: ``gt_mm`` of all rows, or of ``limit`` rows evenly spread; no heatmap is read.

        With ``skip_bad`` non-finite poses are left out; otherwise they raise DiffPoseError.
        """
        rows = self.rows
        if limit is not None and limit < len(rows):
            rows = rows[np.linspace(0, len(rows) - 1, limit).round().astype(np.int64)]
        return self._truth(rows)[1]

    def truth(self) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers (N,) and their ``gt_mm`` (N, J, 3); no heatmap is read. Bad rows as in :meth:`poses_mm`."""
        return self._truth(self.rows)

    def _truth(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        truth = self._file.read_dense(TRUTH_COLUMN[self.dataset], rows)
        finite = self._finite(truth, rows, TRUTH_COLUMN[self.dataset])
        return rows[finite], truth_mm(truth[finite], self.dataset)

    def _filter(
        self, subjects: Sequence[str] | None, actions: Sequence[str] | None, stride: int, hard_only: bool
    ) -> np.ndarray:
        meta, split = self._file.meta, f"{self.path}: {self._file.split}"
        if not self._file.num_rows:
            raise DiffPoseError(f"{split} has no rows: make the file again")
        keep = np.zeros(self._file.num_rows, bool)
        keep[:: 1 if hard_only else stride] = True
        asked = []
        if hard_only:
            keep &= meta["hardsubset"]
            asked.append("hard rows only")
        for name, wanted in (("subject", subjects), ("action", actions)):
            if wanted is not None:
                for value in wanted:
                    if value not in meta.categories(name):
                        raise DiffPoseError(
                            f"{split} has no rows of {name} '{value}' (it has: {listed(meta.categories(name))})"
                        )
                keep &= meta.is_among(name, list(wanted))
                asked.append(f"{name} {', '.join(wanted) or 'none'}")
        rows = np.flatnonzero(keep)
        if not len(rows):
            available = "; ".join(f"{name}s {listed(meta.categories(name))}" for name in ("subject", "action"))
            raise DiffPoseError(
                f"{split}: none of its {self._file.num_rows} rows is left by stride {stride}"
                f"{''.join(f', {what}' for what in asked)} (it has {available})"
            )
        return rows

    def _poses(self, rows: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """3D poses of the rows and which are usable; the unusable ones are zero."""
        name = TRUTH_COLUMN[self.dataset]
        truth = self._file.read(name, rows)
        valid = self._finite(truth, rows, name)
        truth[~valid] = 0
        return {"target_m": target_m(truth, self.dataset), "gt_mm": truth_mm(truth, self.dataset)}, valid

    def _condition(self, rows: np.ndarray, valid: np.ndarray) -> tuple[str, np.ndarray]:
        """The item's name and values of the condition; clears ``valid`` where it is unusable."""
        if self.condition_key == "heatmaps":
            heatmaps = self._file.read_heatmaps(rows)
            self._check_heatmaps(heatmaps, rows, valid)
            # Uniform maps can be drawn from, and give no number that is not finite.
            heatmaps[~valid] = 1
            return "heatmap", heatmaps
        name = _POSE_2D_COLUMN[self.condition_key]
        points = self._file.read(name, rows)
        poses = detected_pose_2d(points) if name == "argmax_2d" else annotated_pose_2d(points, self.dataset)
        valid &= self._finite(poses, rows, name)
        poses[~valid] = 0
        return "pose_2d", poses

    def _finite(self, values: np.ndarray, rows: np.ndarray, name: str) -> np.ndarray:
        """(n,) bool: rows of finite numbers. DiffPoseError for the first other one unless they are to be skipped."""
        finite = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
        if not self.skip_bad and not finite.all():
            what = "NaN or infinite values" if name.startswith("gt_3d") else "NaN, infinite or coinciding positions"
            raise self._bad_row(rows[np.argmin(finite)], f"{name} holds {what}")
        return finite

    def _check_heatmaps(self, heatmaps: np.ndarray, rows: np.ndarray, valid: np.ndarray) -> None:
        """Clears ``valid`` of rows whose maps can't be drawn from, or raises DiffPoseError for the first of them."""
        peak, finite = peak_bits(heatmaps)  # (n, 16) each
        positive = peak > 0
        usable = (finite & positive).all(axis=1)
        if not self.skip_bad and not usable.all():
            place = int(np.argmin(usable))
            if not finite[place].all():
                joint = MPII_JOINTS[int(np.argmin(finite[place]))]
                raise self._bad_row(rows[place], f"the heatmap of joint {joint} holds NaN or infinite values")
            joint = MPII_JOINTS[int(np.argmin(positive[place]))]
            raise self._bad_row(rows[place], f"the heatmap of joint {joint} has no positive value")
        valid &= usable

    def _bad_row(self, row: int, defect: str) -> DiffPoseError:
        return DiffPoseError(f"{self.path}: {self._file.split} row {row}: {defect}: {_SKIP}")
