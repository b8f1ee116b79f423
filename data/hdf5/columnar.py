"""Writing the columnar HDF5 layout: ``/dataset/<split>/<column>``, one dataset per column.

A row's heatmaps are one chunk, so that a random row costs one read; the other columns are small, uncompressed and in
larger chunks, so that they can be read without touching a heatmap.
"""

import contextlib
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import h5py
import numpy as np

from data.hdf5.compact import AS_PUBLISHED, STORAGE_ATTRIBUTE, CompactForm
from data.schema import FIELDS, SCHEMA_VERSION, SPLITS, Field, dataset_name
from utils.errors import DiffPoseError
from utils.files import renamed_when_whole
from utils.hdf5_files import KeptErrorFile

# Format of HDF5 1.10 and later. Its index of a growing dataset's chunks finds one of 400,000 in constant time and
# little memory; the older B-tree does neither.
_FORMAT_VERSION = ("v110", "v110")
_SMALL_CHUNK_BYTES = 32 * 1024
_DEFAULT_ATTRS = {"detector": "unknown", "units": "gt_3d in mm, image positions in px", "hard_subset": "not stated"}


def encode_heatmap(heatmap: np.ndarray, *, level: int | None = 4, compact: CompactForm | None = None) -> bytes:
    """The stored form of one row's heatmaps (16, 64, 64): bytes shuffled, then deflated at ``level`` (0-9).

    Level None is the form without compression. ``compact``: change the values first, so that they compress well.

    Compressing is most of the work of writing. Worker processes can do it and hand the bytes to
    :meth:`ColumnarWriter.append` in place of the array.
    """
    values = np.ascontiguousarray(heatmap if compact is None else compact(heatmap), dtype="<f2")
    if level is None:
        return values.tobytes()
    return zlib.compress(np.ascontiguousarray(values.view(np.uint8).reshape(-1, 2).T), level)


def read_blocks(
    split: h5py.Group, path: str | os.PathLike, *, rows: int = 256
) -> Iterator[dict[str, np.ndarray | list[bytes]]]:
    """The rows of a split that :class:`ColumnarWriter` wrote, in blocks that :meth:`ColumnarWriter.append` takes.

    Heatmaps come in their stored form, which a writer with the same compression takes over as it is. Raises
    DiffPoseError, naming ``path``, when the split cannot be read.
    """
    try:
        heatmaps = split["heatmap"]
        total = len(heatmaps)
        for start in range(0, total, rows):
            stop = min(start + rows, total)
            block = {name: column[start:stop] for name, column in split.items() if name != "heatmap"}
            block["heatmap"] = [heatmaps.id.read_direct_chunk((row, 0, 0, 0))[1] for row in range(start, stop)]
            yield block
    except (OSError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise DiffPoseError(f"{path}: cannot be read ({reason}): delete it and run again") from error


class ColumnarWriter:
    """Writes one file; a context manager.

    The rows go to ``<path>.partial``, which is renamed to ``path`` on a clean exit and removed on an exception, so that
    a file under its own name is always whole.

    Args:
        path: the file; its folder is made.
        dataset: ``h36m``, ``3DHP``, ``3dpw`` or ``SkiPose``: decides the columns.
        attrs: attributes of ``/dataset``; ``source`` is required (``Human3.6M ...``, ``synthetic: ...``), and
            ``detector``, ``units`` and ``hard_subset`` (how it was decided) are expected. Others are kept as they are.
        heatmap_compression: ``"gzip"`` (with byte shuffle) or None.
        level: gzip level.
        compact: the compact form of the heatmaps, which the attribute ``heatmap_storage`` will state; None stores the
            values as they are. Encoded rows must have been given the same form.
        extra_fields: columns beyond the schema, for the maker's own use.

    Raises DiffPoseError when the file cannot be written, when a column is missing, unknown or of another shape, when a
    string does not fit its column, and on a clean exit without rows.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        dataset: str,
        attrs: Mapping[str, object],
        heatmap_compression: str | None = "gzip",
        level: int = 4,
        compact: CompactForm | None = None,
        extra_fields: Iterable[Field] = (),
    ):
        self.path = Path(path)
        self.dataset = dataset_name(dataset)
        self.fields = {**FIELDS[self.dataset], **{field.name: field for field in extra_fields}}
        if heatmap_compression not in ("gzip", None):
            raise ValueError(f"heatmap_compression is 'gzip' or None, not {heatmap_compression!r}")
        if not attrs.get("source"):
            raise ValueError("attrs needs 'source': what the data was made from")
        self._level = level if heatmap_compression else None
        self._compact = compact
        self._attrs = {
            **_DEFAULT_ATTRS,
            **attrs,
            "schema_version": SCHEMA_VERSION,
            "dataset": self.dataset,
            "layout": "columnar",
            STORAGE_ATTRIBUTE: str(compact or AS_PUBLISHED),
        }
        self._whole = contextlib.ExitStack()
        self._file: h5py.File | None = None
        self._disk: KeptErrorFile | None = None
        self.num_rows: dict[str, int] = {}

    def __enter__(self) -> Self:
        try:
            with contextlib.ExitStack() as whole:
                self._disk = KeptErrorFile(whole.enter_context(renamed_when_whole(self.path, durable=True)))
                self._file = h5py.File(self._disk, "w", libver=_FORMAT_VERSION)
                whole.push(self._close)
                self._whole = whole.pop_all()
        except OSError as error:
            raise self._failure(error) from error
        root = self._file.create_group("dataset")
        for name, value in self._attrs.items():
            # Of fixed length: a damaged text of variable length makes libhdf5 loop without end.
            root.attrs[name] = np.bytes_(value.encode()) if isinstance(value, str) else value
        return self

    def __exit__(self, kind, error, traceback) -> None:
        try:
            self._whole.__exit__(kind, error, traceback)
        except (OSError, RuntimeError) as failure:
            if kind is None:
                raise self._failure(failure) from failure

    def _close(self, kind, error, traceback) -> None:
        """Before the file gets its name."""
        self._file.close()
        self._disk.close()
        if kind is None:
            self._disk.check()
            if not self.num_rows:
                raise DiffPoseError(f"{self.path}: not written, since there were no rows to write")

    def append(self, split: str, columns: Mapping[str, np.ndarray | Sequence]) -> None:
        """Add rows to ``"trainset"`` or ``"testset"``.

        ``columns`` holds every column of the schema with a leading row axis; ``heatmap`` may also be a sequence of
        :func:`encode_heatmap` results.
        """
        if split not in SPLITS.values():
            raise ValueError(f"split is one of {', '.join(SPLITS.values())}, not {split!r}")
        arrays = self._checked(columns)
        count = len(arrays["action"])
        start = self.num_rows.get(split, 0)
        try:
            group = self._file["dataset"].get(split)
            if group is None:
                group = self._create_split(split)
            for name, values in arrays.items():
                column = group[name]
                column.resize(start + count, axis=0)
                if name == "heatmap":
                    self._write_heatmaps(column, start, values)
                else:
                    column[start:] = values
            self._disk.check()
        except (OSError, RuntimeError) as error:
            raise self._failure(error) from error
        self.num_rows[split] = start + count

    def write_camera(
        self, subject: str, cam: str, *, intrinsics: np.ndarray, rotation: np.ndarray, translation: np.ndarray
    ) -> None:
        """Keep a camera: ``x_camera = rotation @ x_world + translation``; pixels are ``intrinsics @ x_camera`` over z.

        ``intrinsics`` (3, 3) in px, ``rotation`` (3, 3), ``translation`` (3,) in mm. Stored as ``K``, ``R`` and ``t``
        under ``/dataset/cameras/<subject>/<cam>``.
        """
        group = self._file["dataset"].require_group(f"cameras/{subject}/{cam}")
        for name, value, shape in (("K", intrinsics, (3, 3)), ("R", rotation, (3, 3)), ("t", translation, (3,))):
            group.create_dataset(name, data=np.asarray(value, dtype=np.float64).reshape(shape))

    def _create_split(self, split: str) -> h5py.Group:
        group = self._file["dataset"].create_group(split)
        for field in self.fields.values():
            options: dict[str, object] = {}
            if field.name == "heatmap":
                chunk_rows = 1
                if self._level is not None:
                    options = {"compression": "gzip", "compression_opts": self._level, "shuffle": True}
            else:
                chunk_rows = max(1, _SMALL_CHUNK_BYTES // field.row_bytes)
            column = group.create_dataset(
                field.name,
                shape=(0, *field.shape),
                maxshape=(None, *field.shape),
                dtype=field.dtype,
                chunks=(chunk_rows, *field.shape),
                **options,
            )
            column.attrs["unit"] = np.bytes_(field.unit.encode() or b" ")
            column.attrs["frame"] = np.bytes_(field.frame.encode() or b" ")
        return group

    def _write_heatmaps(self, column: h5py.Dataset, start: int, values: np.ndarray | Sequence[bytes]) -> None:
        for row, value in enumerate(values, start):
            if not isinstance(value, bytes):
                value = encode_heatmap(value, level=self._level, compact=self._compact)
            column.id.write_direct_chunk((row, 0, 0, 0), value)

    def _checked(self, columns: Mapping[str, np.ndarray | Sequence]) -> dict[str, np.ndarray | Sequence[bytes]]:
        """The columns as arrays of the schema's dtypes, or a DiffPoseError that names the column."""
        for name in self.fields:
            if name not in columns:
                raise DiffPoseError(f"{self.path}: column '{name}' is missing from the rows to write")
        for name in columns:
            if name not in self.fields:
                raise DiffPoseError(f"{self.path}: column '{name}' is not in the schema of {self.dataset}")
        count = len(columns["action"])
        arrays = {}
        for name, field in self.fields.items():
            values = columns[name]
            encoded = name == "heatmap" and len(values) > 0 and isinstance(values[0], bytes)
            array = values if encoded else self._converted(field, values)
            if len(array) != count:
                raise DiffPoseError(f"{self.path}: column '{name}' has {len(array)} rows, 'action' has {count}")
            arrays[name] = array
        return arrays

    def _converted(self, field: Field, values: np.ndarray | Sequence) -> np.ndarray:
        array = np.asarray(values)
        if array.shape[1:] != field.shape:
            raise DiffPoseError(
                f"{self.path}: column '{field.name}' has rows of shape {array.shape[1:]}, the schema says {field.shape}"
            )
        if field.dtype.kind != "S":
            return array.astype(field.dtype, copy=False)
        text = np.char.encode(array, "utf-8") if array.dtype.kind == "U" else array
        if text.dtype.kind != "S":
            raise DiffPoseError(f"{self.path}: column '{field.name}' must hold strings, not {array.dtype}")
        widest = int(np.char.str_len(text).max(initial=0))
        if widest > field.dtype.itemsize:
            raise DiffPoseError(
                f"{self.path}: column '{field.name}' holds strings of {widest} bytes, {field.dtype.itemsize} fit"
            )
        return text.astype(field.dtype)

    def _failure(self, error: BaseException) -> DiffPoseError:
        reason = " ".join(str(error).split())
        return DiffPoseError(
            f"{self.path}: cannot be written ({reason}): check the folder, its permissions and free space"
        )
