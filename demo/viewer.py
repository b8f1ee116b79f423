"""viewer.html: one self-contained page that shows the poses in 3D and in the picture, and needs no network.

Poses are packed as 16-bit millimetres, hypotheses as 8-bit steps, base64; the page's own code in ``viewer_page/``
unpacks and draws them on canvases.
"""

import base64
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from demo.output import OTHER_OUTPUT, Row
from demo.pictures import CROP_COLOUR, outline, upright_view
from utils.evaluation.consensus import GUESSED_SPREAD_MM, HEATMAP_JOINTS
from utils.files import written_in_one_step
from utils.skeleton import Skeleton

PAGE = Path(__file__).with_name("viewer_page")
_SCRIPTS = ("data.js", "scene.js", "picture.js", "histogram.js", "controls.js")
_STYLE_PLACE, _SCRIPT_PLACE, _DATA_PLACE = "/*STYLE*/", "/*SCRIPT*/", "/*DATA*/null"
# What a page may hold: thinned out evenly beyond it.
MAX_POSES, MAX_FRAMES, MAX_PICTURE_BYTES = 24_000, 1_500, 5_400_000
# Width in px and quality of the square pictures: of a few frames, and of many.
_FEW, _LARGE, _SMALL = 40, (320, 72), (240, 55)
# 2D joints are whole steps of this part of the picture's side.
_GRID = 10_000


def whole_mm(poses_mm: np.ndarray) -> np.ndarray:
    """Poses of any shape, mm, as little-endian int16."""
    return np.clip(np.round(poses_mm), -32767, 32767).astype("<i2")


def packed(poses_mm: np.ndarray) -> str:
    """Poses of any shape, mm, as base64 of little-endian int16."""
    return base64.b64encode(whole_mm(poses_mm).tobytes()).decode()


def packed_near(poses_mm: np.ndarray) -> str:
    """Poses (N, J, 3), mm, of one person as base64, half as long as :func:`packed`.

    For each joint a step (int16, mm, the smallest that reaches), a middle pose (int16), then each coordinate's distance
    from it in steps (int8). A joint that lies within 127 mm of the middle is exact, others are within half a step.
    """
    poses = whole_mm(poses_mm).astype(np.int32)
    middle = (poses.min(0) + poses.max(0)) // 2  # (J, 3)
    apart = poses - middle
    steps = np.maximum(1, -(-np.abs(apart).max(axis=(0, 2)) // 127))  # (J,)
    near = np.round(apart / steps[:, None]).astype(np.int8)
    content = steps.astype("<i2").tobytes() + middle.astype("<i2").tobytes() + near.tobytes()
    return base64.b64encode(content).decode()


def page_text() -> str:
    """The page with its style and scripts, and a place for the data."""
    text, style, *scripts = (
        (PAGE / name).read_text(encoding="utf-8") for name in ("page.html", "style.css", *_SCRIPTS)
    )
    return text.replace(_STYLE_PLACE, style, 1).replace(_SCRIPT_PLACE, "\n".join(scripts), 1)


class ViewerWriter:
    """Collects what the page shows, thinned out so that its size stays bounded however long the video is."""

    def __init__(self, *, skeleton: Skeleton, expected_frames: int | None, title: str, fps: float | None = None):
        self.skeleton, self.title, self.fps = skeleton, title, fps
        # Of a video of unknown length every frame is taken, until there are too many.
        expected = expected_frames or 1
        self._every = self._pictured = max(1, -(-expected // MAX_FRAMES))
        self._per_row = max(8, min(200, MAX_POSES // max(1, -(-expected // self._every))))
        few = expected_frames is not None and expected_frames <= _FEW
        self._size, self._quality = _LARGE if few else _SMALL
        self._frames: list[dict] = []
        self._keys: list[tuple[tuple[int, int], dict]] = []
        self._seen = self._drawn = self._picture_bytes = 0

    def add(
        self,
        label: str,
        image: np.ndarray,
        rows: Sequence[Row],
        *,
        time_s: float | None = None,
        number: int | None = None,
    ) -> None:
        """One frame with its people; passed over where the video is too long to show every frame.

        ``number``: what links to it say, the frame's in poses.json; None counts the calls from 0.
        """
        seen, self._seen = self._seen, self._seen + 1
        if seen % self._every:
            return
        people = [self._person(image, row, with_picture=seen % self._pictured == 0) for row in rows]
        self._keys += [((row.frame, row.number), person) for row, person in zip(rows, people, strict=True)]
        number = seen if number is None else number
        self._frames.append({"label": label, "number": number, "time": time_s, "people": people})
        if len(self._frames) > MAX_FRAMES:
            self._thin_out()
        while self._picture_bytes > MAX_PICTURE_BYTES and self._pictured < self._seen:
            self._pictured *= 2
            self._drop_pictures()

    def _thin_out(self) -> None:
        """Keep every second frame, and as many hypotheses as fit."""
        self._every *= 2
        self._frames = self._frames[::2]
        self._per_row = max(8, min(self._per_row, MAX_POSES // MAX_FRAMES))
        self._pictured = max(self._pictured, self._every)
        for frame in self._frames:
            for person in frame["people"]:
                person["hypotheses"] = person["hypotheses"][: self._per_row]
                person["members"] = person["members"][: self._per_row]
        self._drop_pictures()

    def _drop_pictures(self) -> None:
        """Leave every ``_pictured``-th frame its pictures."""
        self._picture_bytes = 0
        for k, frame in enumerate(self._frames):
            for person in frame["people"]:
                if k * self._every % self._pictured:
                    person.pop("picture", None)
                self._picture_bytes += len(person.get("picture", b""))

    def set_smooth(self, poses_mm: dict[tuple[int, int], np.ndarray]) -> None:
        """Show these in place of the consensus: (frame, person) -> pose (J, 3)."""
        for key, person in self._keys:
            person["consensus"] = packed(poses_mm[key])

    def _person(self, image: np.ndarray, row: Row, *, with_picture: bool) -> dict:
        chosen = _evenly(len(row.hypotheses_mm), self._per_row)
        self._drawn = max(self._drawn, len(row.hypotheses_mm))
        joints = row.person.square.upright().to_shares(row.person.joints_px) * _GRID
        person = {
            "person": row.number,
            "consensus": packed(row.consensus_mm),
            "hypotheses": whole_mm(row.hypotheses_mm[chosen]),
            "members": row.modes.members.numpy()[chosen],
            "modes": packed(row.modes.poses_mm.numpy()),
            "weights": [round(weight, 3) for weight in row.modes.weights.tolist()],
            "spread": np.round(row.spread_mm).astype(int).tolist(),
            "guessed": row.guessed.astype(int).tolist(),
            "joints": [np.round(joint).astype(int).tolist() if np.isfinite(joint).all() else None for joint in joints],
        }
        if with_picture:
            person["picture"] = self._picture(image, row)
            self._picture_bytes += len(person["picture"])
        return person

    def _picture(self, image: np.ndarray, row: Row) -> bytes:
        """JPEG of the picture around the person; empty where that fails."""
        crop, corners = upright_view(image, row.person, self._size)
        if row.person.angle:
            outline(crop, corners, CROP_COLOUR, 1)
        ok, data = cv2.imencode(".jpg", crop[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, self._quality])
        return data.tobytes() if ok else b""

    def _finished(self, person: dict, most: int) -> dict:
        """What the page reads of a person, with ``most`` hypotheses."""
        chosen = _evenly(len(person["hypotheses"]), most)
        ready = person | {
            "hypotheses": packed_near(person["hypotheses"][chosen]),
            "members": person["members"][chosen].tolist(),
        }
        if "picture" in person:
            ready["picture"] = "data:image/jpeg;base64," + base64.b64encode(person["picture"]).decode()
        return ready

    def write(self, path: Path) -> None:
        """Write the page. Raises DiffPoseError when that fails."""
        most = max(8, MAX_POSES // max(1, sum(len(frame["people"]) for frame in self._frames)))
        seen_as = HEATMAP_JOINTS.get(self.skeleton.num_joints)
        content = {
            "title": self.title,
            "fps": self.fps,
            "joints": self.skeleton.joints,
            "bones": self.skeleton.bones,
            "right": self.skeleton.right,
            "left": self.skeleton.left,
            "guessed_mm": GUESSED_SPREAD_MM,
            "seen_as": seen_as,
            "grid": _GRID,
            "drawn": self._drawn,
            "frames": [
                frame | {"people": [self._finished(person, most) for person in frame["people"]]}
                for frame in self._frames
            ],
        }
        # '</' would end the page's script element.
        text = json.dumps(content, separators=(",", ":")).replace("</", "<\\/")
        page = page_text().replace(_DATA_PLACE, text, 1)
        with written_in_one_step(path, way_out=OTHER_OUTPUT) as partial:
            partial.write_text(page, encoding="utf-8")


def _evenly(count: int, most: int) -> np.ndarray:
    """Which of ``count`` to keep so that no more than ``most`` are left."""
    return np.linspace(0, count - 1, min(count, most)).astype(int)
