"""Which joints of a motion-capture skeleton are a person's hips, knees, shoulders and so on.

Names are compared without case, punctuation and namespaces ("mixamorig:LeftUpLeg" is "leftupleg"). Each part has
several usual names, the most telling first: a skeleton with LeftArm means the clavicle by LeftShoulder (MotionBuilder,
CMU, LAFAN1, Mixamo), one without it means the shoulder joint (mocapbank, SMPL). A mapping file overrules all of it.
"""

import json
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from data.hdf5.access import listed
from data.preprocessing.motion_capture.bvh import BvhMotion
from utils.errors import DiffPoseError

# Part -> its usual names after the side, by preference.
_LIMB_NAMES = {
    "hip": ("upleg", "upperleg", "thigh", "femur", "hip"),
    "knee": ("knee", "lowerleg", "lowleg", "calf", "shin", "tibia", "leg"),
    "ankle": ("ankle", "foot"),
    "shoulder": ("arm", "uparm", "upperarm", "humerus", "shldr", "shoulder"),
    "elbow": ("elbow", "forearm", "lowerarm", "lowarm", "radius"),
    "wrist": ("wrist", "hand"),
}
_MIDDLE_NAMES = {"neck": ("neck", "lowerneck", "neck1"), "head": ("head",)}
_SIDE_PREFIXES = {"left": ("left", "l"), "right": ("right", "r")}
_LIMB_CHAINS = (("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist"))
_MAX_MAPPING_BYTES = 2**20

REQUIRED = tuple(f"{side}_{part}" for side in ("left", "right") for part in _LIMB_NAMES)
OPTIONAL = ("neck", "head", "head_top")
"""Without a neck joint the thorax is between the shoulders; without a head top it is found or extrapolated."""


def plain(name: str) -> str:
    """A joint's name without namespace, rig prefix, case and punctuation."""
    name = re.sub(r"^(mixamorig\d*|bip0*\d+|character\d*)[ _]", "", name.rpartition(":")[2].lower())
    return re.sub(r"[^a-z0-9]", "", name)


def map_joints(motion: BvhMotion, mapping: Mapping[str, str] | None = None) -> dict[str, int]:
    """Part (:data:`REQUIRED`, and those of :data:`OPTIONAL` that there are) -> joint number.

    ``mapping``: part -> name in the file, for parts whose names are unusual. Raises DiffPoseError that lists the names
    found when a part is missing, ambiguous, or not further out on the same limb than the part before it.
    """
    mapping = mapping or {}
    parts = {part: motion.index(name) for part, name in mapping.items()}
    by_name: dict[str, list[int]] = {}
    for number, joint in enumerate(motion.joints):
        if not joint.is_end_site:
            by_name.setdefault(plain(joint.name), []).append(number)
    wanted = [(part, _candidates(part)) for part in (*REQUIRED, "neck", "head") if part not in parts]
    for part, names in wanted:
        found = _first(by_name, names, part, motion)
        if found is not None:
            parts[part] = found
    missing = [part for part in REQUIRED if part not in parts]
    if missing:
        raise DiffPoseError(
            f"{motion.path}: no joint found for {', '.join(missing)} (joints it has: {listed(motion.names, most=80)}): "
            "name them in a --mapping file"
        )
    if "neck" not in parts and "head" not in parts:
        raise DiffPoseError(
            f"{motion.path}: no joint found for neck or head (joints it has: {listed(motion.names, most=80)}): "
            "name one in a --mapping file"
        )
    for side in ("left", "right"):
        for chain in _LIMB_CHAINS:
            for inner, outer in pairwise(chain):
                inner, outer = f"{side}_{inner}", f"{side}_{outer}"
                if parts[inner] not in motion.ancestors(parts[outer]):
                    raise DiffPoseError(
                        f"{motion.path}: '{motion.joints[parts[outer]].name}' ({outer}) is not below "
                        f"'{motion.joints[parts[inner]].name}' ({inner}): name both in a --mapping file"
                    )
    return parts


def _candidates(part: str) -> tuple[str, ...]:
    if part in _MIDDLE_NAMES:
        return _MIDDLE_NAMES[part]
    side, _, limb = part.partition("_")
    return tuple(
        name for base in _LIMB_NAMES[limb] for prefix in _SIDE_PREFIXES[side] for name in (prefix + base, base + prefix)
    )


def _first(by_name: dict[str, list[int]], names: tuple[str, ...], part: str, motion: BvhMotion) -> int | None:
    for name in names:
        found = by_name.get(name, [])
        if len(found) > 1:
            raise DiffPoseError(
                f"{motion.path}: {len(found)} joints could be {part} "
                f"({listed(motion.joints[number].name for number in found)}): name one in a --mapping file"
            )
        if found:
            return found[0]
    return None


def _json_or_yaml(text: str) -> object:
    """What a text says: JSON may be indented by tabs, which YAML forbids."""
    import yaml

    try:
        return json.loads(text)
    except ValueError:
        return yaml.safe_load(text)


def read_mapping(path: str | Path) -> dict[str, str]:
    """A YAML or JSON file of ``part: joint name``; parts as in :data:`REQUIRED` and :data:`OPTIONAL`.

    Raises DiffPoseError for an unreadable file, an unknown part, and a name that is no text.
    """
    import yaml

    path = Path(path)
    try:
        if path.stat().st_size > _MAX_MAPPING_BYTES:
            raise DiffPoseError(f"{path}: over {_MAX_MAPPING_BYTES >> 20} MiB: this is no mapping file")
        content = _json_or_yaml(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DiffPoseError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DiffPoseError(f"{path}: neither YAML nor JSON ({reason}): write lines such as 'left_hip: LHip'") from None
    if not isinstance(content, dict) or not content:
        raise DiffPoseError(f"{path}: holds no 'part: joint name' lines, such as 'left_hip: LHip'")
    for part, name in content.items():
        if part not in (*REQUIRED, *OPTIONAL):
            raise DiffPoseError(f"{path}: unknown part '{part}': one of {', '.join((*REQUIRED, *OPTIONAL))}")
        if not isinstance(name, str):
            raise DiffPoseError(f"{path}: {part} is {name!r}, not a joint's name: put it in quotes")
    return content
