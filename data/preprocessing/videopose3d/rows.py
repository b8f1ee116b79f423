"""Recordings of the pair -> rows of Human3.6M's columns, every fourth frame, with heatmaps drawn from the keypoints."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.keypoints.drawing import draw_heatmaps
from data.keypoints.joints import joints_of
from data.keypoints.layouts import LAYOUTS
from data.preprocessing.conversion.crops import joint_boxes
from data.preprocessing.h36m.names import LEFT_OUT, Name, recording_name
from data.preprocessing.h36m.source import FRAME_STEP, JOINTS
from data.preprocessing.videopose3d.cameras import CAMERAS, Human36MCamera, camera_of
from data.preprocessing.videopose3d.npz_files import read_2d, read_3d
from data.schema import SUBJECTS
from utils.errors import DiffPoseError
from utils.heatmaps import argmax_2d
from utils.skeleton import HEATMAP_SIZE

# Files whose lengths differ by more are of different videos or rates.
_MOST_CUT = 0.1
_ROWS_A_BLOCK = 256


@dataclass(frozen=True)
class PairRecording:
    """One camera's recording: world poses (F, 32, 3), mm, and points (F, 17, 2), px, of equal length."""

    name: Name
    split: str
    camera: Human36MCamera
    world_mm: np.ndarray
    points: np.ndarray

    @property
    def frames(self) -> np.ndarray:
        """Every fourth, as the published preprocessing takes them."""
        return np.arange(FRAME_STEP - 1, len(self.world_mm), FRAME_STEP)


def read_pair(poses_3d: Path, poses_2d: Path, subjects: Sequence[str] | None = None) -> tuple[str, list[PairRecording]]:
    """Layout of the points, and the recordings in the order of rows: by split, subject, then name of the raw file.

    ``subjects``: only these; None for those of Human3.6M's seven that the 3D file has. Raises DiffPoseError.
    """
    world, (layout, points) = read_3d(poses_3d), read_2d(poses_2d, len(CAMERAS))
    known = [name for names in SUBJECTS["h36m"].values() for name in names]
    wanted = [name for name in known if name in world] if subjects is None else list(subjects)
    if not wanted:
        raise DiffPoseError(f"{poses_3d}: holds none of {', '.join(known)}: give VideoPose3D's data_3d_h36m.npz")
    for path, content in ((poses_3d, world), (poses_2d, points)):
        missing = [name for name in wanted if name not in content]
        if missing:
            raise DiffPoseError(f"{path}: holds no {', '.join(missing)}: give both files of the same subjects")
    recordings, cut = [], 0
    for split, names in SUBJECTS["h36m"].items():
        for subject in (name for name in names if name in wanted):
            own = {}
            for action, poses in world[subject].items():
                if action not in points[subject]:
                    raise DiffPoseError(f"{poses_2d}: {subject} has no '{action}', which {poses_3d.name} has")
                for camera, seen in zip(CAMERAS, points[subject][action], strict=True):
                    stem = f"{action}.{camera}"
                    name = recording_name(subject, stem, f"{poses_3d}, {subject}, '{action}'")
                    length = min(len(poses), len(seen))
                    if max(len(poses), len(seen)) > (1 + _MOST_CUT) * length:
                        raise DiffPoseError(
                            f"{poses_2d}: {subject}, {stem}: {len(seen)} frames, {len(poses)} in {poses_3d.name}: "
                            "both have to be of 50 frames a second"
                        )
                    cut += len(poses) != len(seen)
                    if name not in LEFT_OUT:
                        whole = camera_of(subject, camera), poses[:length], seen[:length, :, :2]
                        own[stem] = PairRecording(name, split, *whole)
            recordings += [own[stem] for stem in sorted(own)]
    if cut:
        print(f"note: {cut} recordings are longer in one file than in the other: cut to the shorter", file=sys.stderr)
    return layout, recordings


def rows_of(recording: PairRecording, layout: str) -> Iterator[dict[str, np.ndarray]]:
    """The recording's columns, some rows at a time, but for ``hardsubset``."""
    for first in range(0, len(recording.frames), _ROWS_A_BLOCK):
        frames = recording.frames[first : first + _ROWS_A_BLOCK]
        in_camera = recording.camera.to_camera(recording.world_mm[frames])
        pixels = recording.camera.project(in_camera)
        try:
            boxes, sides = joint_boxes(pixels)
        except DiffPoseError as error:
            raise DiffPoseError(f"{' '.join(recording.name)}: {error}: the 3D file is of other cameras") from None
        corner, side = boxes[:, None, :2], sides[:, None, None]
        seen = np.ones((len(frames), len(LAYOUTS[layout])))
        joints = joints_of(LAYOUTS[layout], recording.points[frames], seen)
        cells = (joints.points - corner) / side * HEATMAP_SIZE
        heatmaps = draw_heatmaps(cells, joints.confidence, joints.error_cells(sides))
        yield {
            **{field: np.full(len(frames), value) for field, value in recording.name._asdict().items()},
            "frame_orig": frames.astype(np.int32),
            "crop_size": sides,
            "gt_3d": in_camera[:, JOINTS].transpose(0, 2, 1).astype(np.float32),
            "gt_2d": pixels[:, JOINTS].transpose(0, 2, 1).astype(np.float32),
            "gt_2d_image_coords": ((pixels - corner) / side).transpose(0, 2, 1).astype(np.float32),
            "argmax_2d": argmax_2d(heatmaps),
            "heatmap": heatmaps.astype(np.float16),
        }
