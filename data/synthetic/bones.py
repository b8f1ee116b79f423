"""Joints after kinematics: bones lengthened one by one, poses mirrored and turned. Everything is (F, 17, 3), mm."""

import numpy as np

from utils.skeleton import H36M17

# The bones of each segment of a body, left and right alike.
SEGMENT_BONES = {
    "hip": ((0, 1), (0, 4)),
    "thigh": ((1, 2), (4, 5)),
    "shank": ((2, 3), (5, 6)),
    "lumbar": ((0, 7),),
    "thoracic": ((7, 8),),
    "neck": ((8, 9),),
    "head": ((9, 10),),
    "clavicle": ((8, 11), (8, 14)),
    "upper_arm": ((11, 12), (14, 15)),
    "forearm": ((12, 13), (15, 16)),
}
_FACTOR_OF_BONE = {bone: number for number, bones in enumerate(SEGMENT_BONES.values()) for bone in bones}
_MOST = 2.5
MIRRORED = (0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13)
"""For each joint its partner on the other side."""


def vary_bones(joints_mm: np.ndarray, spread: float, rng: np.random.Generator) -> np.ndarray:
    """The poses with each bone longer or shorter by a share with this deviation, and in its direction.

    Left and right stay equal, and the lowest joint stays at its height.
    """
    factor = 1.0 + spread * np.clip(rng.standard_normal((len(joints_mm), len(SEGMENT_BONES))), -_MOST, _MOST)
    result = joints_mm.copy()
    for start, end in H36M17.bones:  # in the order from the root outwards
        bone = joints_mm[:, end] - joints_mm[:, start]
        result[:, end] = result[:, start] + factor[:, _FACTOR_OF_BONE[start, end], None] * bone
    result[..., 2] += (joints_mm[..., 2].min(axis=1) - result[..., 2].min(axis=1))[:, None]
    return result


def mirrored(joints_mm: np.ndarray, which: np.ndarray) -> np.ndarray:
    """The poses with left and right exchanged where ``which`` (F,) says so."""
    return np.where(which[:, None, None], joints_mm[:, MIRRORED] * np.array([1.0, -1.0, 1.0]), joints_mm)


def turned(joints_mm: np.ndarray, radians: np.ndarray) -> np.ndarray:
    """The poses turned about the vertical by angles (F,), with the hips above the origin."""
    centred = joints_mm - joints_mm[:, :1] * np.array([1.0, 1.0, 0.0])
    cos, sin = np.cos(radians)[:, None], np.sin(radians)[:, None]
    x, y = centred[..., 0], centred[..., 1]
    return np.stack([cos * x - sin * y, sin * x + cos * y, centred[..., 2]], axis=-1)
