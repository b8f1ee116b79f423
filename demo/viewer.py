"""viewer.html: one self-contained page that shows the poses in 3D and needs no network.

Poses are packed as 16-bit millimetres, base64; the page's own code unpacks and draws them on a canvas.
"""

import base64
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from demo.output import OTHER_OUTPUT, Row
from demo.pictures import CROP_COLOUR, outline, upright_view
from utils.evaluation.consensus import GUESSED_SPREAD_MM
from utils.files import written_in_one_step
from utils.skeleton import Skeleton

TEMPLATE = Path(__file__).with_name("viewer.html")
_PLACE = "/*DATA*/null"
_THUMBNAIL = 320
# What a page may hold: thinned out evenly beyond it.
MAX_POSES, MAX_FRAMES, MAX_THUMBNAILS = 24_000, 1_500, 120


def whole_mm(poses_mm: np.ndarray) -> np.ndarray:
    """Poses of any shape, mm, as little-endian int16."""
    return np.clip(np.round(poses_mm), -32767, 32767).astype("<i2")


def packed(poses_mm: np.ndarray) -> str:
    """Poses of any shape, mm, as base64 of little-endian int16."""
    return base64.b64encode(whole_mm(poses_mm).tobytes()).decode()


class ViewerWriter:
    """Collects what the page shows, thinned out so that its size stays bounded however long the video is."""

    def __init__(self, *, skeleton: Skeleton, expected_frames: int | None, title: str, fps: float | None = None):
        self.skeleton, self.title, self.fps = skeleton, title, fps
        # Of a video of unknown length every frame is taken, until there are too many.
        expected = expected_frames or 1
        self._every = max(1, -(-expected // MAX_FRAMES))
        self._pictured = max(1, -(-expected // MAX_THUMBNAILS))
        self._per_row = max(8, min(200, MAX_POSES // max(1, -(-expected // self._every))))
        self._frames: list[dict] = []
        self._keys: list[tuple[tuple[int, int], dict]] = []
        self._seen = 0

    def add(self, label: str, image: np.ndarray, rows: Sequence[Row], *, time_s: float | None = None) -> None:
        """One frame with its people; passed over where the video is too long to show every frame."""
        number, self._seen = self._seen, self._seen + 1
        if number % self._every:
            return
        people = [self._person(image, row, with_picture=number % self._pictured == 0) for row in rows]
        self._keys += [((row.frame, row.number), person) for row, person in zip(rows, people, strict=True)]
        self._frames.append({"label": label, "time": time_s, "people": people})
        if len(self._frames) > MAX_FRAMES:
            self._thin_out()

    def _thin_out(self) -> None:
        """Keep every second frame, as many hypotheses as fit, and not too many pictures."""
        self._every *= 2
        self._frames = self._frames[::2]
        self._per_row = max(8, min(self._per_row, MAX_POSES // MAX_FRAMES))
        self._pictured = max(self._pictured, self._every * -(-MAX_FRAMES // MAX_THUMBNAILS))
        for k, frame in enumerate(self._frames):
            for person in frame["people"]:
                person["hypotheses"] = person["hypotheses"][: self._per_row]
                person["members"] = person["members"][: self._per_row]
                if k * self._every % self._pictured:
                    person.pop("picture", None)

    def set_smooth(self, poses_mm: dict[tuple[int, int], np.ndarray]) -> None:
        """Show these in place of the consensus: (frame, person) -> pose (J, 3)."""
        for key, person in self._keys:
            person["consensus"] = packed(poses_mm[key])

    def _person(self, image: np.ndarray, row: Row, *, with_picture: bool) -> dict:
        count = min(self._per_row, len(row.hypotheses_mm))
        chosen = np.linspace(0, len(row.hypotheses_mm) - 1, count).astype(int)
        person = {
            "person": row.number,
            "consensus": packed(row.consensus_mm),
            "hypotheses": whole_mm(row.hypotheses_mm[chosen]),
            "members": row.modes.members.numpy()[chosen].tolist(),
            "modes": packed(row.modes.poses_mm.numpy()),
            "weights": [round(weight, 3) for weight in row.modes.weights.tolist()],
            "spread": np.round(row.spread_mm).astype(int).tolist(),
            "guessed": row.guessed.astype(int).tolist(),
        }
        if with_picture:
            crop, corners = upright_view(image, row.person, _THUMBNAIL)
            if row.person.angle:
                outline(crop, corners, CROP_COLOUR, 1)
            ok, data = cv2.imencode(".jpg", crop[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 72])
            person["picture"] = "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode() if ok else ""
        return person

    def write(self, path: Path) -> None:
        """Write the page. Raises DiffPoseError when that fails."""
        for frame in self._frames:
            for person in frame["people"]:
                person["hypotheses"] = packed(person["hypotheses"])
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
        with written_in_one_step(path, way_out=OTHER_OUTPUT) as partial:
            partial.write_text(page, encoding="utf-8")
