"""Keypoints of any 2D detector -> people with the heatmaps that the lifter reads; and files of them as frames."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data.keypoints.drawing import PEAKS, PeakModel, draw_heatmaps
from data.keypoints.files import KeypointFrame, read_keypoints
from data.keypoints.joints import LEAST_SEEN, Joints, checked_keypoints, crop_points, is_enough, joints_of
from data.keypoints.layouts import Layout
from demo.crops import crop_around, direction
from demo.detectors import CROPS
from demo.person import Person
from demo.source import UNKNOWN_RATE, SourceFrame
from utils.skeleton import HEATMAP_SIZE, NUM_HEATMAPS

# Of a trunk seen from its end, the direction says nothing: share of the upright crop's side.
_MIN_TRUNK = 0.08
# The sheet that keypoints without a picture are drawn on: no larger than this, px.
_LARGEST_SHEET, _PAPER = 4096, 235


def keypoint_persons(
    xy: np.ndarray,
    confidence: np.ndarray | None = None,
    *,
    layout: str | None = None,
    crops: str = CROPS[0],
    model: PeakModel = PEAKS,
    where: str = "keypoints",
) -> list[Person | None]:
    """People (N,) of keypoints (N, K, 2), px, with their confidence (N, K); None for who is hardly seen.

    ``crops``: ``turned``, so that the trunk points up, or ``upright``. See
    :func:`data.keypoints.joints.checked_keypoints` for ``layout``, ``where`` and errors.
    """
    named, points, sure = checked_keypoints(xy, confidence, layout, least=model.seen, where=where)
    joints = joints_of(named, points, sure)
    enough, around = is_enough(joints), crop_points(named, points, sure, joints)
    return [
        _person(joints, n, around[n], turned=crops == CROPS[0], model=model) if enough[n] else None
        for n in range(len(points))
    ]


def _person(joints: Joints, n: int, around: np.ndarray, *, turned: bool, model: PeakModel) -> Person:
    """The n-th of the people whose joints these are; ``around`` (P, 2): what the crop is made around."""
    crop = crop_around(around)
    if turned and joints.trunk[n] > _MIN_TRUNK * crop.side:
        crop = crop_around(around, direction(joints.up[n]))
    heatmaps = draw_heatmaps(
        crop.to_shares(joints.points[n])[None] * HEATMAP_SIZE,
        joints.confidence[n][None],
        joints.error_cells(crop.side)[n][None],
        model=model,
    )[0]
    return Person(crop.corner, crop.side, heatmaps, joints.points[n], heatmaps.max(axis=(1, 2)), angle=crop.angle)


class KeypointSource:
    """The frames of a file of keypoints, as :class:`demo.source.Source` gives those of pictures.

    ``layout``: name; None for the one with that many points. ``every``: of a sequence, every that many frames, which
    are ``rate`` a second before that. Times begin at the first frame.
    Raises DiffPoseError for files that can't be used.
    """

    kind, video = "keypoints", None

    def __init__(
        self,
        path: str | Path,
        layout: str | None,
        *,
        crops: str = CROPS[0],
        every: int = 1,
        rate: float = UNKNOWN_RATE,
    ):
        self.path, self.crops, self.rate = Path(path), crops, rate
        self.name = self.path.name or str(path)
        found = read_keypoints(self.path, layout)
        self.is_sequence = found.is_sequence
        start = found.frames[0].number
        self.frames = [frame for frame in found.frames if (frame.number - start) % every == 0 or not self.is_sequence]
        first = next(frame for frame in found.frames if len(frame.points))
        self.layout = self._checked(first, layout or found.layout)
        self.left_out = 0

    def _checked(self, frame: KeypointFrame, layout: str | None) -> Layout:
        return checked_keypoints(frame.points, frame.confidence, layout, least=0.0, where=str(self.path))[0]

    @property
    def detector(self) -> str:
        """What is kept with the results."""
        return f"keypoints ({self.layout.title}), drawn heatmaps"

    @property
    def expected(self) -> int:
        """How many frames there are."""
        return len(self.frames)

    def __iter__(self) -> Iterator[SourceFrame]:
        sheet = self._sheet()
        for frame in self.frames:
            persons: list[Person] = []
            if len(frame.points):
                found = keypoint_persons(
                    frame.points,
                    frame.confidence,
                    layout=self.layout.name,
                    crops=self.crops,
                    where=f"{self.path}, {frame.name}",
                )
                persons = sorted((one for one in found if one is not None), key=lambda person: -person.side)
                self.left_out += len(found) - len(persons)
            time_s = (frame.number - self.frames[0].number) / self.rate if self.is_sequence else 0.0
            yield SourceFrame(frame.name, frame.number, time_s, f"keypoints_{frame.number:06d}", sheet, persons)

    def _sheet(self) -> np.ndarray:
        """Blank paper (H, W, 3) uint8 that holds the points of all frames."""
        size = np.zeros(2)
        for frame in self.frames:
            seen = frame.points[np.isfinite(frame.points).all(axis=-1)]
            size = np.maximum(size, seen.max(axis=0, initial=0.0))
        width, height = np.clip(np.ceil(1.05 * size), 64, _LARGEST_SHEET).astype(int)
        return np.full((height, width, 3), _PAPER, np.uint8)

    def label(self, frame: SourceFrame) -> str:
        """What the viewer calls a frame."""
        return frame.name

    def note(self) -> str:
        """Who was left out in all frames; empty when nobody was."""
        if not self.left_out:
            return ""
        return f"{self.left_out} left out, of whom fewer than {LEAST_SEEN} of {NUM_HEATMAPS} joints are seen"
