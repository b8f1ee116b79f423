"""Human3.6M's file names: which action, subaction and camera a recording is."""

import re
from typing import NamedTuple

from data.schema import ACTIONS
from utils.errors import DiffPoseError

_ALIASES = {"TakingPhoto": "Photo", "WalkingDog": "WalkDog"}
_STEM = re.compile(r"(?P<action>[A-Za-z]+)(?: (?P<take>[0-9]+))?\.(?P<cam>[0-9]{8})")

# Take number in the file name -> subaction; "" is a name without number.
DEFAULT_TAKES = {"": "0", "1": "1"}
_SECOND_IS_2 = {"": "0", "2": "1"}
_SECOND_IS_3 = {"": "0", "3": "1"}
_1_AND_2 = {"1": "1", "2": "0"}
_2_AND_3 = {"2": "1", "3": "0"}
_TAKES = {
    **dict.fromkeys(
        [
            ("S1", "Eating"),
            ("S1", "SittingDown"),
            ("S5", "Photo"),
            ("S6", "Posing"),
            ("S7", "Phoning"),
            ("S11", "Greeting"),
            ("S11", "Smoking"),
        ],
        _SECOND_IS_2,
    ),
    ("S6", "Waiting"): _SECOND_IS_3,
    **dict.fromkeys(
        [
            ("S1", "Sitting"),
            ("S5", "Directions"),
            ("S5", "Greeting"),
            ("S5", "Waiting"),
            ("S6", "Eating"),
            ("S6", "Sitting"),
            ("S7", "Waiting"),
            ("S7", "Walking"),
            ("S8", "WalkTogether"),
            ("S9", "Discussion"),
            ("S11", "Discussion"),
        ],
        _1_AND_2,
    ),
    **dict.fromkeys([("S5", "Discussion"), ("S11", "Phoning")], _2_AND_3),
}


class Name(NamedTuple):
    """What a recording is called in the file: strings, the subaction "0" or "1"."""

    subject: str
    action: str
    subaction: str
    cam: str


LEFT_OUT = (Name("S5", "Waiting", "1", "55011271"), Name("S11", "Directions", "0", "54138969"))
"""Recordings whose files are damaged."""


def _parsed(stem: str) -> tuple[str, str, str] | None:
    match = _STEM.fullmatch(stem)
    if match is None:
        return None
    action = _ALIASES.get(match["action"], match["action"])
    return (action, match["take"] or "", match["cam"]) if action in ACTIONS else None


def recording_name(subject: str, stem: str, where: object) -> Name:
    """The name of a raw file's ``stem`` such as ``Walking 1.54138969``.

    The take number becomes the subaction by the subject's and action's own rule. Raises DiffPoseError, naming
    ``where``, for any other action or take.
    """
    parsed = _parsed(stem)
    if parsed is None:
        raise DiffPoseError(f"{where}: not a recording's name like 'Walking 1.54138969' with one of the 15 actions")
    action, take, cam = parsed
    takes = _TAKES.get((subject, action), DEFAULT_TAKES)
    if take not in takes:
        known = " and ".join(f"'{action}{' ' * bool(key)}{key}'" for key in takes)
        raise DiffPoseError(f"{where}: unknown take of {subject} {action}: Human3.6M has {known}")
    return Name(subject, action, takes[take], cam)


def listed_name(subject: str, stem: str, where: object) -> Name:
    """The name that a line of the hard list means: always by the default rule, whatever the raw files' takes are."""
    parsed = _parsed(stem)
    if parsed is None or parsed[1] not in DEFAULT_TAKES:
        raise DiffPoseError(f"{where}: '{stem}' is not a recording's name like 'Walking 1.54138969'")
    return Name(subject, parsed[0], DEFAULT_TAKES[parsed[1]], parsed[2])
