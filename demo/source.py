"""What the demo looks at: a picture, a folder of pictures, or a video, as frames one at a time."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from demo.fetch import DEMO_VIDEO, fetch
from demo.heif import heif_hint
from demo.images import check_readable, num_frames, output_names, read_image, sort_folder
from demo.person import Person
from demo.video import Video
from utils.decoders import is_video
from utils.errors import DiffPoseError

UNKNOWN_RATE = 25.0
"""Frames a second of a sequence where nobody knows how many there were."""


class SourceFrame(NamedTuple):
    """``name`` of the file, ``number`` of the frame or picture from 0, ``time_s`` in a sequence, name of the output.

    ``persons``: who is in it, where keypoints say so already; None where they have to be found.
    """

    name: str
    number: int
    time_s: float
    output: str
    image: np.ndarray
    persons: list[Person] | None = None


def kind_of(path: str | Path) -> str:
    """``folder``, ``video`` or ``image``, by what can be decoded.

    Raises DiffPoseError when there is no such file, it can't be read, or nothing in it can be decoded.
    """
    path = Path(path)
    if os.path.isdir(path):  # False where it may not be looked at: then its error follows
        return "folder"
    check_readable(path)
    frames = num_frames(path)
    if frames == 1:
        return "image"
    picture = heif_hint(path)
    if frames > 1 or (picture is None and is_video(path)):
        return "video"
    way_out = picture or "convert it to JPEG or PNG, or to MP4 (H.264)"
    raise DiffPoseError(f"{path}: not an image and not a video that can be decoded: {way_out}")


class Source:
    """Frames of what the user gives with --input; ``every``: of a video, every that many frames."""

    def __init__(self, text: str, every: int):
        path = fetch(DEMO_VIDEO)[0] if text == "demo" else Path(text)
        self.kind, self.name = kind_of(path), path.name or str(path)
        self.video = Video(path, every=every) if self.kind == "video" else None
        self.paths, lines = sort_folder(path) if self.kind == "folder" else ([path], [])
        for line in lines:
            print(f"{path}: {line}", file=sys.stderr)

    @property
    def is_sequence(self) -> bool:
        """Whether frames follow each other, so that people can be followed."""
        return self.video is not None

    @property
    def expected(self) -> int | None:
        """How many frames there are, as far as it is known before."""
        return len(self.paths) if self.video is None else self.video.expected

    def __iter__(self) -> Iterator[SourceFrame]:
        if self.video is not None:
            for frame in self.video.frames():
                output = f"frame_{frame.number:06d}"
                yield SourceFrame(self.name, frame.number, frame.time_s, output, frame.image)
            return
        for number, (path, output) in enumerate(zip(self.paths, output_names(self.paths), strict=True)):
            try:
                image = read_image(path)
            except DiffPoseError as error:
                if self.kind == "image":
                    raise
                print(f"warning: left out: {error}", file=sys.stderr)
                continue
            yield SourceFrame(path.name, number, 0.0, output, image)

    def label(self, frame: SourceFrame) -> str:
        """What the viewer calls a frame."""
        return frame.name if self.video is None else f"{frame.time_s:.2f} s, frame {frame.number}"
