"""3DPW: a pickle of annotations for each sequence, and a folder of images."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from data.preprocessing.conversion.crops import joint_boxes
from data.preprocessing.conversion.frames import Frames, Recording, file_images, require
from data.preprocessing.threedpw.plain_pickle import load_plain_pickle
from data.schema import FIELDS, SUBJECTS
from utils.errors import DiffPoseError
from utils.input_folders import data_files

_FOLDERS = {"tr": "train", "te": "test"}
_ACTION_BYTES = FIELDS["3dpw"]["action"].dtype.itemsize


def read_sequence(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """(``poses2d`` (N, 3, 18): x, y, confidence in px; ``jointPositions`` (N, 24, 3) in m) of each person."""
    content = load_plain_pickle(path)
    people = []
    try:
        if not isinstance(content, Mapping):
            raise TypeError("no dictionary")
        for poses_2d, joints in zip(content["poses2d"], content["jointPositions"], strict=True):
            count = len(joints)
            poses_2d = np.asarray(poses_2d, dtype=np.float32).reshape(count, 3, 18)
            people.append((poses_2d, np.asarray(joints, dtype=np.float32).reshape(count, 24, 3)))
        finite = all(np.isfinite(array).all() for person in people for array in person)
    except (KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DiffPoseError(
            f"{path}: no poses2d (N, 3, 18) and jointPositions (N, 72) of each person ({reason}): download it again"
        ) from error
    if not people or not finite:
        raise DiffPoseError(f"{path}: {'values that are not finite' if people else 'no person'}: download it again")
    return people


class ThreeDPW:
    """The training and test sequences, one recording per person; validation is left out."""

    dataset = "3dpw"
    file_stem = "3DPW"
    source = "3DPW, train and test sequences"
    units = "gt_3d in m, world frame; gt_2d in px; frame_orig from 0"
    subjects = tuple(subject for split in SUBJECTS["3dpw"].values() for subject in split)

    def recordings(self, folder: Path, subjects: Sequence[str]) -> list[Recording]:
        """In the order of splits, sequence names and people."""
        found = []
        for split, names in SUBJECTS["3dpw"].items():
            for subject in names:
                if subject not in subjects:
                    continue
                annotations = require(folder / "sequenceFiles" / _FOLDERS[subject], "folder of annotations")
                paths = data_files(annotations, ".pkl")
                if not paths:
                    raise DiffPoseError(f"{annotations}: holds no .pkl files: extract sequenceFiles.zip")
                for path in paths:
                    found.extend(self._of_sequence(path, folder / "imageFiles" / path.stem, subject, split))
        return found

    @staticmethod
    def _of_sequence(path: Path, pictures: Path, subject: str, split: str) -> list[Recording]:
        require(pictures, "image folder")
        return [
            Recording(
                f"{subject}_{path.stem}_{person}",
                split,
                (path,),
                partial(load_recording, path, pictures, subject, person),
            )
            for person in range(len(read_sequence(path)))
        ]


def load_recording(path: Path, pictures: Path, subject: str, person: int) -> Frames:
    """A person's frames in which at least one 2D joint was seen; the crop is around the joints that were.

    ``action`` is the sequence's name without its number, cut to the column's width; ``subaction`` the number's last
    digit; ``cam`` the person.
    """
    poses_2d, joints = read_sequence(path)[person]
    seen = poses_2d[:, 2] > 0  # (N, 18)
    rows = np.flatnonzero(seen.any(axis=1))
    places = np.where(seen[rows, :, None], poses_2d[rows, :2].transpose(0, 2, 1), np.nan)
    try:
        boxes, _ = joint_boxes(places)
    except DiffPoseError as error:
        raise DiffPoseError(f"{path}: {error}: download it again") from error
    action, _, number = path.stem.rpartition("_")
    if not (action and number.isdigit()):
        raise DiffPoseError(f"{path}: unknown sequence name: 3DPW's end with a number, as in downtown_walking_00.pkl")
    columns = {
        "action": np.full(len(rows), action[:_ACTION_BYTES]),
        "subject": np.full(len(rows), subject),
        "subaction": np.full(len(rows), number[-1]),
        "cam": np.full(len(rows), str(person)),
        "frame_orig": rows.astype(np.int32),
        "gt_3d": joints[rows],
        "gt_2d": poses_2d[rows],
    }
    paths = [pictures / f"image_{row:05d}.jpg" for row in rows]
    return Frames(columns, boxes, partial(file_images, paths))
