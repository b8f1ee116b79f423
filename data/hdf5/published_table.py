"""Reading the published layout, one compound PyTables table per split, through an index of its small columns.

In a table a column cannot be read without passing every row's 128 KiB of heatmaps. So a split is scanned once, and its
other columns are kept in ``<name>.<split>.index.h5`` beside the file (in a cache folder when that one is
read-only), in the columnar layout. The index is rebuilt when the file's size or time changes, or when it is damaged.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from tqdm import tqdm

from data.hdf5.access import check_field, listed
from data.schema import FIELDS, META_COLUMNS, TRUTH_COLUMN
from utils.cache import cache_folders
from utils.errors import DiffPoseError
from utils.files import renamed_when_whole
from utils.hdf5_files import new_hdf5, reading, reason

_INDEX_VERSION = 1
_BLOCK_BYTES = 32 * 2**20
_MAX_RECORD_BYTES = 4 * 2**20
_INDEX_CHUNK_BYTES = 32 * 1024


def check_table(table: h5py.Dataset, dataset: str, path: Path) -> list[str]:
    """The schema's columns that the table has, heatmap aside; DiffPoseError when a needed one is absent or odd."""
    with reading(path, f"'{table.name}'"):
        dtype = table.dtype
    if dtype.names is None or table.ndim != 1:
        raise DiffPoseError(
            f"{path}: '{table.name}' is neither a table of rows nor a group of columns: make the file again"
        )
    if dtype.itemsize > _MAX_RECORD_BYTES:
        raise DiffPoseError(f"{path}: '{table.name}' has rows of {dtype.itemsize} bytes: it is no DiffPose table")
    for name in (*META_COLUMNS, TRUTH_COLUMN[dataset], "heatmap"):
        if name not in dtype.names:
            raise DiffPoseError(f"{path}: '{table.name}' has no field '{name}' (it has: {listed(dtype.names)})")
    columns = []
    for name, field in FIELDS[dataset].items():
        if name in dtype.names:
            base, shape = dtype[name].subdtype or (dtype[name], ())
            check_field(base, shape, field, path, f"{table.name}/{name}")
            columns.append(name)
    return [name for name in columns if name != "heatmap"]


def index_paths(path: Path, split: str) -> tuple[Path, ...]:
    """Where a split's index may lie: beside the file, and in the cache folders."""
    name = f"{path.name}.{split}.index.h5"
    key = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    return path.with_name(name), *(folder / f"{key}-{name}" for folder in cache_folders())


def fitting_indexes(path: Path, split: str, dataset: str, columns: list[str], num_rows: int) -> Iterator[Path]:
    """The indexes there are that belong to the file as it is now."""
    expected = _identity(path, dataset, num_rows)
    for candidate in index_paths(path, split):
        with contextlib.suppress(OSError, RuntimeError, KeyError, TypeError, ValueError):
            with h5py.File(candidate, "r", locking=False) as file:
                group = file["dataset"][split]
                fits = all(group.attrs.get(name) == value for name, value in expected.items())
                fits = fits and all(len(group[name]) == num_rows for name in columns)
            if fits:
                yield candidate


def build_index(
    table: h5py.Dataset, path: Path, split: str, dataset: str, columns: list[str], *, show_progress: bool
) -> Path:
    """Scan the table in blocks and write its index; returns the index's path.

    The index appears under its name only when it is whole, so that processes may build it at the same time. Raises
    DiffPoseError when the table cannot be read, or when neither folder can be written.
    """
    failures = []
    for target in index_paths(path, split):
        try:
            with (
                renamed_when_whole(target, unique=True) as partial,
                new_hdf5(partial, libver=("v110", "v110")) as (file, _),
            ):
                group = file.create_group(f"dataset/{split}")
                _copy_columns(table, group, path, columns, show_progress)
                for name, value in _identity(path, dataset, len(table)).items():
                    group.attrs[name] = value
            return target
        except (OSError, RuntimeError) as error:
            failures.append(f"{target.parent}: {reason(error)}")
    raise DiffPoseError(
        f"{path}: its index can be written neither beside it nor in the cache folder ({'; '.join(failures)}): "
        "point XDG_CACHE_HOME at a folder that can be written"
    )


def _identity(path: Path, dataset: str, num_rows: int) -> dict[str, object]:
    status = path.stat()
    return {
        "index_version": _INDEX_VERSION,
        "dataset": dataset,
        "source_bytes": status.st_size,
        "source_time_ns": status.st_mtime_ns,
        "num_rows": num_rows,
    }


def _copy_columns(table: h5py.Dataset, group: h5py.Group, path: Path, columns: list[str], show_progress: bool) -> None:
    num_rows = len(table)
    for name in columns:
        base, shape = table.dtype[name].subdtype or (table.dtype[name], ())
        chunk_rows = max(1, min(num_rows, _INDEX_CHUNK_BYTES // table.dtype[name].itemsize))
        group.create_dataset(name, shape=(num_rows, *shape), dtype=base, chunks=(chunk_rows, *shape), fletcher32=True)
    chunk_rows = table.chunks[0] if table.chunks else 1
    block_rows = max(1, _BLOCK_BYTES // table.dtype.itemsize // chunk_rows) * chunk_rows
    fields = table.fields(columns)
    with tqdm(total=num_rows, unit=" rows", desc=f"indexing {path.name}", disable=not show_progress) as progress:
        for start in range(0, num_rows, block_rows):
            stop = min(start + block_rows, num_rows)
            with reading(path, f"{group.name.rpartition('/')[2]} rows {start} to {stop - 1}"):
                block: np.ndarray = fields[start:stop]
            for name in columns:
                group[name][start:stop] = block[name]
            progress.update(stop - start)
