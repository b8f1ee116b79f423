"""DeepMimic's motion clips (JSON), as pybullet ships them: the humanoid's joint rotations, frame by frame.

A clip is ``{"Loop": .., "Frames": [[..44 numbers..], ..]}``. A frame holds its duration in seconds, the root's position
(3, metres) and quaternion, and a rotation for each joint in the order of :data:`_ROTATIONS`: quaternions (w, x, y, z)
relative to the parent, single angles in radians. y is up, x is ahead, z is to the right (a right-handed system).
A clip becomes the same :class:`BvhMotion` that a BVH file would, so that all that follows is the same.
"""

import json
import warnings
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from data.preprocessing.motion_capture.bvh import MAX_FRAMES, BvhMotion, Joint
from utils.errors import DiffPoseError

MAX_FILE_BYTES = 64 * 2**20
FRAME_NUMBERS = 44
MAX_DISTANCE_M = 1e4

# Offset of each joint from its parent in metres: the joints of pybullet's pybullet_data/humanoid/humanoid.urdf, which
# is drawn four times as large as DeepMimic's data/characters/humanoid3d.txt, divided by four. An End Site is the far
# end of the last body: the head's is a sphere of radius 0.1025 m, 0.175 m above the neck; a foot's is a box that
# reaches 0.1335 m ahead of the ankle and 0.05 m below it.
_SIDES = (("Right", 1), ("Left", -1))
_HEAD_TOP_M = 0.175 + 0.1025
_TOE_M = (0.045 + 0.177 / 2, -0.0225 - 0.055 / 2, 0.0)
_NUM_QUATERNION, _NUM_ANGLE = 4, 1
_ROTATIONS = (
    ("Hips", _NUM_QUATERNION),
    ("Chest", _NUM_QUATERNION),
    ("Neck", _NUM_QUATERNION),
    *(
        (f"{side}{joint}", size)
        for side, _ in _SIDES
        for joint, size in (
            ("Hip", _NUM_QUATERNION),
            ("Knee", _NUM_ANGLE),
            ("Ankle", _NUM_QUATERNION),
            ("Shoulder", _NUM_QUATERNION),
            ("Elbow", _NUM_ANGLE),
        )
    ),
)
_POSITION = tuple(("position", axis) for axis in range(3))
_SPHERICAL = (("rotation", 2), ("rotation", 0), ("rotation", 1))
_EULER_ORDER = "ZXY"
# The published clips hold blended quaternions as short as 0.58, which stand for the rotation of their direction.
_LENGTH_TOLERANCE = 0.5
_HINGE = (("rotation", 2),)


def _skeleton() -> tuple[Joint, ...]:
    """Parents before children, in the order of :data:`_ROTATIONS`, End Sites and wrists after their parents."""
    joints: list[Joint] = []

    def add(name: str, parent: str, offset: tuple[float, float, float], channels: tuple = (), end: bool = False):
        number = next((n for n, joint in enumerate(joints) if joint.name == parent), -1)
        joints.append(Joint(name, number, offset, channels, end))

    add("Hips", "", (0.0, 0.0, 0.0), _POSITION + _SPHERICAL)
    add("Chest", "Hips", (0.0, 0.236151, 0.0), _SPHERICAL)
    add("Neck", "Chest", (0.0, 0.223894, 0.0), _SPHERICAL)
    add("Neck End Site", "Neck", (0.0, _HEAD_TOP_M, 0.0), end=True)
    for side, sign in _SIDES:
        add(f"{side}Hip", "Hips", (0.0, 0.0, sign * 0.084887), _SPHERICAL)
        add(f"{side}Knee", f"{side}Hip", (0.0, -0.421546, 0.0), _HINGE)
        add(f"{side}Ankle", f"{side}Knee", (0.0, -0.409870, 0.0), _SPHERICAL)
        add(f"{side}Ankle End Site", f"{side}Ankle", _TOE_M, end=True)
        add(f"{side}Shoulder", "Chest", (-0.02405, 0.24350, sign * 0.18311), _SPHERICAL)
        add(f"{side}Elbow", f"{side}Shoulder", (0.0, -0.274788, 0.0), _HINGE)
        add(f"{side}Wrist", f"{side}Elbow", (0.0, -0.258947, 0.0))
    return tuple(joints)


SKELETON = _skeleton()


def is_deepmimic(path: str | Path) -> bool:
    """Whether a file is a JSON object with "Loop" and "Frames", whatever its name; False when it can't be read."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(256).lstrip(b"\xef\xbb\xbf \t\r\n")
            if not head.startswith(b"{") or path.stat().st_size > MAX_FILE_BYTES:
                return False
            file.seek(0)
            content = file.read(MAX_FILE_BYTES)
    except OSError:
        return False
    return b'"Loop"' in content and b'"Frames"' in content


def read_deepmimic(path: str | Path) -> BvhMotion:
    """A clip of F frames as a motion of even frame time, in metres; the nearest frame stands for each moment.

    Raises DiffPoseError, naming the file and the frame, for JSON that is not whole and for frames that are no whole
    humanoid pose: not :data:`FRAME_NUMBERS` finite numbers, or quaternions that are no rotations.
    """
    path = Path(path)
    numbers = _frames(path)
    frames, frame_time = _even_frames(path, numbers[:, 0])
    columns, start = [numbers[:, 1:4]], 4
    for name, size in _ROTATIONS:
        values = numbers[:, start : start + size]
        columns.append(np.degrees(values) if size == _NUM_ANGLE else _euler_angles(path, name, values))
        start += size
    return BvhMotion(path=path, joints=SKELETON, frame_time=frame_time, values=np.concatenate(columns, axis=1)[frames])


def _frames(path: Path) -> np.ndarray:
    """(F, 44) numbers as they stand in the file."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise DiffPoseError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:100]
        raise DiffPoseError(f"{path}: this DeepMimic clip is not whole JSON ({reason}): copy it again") from None
    frames = content.get("Frames") if isinstance(content, dict) else None
    if not isinstance(frames, list) or not frames:
        raise DiffPoseError(f'{path}: "Frames" is no list of frames: this is no DeepMimic clip')
    for number, frame in enumerate(frames, 1):
        length = len(frame) if isinstance(frame, list) else 0
        if length != FRAME_NUMBERS:
            raise DiffPoseError(
                f"{path}: frame {number} holds {length} numbers, a DeepMimic humanoid's holds {FRAME_NUMBERS}: other "
                "bodies (dogs, robots) are not read"
            )
        # A bool is an int to Python, and an int may be too large for a float: both are no measured numbers.
        if not all(type(value) in (int, float) and abs(value) <= MAX_DISTANCE_M for value in frame):
            raise DiffPoseError(f"{path}: frame {number} holds something that is not a finite number of sane size")
    return np.array(frames, dtype=np.float64)


def _even_frames(path: Path, durations: np.ndarray) -> tuple[np.ndarray, float]:
    """Frame numbers at even steps of time, and the step in seconds: the clip's usual frame duration.

    Frame i begins when the durations before it have passed; many clips give their last frame none.
    """
    positive = durations[durations > 0]
    if len(durations) == 1:
        return np.array([0]), 1 / 30
    if (durations < 0).any() or not len(positive) or not 1e-4 <= (step := float(np.median(positive))) <= 10:
        raise DiffPoseError(f"{path}: frame durations must be from 0.0001 to 10 s")
    begins = np.concatenate([[0.0], np.cumsum(durations[:-1])])
    count = int(begins[-1] / step + 1e-3) + 1
    if count > MAX_FRAMES:
        raise DiffPoseError(f"{path}: {count} frames of {step:g} s, at most {MAX_FRAMES} are read: cut the clip")
    moments = step * np.arange(count)
    after = np.clip(np.searchsorted(begins, moments), 1, len(begins) - 1)
    before = after - 1
    return np.where(moments - begins[before] <= begins[after] - moments, before, after), step


def _euler_angles(path: Path, name: str, quaternions: np.ndarray) -> np.ndarray:
    """(w, x, y, z) (F, 4) -> degrees (F, 3) about z, x and y, applied as in a BVH file of these channels."""
    length = np.linalg.norm(quaternions, axis=1)
    wrong = np.abs(length - 1) > _LENGTH_TOLERANCE
    if wrong.any():
        number = int(np.argmax(wrong)) + 1
        raise DiffPoseError(f"{path}: frame {number}: {name}'s quaternion has length {length[number - 1]:.3g}, not 1")
    with warnings.catch_warnings():
        # At gimbal lock one of many equal triples of angles is taken: the rotation is the same.
        warnings.simplefilter("ignore", UserWarning)
        return Rotation.from_quat(quaternions, scalar_first=True).as_euler(_EULER_ORDER, degrees=True)
