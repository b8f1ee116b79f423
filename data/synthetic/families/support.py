"""What holds a body up: feet under the centre of mass, knees and hands on the floor; and what makes a pose unlikely."""

import numpy as np

from data.synthetic.families.poser import ANKLES, ELBOWS, KNEES, LIMB_NOISE, MASS, WRISTS, Poser, heading
from data.synthetic.kinematics import UP, unit

SINKS = 12.0  # mm below the floor from which a hand or a foot is moved; less lifts the body


def centre_of_mass(joints_mm: np.ndarray) -> np.ndarray:
    """(N, 17, 3) -> (N, 3), mm."""
    return np.einsum("njd,j->nd", joints_mm, MASS)


def stand_on(poser: Poser, feet: np.ndarray, toes: np.ndarray, *, load, sink, planted=True, reserve=0.0) -> None:
    """Put the body on its feet, the centre of mass over them.

    feet: (N, 2, 3) ankles in the world, mm. toes: (N, 2) degrees outwards, the knees point there. load: (N,) share of
    the weight on the left foot. sink: (N,) how far the hips are below the height of straight legs, mm. planted: (N, 2)
    which feet stand; the other leg keeps its angles. reserve: (N,) or number, mm by which the support lies in front of
    the ankles.
    """
    planted = np.broadcast_to(planted, (poser.count, 2))
    load = np.where(planted.all(axis=1), load, planted[:, 0])[:, None]
    support = (load * feet[:, 0] + (1 - load) * feet[:, 1])[:, :2].copy()
    support[:, 0] += reserve
    knee = heading(toes * np.array([1.0, -1.0])) + 0.15 * UP
    hip = poser.points["hip"]
    for _ in range(3):
        offset = centre_of_mass(poser.joints())[:, :2] - poser.pelvis[:, :2]
        poser.pelvis[:, :2] = support - offset
        away = np.linalg.norm((feet - hip)[..., :2] - poser.pelvis[:, None, :2], axis=-1)
        longest = 0.998 * poser.leg_length[:, None]
        straight = np.sqrt(longest**2 - np.minimum(away, 0.9 * longest) ** 2)
        height = np.where(planted, feet[..., 2] + straight - hip[..., 2], np.inf)
        poser.pelvis[:, 2] = height.min(axis=1) - sink
        poser.step(feet, knee, planted)


def knees_down(poser: Poser, azimuth: np.ndarray, shank_azimuth: np.ndarray, mask=True) -> None:
    """Knees and feet of ``mask`` (N, 2) lie on the floor; the hips stay where they are.

    azimuth: (N, 2) degrees outwards from +x, where the knee lies as seen from the hip. shank_azimuth: likewise, where
    the foot lies as seen from the knee.
    """
    sign = np.array([1.0, -1.0])
    floor = poser.clearance()
    drop = (poser.hips()[..., 2] - floor[:, KNEES]) / poser.size["thigh"][:, None]
    drop = np.clip(drop, -0.3, 0.9999)
    thigh = heading(azimuth * sign) * np.sqrt(1 - drop**2)[..., None] - drop[..., None] * UP
    fall = ((floor[:, KNEES] - floor[:, ANKLES]) / poser.size["shank"][:, None])[..., None]
    shank = heading(shank_azimuth * sign) - fall * UP
    poser.aim_legs(thigh, shank, mask)


def palms(poser: Poser, forward, outward) -> np.ndarray:
    """Places (N, 2, 3) on the floor for the wrists: (N,) or (N, 2) mm ahead of and outward from the shoulders."""
    target = poser.shoulders().copy()
    target[..., 0] += forward
    target[..., 1] += outward * np.array([1.0, -1.0])
    target[..., 2] = poser.clearance()[:, WRISTS]
    return target


def loosen(poser: Poser) -> None:
    """Angular noise on the limbs that hold, touch and support nothing."""
    noise = poser.dice.around(np.zeros((4, 4)), LIMB_NOISE) * ~poser.held[..., None]
    poser.arm = poser.arm + noise[:, :2]
    poser.leg = poser.leg + noise[:, 2:]
    held = poser.held.copy()
    poser.set_arms(poser.arm)
    poser.set_legs(poser.leg)
    poser.held = held


def keep_above_floor(poser: Poser) -> None:
    """Lift hands, elbows and feet that are below the floor; then the whole body if that does not do."""
    floor = poser.clearance()
    elbows, wrists = poser.arms()
    low = np.maximum(floor[:, WRISTS] - wrists[..., 2], floor[:, ELBOWS] - elbows[..., 2]) > SINKS
    if low.any():
        up = UP @ poser.frames["chest"]  # where up is, for the elbow
        target = wrists.copy()
        target[..., 2] = np.maximum(wrists[..., 2], floor[:, WRISTS] + 5.0)
        poser.reach(target, up[:, None] * np.array([[1.0, 1.0, 1.0], [1.0, -1.0, 1.0]]), low)
    knees, ankles = poser.legs()
    low = np.maximum(floor[:, ANKLES] - ankles[..., 2], floor[:, KNEES] - knees[..., 2]) > SINKS
    if low.any():
        target = ankles.copy()
        target[..., 2] = np.maximum(ankles[..., 2], floor[:, ANKLES] + 2.0)
        poser.step(target, 0.5 * unit(knees - poser.hips()) + UP, low)


def along(first: np.ndarray, last: np.ndarray, shares) -> np.ndarray:
    """Points (..., K, 3) between two ends (..., 3)."""
    shares = np.asarray(shares)[:, None]
    return first[..., None, :] * (1 - shares) + last[..., None, :] * shares


def unlikeliness(poser: Poser, joints_mm: np.ndarray) -> np.ndarray:
    """(N,) how many mm limbs lie inside the trunk, the head and each other, summed over the places tested."""
    scale = poser.scale[:, None]
    cost = np.zeros(poser.count)
    trunk = along(joints_mm[:, 0], joints_mm[:, 8], np.linspace(0.0, 0.95, 5))
    frame = poser.frames["lumbar"]
    shape = np.array([1.0, 0.75, 1.0])  # the trunk is wider than deep
    limbs = [along(joints_mm[:, ELBOWS], joints_mm[:, WRISTS], (0.0, 0.5, 1.0)), joints_mm[:, KNEES][:, :, None]]
    for limb, radius in zip(limbs, (100.0, 125.0), strict=True):
        points = limb.reshape(poser.count, -1, 3)
        away = points[:, :, None] - trunk[:, None]  # (N, points, 5, 3)
        away = np.linalg.norm((away.reshape(poser.count, -1, 3) @ frame) * shape, axis=-1)
        away = away.reshape(*points.shape[:2], -1).min(axis=-1)
        cost += np.maximum(radius * scale - away, 0).sum(axis=1)
    head = (joints_mm[:, 9] + joints_mm[:, 10])[:, None] / 2
    fore = limbs[0].reshape(poser.count, -1, 3)
    cost += np.maximum(95.0 * scale - np.linalg.norm(fore - head, axis=-1), 0).sum(axis=1)
    shares = (0.35, 0.7, 1.0)
    hips = joints_mm[:, [4, 1]]
    legs = np.concatenate(
        [along(hips, joints_mm[:, KNEES], shares), along(joints_mm[:, KNEES], joints_mm[:, ANKLES], shares)], axis=2
    )
    apart = np.linalg.norm(legs[:, 0, :, None] - legs[:, 1, None], axis=-1).reshape(poser.count, -1)
    cost += np.maximum(75.0 * scale - apart, 0).max(axis=1)
    apart = np.linalg.norm(fore[:, :3, None] - fore[:, None, 3:], axis=-1).reshape(poser.count, -1)
    cost += np.maximum(40.0 * scale - apart, 0).max(axis=1)
    into_thigh = np.linalg.norm(fore[:, :, None] - legs[:, :, :3].reshape(poser.count, 1, -1, 3), axis=-1)
    cost += np.maximum(60.0 * scale - into_thigh.min(axis=-1), 0).max(axis=1)
    return cost
