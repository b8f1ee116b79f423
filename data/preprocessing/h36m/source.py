"""Human3.6M as h36m-fetch extracts it: a folder per subject with CDF annotations and videos."""

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from data.preprocessing.conversion.crops import joint_boxes
from data.preprocessing.conversion.frames import Frames, Recording, require, video_images
from data.preprocessing.h36m.names import LEFT_OUT, Name, recording_name
from data.schema import HUMAN36M_SOURCE, SUBJECTS
from utils.environment import environment_trouble
from utils.errors import DiffPoseError
from utils.input_folders import data_files

FRAME_STEP = 4
VIDEO_RATE = 50.0
JOINTS = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
"""H36M-17 among the 32 joints of the annotations."""
_NUM_RECORDED = 32
CDF_SECONDS = 10.0
"""Processor time that reading an annotation file may take; a whole one takes a fraction of a second."""


@contextlib.contextmanager
def _ending_within(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in Python code that takes more processor time than that."""
    end = time.process_time() + seconds

    def watch(frame: object, event: str, argument: object) -> None:
        if time.process_time() > end:
            raise TimeoutError("reading it does not end")

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        yield
    finally:
        sys.setprofile(before)


def read_cdf(path: Path, num_axes: int) -> np.ndarray:
    """The poses of an annotation file: (frames, 32, 2 or 3) float32. DiffPoseError for any other content."""
    import cdflib

    require(path, "annotation")
    try:
        # A damaged count makes cdflib loop without end.
        with _ending_within(CDF_SECONDS):
            values = np.asarray(cdflib.CDF(str(path)).varget(0))
    except Exception as error:  # cdflib raises whatever its parser stumbles over
        trouble = environment_trouble(error)
        if trouble:
            raise DiffPoseError(f"{path}: cannot be read ({trouble})") from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DiffPoseError(f"{path}: not a readable CDF file ({reason}): extract it again") from error
    if values.ndim != 3 or values.shape[0] != 1 or values.shape[2] != num_axes * _NUM_RECORDED:
        raise DiffPoseError(
            f"{path}: variable 0 has shape {values.shape}, expected (1, frames, {num_axes * _NUM_RECORDED})"
        )
    values = values[0].astype(np.float32).reshape(-1, _NUM_RECORDED, num_axes)
    if not np.isfinite(values).all():
        raise DiffPoseError(f"{path}: holds positions that are not finite: extract it again")
    return values


class Human36M:
    """The recordings of Human3.6M, every fourth frame, the two damaged ones left out."""

    dataset = "h36m"
    file_stem = "H36M"
    source = f"{HUMAN36M_SOURCE}, every 4th frame"
    units = "gt_3d in mm, camera frame; gt_2d in px; frame_orig from 0"
    subjects = tuple(subject for split in SUBJECTS["h36m"].values() for subject in split)

    def recordings(self, folder: Path, subjects: Sequence[str]) -> list[Recording]:
        """In the order of the rows: by split and subject, then by the path of the 2D annotations."""
        found: list[Recording] = []
        for split, names in SUBJECTS["h36m"].items():
            for subject in names:
                if subject in subjects:
                    found.extend(self._of_subject(folder / subject, subject, split))
        return found

    @staticmethod
    def _of_subject(folder: Path, subject: str, split: str) -> list[Recording]:
        annotations = require(folder / "Poses_D2_Positions", "folder of 2D annotations")
        paths = data_files(annotations, ".cdf")
        if not paths:
            raise DiffPoseError(f"{annotations}: holds no .cdf files: extract the data of {subject}")
        recordings: dict[Name, Recording] = {}
        for path_2d in paths:
            stem = path_2d.name[: -len(".cdf")]
            name = recording_name(subject, stem, path_2d)
            if name in recordings:
                raise DiffPoseError(f"{path_2d}: a second file of {' '.join(name)}: remove one")
            if name in LEFT_OUT:
                continue
            path_3d = require(folder / "Poses_D3_Positions_mono" / path_2d.name, "3D annotation")
            video = require(folder / "Videos" / f"{stem}.mp4", "video")
            load = partial(load_recording, name, path_2d, path_3d, video)
            recordings[name] = Recording("_".join(name), split, (path_2d, path_3d, video), load)
        return list(recordings.values())


def load_recording(name: Name, path_2d: Path, path_3d: Path, video: Path) -> Frames:
    """Every fourth frame (1-based index a multiple of 4), up to the end of the shorter annotation."""
    poses_2d, poses_3d = read_cdf(path_2d, 2), read_cdf(path_3d, 3)
    rows = np.arange(FRAME_STEP - 1, min(len(poses_2d), len(poses_3d)), FRAME_STEP)
    poses_2d, poses_3d = poses_2d[rows], poses_3d[rows]
    try:
        boxes, sides = joint_boxes(poses_2d)
    except DiffPoseError as error:
        raise DiffPoseError(f"{path_2d}: {error}: extract it again") from error
    in_crop = (poses_2d - boxes[:, None, :2]) / sides[:, None, None]
    columns = {field: np.full(len(rows), value) for field, value in name._asdict().items()}
    columns |= {
        "frame_orig": rows.astype(np.int32),
        "crop_size": sides,
        "gt_3d": poses_3d[:, JOINTS].transpose(0, 2, 1),
        "gt_2d": poses_2d[:, JOINTS].transpose(0, 2, 1),
        "gt_2d_image_coords": in_crop.transpose(0, 2, 1).astype(np.float32),
    }
    return Frames(columns, boxes, partial(video_images, video, rows, rate=VIDEO_RATE))
