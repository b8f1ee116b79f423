"""Small HDF5 files in the true formats, for tests: the published compound tables with plain h5py, and ours."""

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from data.hdf5.columnar import ColumnarWriter, encode_heatmap
from data.schema import FIELDS, SUBJECTS, dataset_name

_ACTIONS = {"h36m": ("Directions", "Sitting", "Walking"), "3dpw": ("office", "courtyard")}


def make_columns(dataset: str, count: int, *, split: str = "testset", seed: int = 0) -> dict[str, np.ndarray]:
    """``count`` random rows of every column of the schema; each row's heatmaps differ and have positive values."""
    dataset = dataset_name(dataset)
    rng = np.random.default_rng(seed)
    subjects = SUBJECTS[dataset][split]
    place = np.arange(count)
    subject = np.array(subjects)[place % len(subjects)]
    columns = {
        "action": subject if dataset == "3dhp" else np.array(_ACTIONS[dataset])[place // 2 % len(_ACTIONS[dataset])],
        "subject": subject,
        "subaction": np.full(count, "0"),
        "cam": np.full(count, "54138969"),
        "frame_orig": 4 * place + 3,
        "hardsubset": place % 3 == 0,
    }
    for name, field in FIELDS[dataset].items():
        if name not in columns and name != "heatmap":
            columns[name] = rng.uniform(100, 900, (count, *field.shape))
    heatmap = np.zeros((count, 16, 64, 64), np.float16)
    row, column = rng.integers(0, 64, (2, count, 16))
    heatmap[place[:, None], np.arange(16), row, column] = rng.uniform(0.1, 1, (count, 16))
    heatmap += (rng.integers(0, 5, (count, 1, 1, 1)) / 1024).astype(np.float16)
    columns["heatmap"] = heatmap
    return {name: np.asarray(values).astype(FIELDS[dataset][name].dtype) for name, values in columns.items()}


def published_dtype(dataset: str, *, hard_shape: tuple[int, ...] = (1,)) -> np.dtype:
    """A compound row as PyTables makes it: columns in alphabetical order."""
    fields = FIELDS[dataset_name(dataset)]
    return np.dtype(
        [
            (name, fields[name].dtype, hard_shape if name == "hardsubset" else fields[name].shape)
            for name in sorted(fields)
        ]
    )


def write_published(
    path: Path,
    dataset: str,
    splits: Mapping[str, Mapping[str, np.ndarray]],
    *,
    hard_shape: tuple[int, ...] = (1,),
    leave_out: tuple[str, ...] = (),
    chunk_rows: int = 3,
    **options,
) -> Path:
    """``/dataset/<split>`` as one compound table each."""
    dtype = published_dtype(dataset, hard_shape=hard_shape)
    dtype = np.dtype([(name, dtype[name]) for name in dtype.names if name not in leave_out])
    with h5py.File(path, "w") as file:
        for split, columns in splits.items():
            table = np.zeros(len(columns["action"]), dtype)
            for name in dtype.names:
                table[name] = columns[name].reshape(len(table), *dtype[name].shape)
            file.create_dataset(f"dataset/{split}", data=table, chunks=(chunk_rows,), maxshape=(None,), **options)
    return path


def write_columnar(path: Path, dataset: str, splits: Mapping[str, Mapping[str, np.ndarray]], **attrs) -> Path:
    """The columnar layout, through the project's writer."""
    with ColumnarWriter(path, dataset=dataset, attrs={"source": "synthetic: test", **attrs}, level=1) as writer:
        for split, columns in splits.items():
            writer.append(split, columns)
    return path


def attributes(item: h5py.Group) -> dict[str, object]:
    """The attributes of a group or dataset, texts as str."""
    return {name: v.decode() if isinstance(v, bytes) else v for name, v in item.attrs.items()}


def write_large_columnar(path: Path, num_rows: int, *, split: str = "trainset") -> Path:
    """Many rows of tiny stored size: all share one of a few sparse heatmaps. ``gt_3d`` holds the row number."""
    columns = make_columns("h36m", 16, split=split)
    maps = [encode_heatmap(heatmap, level=9) for heatmap in np.where(columns["heatmap"] > 0.05, columns["heatmap"], 0)]
    with ColumnarWriter(path, dataset="h36m", attrs={"source": "synthetic: large test"}) as writer:
        for start in range(0, num_rows, 5000):
            rows = np.arange(start, min(start + 5000, num_rows))
            block = {name: values[rows // 700 % 16] for name, values in columns.items() if name != "heatmap"}
            block["frame_orig"] = rows
            block["gt_3d"] = np.broadcast_to(rows[:, None, None], (len(rows), 3, 17))
            block["heatmap"] = [maps[row % 16] for row in rows]
            writer.append(split, block)
    return path


def write_large_published(path: Path, num_rows: int, *, split: str = "trainset") -> Path:
    """Many rows of tiny stored size in the published layout: gzip'd chunks of four rows, most of them the same."""
    columns = make_columns("h36m", 4, split=split)
    dtype = published_dtype("h36m")
    rows = np.zeros(4, dtype)
    for name in dtype.names:
        rows[name] = columns[name].reshape(4, *dtype[name].shape)
    with h5py.File(path, "w") as file:
        table = file.create_dataset(f"dataset/{split}", shape=(num_rows,), dtype=dtype, chunks=(4,), compression=1)
        table[:4] = rows
        chunk = table.id.read_direct_chunk((0,))[1]
        for start in range(4, num_rows - num_rows % 4, 4):
            table.id.write_direct_chunk((start,), chunk)
    return path
