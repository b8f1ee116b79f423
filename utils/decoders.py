"""OpenCV's decoders: quiet, and opened by what is in a file, whatever its name looks like."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2

# Decoders would print their own complaints on stderr; the user gets our one line instead.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # read when the first video is opened
if "OPENCV_LOG_LEVEL" not in os.environ:
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def open_video(path: str | Path, options: Sequence[int] = ()) -> cv2.VideoCapture:
    """A capture of one video file, which the caller releases; it may have failed to open.

    FFmpeg takes ``a%d.png`` for a row of pictures a1.png, a2.png .. and ``12:30.mp4`` for an address of the protocol
    "12". So the path is absolute, and one with ``%`` anywhere is opened through a link.
    """
    path = Path(path).absolute()
    if "%" not in str(path):
        return cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, list(options))
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / f"video{path.suffix.replace('%', '')}"
        link.symlink_to(path)
        return cv2.VideoCapture(str(link), cv2.CAP_FFMPEG, list(options))


def is_video(path: str | Path) -> bool:
    """Whether a video decoder finds a frame in a file."""
    capture = open_video(path)
    try:
        return capture.isOpened() and capture.grab()
    finally:
        capture.release()
