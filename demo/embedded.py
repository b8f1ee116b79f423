"""The embedded detector: BlazePose with its region turned until the person in it is upright."""

import itertools
from collections.abc import Iterator

import numpy as np

from demo.crops import Square, angle_between, crop_around, crop_box, direction, overlap, share_inside
from demo.landmarks import MIN_PRESENCE, REGION_MARGIN, BlazePose, Landmarks
from demo.mpii_maps import (
    DIRECT,
    LEFT_HIP,
    LEFT_SHOULDER,
    RIGHT_HIP,
    RIGHT_SHOULDER,
    crop_points,
    made_points,
    mpii_heatmaps,
)
from demo.person import NoPersonError, Person
from demo.search import TURNS, stages, stages_of_video, turned

MIN_PERSON_PX = 24
# The region depends on where the points are found, and these a little on the region: it has settled when it moves by
# less than these shares of its side and this angle.
_MAX_PASSES = 5
_MAX_SHIFT, _MAX_GROWTH, _MAX_TURN = 0.06, 1.1, np.radians(10)
# A first look at a region that is turned wrongly may hardly see anybody.
_FIRST_PRESENCE = 0.01
# Of a trunk seen from its end, the direction says nothing: shares of the crop's side.
_MIN_TRUNK = 0.08
# Trees and bushes may pass for people, but no joint is found sharply there: mean peak of a person's best maps. On the
# demo video people have 0.63 or more, cut off by the picture's edge included, and what is nobody has 0.54 at most.
_BEST_MAPS, _MIN_PEAK = 8, 0.58
# Small people are blurred: at 24 px or less this is enough, from 96 px on the above.
_MIN_PEAK_SMALL, _SMALL_PX = 0.4, (24, 96)
# In a given box there is somebody: whoever is blurred or half hidden there needs less.
_MIN_PEAK_BOX = 0.5
# Somebody found inside another's crop may be a part of the other: in the same video such have up to 0.61.
_MIN_PEAK_INSIDE, _INSIDE = 0.66, 0.6
# Two results are the same person if hips, or joints on average, are nearer than these shares of the crop's side.
_SAME_HIPS, _SAME_JOINTS = 0.12, 0.12
# A region of the finder is not looked at when its hips are this near to those of somebody found.
_KNOWN_HIPS = 0.2
# How much of the crop around a person has to lie inside a given box; a tight box holds 1 / 1.2^2 of it.
_MIN_INSIDE = 0.55
# The first regions of a given box, shares of its side: somebody who crouches needs a far larger region than the box.
_BOX_MARGINS = (1.15, 2.2)
# Who is that sure and has that much in common with the box is the one; else all guesses are compared.
_SURE, _SURE_FILL = 0.8, 0.5
# What the finder looks at around a given box.
_AROUND_BOX = (2, 4)


def trunk(points: np.ndarray) -> np.ndarray:
    """Vector (2,) from the middle of the hips to the middle of the shoulders, of BlazePose's points (33, 2)."""
    return (points[LEFT_SHOULDER] + points[RIGHT_SHOULDER] - points[LEFT_HIP] - points[RIGHT_HIP]) / 2


def hips(points: np.ndarray) -> np.ndarray:
    """Middle of the hips (2,)."""
    return (points[LEFT_HIP] + points[RIGHT_HIP]) / 2


def sureness(landmarks: Landmarks) -> float:
    """Mean peak, 0 to 1, of the best maps of a person's joints."""
    peaks = landmarks.maps[list(DIRECT.values())].max(axis=(1, 2))
    return float(np.sort(peaks)[-_BEST_MAPS:].mean())


def least_sureness(landmarks: Landmarks, *, in_box: bool = False) -> float:
    """How sure a person of this size has to be, found by the finder or in a given box."""
    side = crop_around(crop_points(landmarks.points)).side
    return float(np.interp(side, _SMALL_PX, (_MIN_PEAK_SMALL, _MIN_PEAK_BOX if in_box else _MIN_PEAK)))


def body_angle(landmarks: Landmarks) -> float:
    """The direction of the trunk; that of the region where the trunk is seen from its end."""
    up = trunk(landmarks.points)
    return direction(up) if np.linalg.norm(up) > _MIN_TRUNK * landmarks.square.side else landmarks.square.angle


def next_region(landmarks: Landmarks) -> Square:
    """The region that fits a person's points: what the network was trained with, a circle about the hips and a margin.

    For somebody who crouches or crawls that is far more than the crop, in which the network finds no sharp joints.
    """
    middle = hips(landmarks.points)
    radius = float(np.linalg.norm(crop_points(landmarks.points) - middle, axis=-1).max())
    return Square.around(middle, max(2 * radius * REGION_MARGIN, 2.0), body_angle(landmarks))


def has_settled(region: Square, before: Square) -> bool:
    """Whether another pass would change nothing that matters."""
    shift = float(np.abs(region.middle - before.middle).max())
    growth = max(region.side / before.side, before.side / region.side)
    turn = angle_between(region.angle, before.angle)
    return shift < _MAX_SHIFT * before.side and growth < _MAX_GROWTH and turn < _MAX_TURN


def is_same(a: Person, b: Person) -> bool:
    """Whether two results show one person."""
    side = min(a.side, b.side)
    if np.linalg.norm(hips(a.landmarks.points) - hips(b.landmarks.points)) < _SAME_HIPS * side:
        return True
    return float(np.linalg.norm(a.joints_px - b.joints_px, axis=-1).mean()) < _SAME_JOINTS * side


class EmbeddedDetector:
    """BlazePose, as mediapipe 0.10.14 ships it.

    ``crops``: ``turned``, the crop is turned with the body, so that the lifter sees upright people, and the poses have
    to be turned back by :attr:`Person.angle`; or ``upright``, the maps are turned back into the upright crop.
    ``network``: both networks, where they are loaded already. ``too_small``: the sizes, px, of the people in the last
    image who were left out for theirs.
    """

    name = "embedded (BlazePose full, mediapipe 0.10.14)"

    def __init__(self, *, threads: int = 2, crops: str = "turned", network: BlazePose | None = None):
        self._network, self._turned = network or BlazePose(threads=threads), crops == "turned"
        self.too_small: list[int] = []
        self._step: int | None = None

    def people(self, image: np.ndarray, *, near: list[Square] | None = None) -> list[Person]:
        """Everyone who is found, the largest first.

        ``near``: squares of people in the frame before of a video, looked at first; None for a single picture, which
        is searched more thoroughly. Raises NoPersonError where all who are found are too small.
        """
        found: list[Person] = []
        self._step = None if near is None else (self._step or 0) + 1
        for square in near or []:
            self._add(found, self._settle(image, Square(*square)))
        if near is None:
            plan = stages(image.shape)
        else:
            plan = stages_of_video(image.shape, self._step, is_following=bool(found))
        for stage, views in enumerate(plan):
            for view in views:
                for region in self._network.regions(image, view):
                    if not any(_explains(person, region) for person in found):
                        self._add(found, self._settle(image, region))
                if found and stage > 1:
                    break
            # Of a picture the turned copies are looked at in any case: somebody may lie beside one who stands.
            if found and (stage > 0 or near is not None):
                break
        return self._large_enough(sorted(self._without_parts(found), key=lambda person: -person.side))

    def person_in(self, image: np.ndarray, square: Square) -> Person | None:
        """The person who fills a square (corner (2,), side), px; None when nobody seems to be there.

        Raises NoPersonError for somebody too small.
        """
        box = Square(*square)
        best, best_score = None, 0.0
        for region in self._guesses(image, box):
            landmarks = self._settle(image, region, box=box)
            if landmarks is None:
                continue
            sure, fill = sureness(landmarks), _fill(landmarks, box)
            if sure * fill > best_score:
                best, best_score = landmarks, sure * fill
            if sure > _SURE and fill > _SURE_FILL:
                break
        return self._large_enough([self._as_person(best)])[0] if best else None

    def _guesses(self, image: np.ndarray, box: Square) -> Iterator[Square]:
        """Regions of the person in a given box: the box, and more, four ways; the finder's; the box, slanting."""
        for margin, angle in itertools.product(_BOX_MARGINS, TURNS):
            yield Square.around(box.middle, margin * box.side, angle)
        for factor, angle in itertools.product(_AROUND_BOX, TURNS):
            around = Square.around(box.middle, factor * box.side, angle)
            for region in self._network.regions(image, around):
                if (np.abs(box.to_shares(region.middle) - 0.5) < 0.5).all():
                    yield region
        for angle in TURNS:
            yield Square.around(box.middle, _BOX_MARGINS[0] * box.side, angle + np.pi / 4)

    def _large_enough(self, persons: list[Person]) -> list[Person]:
        """Those who are not too small, whose sizes are kept for the caller to name. Raises NoPersonError for none."""
        self.too_small = [int(person.side) for person in persons if person.side < MIN_PERSON_PX]
        if self.too_small and len(self.too_small) == len(persons):
            raise NoPersonError(
                f"a person {self.too_small[0]} px high is too small: {MIN_PERSON_PX} px are the least; "
                "give a larger picture",
                too_small=self.too_small,
            )
        return [person for person in persons if person.side >= MIN_PERSON_PX]

    def _add(self, found: list[Person], landmarks: Landmarks | None) -> None:
        """Put somebody among those found; of two results for one person the surer stays."""
        if landmarks is None:
            return
        person = self._as_person(landmarks)
        for k, other in enumerate(found):
            if is_same(person, other):
                if sureness(landmarks) > sureness(other.landmarks):
                    found[k] = person
                return
        found.append(person)

    @staticmethod
    def _without_parts(found: list[Person]) -> list[Person]:
        """Those who are not a part of somebody else who is surer."""
        kept: list[Person] = []
        for person in sorted(found, key=lambda one: -sureness(one.landmarks)):
            is_inside = any(share_inside(person.square, other.square) > _INSIDE for other in kept)
            if not is_inside or sureness(person.landmarks) >= _MIN_PEAK_INSIDE:
                kept.append(person)
        return kept

    def _settle(self, image: np.ndarray, region: Square, *, box: Square | None = None) -> Landmarks | None:
        """Look, then turn and move the region, until it fits the person in it; None when nobody seems to be there.

        Of all passes the surest counts: a later one may lose the person. With a ``box`` that the user gives, a region
        that drifts out of it is put back.
        """
        surest, highest = None, 0.0
        for step in range(_MAX_PASSES):
            landmarks = self._network.landmarks(image, region)
            if landmarks.presence < (MIN_PRESENCE if step > 1 else _FIRST_PRESENCE):
                break
            least = max(highest, least_sureness(landmarks, in_box=box is not None))
            if landmarks.presence >= MIN_PRESENCE and sureness(landmarks) >= least:
                surest, highest = landmarks, sureness(landmarks)
            before, region = region, next_region(landmarks)
            if box is not None and share_inside(crop_around(crop_points(landmarks.points)), box) < _MIN_INSIDE:
                region = turned(box, region.angle)
            if has_settled(region, before):
                break
        return surest

    def _as_person(self, landmarks: Landmarks) -> Person:
        """The person with the maps of the crop that lifters know."""
        crop = crop_around(crop_points(landmarks.points), body_angle(landmarks) if self._turned else 0.0)
        heatmaps = mpii_heatmaps(landmarks, crop)
        confidence = heatmaps.max(axis=(1, 2))
        joints = made_points(landmarks.points)
        region = next_region(landmarks)
        return Person(crop.corner, crop.side, heatmaps, joints, confidence, landmarks, crop.angle, region)


def _explains(person: Person, region: Square) -> bool:
    """Whether a region of the finder is that of a person who is known already."""
    away = np.linalg.norm(hips(person.landmarks.points) - region.middle)
    return bool(away < _KNOWN_HIPS * person.side)


def _fill(landmarks: Landmarks, box: Square) -> float:
    """What the person and a given box have in common, 0 to 1."""
    return overlap(Square(*crop_box(crop_points(landmarks.points))), box)
