"""Who is who from frame to frame of a video."""

import numpy as np

from demo.detectors import Person, Square, overlap

MIN_OVERLAP = 0.25
FORGET_AFTER = 15


class PersonTracker:
    """Gives the same number to crops that overlap from frame to frame; a new number to others."""

    def __init__(self):
        self._last: dict[int, tuple[int, Square]] = {}
        self._next = 0

    def near(self, step: int) -> list[Square]:
        """Squares in which people were in the frame before."""
        return [square for seen, square in self._last.values() if seen == step - 1]

    def number(self, persons: list[Person], step: int) -> list[int]:
        """A number for each person of frame ``step`` (counted without gaps)."""
        self._last = {k: entry for k, entry in self._last.items() if step - entry[0] <= FORGET_AFTER}
        squares = [(person.corner, person.side) for person in persons]
        pairs = sorted(
            ((overlap(square, old), i, k) for i, square in enumerate(squares) for k, (_, old) in self._last.items()),
            key=lambda pair: -pair[0],
        )
        numbers: dict[int, int] = {}
        for common, i, k in pairs:
            if common >= MIN_OVERLAP and i not in numbers and k not in numbers.values():
                numbers[i] = k
        for i, square in enumerate(squares):
            if i not in numbers:
                numbers[i], self._next = self._next, self._next + 1
            self._last[numbers[i]] = (step, (np.asarray(square[0]), square[1]))
        return [numbers[i] for i in range(len(squares))]
