"""The published detector: HRNet-W32."""

import numpy as np
import torch

from data.preprocessing.conversion.crops import detector_image
from demo.crops import Square, angle_between, crop_around, cut_out, direction, move_maps
from demo.embedded import EmbeddedDetector
from demo.person import Person, peak_cells
from models import hrnet
from utils.skeleton import HEATMAP_SIZE, MPII_JOINTS

_PELVIS, _THORAX = MPII_JOINTS.index("Hip"), MPII_JOINTS.index("Thorax")
# A given box is looked at once more, turned, when the trunk in it leans by more than this and is at least this long.
_MIN_LEAN, _MIN_TRUNK_CELLS = np.radians(30), 5


class HRNetDetector:
    """HRNet-W32 with published weights; people are found by the embedded detector unless a box is given.

    ``crops``: as in :class:`demo.embedded.EmbeddedDetector`.
    """

    def __init__(
        self,
        *,
        device: torch.device | str = "cpu",
        weights: str = "h36m",
        threads: int = 2,
        crops: str = "turned",
    ):
        file = hrnet.WEIGHT_FILES[weights]
        self._hrnet = hrnet.Detector(hrnet.load_hrnet(hrnet.WEIGHTS_FOLDER / file), device=device)
        self._threads, self._turned, self._finder = threads, crops == "turned", None
        self.name = f"hrnet ({file})"
        self.too_small: list[int] = []

    def people(self, image: np.ndarray, *, near: list[Square] | None = None) -> list[Person]:
        """Everyone who is found, the largest first."""
        if self._finder is None:
            self._finder = EmbeddedDetector(threads=self._threads)
        found = self._finder.people(image, near=near)
        self.too_small = self._finder.too_small
        return [self._detect(image, person.square, person) for person in found]

    def person_in(self, image: np.ndarray, square: Square) -> Person | None:
        """The person in a square (corner (2,), side), px; somebody is taken to be there."""
        square = Square(*square)
        person = self._detect(image, square)
        up = person.joints_px[_THORAX] - person.joints_px[_PELVIS]
        if np.linalg.norm(up) < _MIN_TRUNK_CELLS / HEATMAP_SIZE * square.side:
            return person
        lean = direction(up)
        if angle_between(lean, square.angle) < _MIN_LEAN:
            return person
        return self._detect(image, square._replace(angle=lean))

    def _detect(self, image: np.ndarray, square: Square, seen: Person | None = None) -> Person:
        side = round(square.side)
        if square.angle:
            part, corner = cut_out(image, square, side), np.zeros(2)
        else:
            corner = np.round(square.corner)
            part, square = image, Square(corner, side)
        box = np.concatenate([corner, corner + side])
        heatmaps = self._hrnet(detector_image(part[..., ::-1], box)[None])[0].astype(np.float32)
        joints = square.to_px(peak_cells(heatmaps) / HEATMAP_SIZE)
        if square.angle and not self._turned:
            upright = crop_around(joints)
            heatmaps, square = move_maps(heatmaps, square, upright), upright
        confidence = heatmaps.max(axis=(1, 2))
        own = (None, square.angle) if seen is None else (seen.landmarks, square.angle, seen.next_region)
        return Person(square.corner, square.side, heatmaps, joints, confidence, *own)
