"""The test set of MPI-INF-3DHP: folders TS1..TS6 with a MATLAB 7.3 annotation file and a folder of images."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from data.hdf5.access import member
from data.preprocessing.conversion.crops import joint_boxes
from data.preprocessing.conversion.frames import Frames, Recording, file_images, require
from data.schema import SUBJECTS
from utils.errors import DiffPoseError
from utils.hdf5_files import check_filters, reading
from utils.input_folders import by_number, data_files

JOINTS = (14, 8, 9, 10, 11, 12, 13, 15, 1, 16, 0, 5, 6, 7, 2, 3, 4)
"""H36M-17 among the 17 joints of the annotations."""
_POSES = {"annot2": 2, "annot3": 3, "univ_annot3": 3}


def read_annotations(path: Path) -> dict[str, np.ndarray]:
    """``annot2`` (N, 17, 2) px, ``annot3`` and ``univ_annot3`` (N, 17, 3) mm, ``valid_frame`` (N,) bool."""
    require(path, "annotation")
    way_out = "not the test set's MATLAB 7.3 file, or damaged: download it again"
    with reading(path, "the file", way_out), h5py.File(path, "r", locking=False) as file:
        arrays = {}
        for name in (*_POSES, "valid_frame"):
            found = member(file, name, path)
            if not isinstance(found, h5py.Dataset):
                raise DiffPoseError(f"{path}: has no '{name}': {way_out}")
            check_filters(found, path)
            arrays[name] = np.asarray(found[()])
    valid = arrays["valid_frame"].reshape(-1) != 0
    for name, num_axes in _POSES.items():
        if arrays[name].shape != (len(valid), 1, 17, num_axes):
            raise DiffPoseError(
                f"{path}: '{name}' has shape {arrays[name].shape}, expected {(len(valid), 1, 17, num_axes)}: {way_out}"
            )
        arrays[name] = arrays[name][:, 0].astype(np.float32)
        if not np.isfinite(arrays[name][valid]).all():
            raise DiffPoseError(f"{path}: '{name}' holds values that are not finite: download it again")
    return {**arrays, "valid_frame": valid}


class ThreeDHP:
    """The valid frames of TS1..TS6."""

    dataset = "3dhp"
    file_stem = "3DHP"
    source = "MPI-INF-3DHP test set, valid frames"
    units = "gt_3d and gt_3d_uni in mm, camera frame; gt_2d in px; frame_orig from 0"
    subjects = SUBJECTS["3dhp"]["testset"]

    def recordings(self, folder: Path, subjects: Sequence[str]) -> list[Recording]:
        """One per sequence, TS1 to TS6."""
        found = []
        for name in self.subjects:
            if name in subjects:
                annotations = require(folder / name / "annot_data.mat", "annotation")
                pictures = require(folder / name / "imageSequence", "image folder")
                load = partial(load_recording, name, annotations, pictures)
                found.append(Recording(name, "testset", (annotations, pictures), load))
        return found


def load_recording(name: str, annotations: Path, pictures: Path) -> Frames:
    """The valid frames. A picture's number says which frame it shows, counted from 1.

    Raises DiffPoseError for a valid frame without a picture, and for pictures whose numbers do not tell.
    """
    images = by_number(data_files(pictures, ".jpg"))
    if not images:
        raise DiffPoseError(f"{pictures}: holds no .jpg files: extract the images of {name}")
    if 0 in images:
        raise DiffPoseError(f"{images[0]}: has the number 0, but the pictures of 3DHP count from 1: extract them again")
    arrays = read_annotations(annotations)
    rows = np.flatnonzero(arrays["valid_frame"])
    missing = [int(row) + 1 for row in rows if row + 1 not in images]
    if missing:
        more = f" and of {len(missing) - 1} other valid frames" if len(missing) > 1 else ""
        raise DiffPoseError(
            f"{pictures}: no picture of frame {missing[0]} (img_{missing[0]:06d}.jpg){more}, which {annotations.name} "
            f"calls valid: extract the images of {name} again"
        )
    poses = {key: arrays[key][rows] for key in _POSES}
    try:
        boxes, _ = joint_boxes(poses["annot2"])
    except DiffPoseError as error:
        raise DiffPoseError(f"{annotations}: {error}: download it again") from error
    flat = {key: pose[:, JOINTS].transpose(0, 2, 1).reshape(len(rows), -1) for key, pose in poses.items()}
    columns = {
        "action": np.full(len(rows), name),
        "subject": np.full(len(rows), name),
        "subaction": np.full(len(rows), "0"),
        "cam": np.full(len(rows), "0"),
        "frame_orig": rows.astype(np.int32),
        "gt_3d": flat["annot3"],
        "gt_3d_uni": flat["univ_annot3"],
        "gt_2d": flat["annot2"],
    }
    return Frames(columns, boxes, partial(file_images, [images[row + 1] for row in rows]))
