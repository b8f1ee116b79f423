"""Cameras as people hold them: near and far, from all sides, from above and below, with all focal lengths.

The studio's four cameras are all alike (see data.synthetic.cameras). Wide cameras are drawn one by one, each for one
piece of a recording, so that no two rows of different recordings share a view.
"""

import numpy as np

from data.synthetic.cameras import Camera, look_at

VIEWS = 3
"""Cameras for each piece of a recording."""
PICTURE = 1000
"""Width and height of the picture, px."""
DISTANCE_MM = (1800.0, 8000.0)
PITCH_DEGREES = (7.0, 15.0)
"""Mean and deviation of the angle by which a camera looks down."""
PITCH_RANGE = (-25.0, 60.0)
ROLL_DEGREES = 4.0
FILL = (0.35, 0.85)
"""Share of the picture that the person takes, in the frame in which they are largest."""
FOCAL_PX = (500.0, 6000.0)
MIN_HEIGHT_MM = 100.0
MIN_DEPTH_MM = 900.0
"""No joint is nearer to the camera than this."""
_MAX_ROLL = 3 * ROLL_DEGREES
# Shares of the room beside the person that are tried: turning the camera makes what it sees a little larger.
_SHIFT_SHARES = (0.9, 0.6, 0.3, 0.0)
_TRIES = 1000


def draw_wide_camera(joints_mm: np.ndarray, generator: np.random.Generator, *, name: str) -> Camera:
    """Draw a camera that sees the joints (F, 17, 3) of a piece of a recording, world, z up, mm, floor at 0.

    Distance (:data:`DISTANCE_MM`) and heading are uniform, pitch and roll normal and cut off; a camera that looks up
    stays above the floor. The focal length follows from the share of the picture that the person fills, uniform in
    :data:`FILL`, and the person is put anywhere in the picture where they fit in whole.
    """
    points = joints_mm.reshape(-1, 3).astype(np.float64)
    target = (points.min(axis=0) + points.max(axis=0)) / 2
    for _ in range(_TRIES):
        direction, distance, roll = _draw_direction(target[2], generator)
        position = target + distance * direction
        away = look_at(position, target, roll)
        seen = (joints_mm - position) @ away.T
        flat = seen[..., :2] / np.maximum(seen[..., 2:], 1.0)  # at focal length 1
        focal = generator.uniform(*FILL) * PICTURE / np.ptp(flat, axis=1).max()
        shift = generator.uniform(-0.5, 0.5, size=2)
        if seen[..., 2].min() >= MIN_DEPTH_MM and FOCAL_PX[0] <= focal <= FOCAL_PX[1]:
            break
    low, high = flat.min(axis=(0, 1)), flat.max(axis=(0, 1))
    room = np.maximum(PICTURE / focal - (high - low), 0)
    for share in _SHIFT_SHARES:
        right, down = (low + high) / 2 + share * shift * room
        aim = position + away[2] + right * away[0] + down * away[1]
        camera = Camera(
            name=name,
            focal=np.array([focal, focal]),
            centre=np.array([PICTURE / 2, PICTURE / 2]),
            rotation=look_at(position, aim, roll),
            position=position,
            size=(PICTURE, PICTURE),
        )
        pixels = camera.project(camera.to_camera(points))
        if pixels.min() >= 0 and pixels.max() <= PICTURE:
            break
    return camera


def _draw_direction(height_mm: float, generator: np.random.Generator) -> tuple[np.ndarray, float, float]:
    """Unit vector (3,) from the target to the camera, distance in mm, roll in degrees."""
    room = max(height_mm - MIN_HEIGHT_MM, 0.0)
    lowest = max(PITCH_RANGE[0], -np.degrees(np.arcsin(min(1.0, room / DISTANCE_MM[0]))))
    pitch = _cut_normal(generator, *PITCH_DEGREES, lowest, PITCH_RANGE[1])
    farthest = DISTANCE_MM[1]
    if pitch < 0:
        farthest = float(np.clip(room / np.sin(np.radians(-pitch)), *DISTANCE_MM))
    distance = generator.uniform(DISTANCE_MM[0], farthest)
    heading = generator.uniform(0, 2 * np.pi)
    roll = _cut_normal(generator, 0.0, ROLL_DEGREES, -_MAX_ROLL, _MAX_ROLL)
    up, level = np.sin(np.radians(pitch)), np.cos(np.radians(pitch))
    return np.array([level * np.cos(heading), level * np.sin(heading), up]), distance, roll


def _cut_normal(generator: np.random.Generator, mean: float, deviation: float, low: float, high: float) -> float:
    """A normal number within limits: drawn anew until it is."""
    for _ in range(_TRIES):
        value = generator.normal(mean, deviation)
        if low <= value <= high:
            return float(value)
    return float(np.clip(mean, low, high))
