"""Frames of a video or an animation, one at a time."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from demo.images import num_frames, to_rgb8
from utils.decoders import open_video
from utils.errors import DiffPoseError

# Frames of an animated WebP or AVIF that are decoded at once.
_BLOCK = 32
_MOST_FRAMES = 10**9


class Frame(NamedTuple):
    """``number`` from 0, ``time_s`` as the decoder knows it, ``image`` RGB (H, W, 3) uint8."""

    number: int
    time_s: float
    image: np.ndarray


class Video:
    """Every ``every``-th frame of a video file, decoded one at a time; the others are skipped undecoded where possible.

    Attributes: ``fps``; ``num_frames``: what the file promises, None where it says nothing; ``size``: (width, height).

    Raises DiffPoseError for a file that is no video.
    """

    def __init__(self, path: str | Path, *, every: int = 1):
        self.path, self.every = Path(path), every
        if not self.path.is_file() or not self.path.stat().st_size:
            raise DiffPoseError(f"{self.path}: the file is empty or missing: copy or download it again")
        capture = open_video(self.path)
        self._captured = capture.isOpened() and capture.grab()
        self.fps = capture.get(cv2.CAP_PROP_FPS) or 25.0
        promised = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.num_frames = int(promised) if 0 < promised < _MOST_FRAMES else None
        self.size = (int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
        capture.release()
        if self._captured:
            return
        count = num_frames(self.path)
        if count < 2:
            raise DiffPoseError(f"{self.path}: not a video that can be decoded: convert it to MP4 (H.264)")
        _, block = cv2.imreadanimation(str(self.path), 0, count)
        self.num_frames, self.fps = count, 1000 * count / max(float(np.sum(block.durations)), 1.0)
        self.size = block.frames[0].shape[1::-1]

    @property
    def expected(self) -> int | None:
        """How many frames will be looked at, as far as the file promises it."""
        return None if self.num_frames is None else -(-self.num_frames // self.every)

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        """(frame number from 0, RGB (H, W, 3) uint8)."""
        return ((frame.number, frame.image) for frame in self.frames())

    def frames(self) -> Iterator[Frame]:
        """The frames. A video that ends early says so on stderr and just ends."""
        return self._read_video() if self._captured else self._read_animation()

    def _read_video(self) -> Iterator[Frame]:
        capture = open_video(self.path)
        number, time_s = 0, -1.0
        try:
            while capture.grab():
                # Some containers know no times: then frames follow each other at the rate of the file.
                known = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                time_s = known if known > time_s else max(number / self.fps, time_s + 1 / self.fps)
                if number % self.every == 0:
                    ok, image = capture.retrieve()
                    if not ok:
                        break
                    yield Frame(number, time_s, np.ascontiguousarray(image[..., ::-1]))
                number += 1
        finally:
            capture.release()
        # Containers often round their count up by a frame or two, and some know only how long they last.
        if self.num_frames is not None and number < self.num_frames - 1 and time_s * self.fps < self.num_frames - 3:
            print(f"warning: {self.path}: ends after {number} of {self.num_frames} frames", file=sys.stderr)

    def _read_animation(self) -> Iterator[Frame]:
        time_ms = 0.0
        for start in range(0, self.num_frames, _BLOCK):
            _, block = cv2.imreadanimation(str(self.path), start, min(_BLOCK, self.num_frames - start))
            for k, (image, duration) in enumerate(zip(block.frames, block.durations, strict=True)):
                if (start + k) % self.every == 0:
                    yield Frame(start + k, time_ms / 1000, to_rgb8(image))
                time_ms += float(duration)
