"""2D detectors: an image -> its people, each with the 16 heatmaps of the crop that lifters are trained on.

Images are RGB (H, W, 3) uint8.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from demo.crops import crop_box, square_around
from demo.landmarks import MIN_PRESENCE, BlazePose, Landmarks
from demo.mpii_maps import crop_points, made_points, mpii_heatmaps
from utils.errors import DiffPoseError
from utils.skeleton import HEATMAP_SIZE

DETECTORS = ("auto", "embedded", "hrnet")
MIN_PERSON_PX = 24
# The crop depends on where the points are found, and that a little on the crop.
_PASSES = 2
MAX_OVERLAP = 0.5
Square = tuple[np.ndarray, float]


@dataclass(frozen=True)
class Person:
    """One person of one image.

    Attributes:
        corner, side: the crop, px.
        heatmaps: (16, 64, 64) float32 over the crop; cell (c, r) lies at corner + (c, r) / 64 * side.
        joints_px: (16, 2) the detector's best guess of each MPII joint.
        confidence: (16,) peaks of the heatmaps.
        landmarks: the embedded detector's own result, or None.
    """

    corner: np.ndarray
    side: float
    heatmaps: np.ndarray
    joints_px: np.ndarray
    confidence: np.ndarray
    landmarks: Landmarks | None = None

    def cells_to_px(self, cells: np.ndarray) -> np.ndarray:
        """Cells (..., 2) as (column, row) -> px of the image."""
        return self.corner + np.asarray(cells) / HEATMAP_SIZE * self.side


class NoPersonError(DiffPoseError):
    """Nobody, or nobody large enough, is to be seen."""


class Detector(Protocol):
    """What finds people; ``name`` is kept with the results."""

    name: str

    def people(self, image: np.ndarray, *, near: list[Square] | None = None) -> list[Person]: ...
    def person_in(self, image: np.ndarray, square: Square) -> Person | None: ...


def peak_cells(heatmaps: np.ndarray) -> np.ndarray:
    """(J, 2) column and row of each map's maximum, moved by the map's values around it."""
    cells = np.empty((len(heatmaps), 2))
    for j, heatmap in enumerate(heatmaps):
        row, column = np.unravel_index(int(heatmap.argmax()), heatmap.shape)
        rows, columns = (slice(max(v - 2, 0), v + 3) for v in (row, column))
        part = np.clip(heatmap[rows, columns], 1e-9, None).astype(np.float64)
        y, x = np.mgrid[rows.start : rows.start + part.shape[0], columns.start : columns.start + part.shape[1]]
        cells[j] = (x * part).sum() / part.sum(), (y * part).sum() / part.sum()
    return cells


def overlap(a: Square, b: Square) -> float:
    """Intersection over union of two squares."""
    low, high = np.maximum(a[0], b[0]), np.minimum(a[0] + a[1], b[0] + b[1])
    common = float(np.clip(high - low, 0, None).prod())
    return common / max(a[1] ** 2 + b[1] ** 2 - common, 1e-9)


class EmbeddedDetector:
    """BlazePose, as mediapipe 0.10.14 ships it: region, points in it, the crop around these, and maps of that crop."""

    name = "embedded (BlazePose full, mediapipe 0.10.14)"

    def __init__(self, *, threads: int = 2):
        self._network = BlazePose(threads=threads)

    def people(self, image: np.ndarray, *, near: list[Square] | None = None) -> list[Person]:
        """Everyone who is found, the largest first; ``near``: squares of people in the frame before, also looked at."""
        squares = [(np.asarray(corner), side) for corner, side in self._network.regions(image)]
        found: list[Person] = []
        for square in squares + (near or []):
            if any(overlap(square, (person.corner, person.side)) > MAX_OVERLAP for person in found):
                continue
            person = self.person_in(image, square)
            if person and not any(
                overlap((person.corner, person.side), (p.corner, p.side)) > MAX_OVERLAP for p in found
            ):
                found.append(person)
        return sorted(found, key=lambda person: -person.side)

    def person_in(self, image: np.ndarray, square: Square) -> Person | None:
        """The person in a square (corner (2,), side), px; None when nobody seems to be there."""
        corner, side = square
        for _ in range(_PASSES):
            landmarks = self._network.landmarks(image, corner, side)
            if landmarks.presence < MIN_PRESENCE:
                return None
            corner, side = crop_box(crop_points(landmarks.points))
        if side < MIN_PERSON_PX:
            raise NoPersonError(
                f"a person {side} px high is too small: {MIN_PERSON_PX} px are the least; give a larger picture"
            )
        landmarks = self._network.landmarks(image, corner, side)
        heatmaps = mpii_heatmaps(landmarks)
        joints = made_points(landmarks.points)
        return Person(corner, side, heatmaps, joints, heatmaps.max(axis=(1, 2)), landmarks)


class HRNetDetector:
    """HRNet-W32 with published weights; people are found by the embedded detector unless a box is given."""

    def __init__(self, *, device: torch.device | str = "cpu", weights: str = "h36m", threads: int = 2):
        from models.hrnet import WEIGHT_FILES, WEIGHTS_FOLDER, load_hrnet
        from models.hrnet import Detector as HRNet

        self._hrnet = HRNet(load_hrnet(WEIGHTS_FOLDER / WEIGHT_FILES[weights]), device=device)
        self._threads, self._finder = threads, None
        self.name = f"hrnet ({WEIGHT_FILES[weights]})"

    def people(self, image: np.ndarray, *, near: list[Square] | None = None) -> list[Person]:
        """Everyone who is found, the largest first."""
        if self._finder is None:
            self._finder = EmbeddedDetector(threads=self._threads)
        found = self._finder.people(image, near=near)
        return [self._detect(image, (person.corner, person.side), person.landmarks) for person in found]

    def person_in(self, image: np.ndarray, square: Square) -> Person | None:
        """The person in a square (corner (2,), side), px; somebody is taken to be there."""
        return self._detect(image, square)

    def _detect(self, image: np.ndarray, square: Square, landmarks: Landmarks | None = None) -> Person:
        from data.preprocessing.conversion.crops import detector_image

        corner, side = np.round(square[0]), round(square[1])
        box = np.concatenate([corner, corner + side])
        heatmaps = self._hrnet(detector_image(image[..., ::-1], box)[None])[0].astype(np.float32)
        joints = corner + peak_cells(heatmaps) / HEATMAP_SIZE * side
        return Person(corner, side, heatmaps, joints, heatmaps.max(axis=(1, 2)), landmarks)


def choose_detector(name: str, *, device: torch.device | str = "cpu", threads: int = 2) -> Detector:
    """``embedded``, ``hrnet``, or ``auto``: hrnet where its fine-tuned weights are, else embedded.

    Raises DiffPoseError, with the way out, when the detector can't be used.
    """
    if name not in DETECTORS:
        raise DiffPoseError(f"--detector {name}: it is one of {', '.join(DETECTORS)}")
    if name == "auto":
        from models.hrnet import WEIGHT_FILES, WEIGHTS_FOLDER

        name = "hrnet" if (WEIGHTS_FOLDER / WEIGHT_FILES["h36m"]).is_file() else "embedded"
    return EmbeddedDetector(threads=threads) if name == "embedded" else HRNetDetector(device=device, threads=threads)


def given_square(x: float, y: float, width: float, height: float) -> Square:
    """The square of a box that the user gives: its person is looked for inside."""
    return square_around(x, y, width, height)
