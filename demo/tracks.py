"""One pose a frame for each person, with its time: what is exported as motion, and the even grid that files need."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from data.preprocessing.motion_capture.body import ANKLE_SHARE, LEG_SHARE
from demo.output import Row
from demo.source import UNKNOWN_RATE
from utils.errors import DiffPoseError
from utils.skeleton import H36M17, Skeleton

CONSENSUS, HYPOTHESIS, MODE = "consensus", "hypothesis", "mode"
# Frames that are further from an even rate than this share of a frame's time make it a varying one; many containers
# round their times to milliseconds.
_UNEVEN, _ROUNDING_S = 0.1, 0.0006
_ON_FRAME = 1e-6
_FLOOR_PERCENTILE = 1


@dataclass(frozen=True)
class TrackChoice:
    """Which pose of each frame is taken: ``kind`` of :data:`CONSENSUS`, :data:`HYPOTHESIS`, :data:`MODE`."""

    kind: str = CONSENSUS
    number: int = 0

    @classmethod
    def parse(cls, text: str, num_hypotheses: int) -> "TrackChoice":
        """``consensus``, ``hypothesis:3`` or ``mode:1``. Raises DiffPoseError for anything else."""
        if text == CONSENSUS:
            return cls()
        found = re.fullmatch(rf"({HYPOTHESIS}|{MODE}):(\d{{1,9}})", text)
        if found is None:
            raise DiffPoseError(f"--export_track {text}: choose consensus, or one by its number: hypothesis:3, mode:1")
        choice = cls(found[1], int(found[2]))
        if choice.kind == HYPOTHESIS and choice.number >= num_hypotheses:
            raise DiffPoseError(
                f"--export_track {text}: there are {num_hypotheses} hypotheses: from hypothesis:0 to "
                f"hypothesis:{num_hypotheses - 1}"
            )
        return choice

    def __str__(self) -> str:
        return self.kind if self.kind == CONSENSUS else f"{self.kind} {self.number}"

    @property
    def ending(self) -> str:
        """What is added to the names of files, so that the tracks of several runs stand side by side."""
        return "" if self.kind == CONSENSUS else f"_{self.kind}_{self.number}"

    def pose_of(self, row: Row) -> np.ndarray | None:
        """The pose (J, 3), mm; None where the frame has no such mode."""
        if self.kind == CONSENSUS:
            return row.consensus_mm
        if self.kind == HYPOTHESIS:
            return row.hypotheses_mm[self.number]
        return row.modes.poses_mm[self.number].numpy() if self.number < len(row.modes.weights) else None


@dataclass(frozen=True)
class TrackPose:
    """The pose (J, 3) of one person in one frame, mm, with ``spread_mm`` (J,) and ``guessed`` (J,).

    ``order``: the frame's place among those looked at; ``step``: the same, with those counted that are not there;
    ``time_s``: None where nobody knows it; ``group``: the name of the picture where pictures have nothing to do with
    each other, else empty.
    """

    source: str
    frame: int
    person: int
    order: int
    step: int
    time_s: float | None
    group: str
    pose_mm: np.ndarray
    spread_mm: np.ndarray
    guessed: np.ndarray


class TrackCollector:
    """The chosen pose of every person in every frame. ``followed``: people keep their numbers from frame to frame."""

    def __init__(self, choice: TrackChoice, *, followed: bool):
        self.choice, self.followed = choice, followed
        self.poses: list[TrackPose] = []
        self.steps: list[int] = []
        self.times_s: list[float | None] = []
        self._most_modes = 0

    def add(self, rows: Sequence[Row], *, step: int, time_s: float | None, name: str = "") -> None:
        """The people of the next frame, also where there are none. ``name``: of its output; see :class:`TrackPose`."""
        order = len(self.steps)
        self.steps.append(step)
        self.times_s.append(time_s)
        for row in rows:
            self._most_modes = max(self._most_modes, len(row.modes.weights))
            pose = self.choice.pose_of(row)
            if pose is None:
                continue
            self.poses.append(
                TrackPose(
                    source=row.source,
                    frame=row.frame,
                    person=row.number,
                    order=order,
                    step=step,
                    time_s=time_s,
                    group="" if self.followed else name,
                    pose_mm=np.asarray(pose, np.float64),
                    spread_mm=row.spread_mm,
                    guessed=row.guessed,
                )
            )

    def set_smooth(self, poses_mm: dict[tuple[int, int], np.ndarray]) -> None:
        """Take these for the consensus: (frame, person) -> pose (J, 3). Other tracks stay as they are."""
        if self.choice.kind == CONSENSUS:
            self.poses = [
                replace(one, pose_mm=np.asarray(poses_mm[one.frame, one.person], np.float64)) for one in self.poses
            ]

    def people(self) -> dict[str, list[TrackPose]]:
        """The track of each person by a name for its files, no two alike. Raises DiffPoseError where there is none."""
        if not self.poses:
            last = self._most_modes - 1
            raise DiffPoseError(
                f"--export_track mode:{self.choice.number}: no frame has it: from mode:0 to mode:{last} are there"
            )
        tracks: dict[str, list[TrackPose]] = {}
        for one in self.poses:
            start = f"{one.group}_" if one.group else ""
            tracks.setdefault(f"{start}person_{one.person}{self.choice.ending}", []).append(one)
        return tracks


class Clock(NamedTuple):
    """``rate`` in frames a second; ``places``: where each frame lies, in frames from the first one, at that rate.

    ``start_s``: time of the first frame; ``is_even``: frames follow each other evenly; ``is_known``: somebody said so.
    """

    rate: float
    places: np.ndarray
    start_s: float
    is_even: bool
    is_known: bool


def clock_of(frames: Sequence[int], times_s: Sequence[float | None], rate: float | None) -> Clock:
    """The clock of frames that are the ``frames``-th ones, at ``times_s``.

    ``rate``: what a file or the user says, frames a second; None where nobody does.
    """
    steps = np.array(frames, np.float64) - (frames[0] if frames else 0)
    if rate is None or any(time is None for time in times_s) or len(times_s) < 2:
        start = times_s[0] if times_s and times_s[0] is not None else 0.0
        return Clock(rate or UNKNOWN_RATE, steps, start, True, rate is not None)
    times = np.array(times_s, np.float64)
    start = float(times[0])
    seconds = float(np.polyfit(steps, times, 1)[0])
    for even in (rate, 1 / seconds):  # the rate in a file's header may be rounded
        away = times - steps / even
        if np.ptp(away) / 2 <= _UNEVEN / even + _ROUNDING_S:
            return Clock(even, steps, start, True, True)
    mean = steps[-1] / (times[-1] - start)
    return Clock(float(mean), (times - start) * mean, start, False, True)


class Grid(NamedTuple):
    """A track's even frames (G,): ``numbers``, and of which two poses each is made, with the later one's ``share``.

    ``missing``: frames in which the person was not found, between two in which they were.
    """

    numbers: np.ndarray
    before: np.ndarray
    after: np.ndarray
    share: np.ndarray
    missing: np.ndarray

    def between(self, values: np.ndarray) -> np.ndarray:
        """Values (T, ..) of the track's poses on the grid (G, ..)."""
        share = self.share.reshape(-1, *[1] * (values.ndim - 1))
        return (1 - share) * values[self.before] + share * values[self.after]


def grid_of(track: Sequence[TrackPose], clock: Clock) -> Grid:
    """The even frames from the first to the last pose of a track."""
    steps = np.array([one.step for one in track])
    places = clock.places[[one.order for one in track]]
    numbers = np.arange(round(places[0]), round(places[-1]) + 1)
    if len(track) == 1:
        zero = np.zeros(1, np.int64)
        return Grid(numbers, zero, zero, np.zeros(1), np.zeros(1, bool))
    at = np.clip(numbers, places[0], places[-1])
    after = np.clip(np.searchsorted(places, at), 1, len(places) - 1)
    before = after - 1
    share = (at - places[before]) / (places[after] - places[before])
    on_frame = (share < _ON_FRAME) | (share > 1 - _ON_FRAME)
    share = np.where(on_frame, np.rint(share), share)
    return Grid(numbers, before, after, share, ~on_frame & (steps[after] - steps[before] > 1))


def above_floor(poses_mm: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Poses (T, J, 3), root-centred, moved up alike so that the floor is at y = 0.

    The floor is where the lowest joint hardly ever goes below; Human3.6M's lowest joints are ankles, above the floor.
    """
    floor = np.percentile(poses_mm[..., 1].min(axis=1), _FLOOR_PERCENTILE)
    if skeleton is H36M17:
        legs = [np.linalg.norm(poses_mm[:, a] - poses_mm[:, b], axis=-1) for a, b in ((1, 2), (2, 3), (4, 5), (5, 6))]
        floor -= ANKLE_SHARE / LEG_SHARE * float(np.median(np.sum(legs, axis=0))) / 2
    return poses_mm - np.array([0.0, floor, 0.0])
