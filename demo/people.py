"""Who is who from frame to frame of a video."""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from demo.crops import Square, cut_out
from demo.person import Person

# A number is kept for somebody who is not found for this long, s, and for so many frames at least.
FORGET_AFTER_S, FORGET_AFTER_FRAMES = 1.5, 15
# Cost of a pair: distance from the predicted place, in sides of the crop, change of size (log), difference in colour.
_SIZE_WEIGHT, _COLOUR_WEIGHT = 1.0, 2.0
_MAX_COST = 1.0
# The prediction is worth less with every frame of a gap, down to this share of its cost.
_DOUBT, _LEAST_TRUST = 0.05, 0.4
_SPEED_MEMORY = 0.6
_PATCH = 64
# Somebody found could as well be another, who is missing, if the costs differ by less than this. Who it was is decided
# when both are this far apart again (sides of the crop), or never if that takes longer than this, s.
_DOUBTFUL, _APART, _DECIDE_WITHIN_S = 0.2, 0.4, 1.0


def joint_colours(image: np.ndarray, person: Person) -> np.ndarray:
    """Mean colour (16, 3), 0 to 1, around each joint; NaN for joints outside the picture."""
    crop = cv2.blur(cut_out(image, person.square, _PATCH), (3, 3))
    cells = np.floor(person.square.to_shares(person.joints_px) * _PATCH).astype(int)
    inside = ((cells >= 0) & (cells < _PATCH)).all(-1)
    inside &= ((person.joints_px >= 0) & (person.joints_px < image.shape[1::-1])).all(-1)
    colours = np.full((len(cells), 3), np.nan)
    colours[inside] = crop[cells[inside, 1], cells[inside, 0]] / 255
    return colours


def _colour_difference(a: np.ndarray | None, b: np.ndarray | None) -> float:
    """Mean over the joints that both know; 0 where nothing can be said."""
    if a is None or b is None:
        return 0.0
    away = np.abs(a - b).mean(-1)
    return float(np.nanmean(away)) if np.isfinite(away).any() else 0.0


@dataclass
class _Track:
    """What is remembered of a person: the last ``step``, the crop there, and the detector's region.

    ``middle`` (2,) and ``side``: px; ``speed`` (2,): px a step.
    """

    step: int
    middle: np.ndarray
    side: float
    region: Square
    colours: np.ndarray | None
    speed: np.ndarray = field(default_factory=lambda: np.zeros(2))

    def place(self, step: int) -> np.ndarray:
        """Where the person should be by now."""
        return self.middle + (step - self.step) * self.speed

    def cost(self, step: int, person: Person, colours: np.ndarray | None) -> float:
        """How unlikely it is that this is the person."""
        side = max(self.side, person.side)
        away = float(np.linalg.norm(self.place(step) - person.square.middle)) / side
        trust = max(1.0 - _DOUBT * (step - self.step - 1), _LEAST_TRUST)
        size = abs(float(np.log(person.side / self.side)))
        return trust * away + _SIZE_WEIGHT * size + _COLOUR_WEIGHT * _colour_difference(self.colours, colours)

    def update(self, step: int, person: Person, colours: np.ndarray | None) -> None:
        middle = person.square.middle
        speed = (middle - self.middle) / (step - self.step)
        self.speed = _SPEED_MEMORY * self.speed + (1 - _SPEED_MEMORY) * speed if self.speed.any() else speed
        self.step, self.middle, self.side, self.region = step, middle, person.side, person.region
        if colours is not None and self.colours is not None:
            known = np.where(np.isfinite(self.colours), self.colours, colours)
            colours = np.where(np.isfinite(colours), 0.8 * known + 0.2 * colours, known)
        self.colours = colours if colours is not None else self.colours


class _Contest(NamedTuple):
    """Two who may have been taken for each other, with what was known of each before; ``tracks``: by their numbers."""

    step: int
    tracks: dict[int, _Track]


class PersonTracker:
    """Numbers people so that each keeps theirs through a video, crossings and gaps of a second included.

    Predicted place, size and the colours around the joints decide together, for all people of a frame at once (the
    assignment of least total cost). Where two meet and one hides the other, the one who is seen may be either: as soon
    as both are seen apart again, their ways before they met decide. ``rate``: frames a second that are looked at.
    """

    def __init__(self, *, rate: float = 30.0):
        self._forget = max(FORGET_AFTER_FRAMES, int(np.ceil(FORGET_AFTER_S * rate)))
        self._decide_within = max(1, round(_DECIDE_WITHIN_S * rate))
        self._tracks: dict[int, _Track] = {}
        self._contests: list[_Contest] = []
        self._next = 0

    def near(self, step: int) -> list[Square]:
        """Regions in which people of the frame before are expected."""
        tracks = [track for track in self._tracks.values() if track.step == step - 1]
        return [track.region._replace(corner=track.region.corner + track.speed) for track in tracks]

    def number(self, persons: list[Person], step: int, image: np.ndarray | None = None) -> list[int]:
        """A number for each person of frame ``step`` (counted without gaps); ``image``: RGB, to tell them by colour."""
        self._tracks = {k: track for k, track in self._tracks.items() if step - track.step <= self._forget}
        colours = [None if image is None else joint_colours(image, person) for person in persons]
        known = list(self._tracks)
        costs = np.array(
            [
                [self._tracks[k].cost(step, person, own) for k in known]
                for person, own in zip(persons, colours, strict=True)
            ]
        ).reshape(len(persons), len(known))
        numbers: dict[int, int] = {}
        # Pairs beyond the limit cost the same, so that they never push out a pair that fits.
        for i, k in zip(*linear_sum_assignment(np.minimum(costs, _MAX_COST)), strict=True):
            if costs[i, k] < _MAX_COST:
                numbers[i] = known[k]
        self._doubt(step, costs, numbers, known)
        self._decide(step, persons, colours, numbers)
        for i, person in enumerate(persons):
            if i in numbers:
                self._tracks[numbers[i]].update(step, person, colours[i])
                continue
            numbers[i], self._next = self._next, self._next + 1
            square = person.square
            self._tracks[numbers[i]] = _Track(step, square.middle, square.side, person.region, colours[i])
        return [numbers[i] for i in range(len(persons))]

    def _doubt(self, step: int, costs: np.ndarray, numbers: dict[int, int], known: list[int]) -> None:
        """Remember whoever is found where somebody else, who is not found, may be as well."""
        missing = [column for column, k in enumerate(known) if k not in numbers.values()]
        contested = [set(contest.tracks) for contest in self._contests]
        for i, number in numbers.items():
            for column in missing:
                pair = {number, known[column]}
                limit = min(costs[i, known.index(number)] + _DOUBTFUL, _MAX_COST)
                if costs[i, column] < limit and pair not in contested:
                    self._contests.append(_Contest(step, {k: replace(self._tracks[k]) for k in pair}))

    def _decide(
        self, step: int, persons: list[Person], colours: list[np.ndarray | None], numbers: dict[int, int]
    ) -> None:
        """Of two who are apart again, exchange the numbers if that fits their ways before they met better."""
        open_contests = []
        for contest in self._contests:
            before = contest.tracks
            found = {k: i for i, k in numbers.items() if k in before}
            others = [i for i in range(len(persons)) if i not in numbers or numbers[i] in before]
            pairs = [(k, i, j) for k, i in found.items() for j in others if _are_apart(persons[i], persons[j])]
            for k, i, j in pairs:
                (other,) = before.keys() - {k}
                kept, changed = (
                    [before[n].cost(step, persons[m], colours[m]) for n, m in ways]
                    for ways in (((k, i), (other, j)), ((k, j), (other, i)))
                )
                if sum(changed) < sum(kept) and max(changed) < _MAX_COST:
                    numbers[i], numbers[j] = other, k
                    self._tracks.update(before)
                    break
            else:
                is_decided = bool(pairs) and len(found) == 2
                if (
                    not is_decided
                    and step - contest.step < self._decide_within
                    and before.keys() <= self._tracks.keys()
                ):
                    open_contests.append(contest)
        self._contests = open_contests


def _are_apart(a: Person, b: Person) -> bool:
    """Whether two are too far from each other to be taken for each other."""
    return bool(np.linalg.norm(a.square.middle - b.square.middle) > _APART * max(a.side, b.side))
