"""Opening HDF5 files that somebody else made: every defect becomes one line, and nothing is read on trust.

Links out of the file, virtual and external datasets, variable-length types and outsized shapes or chunks are refused,
so that no file can make a reader open another one or take memory without bound.
"""

import itertools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import h5py
import numpy as np

from data.schema import BUILD_COMMANDS, Field
from utils.environment import environment_trouble
from utils.errors import DiffPoseError
from utils.hdf5_files import HDF5_ERRORS, MAKE_AGAIN, check_filters, reading, reason

MAX_ROWS = 20_000_000
MAX_CHUNK_BYTES = 256 * 2**20
MAX_STRING_BYTES = 64


def listed(names: Iterable[object], most: int = 30) -> str:
    """Names out of a file, sorted, as one line of bounded length."""
    texts = sorted(" ".join(str(name).split())[:40] for name in itertools.islice(names, 10 * most))
    return ", ".join(texts[:most] + ["..."] * (len(texts) > most)) or "none"


def text_attribute(item: h5py.Group | h5py.Dataset, name: str, default: str = "") -> str:
    """An attribute as text; ``default`` where there is none.

    Text of variable length is refused unread, as a ValueError: a damaged one makes libhdf5 loop without end.
    """
    if name not in item.attrs:
        return default
    if item.attrs.get_id(name).dtype.hasobject:
        raise ValueError(f"attribute '{name}' is text of variable length, not of fixed length")
    value = item.attrs[name]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def open_hdf5(path: Path, dataset: str, *, cache_bytes: int = 0) -> h5py.File:
    """Open for reading, with a chunk cache of ``cache_bytes`` per dataset.

    Random rows are never read twice in a row, so the default caches nothing. Raises DiffPoseError for a missing,
    unreadable, truncated or foreign file, naming the command that makes the right one.
    """
    build = f"`{BUILD_COMMANDS[dataset]}` makes it"
    if not path.exists():
        raise DiffPoseError(f"{path}: file not found: {build}; `make quickstart` needs no data")
    if not path.is_file():
        raise DiffPoseError(
            f"{path}: not a file: DATASET.ROOT and the file names of DATASET should lead to an HDF5 file"
        )
    if not os.access(path, os.R_OK):
        raise DiffPoseError(f"{path}: no permission to read it: change its permissions or copy it")
    try:
        # Locks fail on some network file systems, and a finished file needs none.
        return h5py.File(path, "r", locking=False, rdcc_nbytes=cache_bytes)
    except HDF5_ERRORS as error:
        trouble = environment_trouble(error)
        if trouble:
            raise DiffPoseError(f"{path}: cannot be opened ({trouble})") from error
        text = reason(error)
        if "truncated" in text:
            what = "truncated HDF5 file (an interrupted copy or download?)"
        elif "signature" in text:
            what = "not an HDF5 file"
        else:
            what = f"cannot be opened as HDF5 ({text})"
        raise DiffPoseError(f"{path}: {what}: copy it again, or {build}") from error


def member(parent: h5py.Group, name: str, path: Path) -> h5py.Group | h5py.Dataset | None:
    """The child ``name`` of a group, None when absent. Only objects of this very file: links elsewhere are an error."""
    with reading(path, f"'{parent.name}/{name}'"):
        link = parent.get(name, getlink=True)
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise DiffPoseError(
                f"{path}: '{parent.name}/{name}' is a link to elsewhere: store the data in the file itself"
            )
        return parent[name]


def check_storage(column: h5py.Dataset, path: Path) -> None:
    """DiffPoseError unless rows, chunks and storage of a dataset are ones that a reader can afford."""
    with reading(path, f"'{column.name}'"):
        if column.is_virtual or column.external:
            raise DiffPoseError(f"{path}: '{column.name}' is stored in another file: store the data in the file itself")
        if column.ndim == 0:
            raise DiffPoseError(f"{path}: '{column.name}' has no row axis: it is not a column of rows")
        if column.shape[0] > MAX_ROWS:
            raise DiffPoseError(f"{path}: '{column.name}' claims {column.shape[0]} rows, at most {MAX_ROWS} are read")
        chunk = column.chunks or ()
        if chunk and float(np.prod(chunk, dtype=np.float64)) * column.dtype.itemsize > MAX_CHUNK_BYTES:
            raise DiffPoseError(
                f"{path}: '{column.name}' has chunks of shape {chunk}, over {MAX_CHUNK_BYTES >> 20} MB each: "
                "rewrite it with smaller ones"
            )
        check_filters(column, path)
        if column.shape[0] and not column.id.get_storage_size():
            raise DiffPoseError(f"{path}: '{column.name}' was never written: make the file again")


def check_field(dtype: np.dtype, shape: Sequence[int], field: Field, path: Path, where: str) -> None:
    """DiffPoseError unless a column's type and row shape are the schema's; () and (1,) are the same."""
    kinds = {"S": "S", "f": "f"}.get(field.dtype.kind, "iub")
    limit = MAX_STRING_BYTES if kinds == "S" else 8
    if dtype.kind not in kinds or dtype.itemsize > limit:
        name = "text of variable length or objects" if dtype.kind == "O" else str(dtype)
        raise DiffPoseError(f"{path}: '{where}' holds {name}, expected {field.dtype}: make the file again")
    shape = tuple(shape)
    if shape != field.shape and not (field.shape == () and shape == (1,)):
        raise DiffPoseError(f"{path}: '{where}' has rows of shape {shape}, expected {field.shape}: make the file again")


def read_rows(
    column: h5py.Dataset, rows: np.ndarray, out: np.ndarray, path: Path, where: str, way_out: str = MAKE_AGAIN
) -> None:
    """Read ``rows`` (any order, repeats allowed) of ``column`` into ``out``, in the order of the file.

    One low-level selection per row: h5py's own list selection is ten times slower on one-row chunks. ``out`` has the
    memory type to read as; for a compound table a structured type with the wanted fields.
    """
    with reading(path, where, way_out):
        shape = out.shape[1:]
        file_space = column.id.get_space()
        memory_space = h5py.h5s.create_simple((1, *shape))
        memory_type = h5py.h5t.py_create(out.dtype)
        # A (1,) column read as a scalar has one axis more in the file.
        tail = column.shape[1:]
        origin, block = (0,) * len(tail), (1, *tail)
    for place in np.argsort(rows, kind="stable"):
        row = int(rows[place])
        with reading(path, f"{where} row {row}", way_out):
            file_space.select_hyperslab((row, *origin), block)
            column.id.read(memory_space, file_space, out[place : place + 1], memory_type)
