"""BVH files of a track with fixed bones: centimetres, y up, MotionBuilder's names, for Blender and other programs."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from demo.fixed_skeleton import SEGMENTS, Segment
from demo.output import OTHER_OUTPUT
from utils.files import written_in_one_step

# Rz Rx Ry, the usual order.
_ORDER = "ZXY"
_CHANNELS = "Zrotation Xrotation Yrotation"
# A file needs an end for each last bone. Hands and feet have none here: these lengths are only for the eye, cm.
_HAND_CM, _FOOT_CM = 8.0, 4.0


def write_bvh(path: Path, bone_mm: np.ndarray, root_mm: np.ndarray, rotations: list[Rotation], *, rate: float) -> None:
    """Write the root's places (G, 3), mm, and G rotations of each of SEGMENTS at ``rate`` frames a second.

    ``bone_mm`` (17,): length of the bone that ends at each joint. Raises DiffPoseError when it can't be written.
    """
    angles = np.concatenate([steady_angles(turns) for turns in rotations], axis=1)  # (G, 3 per segment)
    with written_in_one_step(path, way_out=OTHER_OUTPUT) as partial, partial.open("w", encoding="utf-8") as file:
        file.write("HIERARCHY\n")
        file.writelines(f"{line}\n" for line in _hierarchy(SEGMENTS[0], bone_mm, depth=0))
        file.write(f"MOTION\nFrames: {len(root_mm)}\nFrame Time: {1 / rate:.8f}\n")
        for place, turns in zip(root_mm / 10, angles, strict=True):
            file.write(" ".join(f"{value:.5f}" for value in (*place, *turns)) + "\n")


def _hierarchy(segment: Segment, bone_mm: np.ndarray, *, depth: int) -> Iterator[str]:
    """The lines of a joint and all below it."""
    tab = "\t" * depth
    yield f"{tab}{'JOINT' if depth else 'ROOT'} {segment.name}"
    yield f"{tab}{{"
    yield f"{tab}\tOFFSET {_numbers(offset_mm(segment, bone_mm) / 10)}"
    places = "" if depth else "Xposition Yposition Zposition "
    yield f"{tab}\tCHANNELS {3 if depth else 6} {places}{_CHANNELS}"
    children = [one for one in SEGMENTS if one.parent == segment.name]
    for child in children:
        yield from _hierarchy(child, bone_mm, depth=depth + 1)
    if not children:
        length = _FOOT_CM if "Foot" in segment.name else _HAND_CM
        if segment.to is not None:
            length = bone_mm[segment.to] / 10
        yield f"{tab}\tEnd Site"
        yield f"{tab}\t{{"
        yield f"{tab}\t\tOFFSET {_numbers(length * np.array(segment.rest))}"
        yield f"{tab}\t}}"
    yield f"{tab}}}"


def offset_mm(segment: Segment, bone_mm: np.ndarray) -> np.ndarray:
    """Where a joint lies as seen from its parent in the rest pose (3,)."""
    parent = next((one for one in SEGMENTS if one.name == segment.parent), None)
    if parent is None or parent.at == segment.at:
        return np.zeros(3)
    if parent.to is None:  # a hip joint, beside the middle of the hips
        return bone_mm[segment.at] * np.array([1.0 if segment.name.startswith("Left") else -1.0, 0.0, 0.0])
    return bone_mm[segment.at] * np.array(parent.rest)


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{value:.5f}" for value in values)


def steady_angles(turns: Rotation) -> np.ndarray:
    """Rotations as angles (G, 3), degrees, in the order of the channels, without jumps from frame to frame.

    Each rotation has two triples of angles, and turns of 360 degrees are free: the one nearest to the frame before.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # at 90 degrees in the middle the other two are one
        found = turns.as_euler(_ORDER, degrees=True)
    out = np.empty_like(found)
    last = np.zeros(3)
    for k, (z, x, y) in enumerate(found):
        both = np.array([[z, x, y], [z + 180, 180 - x, y + 180]])
        both -= 360 * np.round((both - last) / 360)
        out[k] = last = both[np.abs(both - last).sum(axis=1).argmin()]
    return out
