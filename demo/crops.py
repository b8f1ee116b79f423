"""Squares of a picture, turned or not; and the one that the models were trained with.

Positions are (x, y) px, x right, y down. Angles are radians, clockwise as one looks at the picture: the angle of a
square is the direction in the picture that points up inside it, 0 for an upright one, pi / 2 for the picture's right.
"""

from typing import NamedTuple

import cv2
import numpy as np

from utils import crops
from utils.skeleton import HEATMAP_SIZE

# Turning by quarters leaves whole pixels whole but for rounding.
_EXACT = 1e-6


def rotation(angle: float) -> np.ndarray:
    """Matrix (2, 2) that turns column vectors (x, y), y down, clockwise."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])


class Square(NamedTuple):
    """A square of a picture: ``corner`` (2,) and ``side``, px, say where it lies before it is turned about its middle.

    ``angle``: the direction that points up inside it.
    """

    corner: np.ndarray
    side: float
    angle: float = 0.0

    @classmethod
    def around(cls, middle: np.ndarray, side: float, angle: float = 0.0) -> "Square":
        """The square with this middle (2,)."""
        return cls(np.asarray(middle, np.float64) - side / 2, side, angle)

    @property
    def middle(self) -> np.ndarray:
        return np.asarray(self.corner, np.float64) + self.side / 2

    def to_px(self, shares: np.ndarray) -> np.ndarray:
        """Positions (..., 2) inside the square, 0 to 1 from its upper left corner -> px of the picture."""
        if not self.angle:
            return self.corner + np.asarray(shares) * self.side
        return self.middle + (np.asarray(shares) - 0.5) * self.side @ rotation(self.angle).T

    def to_shares(self, px: np.ndarray) -> np.ndarray:
        """The inverse of :meth:`to_px`."""
        if not self.angle:
            return (np.asarray(px) - self.corner) / self.side
        return (np.asarray(px) - self.middle) @ rotation(self.angle) / self.side + 0.5

    def upright(self) -> "Square":
        """The smallest upright square that holds this one."""
        return Square.around(self.middle, self.side * (abs(np.cos(self.angle)) + abs(np.sin(self.angle))))

    def corners(self) -> np.ndarray:
        """Its four corners (4, 2) px, in turn."""
        return self.to_px(np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float64))


def crop_box(points: np.ndarray) -> tuple[np.ndarray, int]:
    """Upper left corner (2,) and side, whole px, of the upright crop around 2D points (P, 2)."""
    corner, side = crops.crop_box(points)
    return corner, int(side)


def crop_around(points: np.ndarray, angle: float = 0.0) -> Square:
    """The crop around 2D points (P, 2) that is turned by ``angle``: :func:`crop_box` in the turned picture."""
    if not angle:
        return Square(*crop_box(points))
    turn = rotation(angle)
    corner, side = crop_box(points @ turn)
    return Square.around(turn @ (corner + side / 2), side, angle)


def square_around(x: float, y: float, width: float, height: float) -> Square:
    """The square with the middle of a rectangle that holds all of it."""
    side = int(np.ceil(max(width, height)))
    return Square(np.array([x + width / 2 - side / 2, y + height / 2 - side / 2]), side)


def _common(a: Square, b: Square) -> float:
    low, high = np.maximum(a[0], b[0]), np.minimum(a[0] + a[1], b[0] + b[1])
    return float(np.clip(high - low, 0, None).prod())


def overlap(a: Square, b: Square) -> float:
    """Intersection over union of two squares, as if both were upright."""
    return _common(a, b) / max(a[1] ** 2 + b[1] ** 2 - _common(a, b), 1e-9)


def share_inside(a: Square, b: Square) -> float:
    """How much of the square ``a`` lies in ``b``, 0 to 1, as if both were upright."""
    return _common(a, b) / max(a[1] ** 2, 1e-9)


def direction(up: np.ndarray) -> float:
    """The angle of a vector (2,), y down, that points up in a square turned by it."""
    return float(np.arctan2(up[0], -up[1]))


def angle_between(a: float, b: float) -> float:
    """How far an angle is from another, 0 to pi."""
    return abs((a - b + np.pi) % (2 * np.pi) - np.pi)


def cut_out(image: np.ndarray, square: Square, size: int) -> np.ndarray:
    """A square of an image (H, W, 3), turned so that its own up is up, as (size, size, 3) uint8; black outside.

    Pixel i shows the i/size-th of the square. Shrinking averages over the pixels that a new one covers.
    """
    square = Square(*square)
    hull = square.upright() if square.angle else square
    left, top = (int(value) for value in np.floor(hull.corner + _EXACT))
    right, bottom = (int(value) for value in np.ceil(hull.corner + hull.side - _EXACT))
    part = image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    offset = np.array([max(left, 0), max(top, 0)], dtype=np.float64)
    if not part.size:
        return np.zeros((size, size, 3), np.uint8)
    shrink = int(square.side // size)
    if shrink > 1:  # whole pixels first, so that the bilinear step below sees them all
        small = cv2.resize(
            part, (-(-part.shape[1] // shrink), -(-part.shape[0] // shrink)), interpolation=cv2.INTER_AREA
        )
    else:
        small = part
    ratio = np.array([small.shape[1] / part.shape[1], small.shape[0] / part.shape[0]])
    # Pixel middles: what lies at offset + (v + 0.5) / ratio in the image goes to (u + 0.5) / size of the square.
    linear = size / square.side * rotation(-square.angle) / ratio
    shift = size * square.to_shares(offset) + linear @ np.array([0.5, 0.5]) - 0.5
    matrix = np.column_stack([linear, shift])
    return cv2.warpAffine(small, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def between(source: Square, target: Square, source_size: int, target_size: int) -> np.ndarray:
    """Matrix (2, 3) from positions in one square, 0 to its size, to those in another."""
    ends = np.array([[0, 0], [1, 0], [0, 1]], np.float64)
    places = target_size * target.to_shares(source.to_px(ends))  # where the source's corners lie in the target
    return np.column_stack([(places[1:] - places[0]).T / source_size, places[0]])


def move_maps(maps: np.ndarray, source: Square, target: Square) -> np.ndarray:
    """Maps (K, 64, 64) float32 over one square, seen over another; 0 where they say nothing.

    Cell (c, r) lies at (c, r) / 64 of a square.
    """
    matrix = between(source, target, HEATMAP_SIZE, HEATMAP_SIZE)
    size = (HEATMAP_SIZE, HEATMAP_SIZE)
    return np.stack([cv2.warpAffine(one, matrix, size, flags=cv2.INTER_LINEAR) for one in maps])


def turn_poses(poses_mm: np.ndarray, angle: float) -> np.ndarray:
    """Poses (..., J, 3), x right, y up, z towards the camera, as seen in a square turned by ``angle``, turned back.

    The turn is about the viewing axis: what points up in the square points to ``angle`` in the picture.
    """
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
    return (poses_mm @ turn.T).astype(poses_mm.dtype)
