"""What the arms do: places for the hands on or around the body, and gestures between them."""

from collections.abc import Callable
from functools import partial

import numpy as np

from data.synthetic.kinematics import SIDES, UP, Motion, turn
from data.synthetic.postures import GAIT_CYCLE
from data.synthetic.rhythms import between, keyed, swing, visits, wander


def other(side: str) -> str:
    return "right" if side == "left" else "left"


def main_hand(rng: np.random.Generator) -> str:
    return str(rng.choice(["right", "left"], p=[0.72, 0.28]))


def at(motion: Motion, part: str, side: str, offset) -> np.ndarray:
    """World points (F, 3) at (forward, outward to ``side``, up) mm of a 1.75 m body, seen from a part of the body.

    part: 'pelvis' (from the hip centre), 'chest' (from the thorax) or 'head' (from between nose and top).
    """
    offset = np.broadcast_to(np.asarray(offset, dtype=np.float64), (motion.frames, 3))
    offset = offset * motion.body.scale * np.array([1.0, SIDES[side], 1.0])
    points = motion.trunk_points()
    start = {"pelvis": points["hip"], "chest": points["thorax"], "head": (points["nose"] + points["head"]) / 2}[part]
    return start + turn(motion.frame_of(part), offset)


def mix(first: np.ndarray, second: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(F, ...) paths blended by a weight (F,) of the second."""
    weight = weight.reshape(-1, *[1] * (first.ndim - 1))
    return first * (1 - weight) + second * weight


def alternate(
    motion: Motion,
    rng: np.random.Generator,
    time: np.ndarray,
    places: list[Callable[[], object]],
    *,
    every: float = 1.2,
) -> None:
    """The arms move from one of several places to another. Each of ``places`` sets arms of the motion."""
    angles: dict[str, list[np.ndarray]] = {side: [] for side in SIDES}
    for place in places:
        place()
        for side in SIDES:
            angles[side].append(motion.arm[side].copy())
    weights = keyed(rng, time, lambda: np.eye(len(places))[rng.integers(len(places))], every=every)
    for side in SIDES:
        motion.arm[side] = np.einsum("fk,kfa->fa", weights, np.stack(angles[side]))


def rest_hand(
    motion: Motion, rng: np.random.Generator, time: np.ndarray, side: str, places: tuple[Callable, ...]
) -> None:
    """One hand that has nothing to do goes from one of ``places`` (functions of this module) to another."""
    alternate(motion, rng, time, [partial(place, motion, rng, time, side) for place in places])


def hang(motion: Motion, rng: np.random.Generator, time: np.ndarray, side: str) -> None:
    motion.arm[side] = wander(rng, time, (9.0, 45.0, 18.0, 18.0), (5.0, 18.0, 12.0, 8.0))


def hand_on_hip(motion: Motion, rng: np.random.Generator, time: np.ndarray, side: str) -> None:
    target = at(motion, "pelvis", side, wander(rng, time, (10.0, 195.0, 95.0), 14.0))
    motion.reach(side, target, elbow=(-0.55, 1.0, -0.2))


def hand_in_pocket(motion: Motion, rng: np.random.Generator, time: np.ndarray, side: str) -> None:
    target = at(motion, "pelvis", side, wander(rng, time, (55.0, 200.0, -45.0), 12.0))
    motion.reach(side, target, elbow=(-1.0, 0.45, -0.3))


def hand_behind_back(motion: Motion, rng: np.random.Generator, time: np.ndarray, side: str) -> None:
    target = at(motion, "pelvis", side, wander(rng, time, (-150.0, 15.0, 60.0), 16.0))
    motion.reach(side, target, elbow=(-0.7, 1.0, -0.4))


def hand_on_thigh(motion: Motion, rng: np.random.Generator, time: np.ndarray, side: str) -> None:
    """The hand rests on the thigh of its side, between hip and knee."""
    knee, _ = motion.leg_points(side)
    hip = motion.trunk_points()[f"{side} hip"]
    place = mix(hip, knee, wander(rng, time, 0.72, 0.12, every=1.4))
    motion.reach(side, place + 75.0 * motion.body.scale * UP, elbow=(-0.4, 0.7, -1.0))


def hand_on_shin(motion: Motion, rng: np.random.Generator, time: np.ndarray, side: str) -> None:
    """The hand of somebody who sits on the floor lies inside the shin of its side, or around the knee."""
    knee, ankle = motion.leg_points(side)
    inside = at(motion, "pelvis", side, (260.0, 60.0, 120.0))
    motion.reach(side, 0.75 * mix(knee, ankle, between(rng, time, 0.05, 0.4)) + 0.25 * inside)


def palm_on_floor(motion: Motion, rng: np.random.Generator, time: np.ndarray, side: str) -> None:
    """The arm of somebody who sits on the floor props up the body from behind."""
    palm = at(motion, "pelvis", side, wander(rng, time, (-230.0, 230.0, 0.0), (25.0, 30.0, 5.0)))
    palm[:, 2] = 60.0
    motion.reach(side, palm, elbow=(-1.0, 0.5, 0.0))


def hand_behind_head(motion: Motion, rng: np.random.Generator, time: np.ndarray, side: str) -> None:
    target = at(motion, "head", side, wander(rng, time, (-105.0, 45.0, -35.0), 14.0))
    motion.reach(side, target, elbow=(0.1, 1.0, 0.35))


def hands_in_lap(motion: Motion, rng: np.random.Generator, time: np.ndarray) -> None:
    drift = wander(rng, time, np.zeros(3), (25.0, 25.0, 14.0))
    for side in SIDES:
        offset = np.array([215.0, 25.0, 75.0]) + drift * np.array([1.0, SIDES[side], 1.0])
        motion.reach(side, at(motion, "pelvis", side, offset), elbow=(-0.4, 0.8, -0.9))


def arms_crossed(motion: Motion, rng: np.random.Generator, time: np.ndarray) -> None:
    """Each wrist lies at the other arm's elbow, in front of the lower ribs; one above the other."""
    above = rng.choice(["left", "right"])
    drift = wander(rng, time, np.zeros(3), (10.0, 12.0, 14.0))
    for side in SIDES:
        place = np.array([215.0, -115.0, -220.0]) if side == above else np.array([190.0, -115.0, -265.0])
        motion.reach(side, at(motion, "chest", side, place + drift), elbow=(0.25, 0.75, -1.0))


def wave(motion: Motion, rng: np.random.Generator, time: np.ndarray, side: str) -> None:
    """The upper arm lifted, the hand above it swinging from side to side."""
    beat = swing(rng, time, rng.uniform(0.55, 0.85))
    raised = wander(rng, time, (98.0, 28.0, -88.0, 62.0), (14.0, 14.0, 6.0, 12.0))
    motion.arm[side] = raised + beat[:, None] * np.array([3.0, 4.0, 10.0, 24.0])


def point(motion: Motion, rng: np.random.Generator, time: np.ndarray, side: str) -> None:
    """The arm stretched out to a place, then to another; the head follows it."""
    angles = between(rng, time, (58.0, -5.0, -30.0, 5.0), (122.0, 100.0, 25.0, 32.0), every=0.8)
    motion.arm[side] = angles
    towards = SIDES[side] * (90.0 - angles[:, 1]) * 0.4
    motion.torso["chest"][:, 2] += 0.3 * towards
    motion.torso["neck"][:, 2] += 0.7 * towards


def talk_with(motion: Motion, rng: np.random.Generator, time: np.ndarray, side: str) -> None:
    """The forearm in front of the body, the hand beating with the words."""
    place = wander(rng, time, (285.0, 175.0, -215.0), (70.0, 80.0, 85.0), every=0.6)
    beat = swing(rng, time, rng.uniform(0.4, 0.7))[:, None] * rng.uniform(-1, 1, 3) * np.array([45.0, 55.0, 75.0])
    motion.reach(side, at(motion, "chest", side, place + beat), elbow=(-0.5, 0.6, -1.0))


def hand_to_ear(motion: Motion, rng: np.random.Generator, time: np.ndarray, side: str) -> None:
    """A telephone held at the ear; the head leans to it."""
    motion.torso["neck"][:, 1] += SIDES[side] * between(rng, time, 2.0, 14.0)
    target = at(motion, "head", side, wander(rng, time, (35.0, 118.0, -45.0), (10.0, 9.0, 12.0)))
    motion.reach(side, target, elbow=rng.uniform((0.2, 0.5, -1.0), (0.7, 1.0, -0.5)))


def hand_to_mouth(
    motion: Motion,
    rng: np.random.Generator,
    time: np.ndarray,
    side: str,
    rest: np.ndarray,
    *,
    period: float,
    stay: float,
) -> None:
    """The hand goes from ``rest`` (F, 3) in the world to the mouth, stays for a share of the period, and returns."""
    going = visits(rng, time, period, stay=stay)
    mouth = at(motion, "head", side, wander(rng, time, (128.0, 45.0, -95.0), 10.0))
    path = mix(rest, mouth, going)
    # On its way the hand goes around the chest, not through it.
    path += (going * (1 - going))[:, None] * turn(motion.frame_of("chest"), np.array([140.0, 0.0, 60.0]))
    motion.reach(side, path, elbow=rng.uniform((0.0, 0.45, -1.0), (0.35, 0.8, -0.7)))


def camera_at_face(motion: Motion, rng: np.random.Generator, time: np.ndarray) -> None:
    """Both hands hold a camera before the eyes."""
    apart = rng.uniform(60.0, 95.0)
    place = wander(rng, time, (175.0, 0.0, -30.0), (28.0, 8.0, 16.0))
    for side in SIDES:
        offset = place * np.array([1.0, SIDES[side], 1.0]) + np.array([0.0, apart, 0.0])
        motion.reach(side, at(motion, "head", side, offset), elbow=(0.1, 0.5, -1.0))


def look_at_watch(motion: Motion, rng: np.random.Generator, time: np.ndarray, side: str) -> None:
    going = visits(rng, time, 2.4, stay=0.6)
    down = motion.trunk_points()[f"{side} shoulder"] + turn(
        motion.frame_of("chest"), np.array([60.0, SIDES[side] * 60.0, -0.96 * motion.body.arm])
    )
    watch = at(motion, "chest", side, wander(rng, time, (265.0, -20.0, -150.0), 14.0))
    motion.reach(side, mix(down, watch, going), elbow=(0.1, 1.0, -0.6))
    motion.torso["neck"][:, 0] += 22.0 * going


def hold_lead(motion: Motion, rng: np.random.Generator, time: np.ndarray, side: str) -> None:
    """The arm held out before the body by a pulling lead."""
    pull = np.abs(swing(rng, time, rng.uniform(0.7, 1.1)))
    angles = wander(rng, time, (52.0, 68.0, 8.0, 28.0), (8.0, 12.0, 8.0, 9.0))
    motion.arm[side] = angles + pull[:, None] * np.array([10.0, 4.0, 0.0, -14.0])


def link_arms(
    motion: Motion, rng: np.random.Generator, time: np.ndarray, side: str, *, around: bool, phase: np.ndarray
) -> None:
    """The arm of a walker who is linked with somebody at ``side``, or lies around that person's shoulders."""
    if around:
        angles = wander(rng, time, (84.0, 6.0, 5.0, 38.0), (5.0, 6.0, 6.0, 9.0))
    else:
        angles = wander(rng, time, (31.0, 12.0, 38.0, 88.0), (5.0, 8.0, 7.0, 9.0))
    motion.arm[side] = angles + 2.5 * np.sin(GAIT_CYCLE * phase)[:, None] * np.array([1.0, 1.0, 0.0, 1.0])
    motion.torso["neck"][:, 2] += SIDES[side] * between(rng, time, 5.0, 50.0)
    motion.torso["chest"][:, 1] += SIDES[side] * 4.0
