"""A skeleton of fixed bone lengths, fitted to a track of poses by least squares: positions first, then rotations.

Every bone turns freely about its inner end, so a pose of fixed bones is a root and a direction for each bone; only the
two hips lie on one line through the root. Rotations are those of the animated skeleton :data:`SEGMENTS`, whose rest
pose is a T: y up, the left at +x, facing +z.
"""

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from utils.skeleton import H36M17

_UP, _DOWN, _LEFT, _RIGHT = (0.0, 1.0, 0.0), (0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (-1.0, 0.0, 0.0)
_SWEEPS = 50
_CONVERGED_MM = 1e-3
_TINY = 1e-9


class Segment(NamedTuple):
    """A joint of the animated skeleton: it lies at Human3.6M's joint ``at`` and turns the bone to joint ``to``.

    ``rest``: that bone's direction in the rest pose; ``to`` is None where nothing follows: such a joint does not turn.
    """

    name: str
    parent: str | None
    at: int
    to: int | None
    rest: tuple[float, float, float]


SEGMENTS = (
    Segment("Hips", None, 0, None, _UP),
    Segment("Spine", "Hips", 0, 7, _UP),
    Segment("Spine1", "Spine", 7, 8, _UP),
    Segment("Neck", "Spine1", 8, 9, _UP),
    Segment("Head", "Neck", 9, 10, _UP),
    Segment("LeftShoulder", "Spine1", 8, 11, _LEFT),
    Segment("LeftArm", "LeftShoulder", 11, 12, _LEFT),
    Segment("LeftForeArm", "LeftArm", 12, 13, _LEFT),
    Segment("LeftHand", "LeftForeArm", 13, None, _LEFT),
    Segment("RightShoulder", "Spine1", 8, 14, _RIGHT),
    Segment("RightArm", "RightShoulder", 14, 15, _RIGHT),
    Segment("RightForeArm", "RightArm", 15, 16, _RIGHT),
    Segment("RightHand", "RightForeArm", 16, None, _RIGHT),
    Segment("LeftUpLeg", "Hips", 4, 5, _DOWN),
    Segment("LeftLeg", "LeftUpLeg", 5, 6, _DOWN),
    Segment("LeftFoot", "LeftLeg", 6, None, _DOWN),
    Segment("RightUpLeg", "Hips", 1, 2, _DOWN),
    Segment("RightLeg", "RightUpLeg", 2, 3, _DOWN),
    Segment("RightFoot", "RightLeg", 3, None, _DOWN),
)
"""Parents before children. Names are MotionBuilder's, which most programs know."""
_HIPS, _SHOULDERS = (1, 4), (14, 11)  # right, left


@dataclass(frozen=True)
class FixedTrack:
    """``bone_mm``: length of the bone that ends at each joint (17,), 0 at the root; ``joints_mm`` (T, 17, 3).

    ``rotations``: of each of :data:`SEGMENTS`, T of them, relative to its parent.
    """

    bone_mm: np.ndarray
    joints_mm: np.ndarray
    rotations: list[Rotation]


def fit_fixed_skeleton(poses_mm: np.ndarray) -> FixedTrack:
    """Poses (T, 17, 3) of Human3.6M's joints, y up, mm, with the median lengths of their bones.

    Lengths of the left and the right are the same. Joint positions are those with the least sum of squared distances
    from the poses; the rotations give exactly these positions.
    """
    lengths = median_lengths(poses_mm)
    joints = fit_positions(poses_mm, lengths)
    return FixedTrack(lengths, joints, fit_rotations(joints))


def median_lengths(poses_mm: np.ndarray) -> np.ndarray:
    """Length (17,) of the bone that ends at each joint: the median over all frames, and both sides."""
    found = {bone: np.linalg.norm(poses_mm[:, bone[1]] - poses_mm[:, bone[0]], axis=-1) for bone in H36M17.bones}
    pairs = (*H36M17.symmetric_bones, tuple((0, hip) for hip in _HIPS))
    for one, other in pairs:
        found[one] = found[other] = np.concatenate([found[one], found[other]])
    lengths = np.zeros(H36M17.num_joints)
    for (_, child), length in found.items():
        lengths[child] = np.median(length)
    return lengths


def _sticks(lengths: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """``reach`` (17, S) and the joints (from, to) of each of S sticks: joint j = root + sum over s of reach[j, s] d_s.

    ``d_s``: the stick's direction. The hips are one stick, of which the root is the middle.
    """
    parents = {child: parent for parent, child in H36M17.bones}
    ends = [_HIPS, *(bone for bone in H36M17.bones if bone[1] not in _HIPS)]
    reach = np.zeros((H36M17.num_joints, len(ends)))
    for j in range(1, H36M17.num_joints):
        joint = j
        while joint in parents:
            if joint in _HIPS:
                reach[j, 0] = lengths[joint] * (1 if joint == _HIPS[1] else -1)
            else:
                reach[j, ends.index((parents[joint], joint))] = lengths[joint]
            joint = parents[joint]
    return reach, ends


def fit_positions(poses_mm: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Joints (T, 17, 3) with bones of these lengths (17,), nearest to the poses (T, 17, 3) by least squares.

    In turn the root and each direction are set to what is best while all others stay, until nothing moves.
    """
    reach, ends = _sticks(lengths)
    directions = np.stack([poses_mm[:, b] - poses_mm[:, a] for a, b in ends], axis=1)  # (T, S, 3)
    sizes = np.linalg.norm(directions, axis=-1, keepdims=True)
    directions = np.where(sizes > _TINY, directions / np.maximum(sizes, _TINY), _UP)
    root = poses_mm[:, 0].copy()
    for _ in range(_SWEEPS):
        before = root[:, None] + np.einsum("js,tsc->tjc", reach, directions)
        error = poses_mm - before
        shift = error.mean(axis=1)
        root += shift
        error -= shift[:, None]
        for s in range(len(ends)):
            error += reach[None, :, s, None] * directions[:, None, s]
            best = np.einsum("j,tjc->tc", reach[:, s], error)
            size = np.linalg.norm(best, axis=-1, keepdims=True)
            directions[:, s] = np.where(size > _TINY, best / np.maximum(size, _TINY), directions[:, s])
            error -= reach[None, :, s, None] * directions[:, None, s]
        joints = poses_mm - error
        if np.abs(joints - before).max() < _CONVERGED_MM:
            break
    return joints


def fit_rotations(joints_mm: np.ndarray) -> list[Rotation]:
    """Of each of :data:`SEGMENTS`, T rotations relative to its parent that give the joints (T, 17, 3).

    The hips turn with the line of the hip joints, exactly, and with the spine as far as that leaves room; the upper
    spine with its own direction and the shoulders, likewise (least squares). A bone with one joint at its end turns
    the shortest way, without a twist of its own: the least turn relative to its parent.
    """
    world: dict[str, Rotation] = {}
    local = []
    for segment in SEGMENTS:
        parent = world[segment.parent] if segment.parent else Rotation.identity(len(joints_mm))
        if segment.name == "Hips":
            own = _two_axes(_between(joints_mm, *_HIPS), _LEFT, joints_mm[:, 7] - joints_mm[:, 0], _UP)
        elif segment.name == "Spine1":
            own = _two_axes(_between(joints_mm, 7, 8), _UP, _between(joints_mm, *_SHOULDERS), _LEFT)
        elif segment.to is None:
            own = parent
        else:
            aim = parent.inv().apply(_between(joints_mm, segment.at, segment.to))
            own = parent * shortest_turn(np.array(segment.rest), aim)
        world[segment.name] = own
        local.append(parent.inv() * own)
    return local


def _between(joints: np.ndarray, a: int, b: int) -> np.ndarray:
    return joints[:, b] - joints[:, a]


def _two_axes(first: np.ndarray, first_rest, second: np.ndarray, second_rest) -> Rotation:
    """Rotations that bring ``first_rest`` exactly onto ``first`` (T, 3), and ``second_rest`` as near as can be."""
    turns = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where both axes are one: any of the best is as good
        for a, b in zip(first, second, strict=True):
            found, _ = Rotation.align_vectors([a, b], [first_rest, second_rest], weights=[np.inf, 1.0])
            turns.append(found.as_quat())
    return Rotation.from_quat(np.array(turns))


def shortest_turn(rest: np.ndarray, aims: np.ndarray) -> Rotation:
    """The least rotations that turn the unit vector ``rest`` (3,) to the directions of ``aims`` (T, 3)."""
    aims = aims / np.maximum(np.linalg.norm(aims, axis=-1, keepdims=True), _TINY)
    axis = np.cross(rest, aims)
    half = 1 + aims @ rest
    opposite = half < _TINY  # then any axis across will do
    axis[opposite], half[opposite] = np.roll(rest, 1), 0.0
    return Rotation.from_quat(np.concatenate([axis, half[:, None]], axis=-1))


def turn_between(turns: Rotation, before: np.ndarray, after: np.ndarray, share: np.ndarray) -> Rotation:
    """Rotations (G,) at a ``share`` (G,) of the way from those at ``before`` to those at ``after`` (indices)."""
    start = turns[before]
    return start * Rotation.from_rotvec(share[:, None] * (start.inv() * turns[after]).as_rotvec())
