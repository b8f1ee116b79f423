"""Frames of a video, one at a time."""

import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from utils.errors import DiffPoseError


class Video:
    """Every ``every``-th frame of a video file, decoded one at a time; the others are skipped undecoded where possible.

    Attributes: ``fps``; ``num_frames``: what the file promises (0: it says nothing); ``size``: (width, height).

    Raises DiffPoseError for a file that is no video.
    """

    def __init__(self, path: str | Path, *, every: int = 1):
        self.path, self.every = Path(path), every
        if not self.path.is_file() or not self.path.stat().st_size:
            raise DiffPoseError(f"{self.path}: the file is empty or missing: copy or download it again")
        capture = cv2.VideoCapture(str(self.path))
        ok = capture.isOpened() and capture.grab()
        self.fps = capture.get(cv2.CAP_PROP_FPS) or 25.0
        self.num_frames = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        self.size = (int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
        capture.release()
        if not ok:
            raise DiffPoseError(f"{self.path}: not a video that can be decoded: convert it to MP4 (H.264)")

    def __len__(self) -> int:
        return -(-self.num_frames // self.every)

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        """(frame number from 0, RGB (H, W, 3) uint8). A video that ends early says so on stderr and just ends."""
        capture = cv2.VideoCapture(str(self.path))
        number = 0
        try:
            while capture.grab():
                if number % self.every == 0:
                    ok, image = capture.retrieve()
                    if not ok:
                        break
                    yield number, np.ascontiguousarray(image[..., ::-1])
                number += 1
        finally:
            capture.release()
        # Containers often round their count up by a frame.
        if number < self.num_frames - 1:
            print(f"warning: {self.path}: ends after {number} of {self.num_frames} frames", file=sys.stderr)
