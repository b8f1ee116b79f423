"""Poses between families: joint angles interpolated, so that the space of poses has no holes."""

import numpy as np
from scipy.spatial.transform import Rotation

from data.synthetic.families.poser import SPINE, Poser
from data.synthetic.families.support import centre_of_mass, keep_above_floor, unlikeliness

WORST = 60.0  # a blend is dropped when limbs overlap, or the body stands beside its support, by more mm than this


def between_rotations(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Rotations (N, 3, 3) a ``share`` (N,) of the way from the first to the second, the shortest way."""
    way = Rotation.from_matrix(first.transpose(0, 2, 1) @ second).as_rotvec()
    return first @ Rotation.from_rotvec(share[:, None] * way).as_matrix()


def imbalance(poser: Poser, joints_mm: np.ndarray) -> np.ndarray:
    """(N,) mm by which the centre of mass lies outside of the box around what touches the floor (with a margin)."""
    margin = 130.0
    touching = (joints_mm[..., 2] - poser.clearance() < 60.0)[..., None]
    ground = joints_mm[..., :2]
    low = np.where(touching, ground, np.inf).min(axis=1) - margin
    high = np.where(touching, ground, -np.inf).max(axis=1) + margin
    centre = centre_of_mass(joints_mm)[:, :2]
    return np.linalg.norm(np.maximum(np.maximum(low - centre, centre - high), 0.0), axis=-1)


def blend(poser: Poser, joints_mm: np.ndarray, family: np.ndarray, *, share: float) -> np.ndarray:
    """Replace a ``share`` of the poses by poses partly of another family, where these are likely; new (N, 17, 3), mm.

    family: (N,). Up to half of the way goes to the other pose, so that a pose keeps its family.
    """
    dice = poser.dice
    partner = dice.rng.permutation(poser.count)
    chosen = np.flatnonzero((family != family[partner]) & dice.chance(share * 1.6))
    if not len(chosen):
        return joints_mm
    mixed, other = poser.rows(chosen), poser.rows(partner[chosen])
    weight = mixed.dice.between(0.15, 0.5)
    mixed.root = between_rotations(mixed.root, other.root, weight)
    for name in SPINE:
        mixed.spine[name] = mixed.spine[name] + weight[:, None] * (other.spine[name] - mixed.spine[name])
    for name in ("arm", "leg"):
        first, second = getattr(mixed, name), getattr(other, name)
        setattr(mixed, name, first + weight[:, None, None] * (second - first))
    mixed.sole = np.minimum(mixed.sole, other.sole * (mixed.scale / other.scale)[:, None])
    mixed.airborne = (1 - weight) * mixed.airborne
    mixed.update()
    mixed.settle()
    keep_above_floor(mixed)
    mixed.settle()
    new = mixed.joints()
    cost = unlikeliness(mixed, new) + np.where(mixed.airborne > 0, 0.0, imbalance(mixed, new))
    result = joints_mm.copy()
    good = cost < WORST
    result[chosen[good]] = new[good]
    return result
