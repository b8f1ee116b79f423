"""Ski-Pose PTZ: for each split a file of labels and the pictures, 256 px squares that follow the skier."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from data.hdf5.access import member
from data.preprocessing.conversion.crops import joint_boxes
from data.preprocessing.conversion.frames import Frames, Recording, file_images, require
from data.schema import SPLITS, SUBJECTS
from utils.errors import DiffPoseError
from utils.hdf5_files import check_filters, reading

PICTURE_SIZE = 256
"""px: side of the pictures, of which the 2D labels are shares."""
_NAMES = ("seq", "cam", "frame", "subj")
_POSES = {"3D": 3, "2D": 2}
_JOINTS = 17
_WAY_OUT = "not the labels of Ski-Pose PTZ, or damaged: extract them again"
# Of the shares of 2D joints: those of a skier lie in the picture, or not far from it.
_LARGEST_SHARE = 4.0


def read_labels(path: Path) -> dict[str, np.ndarray]:
    """``seq``, ``cam``, ``frame``, ``subj`` (N,) int64, ``3D`` (N, 17, 3) m and ``2D`` (N, 17, 2), shares of the side.

    Raises DiffPoseError for a file without them, and for values that can't be.
    """
    require(path, "file of labels")
    arrays = {}
    with reading(path, "the file", _WAY_OUT), h5py.File(path, "r", locking=False) as file:
        for name in (*_NAMES, *_POSES):
            found = member(file, name, path)
            if not isinstance(found, h5py.Dataset):
                raise DiffPoseError(f"{path}: has no '{name}': {_WAY_OUT}")
            check_filters(found, path)
            arrays[name] = np.asarray(found[()])
    count = arrays["seq"].size
    for name in _NAMES:
        arrays[name] = _whole_numbers(arrays[name], count, f"{path}: '{name}'")
    for name, axes in _POSES.items():
        values = arrays[name]
        if values.shape not in ((count, _JOINTS * axes), (count, _JOINTS, axes)) or values.dtype.kind not in "fiu":
            raise DiffPoseError(
                f"{path}: '{name}' has shape {values.shape}, expected {(count, _JOINTS * axes)}: {_WAY_OUT}"
            )
        arrays[name] = values.reshape(count, _JOINTS, axes).astype(np.float64)
        bad = ~np.isfinite(arrays[name]).all(axis=(1, 2))
        if bad.any():
            raise DiffPoseError(
                f"{path}: '{name}' holds values that are not finite, first in row {np.argmax(bad)}: extract it again"
            )
    if count and np.median(np.abs(arrays["2D"])) > _LARGEST_SHARE:
        raise DiffPoseError(f"{path}: '2D' seems to be in px: expected shares of the picture's side, 0 to 1")
    return arrays


def _whole_numbers(values: np.ndarray, count: int, where: str) -> np.ndarray:
    numbers = values.reshape(-1)
    if len(numbers) != count or numbers.dtype.kind not in "fiu":
        raise DiffPoseError(f"{where} has shape {values.shape}, expected {(count,)} numbers: {_WAY_OUT}")
    whole = np.nan_to_num(numbers.astype(np.float64), nan=-1.0)
    if ((whole < 0) | (whole != np.round(whole)) | (whole > 10**6)).any():
        raise DiffPoseError(f"{where} holds numbers that count nothing: {_WAY_OUT}")
    return whole.astype(np.int64)


class SkiPose:
    """Both splits, a recording for each skier, sequence and camera."""

    dataset = "skipose"
    file_stem = "SkiPose"
    source = "Ski-Pose PTZ"
    units = "gt_3d in mm, the camera's axes, root-centred; gt_2d in px; frame_orig as in the pictures' names"
    subjects = SUBJECTS["skipose"]["trainset"]

    def recordings(self, folder: Path, subjects: Sequence[str]) -> list[Recording]:
        """In the order of splits, skiers, sequences and cameras."""
        found = []
        for name, split in SPLITS.items():
            labels = folder / name / "labels.h5"
            arrays = read_labels(labels)
            if unknown := sorted(set(_skiers(arrays)) - set(self.subjects)):
                raise DiffPoseError(
                    f"{labels}: 'subj' has {unknown[0][1:]}, skiers have numbers from 0 to 9: {_WAY_OUT}"
                )
            keys = zip(_skiers(arrays), arrays["seq"].tolist(), arrays["cam"].tolist(), strict=True)
            for skier, sequence, camera in sorted(set(keys)):
                if skier in subjects:
                    pictures = folder / name / f"seq_{sequence:03d}" / f"cam_{camera:02d}"
                    load = partial(load_recording, labels, arrays, pictures, skier, sequence, camera)
                    key = f"{name}_{skier}_{sequence:03d}_{camera:02d}"
                    found.append(Recording(key, split, (labels, require(pictures, "image folder")), load))
        return found


def _skiers(labels: dict[str, np.ndarray]) -> list[str]:
    return [f"S{number}" for number in labels["subj"].tolist()]


def load_recording(
    path: Path, labels: dict[str, np.ndarray], pictures: Path, skier: str, sequence: int, camera: int
) -> Frames:
    """The frames of a skier, sequence and camera in their order; the crop is around the 2D joints.

    ``action`` is the sequence, ``cam`` the camera. Raises DiffPoseError for a frame that has two labels and for one
    without a picture.
    """
    ours = (np.array(_skiers(labels)) == skier) & (labels["seq"] == sequence) & (labels["cam"] == camera)
    rows = np.flatnonzero(ours)
    rows = rows[np.argsort(labels["frame"][rows], kind="stable")]
    frames = labels["frame"][rows]
    twice = frames[1:][frames[1:] == frames[:-1]]
    if len(twice):
        raise DiffPoseError(
            f"{path}: frame {twice[0]} of sequence {sequence}, camera {camera} has two labels: extract it again"
        )
    paths = [pictures / f"image_{frame:06d}.png" for frame in frames]
    missing = [one for one in paths if not one.exists()]
    if missing:
        more = f" and {len(missing) - 1} others that the labels name" if len(missing) > 1 else ", which the labels name"
        raise DiffPoseError(f"{missing[0]}: no such picture{more}: extract {pictures.parents[1].name} again")
    pixels = PICTURE_SIZE * labels["2D"][rows]
    try:
        boxes, _ = joint_boxes(pixels)
    except DiffPoseError as error:
        raise DiffPoseError(f"{path}: {error}: extract it again") from error
    columns = {
        "action": np.full(len(rows), f"seq_{sequence:03d}"),
        "subject": np.full(len(rows), skier),
        "subaction": np.full(len(rows), "0"),
        "cam": np.full(len(rows), f"{camera:02d}"),
        "frame_orig": frames.astype(np.int32),
        "gt_3d": 1000 * labels["3D"][rows].transpose(0, 2, 1),
        "gt_2d": pixels.transpose(0, 2, 1),
    }
    return Frames(columns, boxes, partial(_square_pictures, paths))


def _square_pictures(paths: Sequence[Path]) -> Iterator[np.ndarray]:
    """The pictures. Raises DiffPoseError for one of another size, whose labels would be out of place."""
    for path, image in zip(paths, file_images(paths), strict=True):
        height, width = image.shape[:2]
        if (height, width) != (PICTURE_SIZE, PICTURE_SIZE):
            raise DiffPoseError(
                f"{path}: {width} x {height} px, Ski-Pose PTZ's are {PICTURE_SIZE} x {PICTURE_SIZE}: the labels would "
                "be out of place"
            )
        yield image
