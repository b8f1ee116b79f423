"""BVH files for tests: a small human in several namings, units and axes, and how to move it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

# Joint: parent and offset in cm. The body faces +z, its left is +x, y is up.
SKELETON = {
    "hips": (None, (0, 0, 0)),
    "spine": ("hips", (0, 12, 0)),
    "chest": ("spine", (0, 20, 0)),
    "neck": ("chest", (0, 20, 0)),
    "head": ("neck", (0, 12, 2)),
    "head end": ("head", (0, 16, 0)),
    "left clavicle": ("chest", (2, 15, 0)),
    "left shoulder": ("left clavicle", (15, 0, 0)),
    "left elbow": ("left shoulder", (28, 0, 0)),
    "left wrist": ("left elbow", (25, 0, 0)),
    "left hand end": ("left wrist", (15, 0, 0)),
    "right clavicle": ("chest", (-2, 15, 0)),
    "right shoulder": ("right clavicle", (-15, 0, 0)),
    "right elbow": ("right shoulder", (-28, 0, 0)),
    "right wrist": ("right elbow", (-25, 0, 0)),
    "right hand end": ("right wrist", (-15, 0, 0)),
    "left hip": ("hips", (10, -4, 0)),
    "left knee": ("left hip", (0, -42, 0)),
    "left ankle": ("left knee", (0, -41, 0)),
    "left toe end": ("left ankle", (0, -6, 14)),
    "right hip": ("hips", (-10, -4, 0)),
    "right knee": ("right hip", (0, -42, 0)),
    "right ankle": ("right knee", (0, -41, 0)),
    "right toe end": ("right ankle", (0, -6, 14)),
}


def _sided(**parts: str) -> dict[str, str]:
    sides = (("left", "Left"), ("right", "Right"))
    return {f"{side} {part}": pattern.replace("*", word) for side, word in sides for part, pattern in parts.items()}


_MOTION_BUILDER = {
    "hips": "Hips",
    "spine": "Spine",
    "chest": "Spine1",
    "neck": "Neck",
    "head": "Head",
    **_sided(
        clavicle="*Shoulder", shoulder="*Arm", elbow="*ForeArm", wrist="*Hand", hip="*UpLeg", knee="*Leg", ankle="*Foot"
    ),
}
NAMINGS = {
    "motion builder, LAFAN1": _MOTION_BUILDER,
    "CMU": {**_MOTION_BUILDER, "spine": "LowerBack", "chest": "Spine", "neck": "Neck1"},
    "Mixamo": {joint: f"mixamorig:{name}" for joint, name in _MOTION_BUILDER.items()},
    "mocapbank": {
        "hips": "Hips",
        "spine": "Chest",
        "chest": "Chest2",
        "neck": "Neck",
        "head": "Head",
        **_sided(
            clavicle="*Collar",
            shoulder="*Shoulder",
            elbow="*Elbow",
            wrist="*Wrist",
            hip="*Hip",
            knee="*Knee",
            ankle="*Ankle",
        ),
    },
    "biped": {
        "hips": "Bip01 Pelvis",
        "spine": "Bip01 Spine",
        "chest": "Bip01 Spine1",
        "neck": "Bip01 Neck",
        "head": "Bip01 Head",
        **{
            joint: name.replace("Left", "L ").replace("Right", "R ")
            for joint, name in _sided(
                clavicle="Bip01 *Clavicle",
                shoulder="Bip01 *UpperArm",
                elbow="Bip01 *Forearm",
                wrist="Bip01 *Hand",
                hip="Bip01 *Thigh",
                knee="Bip01 *Calf",
                ankle="Bip01 *Foot",
            ).items()
        },
    },
    "side at the end": {
        "hips": "pelvis",
        "spine": "spine",
        "chest": "chest",
        "neck": "neck",
        "head": "head",
        **{
            joint: name.replace("Left", "L").replace("Right", "R")
            for joint, name in _sided(
                clavicle="clavicle.*",
                shoulder="upper_arm.*",
                elbow="forearm.*",
                wrist="hand.*",
                hip="thigh.*",
                knee="shin.*",
                ankle="foot.*",
            ).items()
        },
    },
}


def walk(frames: int, *, rate: float = 50.0, speed: float = 0.0) -> dict[str, np.ndarray]:
    """Joint -> (frames, 3) degrees about x, y, z: opposite arms and legs swing, knees and elbows bend, arms hang.

    ``root`` is the position of the hips, cm; ``speed`` in cm/s along +z.
    """
    time = np.arange(frames) / rate
    swing = np.sin(2 * np.pi * time)
    zero = np.zeros(frames)
    motion = {"root": np.stack([zero, 95 + zero, speed * time], axis=1)}
    for side, sign in (("left", 1), ("right", -1)):
        motion[f"{side} hip"] = np.stack([-10 - 25 * sign * swing, zero, zero], axis=1)
        motion[f"{side} knee"] = np.stack([30 + 20 * sign * swing, zero, zero], axis=1)
        motion[f"{side} shoulder"] = np.stack([zero, zero, zero - 75 * sign], axis=1)
        motion[f"{side} elbow"] = np.stack([zero, (-35 - 15 * swing) * sign, zero], axis=1)
    return motion


def bvh_text(
    motion: Mapping[str, np.ndarray],
    *,
    naming: str = "motion builder, LAFAN1",
    scale: float = 1.0,
    rate: float = 50.0,
    mirror: bool = False,
    z_up: bool = False,
    order: str = "ZXY",
    positions: Mapping[str, float] | None = None,
) -> str:
    """The body with a motion such as :func:`walk`'s. ``mirror`` turns x round, as in a left-handed file.

    ``positions``: joints that have position channels too, which hold this share of their offsets.
    """
    positions = positions or {}
    names = NAMINGS[naming]
    sign = -1.0 if mirror else 1.0
    columns: list[np.ndarray] = []
    frames = len(motion["root"])

    def point(values) -> np.ndarray:
        x, y, z = scale * np.moveaxis(np.asarray(values, float), -1, 0)
        return np.stack([sign * x, -z, y] if z_up else [sign * x, y, z], axis=-1)

    def angle(joint: str, axis: str) -> np.ndarray:
        values = motion.get(joint, np.zeros((frames, 3)))
        wanted = {"X": ("X", 1), "Y": ("Z", -1), "Z": ("Y", 1)}[axis] if z_up else (axis, 1)
        turn = values[:, "XYZ".index(wanted[0])] * wanted[1]
        return turn if axis == "X" else sign * turn

    def block(joint: str, depth: int) -> list[str]:
        offset = "OFFSET " + " ".join(f"{value:.6f}" for value in point(SKELETON[joint][1]))
        pad = "\t" * depth
        if joint.endswith("end"):
            return [f"{pad}End Site", pad + "{", f"{pad}\t{offset}", pad + "}"]
        channels = [f"{axis}rotation" for axis in order]
        if SKELETON[joint][0] is None:
            channels = ["Xposition", "Yposition", "Zposition", *channels]
            columns.extend(point(motion["root"]).T)
        elif joint in positions:
            channels = ["Xposition", "Yposition", "Zposition", *channels]
            columns.extend(np.full(frames, value) for value in positions[joint] * point(SKELETON[joint][1]))
        columns.extend(angle(joint, axis) for axis in order)
        lines = [f"{pad}{'ROOT' if depth == 0 else 'JOINT'} {names[joint]}", pad + "{", f"{pad}\t{offset}"]
        lines.append(f"{pad}\tCHANNELS {len(channels)} {' '.join(channels)}")
        for child, (parent, _) in SKELETON.items():
            if parent == joint:
                lines += block(child, depth + 1)
        return [*lines, pad + "}"]

    lines = ["HIERARCHY", *block("hips", 0), "MOTION", f"Frames: {frames}", f"Frame Time: {1 / rate:.8f}"]
    values = np.stack(columns, axis=1)
    return "\n".join([*lines, *(" ".join(f"{value:.5f}" for value in row) for row in values)]) + "\n"


def write_bvh(path: Path, motion: Mapping[str, np.ndarray] | None = None, **options) -> Path:
    """Write a file (two seconds of walking by default); its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(bvh_text(walk(100) if motion is None else motion, **options))
    return path
