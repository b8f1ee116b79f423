"""The body in a motion file: is it an upright human, which joints belong to it, and where its floor is."""

from collections.abc import Iterable, Mapping
from itertools import pairwise

import numpy as np

from data.hdf5.access import listed
from data.preprocessing.motion_capture.bvh import BvhMotion
from data.preprocessing.validation.anatomy import bone_ranges, side_score, uprightness
from utils.errors import DiffPoseError
from utils.skeleton import H36M17

ANKLE_SHARE, LEG_SHARE = 0.045, 0.507
"""How high an ankle is above the floor, and how long thigh and shank are together, as shares of the stature."""
_CERTAIN = 0.3
_MIN_TOE_MM = 50.0
_LIMBS = (("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist"))
_H36M_NAMES = {
    f"{side}_{part}": f"{side[0].upper()}{'Foot' if part == 'ankle' else part.capitalize()}"
    for side in ("left", "right")
    for limb in _LIMBS
    for part in limb
}
# How far outside the known ranges a bone may be, and in which share of the frames one may be further out.
_BONE_MARGIN, _WRONG_SHARE = (0.5, 1.5), 0.01
# Fingers, toes and the top of the head are nearer to wrist, ankle and head than this share of the stature.
_END_SHARE = 0.2


def positions_hint(motion: BvhMotion, numbers: Iterable[int]) -> str:
    """``: position channels of .. take the place of their offsets ..``; empty where no joint of ``numbers`` has any."""
    names = [
        f"'{motion.joints[number].name}'"
        for number in sorted(set(numbers))
        if motion.joints[number].parent >= 0 and any(kind == "position" for kind, _ in motion.joints[number].channels)
    ]
    if not names:
        return ""
    return f": position channels of {listed(names, most=6)} take the place of their offsets: export without them"


def check_bones(joints: np.ndarray, motion: BvhMotion, parts: Mapping[str, int]) -> None:
    """DiffPoseError for an arm or a leg whose bones (F, 17, 3 joints in mm) no human has."""
    limits = bone_ranges(H36M17)
    for side in ("left", "right"):
        for chain in _LIMBS:
            for inner, outer in pairwise(f"{side}_{part}" for part in chain):
                bone = H36M17.joints.index(_H36M_NAMES[inner]), H36M17.joints.index(_H36M_NAMES[outer])
                length = np.linalg.norm(joints[:, bone[1]] - joints[:, bone[0]], axis=-1)
                low, high = limits[bone]
                wrong = (length < _BONE_MARGIN[0] * low) | (length > _BONE_MARGIN[1] * high)
                if wrong.mean() <= _WRONG_SHARE:
                    continue
                path = [parts[outer], *motion.ancestors(parts[outer])]
                hint = positions_hint(motion, path[: path.index(parts[inner])])
                raise DiffPoseError(
                    f"{motion.path}: '{motion.joints[parts[outer]].name}' is {np.median(length[wrong]):.0f} mm from "
                    f"'{motion.joints[parts[inner]].name}' in {100 * wrong.mean():.0f} % of the frames, people have "
                    f"{low} to {high}{hint or ': check --unit, --mapping and the offsets in the file'}"
                )


def check_body(
    joints: np.ndarray, points: np.ndarray, motion: BvhMotion, parts: Mapping[str, int], *, up: str | None
) -> None:
    lean = uprightness(joints, H36M17)
    if up is None and np.abs(lean[:2]).max() > 0.75 and np.abs(lean[2]) < 0.4:
        raise DiffPoseError(
            f"{motion.path}: nobody stands upright along y: state --up z, or --up y if they really lie on the floor"
        )
    if up is None and lean[2] < -0.75:
        raise DiffPoseError(
            f"{motion.path}: the head is below the hips throughout: y points down in it (state --up y if it does not)"
        )
    score = _toe_score(joints, points, motion, parts)
    if score is None:
        score = side_score(joints, H36M17)
    if score < -_CERTAIN:
        raise DiffPoseError(
            f"{motion.path}: feet and knees point backwards, so left and right are exchanged: the file is left-handed "
            f"(--mirror) or its sides are misnamed (--mapping)"
        )


def _toe_score(joints: np.ndarray, points: np.ndarray, motion: BvhMotion, parts: Mapping[str, int]) -> float | None:
    """Share of poses whose toes point forwards as the hips say, from -1 to 1; None without toes."""
    ahead = np.zeros((len(points), 3))
    for side in ("left", "right"):
        ankle = parts[f"{side}_ankle"]
        reach = [(points[:, leaf] - points[:, ankle]) for leaf in motion.leaves_below(ankle)]
        if not reach:
            return None
        toe = max(reach, key=lambda offset: float(np.median(np.linalg.norm(offset, axis=-1))))
        if np.median(np.linalg.norm(toe, axis=-1)) < _MIN_TOE_MM:
            return None
        ahead += toe
    forward = np.cross(joints[:, 4] - joints[:, 1], joints[:, 8] - joints[:, 0])
    return float(np.mean(np.sign(np.sum(forward * ahead, axis=-1))))


def _body_joints(
    points: np.ndarray, motion: BvhMotion, parts: Mapping[str, int], stature: float
) -> dict[str, set[int]]:
    """Which joints of points (F, N, 3), mm, belong to the body: ``trunk`` with its limbs, and what each end part has.

    Helpers above or beside the skeleton (a root on the floor, a camera, a prop) do not. Neither do joints below a
    wrist, an ankle or the head that are further away than fingers, toes and hair can be.
    """
    top = "neck" if "neck" in parts else "head"
    above_hips = motion.ancestors(parts["left_hip"])
    trunk_root = next((number for number in above_hips if number in motion.ancestors(parts[top])), None)
    body = {"trunk": set(parts.values())}
    for number in parts.values():
        ancestors = motion.ancestors(number)
        if trunk_root in ancestors:
            body["trunk"].update(ancestors[: ancestors.index(trunk_root) + 1])
    for part in ("left_ankle", "right_ankle", "left_wrist", "right_wrist", "head" if "head" in parts else "neck"):
        end = points[:, parts[part]]
        body[part] = {
            number
            for number in range(len(motion.joints))
            if parts[part] in motion.ancestors(number)
            and np.median(np.linalg.norm(points[:, number] - end, axis=-1)) <= _END_SHARE * stature
        }
    return body


def floor_height(points: np.ndarray, motion: BvhMotion, parts: Mapping[str, int], stature: float) -> float:
    """Height of the floor, mm: what the lowest point of the body hardly ever goes below."""
    body = _body_joints(points, motion, parts, stature)
    lowest = points[:, sorted(set().union(*body.values())), 2].min(axis=1)
    has_feet = all(body[f"{side}_ankle"] for side in ("left", "right"))
    return float(np.percentile(lowest, 1)) - (0.0 if has_feet else ANKLE_SHARE * stature)
