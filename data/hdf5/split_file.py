"""One split of an HDF5 file in either layout: its rows' names at once, any other column row by row, lazily."""

import contextlib
import os
from pathlib import Path

import h5py
import numpy as np

from data.hdf5.access import (
    check_field,
    check_storage,
    listed,
    member,
    open_hdf5,
    read_rows,
    text_attribute,
)
from data.hdf5.published_table import build_index, check_table, fitting_indexes
from data.hdf5.row_meta import RowMeta
from data.schema import (
    FIELDS,
    HEATMAP_SHAPE,
    HUMAN36M_SOURCE,
    META_COLUMNS,
    SCHEMA_VERSION,
    SPLITS,
    TRUTH_COLUMN,
    dataset_name,
)
from utils.errors import DiffPoseError
from utils.hdf5_files import MAKE_AGAIN, reading

_MAX_CACHE_BYTES = 64 * 2**20


class SplitFile:
    """A split that can be read from any process.

    Opening checks the file and reads the columns that name the rows; nothing stays open. The file is opened again in
    each process at its first read, so an object may be pickled to workers or inherited by a fork.

    Attributes: ``path``, ``dataset``, ``split`` (name in the file), ``num_rows``, ``meta`` (:class:`RowMeta` of every
    row), ``columns`` (readable columns, heatmap aside), ``source`` and ``detector`` (free text).

    Raises DiffPoseError for a file that is missing, no HDF5, damaged, of another dataset, or lacks the split or a
    needed column, or holds one of another type or shape.
    """

    def __init__(self, path: str | os.PathLike, *, dataset: str, split: str, show_progress: bool = True):
        self.path = Path(path)
        self.dataset = dataset_name(dataset)
        if split not in SPLITS:
            raise DiffPoseError(f"unknown split '{split}': one of {', '.join(SPLITS)}")
        self.split = SPLITS[split]
        self.source = f"{HUMAN36M_SOURCE}, published layout" if self.dataset == "h36m" else "published layout"
        self.detector = "unknown"
        self._index: Path | None = None
        self._handles: tuple[int, h5py.Group | h5py.Dataset, h5py.Group] | None = None
        with open_hdf5(self.path, self.dataset) as file:
            found = self._find_split(file)
            if isinstance(found, h5py.Dataset):
                self._open_table(found, show_progress)
            else:
                self._open_columns(file, found)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_handles": None}

    @property
    def is_human36m(self) -> bool:
        """Made from Human3.6M itself, as the file says; not the synthetic benchmark or motion capture."""
        return self.dataset == "h36m" and self.source.startswith(HUMAN36M_SOURCE)

    def read(self, name: str, rows: np.ndarray) -> np.ndarray:
        """A column other than the heatmaps at ``rows`` (any order), (n, *shape) in the schema's type."""
        column = self._column(name)
        field = FIELDS[self.dataset][name]
        out = np.empty((len(rows), *field.shape), field.dtype)
        read_rows(column, rows, out, *self._errors(f"{self.split} {name}"))
        return out

    def read_dense(self, name: str, rows: np.ndarray, block_rows: int = 65536) -> np.ndarray:
        """As :meth:`read`, for many ascending rows: reads whole blocks of the column and picks from them."""
        column = self._column(name)
        field = FIELDS[self.dataset][name]
        out = np.empty((len(rows), *field.shape), field.dtype)
        for start in range(0, self.num_rows, block_rows):
            first, last = np.searchsorted(rows, (start, start + block_rows))
            if first < last:
                low, high = int(rows[first]), int(rows[last - 1]) + 1
                with reading(*self._errors(f"{self.split} {name} rows {low} to {high - 1}")):
                    out[first:last] = column[low:high].reshape(high - low, *field.shape)[rows[first:last] - low]
        return out

    def read_heatmaps(self, rows: np.ndarray) -> np.ndarray:
        """(n, 16, 64, 64) float16 at ``rows`` (any order)."""
        heatmaps = np.empty((len(rows), *HEATMAP_SHAPE), "<f2")
        with reading(self.path, f"{self.split} heatmap"):
            split = self._open()[1]
            column = split["heatmap"] if self._index is None else split
        if self._index is None:
            read_rows(column, rows, heatmaps, self.path, f"{self.split} heatmap")
        else:
            record = heatmaps.reshape(len(rows), -1).view([("heatmap", "<f2", HEATMAP_SHAPE)])[:, 0]
            read_rows(column, rows, record, self.path, f"{self.split} heatmap")
        return heatmaps

    def cameras(self) -> dict[tuple[str, str], dict[str, np.ndarray]]:
        """(subject, cam) -> ``K`` (3, 3) px, ``R`` (3, 3) and ``t`` (3,) mm, world to camera; empty without cameras."""
        cameras = {}
        with open_hdf5(self.path, self.dataset) as file, reading(self.path, "'/dataset/cameras'"):
            subjects = member(file["dataset"], "cameras", self.path)
            for subject in () if subjects is None else subjects:
                cams = member(subjects, subject, self.path)
                for cam in cams:
                    entry = member(cams, cam, self.path)
                    parts = {name: member(entry, name, self.path) for name in ("K", "R", "t")}
                    if [part.shape for part in parts.values()] != [(3, 3), (3, 3), (3,)]:
                        raise ValueError(f"parts of camera {subject}/{cam} are not of shapes (3, 3), (3, 3) and (3,)")
                    cameras[subject, cam] = {name: np.asarray(part, np.float64) for name, part in parts.items()}
        return cameras

    def _find_split(self, file: h5py.File) -> h5py.Group | h5py.Dataset:
        root = member(file, "dataset", self.path)
        found = member(root, self.split, self.path) if isinstance(root, h5py.Group) else None
        if found is None:
            names = [name for name in SPLITS.values() if isinstance(root, h5py.Group) and name in root]
            raise DiffPoseError(
                f"{self.path}: has no '/dataset/{self.split}' (splits it has: {listed(names)}): "
                "name another file or split"
            )
        return found

    def _open_columns(self, file: h5py.File, group: h5py.Group) -> None:
        with reading(self.path, "attributes of '/dataset'"):
            names = ("dataset", "schema_version", "source", "detector")
            kept = {name: text_attribute(file["dataset"], name, "not stated") for name in names}
            kept = {name: " ".join(value.split())[:200] for name, value in kept.items()}
        if kept["dataset"] != self.dataset:
            raise DiffPoseError(
                f"{self.path}: holds dataset '{kept['dataset']}', "
                f"not '{self.dataset}' as DATASET.DATASET says: change one of them"
            )
        if kept["schema_version"] not in map(str, range(1, SCHEMA_VERSION + 1)):
            raise DiffPoseError(
                f"{self.path}: schema version {kept['schema_version']}, this program reads up to {SCHEMA_VERSION}: "
                "update it or make the file again"
            )
        self.source, self.detector = kept["source"], kept["detector"]
        self.num_rows = -1
        self.columns = []
        for name, field in FIELDS[self.dataset].items():
            column = self._checked_column(group, name)
            if column is None:
                continue
            with reading(self.path, f"'{column.name}'"):
                check_field(column.dtype, column.shape[1:], field, self.path, column.name)
            if self.num_rows not in (-1, len(column)):
                raise DiffPoseError(
                    f"{self.path}: '{column.name}' has {len(column)} rows, other columns have {self.num_rows}: "
                    "make the file again"
                )
            self.num_rows = len(column)
            self.columns.append(name)
        self.columns.remove("heatmap")
        self._cache_bytes = _cache_bytes(group["heatmap"])
        self.meta = self._read_meta(group, self.path)

    def _checked_column(self, group: h5py.Group, name: str) -> h5py.Dataset | None:
        """A column of the columnar layout; None for an absent one that can be done without."""
        column = member(group, name, self.path)
        if column is None and name not in (*META_COLUMNS, TRUTH_COLUMN[self.dataset], "heatmap"):
            return None
        if not isinstance(column, h5py.Dataset):
            what = "no field" if column is None else "a group for the field"
            raise DiffPoseError(
                f"{self.path}: '{group.name}' has {what} '{name}' (it has: {listed(group)}): make the file again"
            )
        check_storage(column, self.path)
        return column

    def _open_table(self, table: h5py.Dataset, show_progress: bool) -> None:
        self.columns = check_table(table, self.dataset, self.path)
        check_storage(table, self.path)
        self.num_rows = len(table)
        self._cache_bytes = _cache_bytes(table)
        arguments = (self.path, self.split, self.dataset, self.columns)
        for index in fitting_indexes(*arguments, self.num_rows):
            self._index = index
            with contextlib.suppress(DiffPoseError):
                self.meta = self._read_index_meta()
                return
        self._index = build_index(table, *arguments, show_progress=show_progress)
        self.meta = self._read_index_meta()

    def _read_index_meta(self) -> RowMeta:
        with reading(*self._errors("index")), h5py.File(self._index, "r", locking=False) as file:
            return self._read_meta(file["dataset"][self.split], self._index)

    def _read_meta(self, group: h5py.Group, path: Path) -> RowMeta:
        with reading(path, f"columns of {self.split}"):
            return RowMeta({name: group[name][()].reshape(self.num_rows) for name in META_COLUMNS})

    def _open(self) -> tuple[int, h5py.Group | h5py.Dataset, h5py.Group]:
        """(process, split of the file, group of its small columns), opened once per process."""
        if self._handles is None or self._handles[0] != os.getpid():
            split = self._find_split(open_hdf5(self.path, self.dataset, cache_bytes=self._cache_bytes))
            columns = split
            if self._index is not None:
                columns = h5py.File(self._index, "r", locking=False)["dataset"][self.split]
            self._handles = (os.getpid(), split, columns)
        return self._handles

    def _column(self, name: str) -> h5py.Dataset:
        """A small column, of the file itself or of its index."""
        with reading(*self._errors(f"{self.split} {name}")):
            return self._open()[2][name]

    def _errors(self, what: str) -> tuple[Path, str, str]:
        """For an error in a small column: the file it is in, what it is, and the way out."""
        if self._index is None:
            return self.path, what, MAKE_AGAIN
        return self._index, what, "delete this index, and it is made again"


def _cache_bytes(heatmaps: h5py.Dataset) -> int:
    """Room for the one chunk being read when it is compressed and holds several rows, else nothing to gain."""
    chunk = heatmaps.chunks
    if chunk is None or chunk[0] == 1 or not heatmaps.id.get_create_plist().get_nfilters():
        return 0
    return min(int(np.prod(chunk)) * heatmaps.dtype.itemsize, _MAX_CACHE_BYTES)
