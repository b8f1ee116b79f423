"""What the legs and trunk do: stand, walk, sit on a chair, sit on the floor, lower oneself, bend down."""

import numpy as np

from data.synthetic.kinematics import SIDES, Motion, rotation, turn
from data.synthetic.rhythms import between, cycles, ease, keyed, swing, wander

GAIT_CYCLE = 2 * np.pi


def heading(rng: np.random.Generator, time: np.ndarray, *, turning: float = 35.0) -> np.ndarray:
    """Yaw (F,) in degrees: any direction to begin with, then slow turns."""
    return rng.uniform(-180, 180) + wander(rng, time, 0.0, turning, every=1.4)


def sway(motion: Motion, rng: np.random.Generator, time: np.ndarray, *, amount: float = 1.0) -> None:
    """Small wandering of every torso joint, so that no posture is stiff."""
    spreads = {"pelvis": (2, 2, 0), "lumbar": (3, 2, 2), "chest": (3, 2.5, 4), "neck": (6, 4, 12), "head": (4, 2, 4)}
    for name, spread in spreads.items():
        motion.torso[name] += wander(rng, time, np.zeros(3), amount * np.array(spread, dtype=np.float64))


def ground(motion: Motion, yaw: np.ndarray, forward, left, height) -> np.ndarray:
    """Points (F, 3) in the world, mm: so far forward and left of the origin along the heading, and so high.

    forward, left, height: (F,) or numbers.
    """
    offset = np.empty((motion.frames, 3))
    offset[:, 0], offset[:, 1], offset[:, 2] = forward, left, height
    return turn(rotation("z", yaw), offset)


def stand(
    motion: Motion,
    rng: np.random.Generator,
    time: np.ndarray,
    *,
    turning: float = 35.0,
    stance: float = 1.0,
    shift: float = 45.0,
    stagger: float = 60.0,
    dip=6.0,
    lean=0.0,
) -> None:
    """Stand on both feet, weight shifting.

    stance: distance of the feet in hip widths; shift: spread of the sideways weight shift, mm; stagger: spread of one
    foot's lead over the other, mm; dip (F,) or number: how far the hips sink, mm; lean: pelvis pitch, degrees.
    """
    body = motion.body
    yaw = heading(rng, time, turning=turning)
    sway(motion, rng, time)
    hip = body.segments["hip"]
    width = hip * (stance + 0.35 * rng.uniform(-1, 1.6))
    lead = wander(rng, time, 0.0, stagger, every=1.6)
    side_shift = wander(rng, time, 0.0, shift, every=1.3)
    motion.torso["pelvis"][:, 0] += lean
    motion.torso["pelvis"][:, 1] += -side_shift / 14.0
    motion.torso["pelvis"][:, 2] = yaw
    motion.torso["lumbar"][:, 1] += side_shift / 16.0
    sink = np.asarray(dip, dtype=np.float64) + np.abs(wander(rng, time, 0.0, 6.0))
    back = 0.35 * np.maximum(sink - 60.0, 0.0) + 2.2 * np.maximum(motion.torso["pelvis"][:, 0], 0)
    motion.pelvis_mm = ground(motion, yaw, -back, side_shift, 0.0)
    feet = {
        side: ground(motion, yaw, sign * lead / 2 - 10.0, sign * width, body.ankle_height)
        for side, sign in SIDES.items()
    }
    hips = motion.trunk_points()
    rise = []
    for side, foot in feet.items():
        away = np.linalg.norm((foot - hips[f"{side} hip"])[:, :2], axis=-1)
        straight = np.sqrt((0.998 * body.leg) ** 2 - np.minimum(away, 0.8 * body.leg) ** 2)
        rise.append(straight - hips[f"{side} hip"][:, 2])
    motion.pelvis_mm[:, 2] = body.ankle_height + np.minimum(*rise) - sink
    toes_out = rng.uniform(0.05, 0.35)
    for side, foot in feet.items():
        motion.step_to(side, foot, knee=(1.0, toes_out, 0.0))


def gait(phase: np.ndarray, stride: float) -> tuple[np.ndarray, np.ndarray]:
    """Hip flexion and knee flexion in degrees over the gait cycle (phase 0 is the heel's contact, 1 a full cycle).

    stride scales the swing of the leg; 1 is an unhurried walk.
    """
    cycle = phase % 1.0

    def bump(centre: float, width: float) -> np.ndarray:
        distance = np.abs(cycle - centre)
        return np.exp(-((np.minimum(distance, 1 - distance) / width) ** 2))

    hip = 9.0 + stride * (21.0 * np.cos(GAIT_CYCLE * (cycle - 0.96)) + 3.0 * np.cos(2 * GAIT_CYCLE * (cycle - 0.9)))
    knee = 5.0 + stride * (12.0 * bump(0.14, 0.09) + 54.0 * bump(0.72, 0.12))
    return hip, knee


def walk(motion: Motion, rng: np.random.Generator, time: np.ndarray, *, pace: float = 1.0, stride: float = 1.0):
    """Walk around in a curve; returns the phase (F,) of the left leg's cycle (the right leg's is half a cycle later).

    pace is in cycles a second. The hips advance by what the standing foot moves back, so feet do not slide.
    """
    body = motion.body
    speed = 2.0 * stride * pace * 0.75
    radius = rng.uniform(0.9, 2.2)
    rate = np.degrees(speed / radius) * rng.choice([-1.0, 1.0])
    yaw = rng.uniform(-180, 180) + rate * time + wander(rng, time, 0.0, 12.0, every=1.5)
    phase = rng.uniform() + cycles(time, pace * (1 + 0.06 * wander(rng, time, 0.0, 1.0)))
    sway(motion, rng, time, amount=0.7)
    tilt = np.sin(GAIT_CYCLE * phase)
    motion.torso["pelvis"] += np.stack([np.full_like(yaw, rng.uniform(-1, 8)), 3.0 * tilt, yaw], axis=-1)
    motion.torso["chest"][:, 0] += rng.uniform(-4, 12)
    motion.torso["chest"][:, 2] += 5.0 * stride * np.cos(GAIT_CYCLE * phase)
    width = rng.uniform(-2.0, 3.0)
    for side, offset in (("left", 0.0), ("right", 0.5)):
        hip, knee = gait(phase + offset, stride)
        motion.leg[side] = np.stack([hip, np.full_like(hip, width), np.full_like(hip, 6.0), knee], axis=-1)
    motion.settle()
    ankles = np.stack([motion.leg_points(side)[1] for side in SIDES])
    planted = np.exp(-(ankles[..., 2] - body.ankle_height) / 12.0)
    planted /= planted.sum(axis=0)
    moved = np.gradient(ankles[..., :2], axis=1)
    step = -(planted[..., None] * moved).sum(axis=0)
    path = np.cumsum(step, axis=0)
    motion.pelvis_mm[:, :2] += path - path.mean(axis=0)
    return phase


def arm_swing(motion: Motion, phase: np.ndarray, side: str, *, amount: float = 1.0, bend: float = 22.0) -> None:
    """Swing an arm against the leg of its side; ``phase`` is the left leg's, ``bend`` the elbow's mean in degrees."""
    cosine = np.cos(GAIT_CYCLE * (phase + (0.0 if side == "left" else 0.5) - 0.96))
    forward = 2.0 - amount * 24.0 * cosine
    elbow = bend + amount * 14.0 * np.clip(-cosine, -0.6, 1.0)
    motion.arm[side] = np.stack([forward, np.full_like(forward, 80.0), np.full_like(forward, 20.0), elbow], axis=-1)


def sit_on_chair(motion: Motion, rng: np.random.Generator, time: np.ndarray, *, legs: str, recline=0.0) -> None:
    """Sit on a chair.

    legs: 'square' (feet flat), 'stretched', 'tucked', 'crossed' (one thigh over the other) or 'wide'.
    recline: pelvis pitch backwards, degrees.
    """
    body = motion.body
    yaw = np.full(motion.frames, rng.uniform(-180, 180)) + wander(rng, time, 0.0, 14.0, every=1.5)
    sway(motion, rng, time, amount=1.4)
    motion.torso["pelvis"] += np.stack([-recline + np.zeros(motion.frames), 0 * yaw, yaw], axis=-1)
    seat = body.ankle_height + body.segments["shank"] * rng.uniform(0.93, 1.12)
    motion.pelvis_mm = ground(motion, yaw, wander(rng, time, 0.0, 15.0), wander(rng, time, 0.0, 15.0), seat)
    forward = {"square": 1.0, "stretched": 1.55, "tucked": 0.62, "crossed": 1.0, "wide": 0.95}[legs]
    apart = {"square": 1.1, "stretched": 1.1, "tucked": 1.1, "crossed": 0.5, "wide": 2.4}[legs]
    upper = rng.choice(["left", "right"])
    for side, sign in SIDES.items():
        ahead = body.segments["thigh"] * forward + wander(rng, time, 0.0, 70.0, every=1.1)
        out = body.segments["hip"] * apart + wander(rng, time, 0.0, 40.0, every=1.1)
        motion.step_to(side, ground(motion, yaw, ahead, sign * out, body.ankle_height), knee=(0.4, 0.1, 1.0))
        if legs == "crossed" and side == upper:
            angles = wander(rng, time, (98.0, -16.0, -4.0, 68.0), (3.0, 2.0, 3.0, 9.0))
            motion.leg[side] = angles + np.outer(recline + np.zeros(motion.frames), (-1.0, 0, 0, 0))


def sit_on_floor(motion: Motion, rng: np.random.Generator, time: np.ndarray, *, legs: str) -> None:
    """Sit on the floor. legs: 'long', 'cross', 'knees_up' or 'side'."""
    body = motion.body
    yaw = np.full(motion.frames, rng.uniform(-180, 180)) + wander(rng, time, 0.0, 10.0, every=1.5)
    sway(motion, rng, time, amount=1.3)
    motion.torso["pelvis"] += np.stack([wander(rng, time, -14.0, 5.0), 0 * yaw, yaw], axis=-1)
    motion.torso["lumbar"][:, 0] += wander(rng, time, 14.0, 6.0)
    height = body.radius("torso") * rng.uniform(0.95, 1.15)
    motion.pelvis_mm = ground(motion, yaw, 0.0, 0.0, height)
    leg, hip, low = body.leg, body.segments["hip"], 0.8 * body.ankle_height
    side_of_legs = rng.choice([-1.0, 1.0])
    for side, sign in SIDES.items():
        if legs == "long":
            place, knee = (leg * rng.uniform(0.93, 0.985), sign * hip * rng.uniform(0.8, 2.2)), (0.1, 0.25, 1.0)
        elif legs == "cross":
            place, knee = (leg * rng.uniform(0.32, 0.40), -sign * hip * rng.uniform(0.3, 0.9)), (0.35, 1.0, 0.28)
        elif legs == "knees_up":
            place, knee = (leg * rng.uniform(0.48, 0.66), sign * hip * rng.uniform(0.8, 1.3)), (0.5, 0.1, 1.0)
        else:
            out = side_of_legs * leg * (0.34 if sign == side_of_legs else 0.12)
            place, knee = (leg * (0.14 if sign == side_of_legs else 0.42), out), (1.0, sign * side_of_legs, 0.12)
        drift = wander(rng, time, (0.0, 0.0), (35.0, 28.0), every=1.0)
        ankle = ground(motion, yaw, np.minimum(place[0] + drift[:, 0], 0.99 * leg), place[1] + drift[:, 1], low)
        motion.step_to(side, ankle, knee=knee)
    motion.lift_off_floor()


def lower_to_floor(motion: Motion, rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    """From standing through a squat onto the floor (or back up); returns the share (F,) of the way down."""
    body = motion.body
    yaw = np.full(motion.frames, rng.uniform(-180, 180)) + wander(rng, time, 0.0, 8.0, every=1.5)
    sway(motion, rng, time)
    down = keyed(rng, time, lambda: rng.choice([0.05, 0.45, 0.7, 1.0], p=[0.2, 0.25, 0.15, 0.4]), every=1.0)
    bend = np.sin(np.pi * np.clip(down, 0, 1))
    motion.torso["pelvis"] += np.stack([30.0 * bend - 12.0 * down, 0 * yaw, yaw], axis=-1)
    motion.torso["lumbar"][:, 0] += 16.0 * bend + 12.0 * down
    top = body.ankle_height + 0.97 * body.leg
    floor = body.radius("torso") * 1.05
    back = body.leg * (0.03 + 0.53 * ease(down))
    motion.pelvis_mm = ground(motion, yaw, -back, 0.0, top + (floor - top) * down**0.9)
    width = body.segments["hip"] * rng.uniform(1.0, 1.7)
    for side, sign in SIDES.items():
        foot = ground(motion, yaw, sign * rng.uniform(-40, 40), sign * width, body.ankle_height)
        motion.step_to(side, foot, knee=(1.0, rng.uniform(0.1, 0.4), 0.4))
    motion.lift_off_floor()
    return down


def pick_up(motion: Motion, rng: np.random.Generator, time: np.ndarray, *, squat: bool) -> np.ndarray:
    """Bend the trunk (or squat) and rise again; returns the depth (F,) in 0..1."""
    depth = ease(0.5 + 0.62 * swing(rng, time, rng.uniform(1.8, 2.6)))
    leg = motion.body.leg
    dip = 8.0 + depth * (leg * (0.60 if squat else 0.18) * between(rng, time, 0.85, 1.05))
    lean = depth * between(rng, time, 20.0, 34.0) if squat else depth * between(rng, time, 54.0, 70.0)
    stand(motion, rng, time, turning=25.0, stance=1.3, stagger=110.0, dip=dip, lean=lean)
    motion.settle()  # where the feet are too far apart for legs that reach the floor
    motion.torso["lumbar"][:, 0] += depth * between(rng, time, 18.0, 38.0)
    motion.torso["chest"][:, 0] += depth * between(rng, time, 6.0, 24.0)
    motion.torso["neck"][:, 0] -= depth * 18.0
    return depth
