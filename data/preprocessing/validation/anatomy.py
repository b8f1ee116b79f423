"""What every human body has in common: lengths of bones, knees that bend forwards, a head above the hips.

Poses are (F, J, 3), mm unless said otherwise, of a :class:`utils.skeleton.Skeleton`. Nothing depends on the frame of
reference except where it says so; left, right, up and forward form a right-handed system.
"""

from itertools import pairwise

import numpy as np

from utils.skeleton import Skeleton

# Lengths in mm that adults' bones have in the datasets, with a margin: children of ten to very tall people.
_H36M_RANGES: dict[tuple[int, int], tuple[float, float]] = {
    (0, 1): (55, 230),
    (1, 2): (270, 580),
    (2, 3): (260, 580),
    (0, 4): (55, 230),
    (4, 5): (270, 580),
    (5, 6): (260, 580),
    (0, 7): (110, 400),
    (7, 8): (110, 400),
    (8, 9): (35, 240),
    (9, 10): (35, 280),
    (8, 11): (70, 280),
    (11, 12): (180, 420),
    (12, 13): (150, 380),
    (8, 14): (70, 280),
    (14, 15): (180, 420),
    (15, 16): (150, 380),
}
_SMPL_RANGES = {
    "Hip": (40, 180),
    "Knee": (270, 580),
    "Ankle": (260, 580),
    "Foot": (60, 250),
    "Shoulder": (50, 260),
    "Elbow": (180, 420),
    "Wrist": (150, 380),
}
STATURE_RANGE_MM = (1300.0, 2300.0)
"""Of a person stretched out, as :func:`stretched_stature` measures: wider than the 1.4-2.1 m of most."""
_ANKLE_SHARE = 0.045
_MIN_BEND_MM = 15.0


def bone_ranges(skeleton: Skeleton) -> dict[tuple[int, int], tuple[float, float]]:
    """Bones whose lengths are known, with the least and the greatest length in mm."""
    if skeleton.num_joints == 17:
        return _H36M_RANGES
    return {
        bone: limits
        for bone in skeleton.bones
        for part, limits in _SMPL_RANGES.items()
        if skeleton.joints[bone[1]][1:] == part
    }


def bone_lengths(poses: np.ndarray, bones: tuple[tuple[int, int], ...]) -> np.ndarray:
    """(F, len(bones)) in the poses' unit."""
    first, second = np.array(bones).T
    return np.linalg.norm(poses[:, first] - poses[:, second], axis=-1)


def _joint(skeleton: Skeleton, *names: str) -> int:
    return next(skeleton.joints.index(name) for name in names if name in skeleton.joints)


def _leg(skeleton: Skeleton, side: str) -> list[int]:
    return [
        _joint(skeleton, f"{side}Hip"),
        _joint(skeleton, f"{side}Knee"),
        _joint(skeleton, f"{side}Ankle", f"{side}Foot"),
    ]


def trunk(skeleton: Skeleton) -> tuple[int, int]:
    """The joints between which the trunk rises: pelvis and base of the neck."""
    return _joint(skeleton, "Hip", "Pelvis"), _joint(skeleton, "Thorax", "Neck")


def stretched_stature(poses: np.ndarray, skeleton: Skeleton) -> float:
    """How tall the body would stand, from the median lengths of legs, trunk and head; in the poses' unit."""
    chain = (0, 7, 8, 9, 10) if skeleton.num_joints == 17 else (0, 3, 6, 9, 12, 15)
    bones = [*pairwise(chain)]
    legs = [pair for side in "LR" for leg in [_leg(skeleton, side)] for pair in pairwise(leg)]
    lengths = np.median(bone_lengths(poses, (*bones, *legs)), axis=0)
    return float(lengths[: len(bones)].sum() + lengths[len(bones) :].sum() / 2) / (1 - _ANKLE_SHARE)


def knee_evidence(poses: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """How far the knees bend forwards, mm summed over both legs: (F,), 0 for straight legs.

    Forward is what "left" and "up" of the body's own hips and trunk say. Knees bend one way only, so a negative sum
    over many poses means that left and right are exchanged, or the poses mirrored.
    """
    low, high = trunk(skeleton)
    left = poses[:, _joint(skeleton, "LHip")] - poses[:, _joint(skeleton, "RHip")]
    forward = np.cross(left, poses[:, high] - poses[:, low])
    forward /= np.maximum(np.linalg.norm(forward, axis=-1, keepdims=True), 1e-9)
    evidence = np.zeros(len(poses))
    for side in "LR":
        hip, knee, ankle = (poses[:, number] for number in _leg(skeleton, side))
        line = ankle - hip
        share = np.sum((knee - hip) * line, axis=-1, keepdims=True) / np.maximum(
            np.sum(line * line, axis=-1, keepdims=True), 1e-9
        )
        bend = knee - hip - share * line
        bent = np.linalg.norm(bend, axis=-1) > _MIN_BEND_MM
        evidence += np.where(bent, np.sum(bend * forward, axis=-1), 0.0)
    return evidence


def side_score(poses: np.ndarray, skeleton: Skeleton) -> float:
    """From -1 (left and right exchanged) to 1 (as they should be); 0 when no knee is bent."""
    evidence = knee_evidence(poses, skeleton)
    total = np.abs(evidence).sum()
    return float(evidence.sum() / total) if total > 0 else 0.0


def shoulders_agree(poses: np.ndarray, skeleton: Skeleton) -> float:
    """Mean cosine of the angle between the lines through both hips and both shoulders, right to left: near 1."""
    hips = poses[:, _joint(skeleton, "LHip")] - poses[:, _joint(skeleton, "RHip")]
    shoulders = poses[:, _joint(skeleton, "LShoulder")] - poses[:, _joint(skeleton, "RShoulder")]
    length = np.linalg.norm(hips, axis=-1) * np.linalg.norm(shoulders, axis=-1)
    return float(np.mean(np.sum(hips * shoulders, axis=-1) / np.maximum(length, 1e-9)))


def uprightness(poses: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Mean direction (3,) of the trunk, pelvis to neck, as shares of its length: (0, -1, 0) in a camera's frame."""
    low, high = trunk(skeleton)
    up = poses[:, high] - poses[:, low]
    return np.mean(up / np.maximum(np.linalg.norm(up, axis=-1, keepdims=True), 1e-9), axis=0)
