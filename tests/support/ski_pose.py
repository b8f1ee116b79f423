"""A small Ski-Pose folder in the true form: labels.h5 and 256 px pictures, in which a figure's joints are dots."""

from pathlib import Path

import cv2
import h5py
import numpy as np

from utils.skeleton import MPII_TO_H36M

# Human3.6M's joints of somebody who crouches and faces the camera, m: x right, y down, z away; the root is the origin.
SKIER = np.array(
    [
        *[(0, 0, 0), (-0.12, 0, 0), (-0.13, 0.4, -0.15), (-0.13, 0.8, 0)],
        *[(0.12, 0, 0), (0.13, 0.4, -0.15), (0.13, 0.8, 0)],
        *[(0, -0.22, -0.02), (0, -0.45, -0.06), (0, -0.53, -0.12), (0, -0.66, -0.08)],
        *[(0.16, -0.44, -0.05), (0.26, -0.2, -0.12), (0.24, -0.08, -0.33)],
        *[(-0.16, -0.44, -0.05), (-0.26, -0.2, -0.12), (-0.24, -0.08, -0.33)],
    ]
)
_AWAY_M, _FOCAL = 20.0, 8.0


def skier(frame: int, camera: int) -> tuple[np.ndarray, np.ndarray]:
    """Joints (17, 3) in m, root-centred, and (17, 2) in shares of the picture, of a frame and a camera."""
    yaw = 0.7 * camera + 0.1 * frame - 0.3
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    joints = SKIER @ turn.T
    shares = np.array([0.5 + 0.01 * frame, 0.52]) + _FOCAL * joints[:, :2] / (joints[:, 2:] + _AWAY_M)
    return joints, shares


def draw(shares: np.ndarray) -> np.ndarray:
    """The picture (256, 256, 3): a dot for each joint that has heatmaps, whose number its red says."""
    image = np.full((256, 256, 3), 90, np.uint8)
    for number, joint in enumerate(MPII_TO_H36M):
        centre = tuple(int(value) for value in np.round(256 * shares[joint]))
        cv2.circle(image, centre, 3, (0, 255, 15 * (number + 1)), -1)
    return image


def add_skipose(folder: Path, split: str, keys: list[tuple[int, int, int, int]]) -> dict[str, np.ndarray]:
    """A split with a row for each (subj, seq, cam, frame), in that order; what the labels say."""
    rows = [skier(frame, camera) for _, _, camera, frame in keys]
    labels = {
        name: np.array(values, np.float64)
        for name, values in zip(("subj", "seq", "cam", "frame"), zip(*keys, strict=True), strict=True)
    }
    labels["3D"] = np.stack([joints.reshape(-1) for joints, _ in rows])
    labels["2D"] = np.stack([shares.reshape(-1) for _, shares in rows])
    for (_, sequence, camera, frame), (_, shares) in zip(keys, rows, strict=True):
        place = folder / split / f"seq_{sequence:03d}" / f"cam_{camera:02d}"
        place.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(place / f"image_{frame:06d}.png"), draw(shares))
    with h5py.File(folder / split / "labels.h5", "w") as file:
        for name, values in labels.items():
            file[name] = values
    return labels


class DotDetector:
    """In place of HRNet: a Gaussian where a joint's dot is in the picture; the middle of the map where it is hidden."""

    def __init__(self, model, *, device, precision):
        pass

    def stream(self, batches):
        for images in batches:
            yield np.array([self._maps(image) for image in images], np.float16).reshape(-1, 16, 64, 64)

    @staticmethod
    def _maps(image):
        grid, maps = np.arange(64.0), []
        for number in range(16):
            is_dot = (np.abs(image[..., 0] - 15 * (number + 1)) < 2) & (image[..., 1] > 250)
            rows, columns = np.nonzero(is_dot)
            y, x = (64 * rows.mean() / 255, 64 * columns.mean() / 255) if len(rows) else (32, 32)
            maps.append(0.9 * np.exp(-0.5 * ((grid[:, None] - y) ** 2 + (grid - x) ** 2)))
        return maps
