"""DeepMimic clips for tests: a standing humanoid and how to turn its joints."""

import json
from pathlib import Path

import numpy as np

# Part -> where its numbers begin in a frame, and how many there are.
PARTS = {
    "duration": (0, 1),
    "place": (1, 3),
    "root": (4, 4),
    "chest": (8, 4),
    "neck": (12, 4),
    "right hip": (16, 4),
    "right knee": (20, 1),
    "right ankle": (21, 4),
    "right shoulder": (25, 4),
    "right elbow": (29, 1),
    "left hip": (30, 4),
    "left knee": (34, 1),
    "left ankle": (35, 4),
    "left shoulder": (39, 4),
    "left elbow": (43, 1),
}


def turned(degrees: float, axis: str) -> list[float]:
    """Quaternion (w, x, y, z) of a turn about x, y or z."""
    half = np.radians(degrees) / 2
    return [float(np.cos(half)), *(float(np.sin(half)) * (name == axis) for name in "xyz")]


def standing(num_frames: int = 10, *, duration: float = 0.04, **parts: object) -> np.ndarray:
    """(F, 44) frames of somebody who stands at the origin; ``parts`` such as left_elbow=[1.2] change all frames."""
    frames = np.zeros((num_frames, 44))
    for start, size in PARTS.values():
        if size == 4:
            frames[:, start] = 1
    values = {"duration": duration, "place": (0, 0.9, 0)} | {key.replace("_", " "): v for key, v in parts.items()}
    for name, value in values.items():
        start, size = PARTS[name]
        frames[:, start : start + size] = value
    return frames


def write_clip(path: Path, frames: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"Loop": "wrap", "Frames": np.asarray(frames).tolist()}))
    return path
