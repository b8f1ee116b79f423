"""The published list of Human3.6M's ambiguous frames: lines such as ``/S9/Directions.54138969/160.jpg``.

By Wehrbein et al., "Probabilistic Monocular 3D Human Pose Estimation with Normalizing Flows", ICCV 2021.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from data.preprocessing.h36m.names import Name, listed_name
from data.schema import SUBJECTS
from utils.errors import DiffPoseError

WHERE_FROM = (
    "framelist_h36m_hard_subset of "
    "github.com/twehrbein/Probabilistic-Monocular-3D-Human-Pose-Estimation-with-Normalizing-Flows"
)
_LINE = re.compile(r"/?(?P<subject>S[0-9]+)/(?P<stem>[^/]+)/(?P<frame>[0-9]+)\.(?:jpg|png)")


class HardList:
    """The frames of a list file, matched by what its names mean: subject, action, subaction, camera and frame.

    Raises DiffPoseError for a missing file and for a line of another form.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            text = path.read_bytes()
        except OSError as error:
            raise DiffPoseError(f"{path}: hard list cannot be read ({error.strerror}): it is {WHERE_FROM}") from error
        self.sha256 = hashlib.sha256(text).hexdigest()
        self._frames: dict[Name, set[int]] = {}
        for number, line in enumerate(text.decode("utf-8-sig", "replace").splitlines(), 1):
            if line.strip():
                name, frame = self._parse(line.strip(), f"{path}, line {number}")
                self._frames.setdefault(name, set()).add(frame)
        if not self._frames:
            raise DiffPoseError(f"{path}: an empty hard list: it is {WHERE_FROM}")
        self.num_frames = sum(map(len, self._frames.values()))

    @staticmethod
    def _parse(line: str, where: str) -> tuple[Name, int]:
        match = _LINE.fullmatch(line)
        subjects = [name for names in SUBJECTS["h36m"].values() for name in names]
        if match is None or match["subject"] not in subjects or match["frame"].strip("0") == "":
            raise DiffPoseError(
                f"{where}: '{line[:60]}' is not like '/S9/Directions.54138969/160.jpg', the form of {WHERE_FROM}"
            )
        # The list counts frames from 1, the files' frame_orig from 0.
        return listed_name(match["subject"], match["stem"], where), int(match["frame"]) - 1

    def mark(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Whether each row is in the list, given the columns that name rows: (N,) bool."""
        names = zip(*(columns[name].astype("U16").tolist() for name in Name._fields), strict=True)
        frames = columns["frame_orig"].tolist()
        return np.array(
            [frame in self._frames.get(Name(*name), ()) for name, frame in zip(names, frames, strict=True)], dtype=bool
        )
