"""Columns of every HDF5 file: name, shape, dtype, unit and frame, shared by readers and writers.

A row is one frame of one camera. ``/dataset/trainset`` and ``/dataset/testset`` hold the splits, either as one compound
table each (the published layout, made by PyTables) or as groups with one dataset per column (the columnar layout).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from utils.errors import DiffPoseError
from utils.skeleton import HEATMAP_SIZE, NUM_HEATMAPS

SCHEMA_VERSION = 1
HEATMAP_SHAPE = (NUM_HEATMAPS, HEATMAP_SIZE, HEATMAP_SIZE)

SPLITS = MappingProxyType({"train": "trainset", "test": "testset"})
"""Name of a split in the configuration and on the command line -> its name in the file."""

ACTIONS = (
    "Directions",
    "Discussion",
    "Eating",
    "Greeting",
    "Phoning",
    "Photo",
    "Posing",
    "Purchases",
    "Sitting",
    "SittingDown",
    "Smoking",
    "Waiting",
    "WalkDog",
    "WalkTogether",
    "Walking",
)

# Ski-Pose's labels give the skiers numbers, and its folders say which of them are to be tested on.
_SKIERS = tuple(f"S{number}" for number in range(10))

SUBJECTS: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "h36m": MappingProxyType({"trainset": ("S1", "S5", "S6", "S7", "S8"), "testset": ("S9", "S11")}),
        "3dhp": MappingProxyType({"testset": ("TS1", "TS2", "TS3", "TS4", "TS5", "TS6")}),
        "3dpw": MappingProxyType({"trainset": ("tr",), "testset": ("te",)}),
        "skipose": MappingProxyType({"trainset": _SKIERS, "testset": _SKIERS}),
    }
)
"""Dataset -> split -> subjects. A dataset without training rows (3DHP) has no ``trainset``."""

ROOT_CENTRED = frozenset({"skipose"})
"""Datasets that do not say where in front of the camera the 3D truth is: its root is the origin."""

VALIDATION_SUBJECTS = MappingProxyType({"train": ("S1", "S6", "S7"), "validate": ("S5", "S8")})
"""Human3.6M's training subjects divided for choosing settings without the test subjects."""

HUMAN36M_SOURCE = "Human3.6M"
"""How the ``source`` attribute of a file made from Human3.6M begins; the synthetic benchmark's begins otherwise."""

MOTION_CAPTURE_SOURCE = "motion capture with simulated cameras and detector"
"""How the ``source`` attribute of a file made from motion capture begins: its takes are separate recordings."""

DRAWN_SOURCE = "heatmaps drawn from keypoints of Human3.6M"
"""How the ``source`` attribute of a file begins whose heatmaps are no detector's (data/preprocessing/keypoints.py)."""

RECORDINGS_ATTRIBUTE = "recordings"
"""Attribute of a file made from a list of recordings: JSON, kind of motion -> the names (actions) of its recordings."""

BUILD_COMMANDS = MappingProxyType(
    {
        "h36m": "python data/preprocessing/H36M.py --input_dir ... --output_dir ...",
        "3dhp": "python data/preprocessing/3DHP.py --input_dir ... --output_dir ...",
        "3dpw": "python data/preprocessing/3DPW.py --input_dir ... --output_dir ...",
        "skipose": "python data/preprocessing/SkiPose.py --input_dir ... --output_dir ...",
    }
)
"""Dataset -> the command that makes its file."""


@dataclass(frozen=True)
class Field:
    """One column: ``shape`` is that of a row's value, () for a scalar; ``unit`` and ``frame`` are for people."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    unit: str
    frame: str

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * int(np.prod(self.shape, dtype=np.int64))


def _fields(*rows: tuple[str, str, tuple[int, ...], str, str]) -> Mapping[str, Field]:
    return MappingProxyType({row[0]: Field(row[0], np.dtype(row[1]), *row[2:]) for row in rows})


_CAMERA_FRAME = "camera: x right, y down, z away"
_HEATMAP = ("heatmap", "f2", HEATMAP_SHAPE, "", "crop, MPII joints, row then column")

FIELDS: Mapping[str, Mapping[str, Field]] = MappingProxyType(
    {
        "h36m": _fields(
            ("action", "S16", (), "", ""),
            ("subject", "S3", (), "", ""),
            ("subaction", "S1", (), "", ""),
            ("cam", "S8", (), "", ""),
            ("frame_orig", "i4", (), "index in the video from 0", ""),
            ("crop_size", "i4", (), "px", ""),
            ("hardsubset", "u1", (), "0 or 1", ""),
            ("gt_3d", "f4", (3, 17), "mm", _CAMERA_FRAME),
            ("gt_2d", "f4", (2, 17), "px", "image: x right, y down"),
            ("argmax_2d", "f4", (2, 16), "crop side", "crop, MPII joints: row, column"),
            ("gt_2d_image_coords", "f4", (2, 32), "crop side", "crop, the 32 recorded joints: x, y"),
            _HEATMAP,
        ),
        "3dhp": _fields(
            ("action", "S4", (), "", ""),
            ("subject", "S4", (), "", ""),
            ("subaction", "S1", (), "", ""),
            ("cam", "S8", (), "", ""),
            ("frame_orig", "i4", (), "index in the video from 0", ""),
            ("hardsubset", "u1", (), "0 or 1", ""),
            ("gt_3d", "f4", (51,), "mm", _CAMERA_FRAME + "; x of all joints, y, z"),
            ("gt_3d_uni", "f4", (51,), "mm, universal scale", _CAMERA_FRAME + "; x of all joints, y, z"),
            ("gt_2d", "f4", (34,), "px", "image: x of all joints, y"),
            ("argmax_2d", "f4", (32,), "crop side", "crop, MPII joints: row of all joints, column"),
            _HEATMAP,
        ),
        "3dpw": _fields(
            ("action", "S16", (), "", ""),
            ("subject", "S2", (), "", ""),
            ("subaction", "S1", (), "", ""),
            ("cam", "S8", (), "", ""),
            ("frame_orig", "i4", (), "index in the video from 0", ""),
            ("hardsubset", "u1", (), "0 or 1", ""),
            ("gt_3d", "f4", (24, 3), "m", "world"),
            ("gt_2d", "f4", (3, 18), "px", "image: x, y, confidence of the 18 joints"),
            ("argmax_2d", "f4", (2, 16), "crop side", "crop, MPII joints: row, column"),
            _HEATMAP,
        ),
        "skipose": _fields(
            ("action", "S8", (), "", ""),
            ("subject", "S3", (), "", ""),
            ("subaction", "S1", (), "", ""),
            ("cam", "S8", (), "", ""),
            ("frame_orig", "i4", (), "number in the picture's name", ""),
            ("hardsubset", "u1", (), "0 or 1", ""),
            ("gt_3d", "f4", (3, 17), "mm", "camera's axes: x right, y down, z away; the root is the origin"),
            ("gt_2d", "f4", (2, 17), "px", "image: x right, y down"),
            ("argmax_2d", "f4", (2, 16), "crop side", "crop, MPII joints: row, column"),
            _HEATMAP,
        ),
    }
)
"""Dataset -> column name -> :class:`Field`."""

EPISODE_COLUMN = "episode"
"""Column of a synthetic file that no other has: the number of the short motion that a row shows."""

META_COLUMNS = ("action", "subject", "subaction", "cam", "frame_orig", "hardsubset")
"""The columns that name a row and that splits are filtered by."""

TRUTH_COLUMN = MappingProxyType({"h36m": "gt_3d", "3dhp": "gt_3d_uni", "3dpw": "gt_3d", "skipose": "gt_3d"})
"""Dataset -> the column that is trained on and evaluated against."""


def dataset_name(text: str) -> str:
    """h36m, 3dhp, 3dpw or skipose for any spelling of DATASET.DATASET; DiffPoseError for another name."""
    name = str(text).lower()
    if name not in FIELDS:
        raise DiffPoseError(f"unknown dataset '{text}': DATASET.DATASET is one of h36m, 3DHP, 3dpw, SkiPose")
    return name
