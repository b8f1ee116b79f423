"""Four pinhole cameras around the subject, like Human3.6M's (without lens distortion)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from data.hdf5.columnar import ColumnarWriter


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: a world point X (mm) is at R (X - t) in the camera's frame (x right, y down, z away).

    focal, centre: (2,) px; rotation R: (3, 3); position t: (3,) mm in the world; size: picture width and height, px.
    """

    name: str
    focal: np.ndarray
    centre: np.ndarray
    rotation: np.ndarray
    position: np.ndarray
    size: tuple[int, int]

    def to_camera(self, points_mm: np.ndarray) -> np.ndarray:
        """World points (..., 3) -> camera frame (..., 3), mm."""
        return (points_mm - self.position) @ self.rotation.T

    def project(self, camera_mm: np.ndarray) -> np.ndarray:
        """Points (..., 3) of the camera's frame, mm -> (..., 2) picture px, also outside the picture."""
        return camera_mm[..., :2] / camera_mm[..., 2:] * self.focal + self.centre

    @property
    def intrinsics(self) -> np.ndarray:
        """(3, 3): pixels are ``intrinsics @ x_camera`` over z."""
        return np.array([[self.focal[0], 0, self.centre[0]], [0, self.focal[1], self.centre[1]], [0, 0, 1.0]])

    @property
    def translation(self) -> np.ndarray:
        """(3,) mm: ``x_camera = rotation @ x_world + translation``."""
        return -self.rotation @ self.position


@dataclass(frozen=True)
class RowCameras:
    """A camera for each row, as :class:`Camera` with a leading axis F.

    focal, centre, size: (F, 2) px; rotation: (F, 3, 3); position: (F, 3) mm in the world.
    """

    focal: np.ndarray
    centre: np.ndarray
    rotation: np.ndarray
    position: np.ndarray
    size: np.ndarray

    @classmethod
    def same(cls, camera: Camera, count: int) -> "RowCameras":
        """One camera for ``count`` rows."""
        return cls.chosen([camera], np.zeros(count, np.int64))

    @classmethod
    def chosen(cls, cameras: Sequence[Camera], choice: np.ndarray) -> "RowCameras":
        """For each row the camera with the number that ``choice`` (F,) says."""
        parts = ("focal", "centre", "rotation", "position", "size")
        return cls(**{part: np.array([getattr(camera, part) for camera in cameras])[choice] for part in parts})

    def to_camera(self, points_mm: np.ndarray) -> np.ndarray:
        """World points (F, J, 3) -> camera frame (F, J, 3), mm."""
        return (points_mm - self.position[:, None]) @ np.swapaxes(self.rotation, 1, 2)

    def project(self, camera_mm: np.ndarray) -> np.ndarray:
        """Points (F, J, 3) of the cameras' frames, mm -> (F, J, 2) picture px, also outside the picture."""
        return camera_mm[..., :2] / camera_mm[..., 2:] * self.focal[:, None] + self.centre[:, None]


def look_at(position: np.ndarray, target: np.ndarray, roll: float = 0.0) -> np.ndarray:
    """Rotation (3, 3) of a camera at ``position`` that looks at ``target``, the world's z up; roll in degrees."""
    away = (target - position) / np.linalg.norm(target - position)
    right = np.cross(away, np.array([0.0, 0.0, 1.0]))
    right /= np.linalg.norm(right)
    down = np.cross(away, right)
    cos, sin = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    return np.stack([cos * right + sin * down, -sin * right + cos * down, away])


# Name, focal length, principal point, position (mm), roll (degrees), picture size: the layout of Human3.6M's studio.
_RIG = (
    ("54138969", (1145.2, 1143.6), (512.4, 515.6), (1860.0, 4420.0, 1580.0), 0.4, (1000, 1002)),
    ("55011271", (1149.4, 1147.8), (508.6, 508.2), (-1790.0, 4310.0, 1540.0), -0.3, (1000, 1000)),
    ("58860488", (1149.2, 1148.6), (519.6, 501.6), (1840.0, -4480.0, 1490.0), 0.5, (1000, 1000)),
    ("60457274", (1145.6, 1144.7), (514.8, 501.8), (-1800.0, -4390.0, 1550.0), -0.6, (1000, 1002)),
)
CAMERAS = tuple(
    Camera(
        name=name,
        focal=np.array(focal),
        centre=np.array(centre),
        rotation=look_at(np.array(position), np.array([0.0, 0.0, 900.0]), roll),
        position=np.array(position),
        size=size,
    )
    for name, focal, centre, position, roll, size in _RIG
)
CAMERA_NAMES = tuple(camera.name for camera in CAMERAS)


def camera_named(name: str) -> Camera:
    return CAMERAS[CAMERA_NAMES.index(name)]


def write_cameras(writer: ColumnarWriter, subjects: Iterable[str]) -> None:
    """Keep the four cameras in a file, for each subject."""
    for subject in subjects:
        for camera in CAMERAS:
            writer.write_camera(
                subject,
                camera.name,
                intrinsics=camera.intrinsics,
                rotation=camera.rotation,
                translation=camera.translation,
            )
