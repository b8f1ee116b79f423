"""How long the embedded detector takes, and what of it goes into turning regions."""

import time
from collections.abc import Sequence

import numpy as np

from demo.crops import Square
from demo.embedded import EmbeddedDetector, next_region
from demo.landmarks import BlazePose, Landmarks
from demo.people import PersonTracker


class TimedNetwork(BlazePose):
    """BlazePose that keeps count of its passes, and of those that a region's turning adds; seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.passes, self.seconds, self.further_s = 0, 0.0, 0.0
        self._last: Landmarks | None = None

    def landmarks(self, image: np.ndarray, square: Square) -> Landmarks:
        start = time.perf_counter()
        found = super().landmarks(image, square)
        took = time.perf_counter() - start
        self.passes, self.seconds = self.passes + 1, self.seconds + took
        if self._last is not None and np.array_equal(square.middle, next_region(self._last).middle):
            self.further_s += took
        self._last = found
        return found


def time_passes(frames: Sequence[tuple[int, np.ndarray]], *, as_video: bool) -> dict[str, float]:
    """The detector's seconds a frame, and in them the landmark network's, and its passes after a region's first."""
    network, tracker = TimedNetwork(), PersonTracker(rate=30.0)
    detector, seconds, people = EmbeddedDetector(network=network), 0.0, 0
    for step, (_, image) in enumerate(frames):
        start = time.perf_counter()
        persons = detector.people(image, near=tracker.near(step) if as_video else None)
        seconds += time.perf_counter() - start
        tracker.number(persons, step, image)
        people += len(persons)
    count = len(frames)
    return {
        "seconds": seconds / count,
        "people": people / count,
        "passes": network.passes / count,
        "passes_s": network.seconds / count,
        "further_s": network.further_s / count,
    }
