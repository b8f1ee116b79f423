"""What the checks look at: a file's facts, and evenly spread rows of a split with their heatmaps reduced to numbers."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from data.ambiguity import is_ambiguous
from data.hdf5.access import listed, member, open_hdf5, text_attribute
from data.hdf5.compact import AS_PUBLISHED, STORAGE_ATTRIBUTE
from data.hdf5.split_file import SplitFile
from data.schema import FIELDS, SPLITS, TRUTH_COLUMN, dataset_name
from data.synthetic.occlusion import H36M_17_OF_32
from data.synthetic.row_kinds import INDEPENDENT, ROWS_ATTRIBUTE
from utils.crops import crop_square
from utils.errors import DiffPoseError
from utils.hdf5_files import reading
from utils.skeleton import HEATMAP_SIZE, MPII_TO_H36M, NUM_HEATMAPS, Skeleton, skeleton_for

_HEATMAP_ROWS = 64
_COLUMN_ROWS = 65_536
# 3DPW's 18 joints (COCO order and the neck) of the 16 heatmaps; -1: pelvis, spine and head have none.
_COCO_OF_MPII = (10, 9, 8, 11, 12, 13, -1, -1, 1, -1, 4, 3, 2, 5, 6, 7)


@dataclass
class Report:
    """Lines that describe the file; ``findings`` say what is off and ``notes`` what is worth knowing, one line each."""

    lines: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.lines.append(text)

    def find(self, text: str) -> None:
        self.findings.append(text)

    def find_grouped(self, where: str, problems: dict[str, list[str]]) -> None:
        """One finding per problem, with the subjects (or cameras) that have it."""
        for problem, groups in problems.items():
            self.find(f"{where} {listed(groups, most=12)}: {problem}")


@dataclass(frozen=True)
class FileFacts:
    """``splits``: their names on the command line (train, test); ``heatmap_storage``: the form of the maps' values.

    ``independent``: rows are no recordings, each has its own body, pose and camera.
    """

    path: Path
    dataset: str
    splits: tuple[str, ...]
    layout: str
    hard_rule: str
    heatmap_storage: str
    independent: bool = False


def file_facts(path: Path, dataset: str | None) -> FileFacts:
    """Look at a file's outline; the dataset is recognised by its columns when it is None.

    Raises DiffPoseError when it is no HDF5 file with a training or a test split.
    """
    asked = "h36m" if dataset is None else dataset_name(dataset)
    with open_hdf5(path, asked) as file, reading(path, "'/dataset'"):
        root = member(file, "dataset", path)
        found = {}
        if isinstance(root, h5py.Group):
            found = {name: member(root, key, path) for name, key in SPLITS.items()}
        found = {name: split for name, split in found.items() if split is not None}
        if not found:
            raise DiffPoseError(f"{path}: has neither '/dataset/trainset' nor '/dataset/testset': no DiffPose file")
        split = next(iter(found.values()))
        stated = text_attribute(root, "dataset").lower()
        if dataset is None:
            asked = stated if stated in FIELDS else _recognised(split)
        rule, storage = (
            " ".join(text_attribute(root, name, default).split())[:200]
            for name, default in (("hard_subset", "not stated"), (STORAGE_ATTRIBUTE, AS_PUBLISHED))
        )
        layout = "columnar" if isinstance(split, h5py.Group) else "published"
        independent = text_attribute(root, ROWS_ATTRIBUTE) == INDEPENDENT
    return FileFacts(
        path=path,
        dataset=asked,
        splits=tuple(found),
        layout=layout,
        hard_rule=rule,
        heatmap_storage=storage,
        independent=independent,
    )


def _recognised(split: h5py.Group | h5py.Dataset) -> str:
    if isinstance(split, h5py.Group):
        shapes = {name: column.shape[1:] for name, column in split.items() if isinstance(column, h5py.Dataset)}
    else:
        shapes = {name: split.dtype[name].shape for name in split.dtype.names or ()}
    if "gt_3d_uni" in shapes:
        return "3dhp"
    return "3dpw" if shapes.get("gt_3d") == (24, 3) else "h36m"


@dataclass(frozen=True)
class Sample:
    """Evenly spread rows of a split. Positions that a file lacks are None.

    poses_mm: (N, J, 3) of the truth column, (3DPW's metres times 1000); camera_mm: (N, 17, 3) in the camera's frame;
    pixels: (N, 17, 2); cells: (N, 16, 2) true column and row of each heatmap, NaN where they are not known;
    ``usable``: (N,) poses, camera_mm and pixels are finite; intrinsics: (N, 3, 3) of files whose rows have their own.
    Of the heatmaps: peak (N, 16), its cell (column, row) (N, 16, 2), whether each is finite and has a positive value,
    whether argmax_2d names a highest cell as (row, column) or as (column, row), whether the row is ambiguous.
    """

    split: SplitFile
    skeleton: Skeleton
    rows: np.ndarray
    poses_mm: np.ndarray
    camera_mm: np.ndarray | None
    pixels: np.ndarray | None
    cells: np.ndarray | None
    usable: np.ndarray
    peak: np.ndarray
    peak_cell: np.ndarray
    finite: np.ndarray
    positive: np.ndarray
    argmax_right: np.ndarray
    argmax_swapped: np.ndarray
    ambiguous: np.ndarray
    intrinsics: np.ndarray | None = None

    def groups(self, *names: str) -> Iterator[tuple[str, np.ndarray]]:
        """The distinct values of columns such as subject and cam, with their usable rows (places in the sample)."""
        values = [self.split.meta[name][self.rows] for name in names]
        labels = values[0]
        for more in values[1:]:
            labels = np.char.add(np.char.add(labels, "/"), more)
        for label in np.unique(labels):
            places = np.flatnonzero((labels == label) & self.usable)
            if len(places):
                yield str(label), places


def read_sample(split: SplitFile, limit: int, *, show_progress: bool = True) -> Sample:
    """Read ``limit`` evenly spread rows (all when 0); memory grows with neither the file nor its heatmaps."""
    from tqdm import tqdm

    count = split.num_rows if limit == 0 else min(limit, split.num_rows)
    rows = np.unique(np.linspace(0, split.num_rows - 1, count).round().astype(np.int64))
    truth = TRUTH_COLUMN[split.dataset]
    poses = _poses(split.read_dense(truth, rows), split.dataset)
    camera = None
    if split.dataset != "3dpw" and "gt_3d" in split.columns:
        camera = poses if truth == "gt_3d" else _poses(split.read_dense("gt_3d", rows), split.dataset)
    pixels = _pixels(split, rows)
    cells = _true_cells(split, rows, pixels)
    usable = np.ones(len(rows), bool)
    for values in (poses, camera, pixels):
        if values is not None:
            usable &= np.isfinite(values.reshape(len(rows), -1)).all(axis=1)
    stored = split.read_dense("argmax_2d", rows).reshape(len(rows), 2, -1) if "argmax_2d" in split.columns else None
    parts = []
    with tqdm(total=len(rows), unit="row", desc=f"{split.split} heatmaps", disable=not show_progress) as bar:
        for start in range(0, len(rows), _HEATMAP_ROWS):
            part = slice(start, start + _HEATMAP_ROWS)
            heatmaps = split.read_heatmaps(rows[part])
            parts.append(_reduce(heatmaps, None if stored is None else stored[part]))
            bar.update(len(heatmaps))
    reduced = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Sample(
        split=split,
        skeleton=skeleton_for(split.dataset),
        rows=rows,
        poses_mm=poses,
        camera_mm=camera,
        pixels=pixels,
        cells=cells,
        usable=usable,
        intrinsics=_intrinsics(split, rows),
        **reduced,
    )


def _intrinsics(split: SplitFile, rows: np.ndarray) -> np.ndarray | None:
    """The cameras of files that have one for each row."""
    with open_hdf5(split.path, split.dataset) as file, reading(split.path, f"'{split.split}/camera_k'"):
        group = member(file["dataset"], split.split, split.path)
        column = member(group, "camera_k", split.path) if isinstance(group, h5py.Group) else None
        if column is None:
            return None
        values = column[:][rows].astype(np.float64)
    matrices = np.tile(np.eye(3), (len(rows), 1, 1))
    matrices[:, 0, 0], matrices[:, 1, 1], matrices[:, :2, 2] = values[:, 0], values[:, 1], values[:, 2:]
    return matrices


def _poses(values: np.ndarray, dataset: str) -> np.ndarray:
    if dataset == "3dpw":
        return 1000.0 * values.astype(np.float64)
    return np.swapaxes(values.reshape(len(values), 3, -1), 1, 2).astype(np.float64)


def _pixels(split: SplitFile, rows: np.ndarray) -> np.ndarray | None:
    if split.dataset == "3dpw" or "gt_2d" not in split.columns:
        return None
    values = split.read_dense("gt_2d", rows)
    return np.swapaxes(values.reshape(len(values), 2, -1), 1, 2).astype(np.float64)


def _true_cells(split: SplitFile, rows: np.ndarray, pixels: np.ndarray | None) -> np.ndarray | None:
    """From gt_2d_image_coords where the file has them, else from the crop that gt_2d asks for."""
    if split.dataset == "3dpw":
        return _cells_3dpw(split, rows) if "gt_2d" in split.columns else None
    if "gt_2d_image_coords" in split.columns:
        values = np.swapaxes(split.read_dense("gt_2d_image_coords", rows), 1, 2).astype(np.float64)
        crop = values[:, list(H36M_17_OF_32)]
    elif pixels is not None:
        crop = _in_crop(pixels)
    else:
        return None
    return HEATMAP_SIZE * crop[:, list(MPII_TO_H36M)]


def _in_crop(pixels: np.ndarray) -> np.ndarray:
    """Pixels (N, J, 2), NaN for joints that do not count, as shares of the crop around them."""
    middle, side = crop_square(np.where(np.isfinite(pixels), pixels, np.nan), whole_pixels=False)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (pixels - middle[:, None]) / side[:, None, None] + 0.5


def _cells_3dpw(split: SplitFile, rows: np.ndarray) -> np.ndarray:
    values = np.swapaxes(split.read_dense("gt_2d", rows), 1, 2).astype(np.float64)
    crop = _in_crop(np.where(values[..., 2:] > 0, values[..., :2], np.nan))
    cells = HEATMAP_SIZE * crop[:, list(_COCO_OF_MPII)]
    cells[:, [place for place, joint in enumerate(_COCO_OF_MPII) if joint < 0]] = np.nan
    return cells


def _reduce(heatmaps: np.ndarray, stored: np.ndarray | None) -> dict[str, np.ndarray]:
    maps = heatmaps.astype(np.float32).reshape(len(heatmaps), NUM_HEATMAPS, -1)
    finite = np.asarray(np.isfinite(maps).all(axis=2))
    maps[~finite] = 0
    best = maps.argmax(axis=2)
    peak = np.take_along_axis(maps, best[..., None], axis=2)[..., 0]
    right = swapped = np.ones(finite.shape, bool)
    if stored is not None:
        inside = np.isfinite(stored).all(axis=1) & ((stored >= 0) & (stored < 1)).all(axis=1)
        cell = np.rint(HEATMAP_SIZE * np.nan_to_num(stored)).clip(0, HEATMAP_SIZE - 1).astype(np.int64)
        exact = inside & (np.abs(HEATMAP_SIZE * np.nan_to_num(stored) - cell) < 0.01).all(axis=1)
        right, swapped = (
            exact & (np.take_along_axis(maps, (first * HEATMAP_SIZE + second)[..., None], axis=2)[..., 0] == peak)
            for first, second in ((cell[:, 0], cell[:, 1]), (cell[:, 1], cell[:, 0]))
        )
    return {
        "peak": peak,
        "peak_cell": np.stack([best % HEATMAP_SIZE, best // HEATMAP_SIZE], axis=-1),
        "finite": finite,
        "positive": np.asarray(peak > 0),
        "argmax_right": right,
        "argmax_swapped": swapped,
        "ambiguous": is_ambiguous(maps.reshape(heatmaps.shape)),
    }


def bad_rows(split: SplitFile, name: str) -> tuple[int, int]:
    """How many of all rows hold a value that is not finite in a small column, and the first of them (or -1)."""
    count, first = 0, -1
    for start in range(0, split.num_rows, _COLUMN_ROWS):
        rows = np.arange(start, min(start + _COLUMN_ROWS, split.num_rows))
        bad = ~np.isfinite(split.read_dense(name, rows).reshape(len(rows), -1)).all(axis=1)
        if bad.any():
            first = int(rows[np.argmax(bad)]) if first < 0 else first
            count += int(bad.sum())
    return count, first
