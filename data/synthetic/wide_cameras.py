"""Cameras as people hold them: right on average, with long tails. One for each row.

Pitch, size and proportions of a person trade against each other in a crop, so a model falls back on what is usual: the
averages here have to be those of real pictures, a little downwards and level.
"""

import numpy as np

from data.synthetic.cameras import RowCameras
from data.synthetic.occlusion import RowPanels

PITCH_LIMITS, ROLL_LIMIT = (-25.0, 60.0), 30.0
"""Degrees; pitch is positive downwards."""
DISTANCE_LIMITS = (1500.0, 10_000.0)
FOCAL_LIMITS = (0.55, 2.6)
"""Focal length over the picture's width."""
PANEL_PROBABILITY = 0.12
_PICTURES = np.array([(1000, 1000), (1280, 720), (1920, 1080), (1080, 1920), (720, 1280), (640, 480), (1440, 1080)])
_PICTURE_SHARES = (0.22, 0.14, 0.22, 0.14, 0.08, 0.10, 0.10)
# Shares of the pitch's parts, their means and deviations in degrees.
_PITCH_PARTS = ((0.70, 4.0, 7.0), (0.25, 6.5, 18.0), (0.05, 20.0, 24.0))
_ROLL_TAIL = 0.06
_LOWEST_CAMERA, _NEAREST_JOINT = 120.0, 350.0


def draw_cameras(joints_mm: np.ndarray, rng: np.random.Generator) -> RowCameras:
    """A camera for each pose (F, J, 3), mm, z up; the floor is z = 0 and cameras stay above it."""
    count = len(joints_mm)
    low, high = joints_mm.min(axis=1), joints_mm.max(axis=1)
    middle, extent = (low + high) / 2, np.maximum((high - low).max(axis=-1), 700.0)
    size = _PICTURES[rng.choice(len(_PICTURES), count, p=_PICTURE_SHARES)].astype(np.float64)
    distance = np.clip(np.exp(rng.normal(np.log(3900.0), 0.45, count)), *DISTANCE_LIMITS)
    filled = np.clip(np.exp(rng.normal(np.log(0.55), 0.38, count)), 0.18, 1.25)
    focal = np.clip(filled * size.min(axis=1) * distance / extent / size[:, 0], *FOCAL_LIMITS) * size[:, 0]
    # Where the person is: shares of the picture's half width and height, most often near the middle.
    edge = rng.uniform(size=count) < 0.15
    aside = np.where(edge[:, None], rng.uniform(-0.95, 0.95, (count, 2)), 0.22 * rng.standard_normal((count, 2)))
    aside[:, 1] *= 0.6
    seen_at = np.clip(aside, -0.95, 0.95) * size / 2 / focal[:, None]
    pitch, roll = _draw_pitch(rng, count), _draw_roll(rng, count)

    heading = rng.uniform(0, 2 * np.pi, count)
    rotation = _rotation(heading, pitch, roll)
    ray = np.concatenate([seen_at, np.ones((count, 1))], axis=1)
    ray *= (distance / np.linalg.norm(ray, axis=1))[:, None]
    # A camera cannot be under the floor: it looks down at those who lie there.
    under = middle[:, 2] - _turn_back(rotation, ray)[:, 2] < _LOWEST_CAMERA
    pitch = np.where(under, np.abs(pitch), pitch)
    ray[:, 1] = np.where(under, np.abs(ray[:, 1]), ray[:, 1])
    rotation = _rotation(heading, pitch, np.where(under, 0.3 * roll, roll))
    position = middle - _turn_back(rotation, ray)
    nearest = np.einsum("fjd,fd->fj", joints_mm - position[:, None], rotation[:, 2]).min(axis=1)
    position -= np.maximum(_NEAREST_JOINT - nearest, 0.0)[:, None] * rotation[:, 2]
    position[:, 2] = np.maximum(position[:, 2], _LOWEST_CAMERA / 2)
    principal = size / 2 + 0.01 * size * np.clip(rng.standard_normal((count, 2)), -2.5, 2.5)
    return RowCameras(
        focal=focal[:, None] * (1 + 0.004 * rng.uniform(-1, 1, (count, 2))),
        centre=principal,
        rotation=rotation,
        position=position,
        size=size,
    )


def _draw_pitch(rng: np.random.Generator, count: int) -> np.ndarray:
    shares, means, deviations = np.array(_PITCH_PARTS).T
    part = rng.choice(len(shares), count, p=shares)
    return np.clip(rng.normal(means[part], deviations[part]), *PITCH_LIMITS)


def _draw_roll(rng: np.random.Generator, count: int) -> np.ndarray:
    tail = rng.uniform(size=count) < _ROLL_TAIL
    return np.clip(rng.standard_normal(count) * np.where(tail, 14.0, 2.3), -ROLL_LIMIT, ROLL_LIMIT)


def _turn_back(rotation: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Vectors (F, 3) of the cameras' frames in the world."""
    return np.einsum("fij,fi->fj", rotation, vector)


def _rotation(heading: np.ndarray, pitch: np.ndarray, roll: np.ndarray) -> np.ndarray:
    """World to camera (F, 3, 3): looking along a heading in radians, down by a pitch and tilted by a roll, degrees."""
    pitch, roll = np.radians(pitch), np.radians(roll)
    zero = np.zeros_like(pitch)
    ahead = np.stack([np.cos(heading), np.sin(heading), zero], axis=-1)
    right = np.stack([np.sin(heading), -np.cos(heading), zero], axis=-1)
    up = np.array([0.0, 0.0, 1.0])
    away = np.cos(pitch)[:, None] * ahead - np.sin(pitch)[:, None] * up
    down = np.cross(away, right)
    cos, sin = np.cos(roll)[:, None], np.sin(roll)[:, None]
    return np.stack([cos * right + sin * down, -sin * right + cos * down, away], axis=1)


def camera_pitch(rotation: np.ndarray) -> np.ndarray:
    """How far cameras (F, 3, 3) look down, degrees: (F,)."""
    return np.degrees(np.arcsin(np.clip(-rotation[:, 2, 2], -1, 1)))


def camera_roll(rotation: np.ndarray) -> np.ndarray:
    """How far cameras (F, 3, 3) are tilted about their axis, degrees: (F,)."""
    return np.degrees(np.arctan2(-rotation[:, 0, 2], -rotation[:, 1, 2]))


def draw_panels(joints_mm: np.ndarray, cameras: RowCameras, rng: np.random.Generator) -> RowPanels:
    """Objects in front of some of the poses (F, J, 3): posts, tables and counters, chairs' backs."""
    count = len(joints_mm)
    middle = joints_mm.mean(axis=1)
    towards = (middle - cameras.position)[:, :2]
    reach = np.maximum(np.linalg.norm(towards, axis=1, keepdims=True), 1.0)
    sideways = np.stack([-towards[:, 1], towards[:, 0]], axis=1) / reach
    centre = cameras.position[:, :2] + rng.uniform(0.55, 0.85, (count, 1)) * towards
    centre = centre + rng.uniform(-420, 420, (count, 1)) * sideways
    kind = rng.integers(3, size=count)
    low = np.choose(kind, [0.0 * reach[:, 0], 0.0 * reach[:, 0], rng.uniform(200, 500, count)])
    high = np.choose(kind, [2300.0 + 0 * low, rng.uniform(350, 1050, count), rng.uniform(780, 1100, count)])
    width = np.choose(kind, [rng.uniform(40, 160, count), rng.uniform(300, 900, count), rng.uniform(160, 300, count)])
    width = np.where(rng.uniform(size=count) < PANEL_PROBABILITY, width, -1.0)
    return RowPanels(centre=centre, half_width=width, low=low, high=high)
