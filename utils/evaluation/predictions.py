"""``predictions.h5``: sample once, score as often as you like; predictions of other methods can be scored too.

Layout, all under ``/predictions``:

* ``hypotheses`` (N, H, J, 3) float32: mm, root-centred, evaluation frame: x right, y up, z towards the camera, that is
  the camera frame (y down, z away) with y and z negated. Joint order as in :mod:`utils.skeleton`.
* ``row`` (N,) int64: the frame's row number in the data file's test table.
* optional ``z0`` (N, J, 3) and ``gt_mm`` (N, J, 3), in the same frame and unit.
* attributes: ``dataset_file``, ``split``, ``joints`` (names, comma separated), ``units`` 'mm', ``frame``, ``seed``,
  ``checkpoint`` and whatever else the writer was given.

Only ``hypotheses`` and ``row`` are needed to be scored.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import h5py
import numpy as np
import torch

from utils.environment import environment_trouble
from utils.errors import DiffPoseError
from utils.files import written_in_one_step
from utils.hdf5_files import check_filters, new_hdf5, reading
from utils.skeleton import Skeleton

GROUP = "predictions"
FRAME = "root-centred, x right, y up, z towards the camera"
POSES_PER_HDF5_CHUNK = 256
OPTIONAL_POSES = ("z0", "gt_mm")
# The most that is read of any file: frames, numbers per frame, bytes per chunk.
MAX_FRAMES, MAX_NUMBERS, MAX_CHUNK = 20_000_000, 2**25, 2**28


class PredictionWriter:
    """Streams batches to ``<path>.partial``, which becomes ``path`` on a clean exit and is removed otherwise.

    Args:
        path: file to make; an existing one is replaced only at the end.
        skeleton: whose joints the poses have.
        attrs: dataset_file, split, seed, checkpoint and the like; values that are None are left out.

    Raises:
        DiffPoseError: the file can't be written.
    """

    def __init__(self, path: str | Path, *, skeleton: Skeleton, attrs: Mapping[str, object]):
        self._path = Path(path)
        self._whole = contextlib.ExitStack()
        self._skeleton = skeleton
        self._attrs = {"joints": ",".join(skeleton.joints), "units": "mm", "frame": FRAME, **attrs}
        self._file: h5py.File | None = None

    def __enter__(self) -> "PredictionWriter":
        with contextlib.ExitStack() as whole:
            partial = whole.enter_context(written_in_one_step(self._path, way_out="choose another folder"))
            self._file, self._check_disk = whole.enter_context(new_hdf5(partial))
            self._whole = whole.pop_all()
        group = self._file.create_group(GROUP)
        for key, value in self._attrs.items():
            if value is not None:
                # Text of fixed length: libhdf5 can hang on a damaged one of variable length.
                group.attrs[key] = np.bytes_(value.encode()) if isinstance(value, str) and value else value
        return self

    def append(self, batch: Mapping) -> None:
        """Add a batch: ``row`` (B,), ``hypotheses_mm`` (B, H, J, 3), optionally ``z0_mm`` and ``gt_mm`` (B, J, 3).

        Every batch has the same H and the same fields; a batch is what :func:`utils.evaluation.evaluate` takes, and
        rows that are not ``valid`` are left out.
        """
        rows = torch.as_tensor(batch["row"]).cpu().numpy().astype(np.int64)
        valid = np.asarray(batch.get("valid", np.ones(len(rows), dtype=bool)), dtype=bool)
        columns = {"row": rows[valid]}
        for column, key in (("hypotheses", "hypotheses_mm"), ("z0", "z0_mm"), ("gt_mm", "gt_mm")):
            if batch.get(key) is not None:
                columns[column] = torch.as_tensor(batch[key]).detach().float().cpu().numpy()[valid]
        group = self._opened()[GROUP]
        if not len(group):
            for name, values in columns.items():
                per_chunk = max(1, POSES_PER_HDF5_CHUNK // (values.shape[1] if name == "hypotheses" else 1))
                group.create_dataset(
                    name,
                    shape=(0, *values.shape[1:]),
                    maxshape=(None, *values.shape[1:]),
                    dtype=values.dtype,
                    chunks=(per_chunk, *values.shape[1:]),
                )
        if set(columns) != set(group):
            raise ValueError(f"batches of one file need the same fields: {sorted(group)}, got {sorted(columns)}")
        start = len(group["row"])
        for name, values in columns.items():
            if values.shape[1:] != group[name].shape[1:] or len(values) != len(columns["row"]):
                raise ValueError(f"{name} {values.shape} does not fit {group[name].shape}")
            group[name].resize(start + len(values), axis=0)
            group[name][start:] = values
        self._check_disk()

    def _opened(self) -> h5py.File:
        if self._file is None:
            raise ValueError("a PredictionWriter writes inside its with block only")
        return self._file

    def __exit__(self, kind, error, trace) -> None:
        self._whole.__exit__(kind, error, trace)


class PredictionFile:
    """Predictions of this project or of another one, checked on opening.

    Attributes:
        rows: (N,) int64 row numbers; num_hypotheses: H; attrs: the file's attributes as a plain dict.

    Raises:
        DiffPoseError: missing, unreadable or incomplete file, wrong shape, another number of joints, another unit, a
            row that occurs twice or lies outside the test table of ``num_rows`` rows.
    """

    def __init__(self, path: str | Path, *, skeleton: Skeleton, num_rows: int | None = None):
        self._path = Path(path)
        self._skeleton = skeleton
        with reading(self._path, f"'/{GROUP}'"), self._open() as file:
            if not isinstance(file.get(GROUP), h5py.Group):
                raise DiffPoseError(f"{self._path}: no group '/{GROUP}': not a file of predictions")
            group = file[GROUP]
            self._check_fields(group)
            self.rows = group["row"][:].astype(np.int64)
            self.num_hypotheses = int(group["hypotheses"].shape[1])
            self.attrs = {key: _text(value) for key, value in group.attrs.items()}
        self._check_rows(num_rows)

    def _open(self) -> h5py.File:
        if not self._path.is_file():
            raise DiffPoseError(f"{self._path}: no such file: eval.py --save_predictions writes one")
        try:
            # Locks fail on some network file systems, and a finished file needs none.
            return h5py.File(self._path, "r", locking=False)
        except OSError as error:
            trouble = environment_trouble(error)
            if trouble:
                raise DiffPoseError(f"{self._path}: cannot be opened ({trouble})") from error
            raise DiffPoseError(f"{self._path}: not a readable HDF5 file (truncated or of another kind)") from error

    def _check_fields(self, group: h5py.Group) -> None:
        for name in ("hypotheses", "row"):
            if name not in group:
                raise DiffPoseError(f"{self._path}: field '/{GROUP}/{name}' is missing: hypotheses and row are needed")
        for name in ("hypotheses", "row", *OPTIONAL_POSES):
            self._check_storage(group, name)
        frames, joints = len(group["row"]), self._skeleton.num_joints
        shape = group["hypotheses"].shape
        if len(shape) == 4 and shape[3] == 3 and shape[2] != joints:
            raise DiffPoseError(
                f"{self._path}: hypotheses have {shape[2]} joints, this dataset has {joints} ({self._skeleton.name})"
            )
        if group["row"].ndim != 1 or group["row"].dtype.kind not in "iu":
            raise DiffPoseError(f"{self._path}: '/{GROUP}/row' must be (N,) whole numbers, one per frame")
        if len(shape) != 4 or shape[0] != frames or shape[1] < 1 or shape[2:] != (joints, 3):
            raise DiffPoseError(f"{self._path}: hypotheses must be ({frames}, H, {joints}, 3), got {shape}")
        for name in OPTIONAL_POSES:
            if name in group and group[name].shape != (frames, joints, 3):
                raise DiffPoseError(f"{self._path}: {name} must be ({frames}, {joints}, 3), got {group[name].shape}")
        units = _text(group.attrs.get("units", "mm"))
        if not isinstance(units, str) or units != "mm":
            raise DiffPoseError(
                f"{self._path}: units are '{' '.join(str(units).split())[:40]}', must be 'mm': convert the poses"
            )

    def _check_storage(self, group: h5py.Group, name: str) -> None:
        """Refuse fields that are stored in other files, hold no numbers, or would take unbounded memory to read."""
        if name not in group:
            return
        where = f"{self._path}: '/{GROUP}/{name}'"
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise DiffPoseError(f"{where} is a link to elsewhere: store the data in the file itself")
        field = group[name]
        if not isinstance(field, h5py.Dataset) or not field.ndim or field.dtype.kind not in "fiu":
            raise DiffPoseError(f"{where} must be an array of numbers")
        check_filters(field, self._path)
        if field.is_virtual or field.external:
            raise DiffPoseError(f"{where} is stored in another file: store the data in the file itself")
        chunk = np.prod(field.chunks or (1,), dtype=np.float64) * field.dtype.itemsize
        if len(field) > MAX_FRAMES or np.prod(field.shape[1:], dtype=np.float64) > MAX_NUMBERS or chunk > MAX_CHUNK:
            raise DiffPoseError(f"{where} has shape {field.shape}, chunks {field.chunks}: more than is accepted")

    def _check_rows(self, num_rows: int | None) -> None:
        if not len(self.rows):
            raise DiffPoseError(f"{self._path}: holds no frame")
        values, counts = np.unique(self.rows, return_counts=True)
        if counts.max() > 1:
            raise DiffPoseError(f"{self._path}: row {values[counts.argmax()]} occurs {counts.max()} times, not once")
        if values[0] < 0 or (num_rows is not None and values[-1] >= num_rows):
            row = values[0] if values[0] < 0 else values[-1]
            limit = "" if num_rows is None else f": the data file's test table has {num_rows} rows, counted from 0"
            raise DiffPoseError(f"{self._path}: row {row} is out of range{limit}")

    def missing(self, rows: np.ndarray) -> np.ndarray:
        """The rows among ``rows`` that have no prediction."""
        return np.setdiff1d(rows, self.rows)

    def batches(
        self, *, batch_size: int = 64, rows: np.ndarray | None = None, gt_mm: np.ndarray | None = None
    ) -> Iterator[dict[str, np.ndarray]]:
        """Batches for :func:`utils.evaluation.evaluate`, in the order of the file.

        Args:
            batch_size: frames held in memory at a time.
            rows: (M,) the rows to score; by default all of the file's.
            gt_mm: (M, J, 3) the truth of these rows. Without it the file's own ``gt_mm`` is used.

        Raises:
            DiffPoseError: a pose is not finite, the truth is missing, or none of ``rows`` is in the file.
        """
        scored = self.rows if rows is None else rows
        wanted = np.flatnonzero(np.isin(self.rows, scored))
        if not len(wanted):
            raise DiffPoseError(f"{self._path}: none of its rows belongs to the split that is scored")
        order = np.argsort(scored)
        with self._open() as file:
            group = file[GROUP]
            if gt_mm is None and "gt_mm" not in group:
                raise DiffPoseError(f"{self._path}: has no 'gt_mm': score it with the data file it was made from")
            for start in range(0, len(wanted), batch_size):
                chosen = wanted[start : start + batch_size]
                batch = {"row": self.rows[chosen], "hypotheses_mm": self._read(group, "hypotheses", chosen)}
                batch["z0_mm"] = self._read(group, "z0", chosen) if "z0" in group else None
                if gt_mm is None:
                    batch["gt_mm"] = self._read(group, "gt_mm", chosen)
                else:
                    batch["gt_mm"] = gt_mm[order[np.searchsorted(scored, batch["row"], sorter=order)]]
                yield batch

    def _read(self, group: h5py.Group, name: str, chosen: np.ndarray) -> np.ndarray:
        """Poses of some frames, root-centred: other projects may centre theirs elsewhere."""
        contiguous = chosen[-1] - chosen[0] + 1 == len(chosen)
        where = slice(chosen[0], chosen[-1] + 1) if contiguous else chosen
        with reading(self._path, f"'/{GROUP}'"):
            poses = group[name][where].astype(np.float32, copy=False)
        finite = np.isfinite(poses).reshape(len(poses), -1).all(1)
        if not finite.all():
            row = self.rows[chosen[np.flatnonzero(~finite)[0]]]
            raise DiffPoseError(f"{self._path}: {name} of row {row} holds a number that is not finite")
        return poses - poses[..., :1, :]


def _text(value: object) -> object:
    """An attribute; bytes become text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
