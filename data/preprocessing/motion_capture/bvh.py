"""BVH motion files: a strict parser with limits, and forward kinematics.

A BVH file is a tree of joints with offsets from their parents and named channels, followed by one row of channel
values per frame. Rotation channels apply in the order in which the file lists them: ``Zrotation Xrotation Yrotation``
is Rz Rx Ry on column vectors. Position channels replace the joint's offset, axis by axis, as in Blender and in the
loaders of LAFAN1 and CMU (see :func:`read_bvh` for channels that were never filled in). Angles are degrees; lengths are
in whatever unit the file was made in.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from data.hdf5.access import listed
from utils.errors import DiffPoseError

MAX_FILE_BYTES = 512 * 2**20
MAX_LINE_BYTES = 2**20
MAX_JOINTS = 1000
MAX_DEPTH = 200
MAX_FRAMES = 2_000_000
MAX_NUMBERS = 48_000_000
"""Frames times channels (or times three numbers per joint): the most that a file may ask to be held in memory."""
MAX_MAGNITUDE = 1e7
_NAME_LENGTH = 100
_BLOCK_MATRICES = 100_000

_CHANNELS = {
    f"{axis}{kind}".lower(): (kind, number) for kind in ("position", "rotation") for number, axis in enumerate("XYZ")
}


@dataclass(frozen=True)
class Joint:
    """``parent`` is -1 for a root; ``channels`` are ("position" or "rotation", axis 0-2) in the file's order."""

    name: str
    parent: int
    offset: tuple[float, float, float]
    channels: tuple[tuple[str, int], ...]
    is_end_site: bool


@dataclass(frozen=True)
class BvhMotion:
    """A parsed file: joints (parents before children, End Sites included), seconds per frame, values (F, channels).

    ``notes``: what was understood in one of several ways, for the user to know.
    """

    path: Path
    joints: tuple[Joint, ...]
    frame_time: float
    values: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def num_frames(self) -> int:
        return len(self.values)

    @property
    def names(self) -> list[str]:
        """Joint names without End Sites."""
        return [joint.name for joint in self.joints if not joint.is_end_site]

    def index(self, name: str) -> int:
        """Place of the joint of that name. DiffPoseError when no joint or several joints have it."""
        found = [number for number, joint in enumerate(self.joints) if joint.name == name]
        if len(found) != 1:
            count = "no joint is" if not found else f"{len(found)} joints are"
            raise DiffPoseError(f"{self.path}: {count} named '{name}'")
        return found[0]

    def ancestors(self, number: int) -> list[int]:
        """From the joint's parent up to its root."""
        chain = []
        while (number := self.joints[number].parent) >= 0:
            chain.append(number)
        return chain

    def leaves_below(self, number: int) -> list[int]:
        """The joint's descendants that have no children (usually End Sites); empty when it has none itself."""
        parents = {joint.parent for joint in self.joints}
        return [leaf for leaf in range(len(self.joints)) if leaf not in parents and number in self.ancestors(leaf)]

    def positions(self, frames: np.ndarray | None = None) -> np.ndarray:
        """World positions (n, joints, 3) in the file's unit and axes, for frame numbers (n,) (all by default)."""
        frames = np.arange(self.num_frames) if frames is None else frames
        out = np.empty((len(frames), len(self.joints), 3))
        block = max(1, _BLOCK_MATRICES // len(self.joints))
        for start in range(0, len(frames), block):
            out[start : start + block] = forward_kinematics(self.joints, self.values[frames[start : start + block]])
        return out


def forward_kinematics(joints: tuple[Joint, ...], values: np.ndarray) -> np.ndarray:
    """World positions (F, joints, 3) for channel values (F, channels)."""
    place, turn = [], []  # (F, 3) and rotations (F,) of each joint in the world
    column = 0
    for joint in joints:
        own = values[:, column : column + len(joint.channels)]
        column += len(joint.channels)
        local = np.tile(np.array(joint.offset), (len(values), 1))
        for number, (kind, axis) in enumerate(joint.channels):
            if kind == "position":
                local[:, axis] = own[:, number]
        turns = [number for number, (kind, _) in enumerate(joint.channels) if kind == "rotation"]
        # Upper-case axes: each turn is about the axes that the one before has turned.
        axes = "".join("XYZ"[joint.channels[number][1]] for number in turns)
        rotation = Rotation.from_euler(axes, own[:, turns], degrees=True) if turns else Rotation.identity(len(values))
        if joint.parent < 0:
            place.append(local)
            turn.append(rotation)
        else:
            place.append(place[joint.parent] + turn[joint.parent].apply(local))
            turn.append(turn[joint.parent] * rotation)
    return np.stack(place, axis=1)


def read_bvh(path: str | Path) -> BvhMotion:
    """Parse a file.

    Position channels that hold 0 in every frame, of a joint below another whose offset is not 0, were never filled in:
    the offset is taken, since the bone would have no length otherwise, and ``notes`` say so.

    Raises DiffPoseError, naming file and line, for anything that is not a whole BVH file of finite numbers within the
    limits above.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise DiffPoseError(f"{path}: {size >> 20} MiB, at most {MAX_FILE_BYTES >> 20} are read: cut the take")
        with path.open("rb") as file:
            lines = _Lines(path, file)
            joints = _read_hierarchy(lines)
            frames = _header_number(lines, "Frames:")
            frame_time = _header_number(lines, "Frame Time:")
            channels = sum(len(joint.channels) for joint in joints)
            _check_size(lines, frames, frame_time, channels, len(joints))
            values = _read_values(lines, int(frames), channels)
    except OSError as error:
        raise DiffPoseError(f"{path}: cannot be read ({error.strerror})") from error
    names = _take_offsets(joints, values)
    notes = (
        (f"position channels of {listed(names, most=6)} hold 0 throughout: their offsets were taken",) if names else ()
    )
    return BvhMotion(path=path, joints=joints, frame_time=frame_time, values=values, notes=notes)


def _take_offsets(joints: tuple[Joint, ...], values: np.ndarray) -> list[str]:
    """Put offsets where position channels were never filled in; the names of those joints."""
    names, column = [], 0
    for joint in joints:
        places = [(column + number, axis) for number, (kind, axis) in enumerate(joint.channels) if kind == "position"]
        column += len(joint.channels)
        if joint.parent < 0 or not any(joint.offset[axis] for _, axis in places):
            continue
        columns = [place for place, _ in places]
        if not values[:, columns].any():
            values[:, columns] = [joint.offset[axis] for _, axis in places]
            names.append(f"'{joint.name}'")
    return names


class _Lines:
    """The file's non-empty lines as text, with limits; errors name the line."""

    def __init__(self, path: Path, file):
        self.path, self.number, self._file = path, 0, file

    def __iter__(self) -> Iterator[str]:
        while line := self._file.readline(MAX_LINE_BYTES + 1):
            self.number += 1
            if len(line) > MAX_LINE_BYTES:
                raise self.error(f"over {MAX_LINE_BYTES} bytes long: this is no BVH file")
            text = line.decode("utf-8-sig" if self.number == 1 else "utf-8", "replace").strip()
            if text:
                yield text

    def next(self, wanted: str) -> str:
        for text in self:
            return text
        raise DiffPoseError(f"{self.path}: ends where '{wanted}' should follow: copy or export it again")

    def error(self, what: str) -> DiffPoseError:
        return DiffPoseError(f"{self.path}: line {self.number}: {what}")

    def numbers(self, words: list[str]) -> list[float]:
        """Finite numbers of sane size, or a DiffPoseError."""
        try:
            values = [float(word) for word in words]
        except ValueError:
            bad = next(word for word in words if not _is_number(word))
            raise self.error(f"'{bad[:40]}' where a number should be") from None
        if not all(abs(value) <= MAX_MAGNITUDE for value in values):
            bad = next(word for word, value in zip(words, values, strict=True) if not abs(value) <= MAX_MAGNITUDE)
            raise self.error(f"'{bad[:40]}' is not a finite number of sane size")
        return values


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


@dataclass
class _OpenJoint:
    """A joint whose block is being read."""

    name: str
    parent: int
    is_end_site: bool
    offset: tuple[float, ...] | None = None
    channels: list[tuple[str, int]] = field(default_factory=list)


def _read_hierarchy(lines: _Lines) -> tuple[Joint, ...]:
    if lines.next("HIERARCHY").upper() != "HIERARCHY":
        raise lines.error("does not begin with HIERARCHY: this is no BVH file")
    joints: list[_OpenJoint] = []
    open_blocks: list[int] = []
    expects_brace = False
    for line in lines:
        if line.upper() == "MOTION":
            break
        for text in filter(None, map(str.strip, line.replace("{", "\n{\n").replace("}", "\n}\n").split("\n"))):
            if expects_brace != (text == "{"):
                raise lines.error(f"'{text[:40]}' where '{{' should open a joint" if expects_brace else "stray '{'")
            expects_brace = False
            if text == "{":
                open_blocks.append(len(joints) - 1)
                if len(open_blocks) > MAX_DEPTH:
                    raise lines.error(f"joints are nested over {MAX_DEPTH} deep")
            elif text == "}":
                if not open_blocks:
                    raise lines.error("'}' without '{'")
                open_blocks.pop()
            else:
                expects_brace = _read_statement(lines, text.split(), joints, open_blocks)
    else:
        raise DiffPoseError(f"{lines.path}: ends where 'MOTION' should follow: copy or export it again")
    if open_blocks or expects_brace:
        raise lines.error("MOTION before the last joint is closed by '}'")
    for joint in joints:
        if joint.offset is None:
            raise DiffPoseError(f"{lines.path}: joint '{joint.name}' has no OFFSET")
    if not joints:
        raise lines.error("MOTION before any joint")
    return tuple(
        Joint(joint.name, joint.parent, joint.offset, tuple(joint.channels), joint.is_end_site) for joint in joints
    )


def _read_statement(lines: _Lines, words: list[str], joints: list[_OpenJoint], open_blocks: list[int]) -> bool:
    """Take one statement into ``joints``; True when a joint begins, whose '{' must follow."""
    keyword, rest = words[0].upper(), words[1:]
    if keyword in ("ROOT", "JOINT", "END"):
        if (keyword == "ROOT") == bool(open_blocks):
            raise lines.error(f"{words[0]} {'inside' if open_blocks else 'outside'} a joint")
        if len(joints) == MAX_JOINTS:
            raise lines.error(f"over {MAX_JOINTS} joints")
        parent = open_blocks[-1] if open_blocks else -1
        name = f"{joints[parent].name} End Site" if keyword == "END" else " ".join(rest)[:_NAME_LENGTH]
        if not name:
            raise lines.error(f"{words[0]} without a name")
        joints.append(_OpenJoint(name, parent, keyword == "END"))
        return True
    if not open_blocks:
        raise lines.error(f"'{words[0][:40]}' outside a joint")
    joint = joints[open_blocks[-1]]
    if keyword == "OFFSET":
        if len(rest) != 3 or joint.offset is not None:
            raise lines.error("a joint needs one OFFSET of three numbers")
        joint.offset = tuple(lines.numbers(rest))
    elif keyword == "CHANNELS":
        _read_channels(lines, rest, joint)
    else:
        raise lines.error(f"unknown keyword '{words[0][:40]}'")
    return False


def _read_channels(lines: _Lines, words: list[str], joint: _OpenJoint) -> None:
    names = [word.lower() for word in words[1:]]
    unknown = [word for word in names if word not in _CHANNELS]
    if unknown:
        raise lines.error(f"unknown channel '{unknown[0][:40]}'")
    if joint.channels or joint.is_end_site or not words or words[0] != str(len(names)) or len(set(names)) != len(names):
        raise lines.error("a joint needs one CHANNELS with the number of channels and as many different names")
    joint.channels = [_CHANNELS[name] for name in names]


def _header_number(lines: _Lines, key: str) -> float:
    """The number of ``Frames: n`` or ``Frame Time: s``."""
    text = " ".join(lines.next(key).split())
    if not text.lower().startswith(key.lower()):
        raise lines.error(f"'{text[:40]}' where '{key}' should be")
    numbers = lines.numbers(text[len(key) :].split())
    if len(numbers) != 1:
        raise lines.error(f"'{key}' needs one number")
    return numbers[0]


def _check_size(lines: _Lines, frames: float, frame_time: float, channels: int, joints: int) -> None:
    if frames != math.floor(frames) or not 1 <= frames <= MAX_FRAMES:
        raise lines.error(f"{frames:g} frames: a whole number from 1 to {MAX_FRAMES} is expected")
    if not 1e-4 <= frame_time <= 10:
        raise lines.error(f"a frame time of {frame_time:g} s: from 0.0001 to 10 s are expected")
    if not channels:
        raise lines.error("no joint has channels: there is no motion")
    if frames * max(channels, 3 * joints) > MAX_NUMBERS:
        raise lines.error(f"{frames:g} frames of {channels} channels are over {MAX_NUMBERS} numbers: cut the take")


def _read_values(lines: _Lines, frames: int, channels: int) -> np.ndarray:
    """(frames, channels); a frame's numbers may run over several lines."""
    values = np.empty(frames * channels)
    filled = 0
    for text in lines:
        numbers = lines.numbers(text.split())
        if filled + len(numbers) > len(values):
            raise lines.error(f"more numbers than {frames} frames of {channels} channels have")
        values[filled : filled + len(numbers)] = numbers
        filled += len(numbers)
    if filled < len(values):
        raise DiffPoseError(
            f"{lines.path}: ends in frame {filled // channels + 1} of {frames} ({channels} channels each): "
            "copy or export it again"
        )
    return values.reshape(frames, channels)
