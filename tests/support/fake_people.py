"""Straight figures in place of real people: landmarks without a network, for tests of the demo."""

import numpy as np

from demo.crops import Square, rotation
from demo.landmarks import Landmarks

# Offsets from the hips in shares of the height, x right, y down, of somebody who faces the camera.
_PLACES = {11: (0.09, -0.33), 12: (-0.09, -0.33), 13: (0.13, -0.16), 14: (-0.13, -0.16), 15: (0.14, 0.02)}
_PLACES |= {16: (-0.14, 0.02), 23: (0.07, 0.0), 24: (-0.07, 0.0), 25: (0.07, 0.24), 26: (-0.07, 0.24)}
_PLACES |= {27: (0.075, 0.48), 28: (-0.075, 0.48), 31: (0.09, 0.51), 32: (-0.09, 0.51)}
_PLACES |= {k: (0.0, -0.47) for k in range(11)}


def figure(hips, height: float, angle: float = 0.0) -> np.ndarray:
    """BlazePose's points (33, 2) of a straight figure with its head towards ``angle``."""
    points = np.array([_PLACES.get(k, _PLACES[15 + k % 2]) for k in range(33)])
    return height * points @ rotation(angle).T + np.asarray(hips, np.float64)


def landmarks_of(points: np.ndarray, region: Square, presence: float = 1.0) -> Landmarks:
    """What a perfect network would say of these points in a region."""
    cells = region.to_shares(points) * 64
    grid = np.arange(64.0)
    maps = [0.9 * np.exp(-0.5 * ((grid[:, None] - y) ** 2 + (grid - x) ** 2)) for x, y in cells]
    return Landmarks(points, np.ones(33), presence, np.array(maps, np.float32), np.zeros((33, 3)), region)


class FakeNetwork:
    """Knows where the people are: each (hips (2,), height, angle).

    Its finder is a third of a right angle off; its second network sees nobody who is turned away from the region's up
    by more than 100 degrees, or whose hips lie outside the region, and of several the one nearest to its middle.
    """

    def __init__(self, people):
        self.people, self.looks = people, 0

    def regions(self, image: np.ndarray, view: Square) -> list[Square]:
        """The regions of everybody in the view."""
        return [
            Square.around(np.asarray(hips, np.float64), 1.25 * height, angle + np.pi / 6)
            for hips, height, angle in self.people
            if (np.abs(view.to_shares(np.asarray(hips)) - 0.5) < 0.5).all() and np.cos(angle - view.angle) > 0.5
        ]

    def landmarks(self, image: np.ndarray, square: Square) -> Landmarks:
        """The person in a region."""
        self.looks += 1
        hips, height, angle = min(self.people, key=lambda one: np.linalg.norm(square.middle - one[0]))
        inside = (np.abs(square.to_shares(np.asarray(hips)) - 0.5) < 0.5).all()
        seen = inside and np.cos(angle - square.angle) > np.cos(np.radians(100))
        return landmarks_of(figure(hips, height, angle), square, float(seen))
