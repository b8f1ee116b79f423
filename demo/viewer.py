"""viewer.html: one self-contained page that shows the poses in 3D and needs no network.

Poses are packed as 16-bit millimetres, base64; the page's own code unpacks and draws them on a canvas.
"""

import base64
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from demo.landmarks import cut_out
from demo.output import Row
from utils.errors import DiffPoseError
from utils.evaluation.consensus import GUESSED_SPREAD_MM
from utils.skeleton import Skeleton

TEMPLATE = Path(__file__).with_name("viewer.html")
_PLACE = "/*DATA*/null"
_THUMBNAIL = 320
# What a page may hold: thinned out evenly beyond it.
MAX_POSES, MAX_FRAMES, MAX_THUMBNAILS = 24_000, 1_500, 120


def packed(poses_mm: np.ndarray) -> str:
    """Poses of any shape, mm, as base64 of little-endian int16."""
    return base64.b64encode(np.clip(np.round(poses_mm), -32767, 32767).astype("<i2").tobytes()).decode()


class ViewerWriter:
    """Collects what the page shows, thinned out so that its size stays bounded however long the video is."""

    def __init__(self, *, skeleton: Skeleton, expected_frames: int, title: str, fps: float | None = None):
        self.skeleton, self.title, self.fps = skeleton, title, fps
        self._every = max(1, -(-expected_frames // MAX_FRAMES))
        self._pictured = max(1, -(-expected_frames // MAX_THUMBNAILS))
        self._per_row = max(8, min(200, MAX_POSES // max(1, -(-expected_frames // self._every))))
        self._frames: list[dict] = []
        self._seen = 0

    def add(self, label: str, image: np.ndarray, rows: Sequence[Row]) -> None:
        """One frame with its people; passed over where the video is too long to show every frame."""
        number, self._seen = self._seen, self._seen + 1
        if number % self._every or len(self._frames) >= MAX_FRAMES:
            return
        people = [self._person(image, row, with_picture=number % self._pictured == 0) for row in rows]
        self._frames.append({"label": label, "people": people})

    def _person(self, image: np.ndarray, row: Row, *, with_picture: bool) -> dict:
        count = min(self._per_row, len(row.hypotheses_mm))
        chosen = np.linspace(0, len(row.hypotheses_mm) - 1, count).astype(int)
        person = {
            "person": row.number,
            "consensus": packed(row.consensus_mm),
            "hypotheses": packed(row.hypotheses_mm[chosen]),
            "members": row.modes.members.numpy()[chosen].tolist(),
            "modes": packed(row.modes.poses_mm.numpy()),
            "weights": [round(weight, 3) for weight in row.modes.weights.tolist()],
            "spread": np.round(row.spread_mm).astype(int).tolist(),
            "guessed": row.guessed.astype(int).tolist(),
        }
        if with_picture:
            crop = cut_out(image, row.person.corner, row.person.side, _THUMBNAIL)
            ok, data = cv2.imencode(".jpg", crop[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 72])
            person["picture"] = "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode() if ok else ""
        return person

    def write(self, path: Path) -> None:
        """Write the page. Raises DiffPoseError when that fails."""
        content = {
            "title": self.title,
            "fps": self.fps,
            "joints": self.skeleton.joints,
            "bones": self.skeleton.bones,
            "right": self.skeleton.right,
            "left": self.skeleton.left,
            "guessed_mm": GUESSED_SPREAD_MM,
            "frames": self._frames,
        }
        # '</' would end the page's script element.
        text = json.dumps(content, separators=(",", ":")).replace("</", "<\\/")
        page = TEMPLATE.read_text(encoding="utf-8").replace(_PLACE, text, 1)
        try:
            path.write_text(page, encoding="utf-8")
        except OSError as error:
            raise DiffPoseError(f"{path}: cannot be written ({error.strerror}): choose another --output") from None
