"""How well people in any position are found and followed: ``python demo/checks.py turned|boxes|passes|keypoints|..``.

turned: the demo video turned about its middle; who is found, and how far joints and poses are from the upright run's.
boxes: the same with given boxes; and of two people who overlap, whom a box around one gives.
passes: how long the detector takes a frame, and what of it goes into turning regions: the passes after the first.
keypoints: the demo video's people from the detector's points and their visibility alone, against its heatmaps.
crossing: two people, pasted from the video, who cross, each with a gap of a second: their numbers, and the jitter.
smooth: simulated motion with truth, lifted frame by frame: error and jitter before and after smoothing.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this project's modules before any others

from data.pose_items import truth_mm
from data.synthetic.actions import perform
from data.synthetic.bodies import subject_body
from data.synthetic.cameras import CAMERAS
from data.synthetic.views import simulate_view
from demo.agreement import compare_keypoints
from demo.crops import Square, turn_poses
from demo.detectors import CROPS
from demo.embedded import EmbeddedDetector
from demo.estimator import PoseEstimator
from demo.fetch import DEMO_VIDEO, fetch
from demo.output import Row, rows_of
from demo.passes import time_passes
from demo.people import PersonTracker
from demo.person import Person
from demo.smoothing import TrackSmoother, jitter_mm, smooth
from demo.video import Video
from utils.errors import finite, run_script
from utils.skeleton import HEATMAP_SIZE

ANGLES = (30, 60, 90, 180)
# A person counts as found when the joints are this near, on average, cells.
MAX_CELLS = 8.0
# Joints of MPII with left and right exchanged.
_MIRRORED = (5, 4, 3, 2, 1, 0, 6, 7, 8, 9, 15, 14, 13, 12, 11, 10)


def turn_image(image: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """An image turned clockwise about its middle, on a canvas that holds it, and the turn's matrix (2, 3)."""
    height, width = image.shape[:2]
    cos, sin = abs(np.cos(np.radians(degrees))), abs(np.sin(np.radians(degrees)))
    size = round(width * cos + height * sin), round(width * sin + height * cos)
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1.0)
    matrix[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    return cv2.warpAffine(image, matrix, size), matrix


def moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Points (..., 2) px under a matrix (2, 3)."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def distance_cells(person: Person, joints_px: np.ndarray, side: float) -> float:
    """Mean distance of a person's joints from others (16, 2) px, in heatmap cells of a crop with ``side``.

    Whoever has left and right exchanged is the same person: the smaller of both distances.
    """
    both = np.stack([joints_px, joints_px[list(_MIRRORED)]])
    return float(np.linalg.norm(person.joints_px - both, axis=-1).mean(-1).min()) / side * HEATMAP_SIZE


class Upright:
    """The upright run of the demo video: for each frame its people and their poses."""

    def __init__(self, estimator: PoseEstimator, *, every: int, poses: bool = True):
        self.estimator, self.is_video = estimator, every < 5
        self.frames = list(Video(fetch(DEMO_VIDEO)[0], every=every))
        self.people = list(self.look(0.0, poses=poses))

    def found(self) -> list[tuple[int, list[Person]]]:
        """Each frame's number and its people."""
        return [(number, people) for (number, _), (people, *_) in zip(self.frames, self.people, strict=True)]

    def look(self, degrees: float, *, poses: bool = True) -> Iterator[tuple[list[Person], np.ndarray, np.ndarray]]:
        """People, consensus (P, J, 3) mm, and the matrix of the turn, for each frame of the turned video."""
        tracker = PersonTracker(rate=30.0)
        for step, (number, image) in enumerate(self.frames):
            turned, matrix = turn_image(image, degrees)
            # Frames far from each other are pictures by themselves.
            near = tracker.near(step) if self.is_video else None
            persons = self.estimator.detector.people(turned, near=near)
            tracker.number(persons, step, turned)
            consensus = np.zeros((0, 17, 3))
            if persons and poses:
                consensus = self.estimator.lift(persons, frame=number).consensus_mm
            yield persons, consensus, matrix


def compare_turned(upright: Upright, degrees: float) -> dict[str, float]:
    """What the video turned by ``degrees`` gives, against the upright run.

    Returns ``people`` of the upright run, ``found`` (share), ``cells`` and ``consensus_mm`` (medians), ``others`` who
    are not among those of the upright run.
    """
    wanted, others, cells, errors = 0, 0, [], []
    for (people, poses, _), (persons, consensus, matrix) in zip(upright.people, upright.look(degrees), strict=True):
        left = list(range(len(persons)))
        for person, pose in zip(people, poses, strict=True):
            wanted += 1
            joints = moved(person.joints_px, matrix)
            distances = {k: distance_cells(persons[k], joints, person.side) for k in left}
            best = min(distances, key=distances.get, default=None)
            if best is None or distances[best] > MAX_CELLS:
                continue
            left.remove(best)
            cells += list(np.linalg.norm(persons[best].joints_px - joints, axis=-1) / person.side * HEATMAP_SIZE)
            back = turn_poses(consensus[best], -np.radians(degrees))
            errors.append(float(np.linalg.norm(back - pose, axis=-1).mean()))
        others += len(left)
    return {
        "people": wanted,
        "found": len(errors) / max(wanted, 1),
        "cells": float(np.median(cells)),
        "consensus_mm": float(np.median(errors)),
        "others": others,
    }


def compare_boxes(upright: Upright, degrees: float) -> tuple[int, int]:
    """How many people there are, and how many of them the upright run's crops, turned along, give."""
    wanted, found = 0, 0
    for (_, image), (people, _, _) in zip(upright.frames, upright.people, strict=True):
        turned, matrix = turn_image(image, degrees)
        for person in people:
            box = Square.around(moved(person.square.middle, matrix), person.side)
            one = upright.estimator.detector.person_in(turned, box)
            wanted += 1
            joints = moved(person.joints_px, matrix)
            found += one is not None and distance_cells(one, joints, person.side) < MAX_CELLS
    return wanted, found


def background(frames: list[tuple[int, np.ndarray]]) -> np.ndarray:
    """The picture of a still camera without the people who walk through it."""
    return np.median(np.stack([image for _, image in frames]), axis=0).astype(np.uint8)


def cut_person(image: np.ndarray, scene: np.ndarray, person: Person) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """What of a person's crop lies in the picture (h, w, 3), where in it the person is (h, w) bool, and its corner.

    The person is where the picture differs from the empty scene; the corner is (left, top), px.
    """
    hull = person.square.upright()
    left, top = (max(int(value), 0) for value in hull.corner)
    right, bottom = (int(value + hull.side) for value in hull.corner)
    part = slice(top, bottom), slice(left, right)
    away = cv2.blur(np.abs(image[part].astype(int) - scene[part]).max(-1).astype(np.float32), (5, 5)) > 14
    mask = cv2.morphologyEx(away.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((15, 15))).astype(bool)
    return image[part], mask, (left, top)


def paste(canvas: np.ndarray, piece: np.ndarray, mask: np.ndarray, left: int, top: int) -> None:
    """Put a piece (h, w, 3) with its mask into a picture, in place; what lies outside is cut off."""
    height, width = mask.shape
    rows = slice(max(top, 0), min(top + height, canvas.shape[0]))
    columns = slice(max(left, 0), min(left + width, canvas.shape[1]))
    part = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
    canvas[rows, columns][mask[part]] = piece[part][mask[part]]


class MadeFrame(NamedTuple):
    """A made picture (H, W, 3), and the places (2,) px of who is to be seen in it: of two people, by 0 and 1."""

    image: np.ndarray
    places: dict[int, np.ndarray]


def crossing_frames(detector: EmbeddedDetector, *, first: int = 80, last: int = 180, every: int = 4) -> list[MadeFrame]:
    """A made video of two people who cross: the walker (0), and mirrored, in other colours, coming towards her (1).

    Each is missing for a second: her until they meet, where she hides the other one; the other one afterwards.
    """
    video = list(Video(fetch(DEMO_VIDEO)[0], every=every))
    scene = background(video[:: max(1, len(video) // 15)])
    shown = [(number, image) for number, image in video if first <= number < last]
    tracker, frames = PersonTracker(rate=30 / every), []
    gap = round(30 / every)
    for step, (_, image) in enumerate(shown):
        people = detector.people(image, near=tracker.near(step))
        tracker.number(people, step, image)
        walker = max(people, key=lambda person: person.square.middle[1])
        piece, mask, (left, top) = cut_person(image, scene, walker)
        canvas, places = scene.copy(), {}
        if not len(shown) * 2 // 3 <= step < len(shown) * 2 // 3 + gap:
            mirrored = scene.shape[1] - left - piece.shape[1] - 150
            paste(canvas, piece[:, ::-1, ::-1], mask[:, ::-1], mirrored, top + 20)
            places[1] = np.array([scene.shape[1] - walker.square.middle[0] - 150, walker.square.middle[1] + 20])
        if not len(shown) // 8 <= step < len(shown) // 8 + gap:
            paste(canvas, piece, mask, left, top)
            places[0] = walker.square.middle
        frames.append(MadeFrame(canvas, places))
    return frames


def numbers_of(people: list[dict[int, Person]], frames: list[MadeFrame]) -> dict[int, list[int | None]]:
    """For each of the two, the numbers under which they are found in the frames in which they are to be seen.

    None where nobody is found. Frames in which the two are nearer than half a crop are left out: there one hides the
    other.
    """
    numbers: dict[int, list[int | None]] = {0: [], 1: []}
    for found, (_, places) in zip(people, frames, strict=True):
        side = max((person.side for person in found.values()), default=1.0)
        if len(places) == 2 and np.linalg.norm(places[0] - places[1]) < side / 2:
            continue
        for who, place in places.items():
            away = {k: float(np.linalg.norm(person.square.middle - place)) for k, person in found.items()}
            best = min(away, key=away.__getitem__, default=None)
            numbers[who].append(best if best is not None and away[best] < 0.25 * side else None)
    return numbers


def follow(detector: EmbeddedDetector, frames: list[MadeFrame], rate: float) -> list[dict[int, Person]]:
    """For each frame its people by number."""
    tracker, out = PersonTracker(rate=rate), []
    for step, (image, _) in enumerate(frames):
        people = detector.people(image, near=tracker.near(step))
        out.append(dict(zip(tracker.number(people, step, image), people, strict=True)))
    return out


def simulated_track(estimator: PoseEstimator, subject: str, action: str, *, frames: int = 48, seed: int = 7) -> tuple:
    """One take of simulated motion at 25 frames a second: truth, consensus and spread (F, J, 3), mm."""
    generator = np.random.default_rng([seed, *subject.encode(), *action.encode()])
    body = subject_body(subject)
    joints = perform(action, 0, body, 2 * frames, generator)[::2]
    view = simulate_view(joints, CAMERAS[0], body, generator)
    poses = estimator.from_heatmaps(view["heatmap"].astype(np.float32))
    return truth_mm(view["gt_3d"], "h36m"), poses.consensus_mm, poses.hypotheses_mm.std(axis=1)


def compare_smooth(
    estimator: PoseEstimator, subjects: tuple[str, ...], actions: tuple[str, ...], **options: float
) -> dict[str, float]:
    """MPJPE (mm) and jitter (mm per frame squared) before and after smoothing, means over simulated takes."""
    rows = []
    for subject in subjects:
        for action in actions:
            truth, poses, std = simulated_track(estimator, subject, action)
            smoothed = smooth(np.arange(len(poses)) / 25.0, poses, std, **options)
            errors = [float(np.linalg.norm(one - truth, axis=-1).mean()) for one in (poses, smoothed)]
            rows.append([*errors, jitter_mm(poses), jitter_mm(smoothed), jitter_mm(truth)])
    names = ("mpjpe_before", "mpjpe_after", "jitter_before", "jitter_after", "jitter_truth")
    return dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True))


def _print_turned(upright: Upright, angles: list[float]) -> None:
    for angle in angles:
        result = compare_turned(upright, angle)
        print(
            f"{angle:g} degrees: {100 * result['found']:.1f} % of {result['people']} people found, {result['others']} "
            f"others; joints {result['cells']:.2f} cells, consensus {result['consensus_mm']:.1f} mm away (medians)",
            flush=True,
        )


def _print_boxes(upright: Upright, angles: list[float]) -> None:
    for angle in (0, *angles):
        wanted, found = compare_boxes(upright, angle)
        print(f"{angle:g} degrees: {found} of {wanted} people found in their given boxes", flush=True)


def _print_passes(every: int) -> None:
    frames = list(Video(fetch(DEMO_VIDEO)[0], every=every))
    for name, part, as_video in (("pictures", frames[:: max(1, 20 // every)], False), ("video", frames, True)):
        found = time_passes(part, as_video=as_video)
        print(
            f"{name}: {found['seconds']:.2f} s a frame ({found['people']:.1f} people); {found['passes']:.1f} passes of "
            f"the landmark network take {found['passes_s']:.2f} s, of it further passes {found['further_s']:.2f} s"
        )


def track_jitter_mm(steps: list[int], poses_mm: np.ndarray) -> float:
    """The jitter of a track (T, J, 3) over all triples of consecutive frames, of which ``steps`` are the numbers."""
    inner = np.flatnonzero((np.diff(steps)[:-1] == 1) & (np.diff(steps)[1:] == 1))
    second = poses_mm[inner] - 2 * poses_mm[inner + 1] + poses_mm[inner + 2]
    return float(np.median(np.linalg.norm(second, axis=-1)))


def _print_crossing(estimator: PoseEstimator, every: int) -> None:
    frames = crossing_frames(estimator.detector, every=every)
    people = follow(estimator.detector, frames, rate=30 / every)
    rows: list[Row] = []
    smoother = TrackSmoother()
    for step, found in enumerate(people):
        if found:
            persons = list(found.values())
            made = rows_of("made", step, list(found), persons, estimator.lift(persons, frame=step))
            smoother.add(step * every / 30, made)
            rows += made
    smoothed = smoother.result()
    for who, numbers in numbers_of(people, frames).items():
        known = [number for number in numbers if number is not None]
        names = ", ".join(str(number) for number in sorted(set(known)))
        print(f"person {who}: found in {len(known)} of {len(numbers)} frames, as number {names}")
    for number in sorted({row.number for row in rows}):
        own = [row for row in rows if row.number == number]
        if len(own) > 9:
            steps = [row.frame for row in own]
            before = track_jitter_mm(steps, np.stack([row.consensus_mm for row in own]))
            after = track_jitter_mm(steps, np.stack([smoothed[step, number] for step in steps]))
            print(f"number {number}: jitter {before:.1f} mm per frame squared, {after:.1f} smoothed")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("turned", "boxes", "passes", "keypoints", "crossing", "smooth"))
    parser.add_argument("--angles", type=finite, nargs="+", default=ANGLES, help="degrees, clockwise")
    parser.add_argument("--every", type=int, default=1, help="of the video, every K-th frame")
    parser.add_argument("--crops", choices=CROPS, default=CROPS[0], help="what the lifter sees")
    parser.add_argument("--num_hypotheses", type=int, default=200)
    parser.add_argument("--config", help="config.yaml of a run folder (default: the weights that ship)")
    args = parser.parse_args()
    if args.what == "passes":
        _print_passes(args.every)
        return 0
    estimator = PoseEstimator.load(
        args.config, num_hypotheses=args.num_hypotheses, detector="embedded", crops=args.crops
    )
    if args.what == "turned":
        _print_turned(Upright(estimator, every=args.every), args.angles)
    elif args.what == "boxes":
        _print_boxes(Upright(estimator, every=args.every, poses=False), args.angles)
    elif args.what == "keypoints":
        upright = Upright(estimator, every=args.every, poses=False)
        result = compare_keypoints(estimator, upright.found())
        print(", ".join(f"{name} {value:.4g}" for name, value in result.items()))
    elif args.what == "crossing":
        _print_crossing(estimator, args.every)
    else:
        result = compare_smooth(estimator, ("S9", "S11"), ("Walking", "Greeting", "Sitting", "Photo"))
        print(", ".join(f"{name} {value:.1f}" for name, value in result.items()))
    return 0


if __name__ == "__main__":
    run_script(main)
