"""BlazePose's two networks (Bazarevsky et al. 2020), run by LiteRT: one finds people, one finds 33 body points.

Images are RGB (H, W, 3) uint8; positions are (x, y) in px of the image, x right, y down.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demo.crops import Square, cut_out, direction, turn_poses
from demo.fetch import LANDMARK_NETWORK, PERSON_FINDER, fetch
from utils.errors import DiffPoseError

FINDER_SIZE = 224
NETWORK_SIZE = 256
MIN_SCORE = 0.5
MIN_PRESENCE = 0.5
_MAX_OVERLAP = 0.3
# Cells of the finder's three grids, and boxes per cell: strides 8 and 16 with two, stride 32 with six (three layers).
_GRIDS = ((28, 2), (14, 2), (7, 6))
# The region that the landmark network was trained on: this times twice the distance from mid-hip to the body's edge.
REGION_MARGIN = 1.25
_MID_HIP, _BODY_EDGE = 0, 1


@dataclass(frozen=True)
class Landmarks:
    """What the landmark network says of one square region.

    Attributes:
        points: (33, 2) px of the image.
        visibility: (33,) 0..1.
        presence: 0..1, how sure it is that a person is there.
        maps: (33, 64, 64) 0..1, a map of each point over the region; cell (c, r) lies c/64 of its side from its left.
        world_mm: (33, 3) its own guess in 3D: x right in the picture, y up, z towards the camera, about the mid-hip.
        square: the region.
    """

    points: np.ndarray
    visibility: np.ndarray
    presence: float
    maps: np.ndarray
    world_mm: np.ndarray
    square: Square


class Network:
    """A TensorFlow Lite file: image -> list of outputs, each without its batch axis."""

    def __init__(self, path: Path, *, threads: int):
        with _quiet():
            try:
                from ai_edge_litert.interpreter import Interpreter
            except ImportError:
                raise DiffPoseError(
                    "the embedded detector needs ai-edge-litert: pip install -r requirements.txt, or --detector hrnet"
                ) from None
            self._interpreter = Interpreter(str(path), num_threads=threads)
            self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = [output["index"] for output in self._interpreter.get_output_details()]

    def __call__(self, image: np.ndarray) -> list[np.ndarray]:
        self._interpreter.set_tensor(self._input, image[None].astype(np.float32, copy=False))
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index)[0] for index in self._outputs]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """LiteRT's C++ code greets on stderr; errors come as exceptions all the same."""
    saved, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(values, -60.0, 60.0)))


def anchors() -> np.ndarray:
    """(2254, 2) middles of the finder's boxes, in shares of its square input."""
    parts = []
    for cells, boxes in _GRIDS:
        middle = (np.arange(cells) + 0.5) / cells
        grid = np.stack(np.meshgrid(middle, middle), axis=-1).reshape(-1, 2)
        parts.append(np.repeat(grid, boxes, axis=0))
    return np.concatenate(parts)


def _overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of a box (4,) and others (N, 4): left, top, right, bottom."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = np.clip(high - low, 0, None).prod(axis=-1)
    area = np.clip(box[2:] - box[:2], 0, None).prod() + np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=-1)
    return common / np.maximum(area - common, 1e-9)


class BlazePose:
    """Finds people and their body points."""

    def __init__(self, *, threads: int = 2):
        finder, landmarks = fetch(PERSON_FINDER, LANDMARK_NETWORK)
        self._finder, self._network = Network(finder, threads=threads), Network(landmarks, threads=threads)
        self._anchors = anchors()

    def regions(self, image: np.ndarray, view: Square) -> list[Square]:
        """The region of each person that is found in a part of the picture, turned as they stand, the surest first."""
        boxes, scores = self._finder(cut_out(image, view, FINDER_SIZE) / np.float32(127.5) - 1)
        scores = sigmoid(scores[:, 0])
        sure = np.flatnonzero(scores >= MIN_SCORE)
        sure = sure[np.argsort(-scores[sure], kind="stable")]
        points = boxes[sure].reshape(-1, 6, 2) / FINDER_SIZE  # middle, size, then four key points
        points[:, [0, 2, 3, 4, 5]] += self._anchors[sure][:, None]
        weights = scores[sure]
        edges = np.concatenate([points[:, 0] - points[:, 1] / 2, points[:, 0] + points[:, 1] / 2], axis=-1)
        found, left = [], np.ones(len(sure), bool)
        for k in range(len(sure)):
            if not left[k]:
                continue
            same = left & (_overlap(edges[k], edges) > _MAX_OVERLAP)
            same[k] = True
            left &= ~same
            keys = view.to_px(np.average(points[same, 2:], axis=0, weights=weights[same]))
            up = keys[_BODY_EDGE] - keys[_MID_HIP]
            reach = 2 * float(np.linalg.norm(up)) * REGION_MARGIN
            found.append(Square.around(keys[_MID_HIP], reach, direction(up)))
        return found

    def landmarks(self, image: np.ndarray, square: Square) -> Landmarks:
        """Body points of the person in a square, who is expected to be upright inside it."""
        crop = cut_out(image, square, NETWORK_SIZE)
        points, presence, _, maps, world = self._network(crop / np.float32(255))
        points = points.reshape(39, 5)[:33]
        world_mm = 1000 * world.reshape(39, 3)[:33] * np.array([1.0, -1.0, -1.0])
        return Landmarks(
            points=square.to_px(points[:, :2] / NETWORK_SIZE),
            visibility=sigmoid(points[:, 3]),
            presence=float(presence[0]),
            maps=sigmoid(maps[..., :33].transpose(2, 0, 1)).astype(np.float32),
            world_mm=turn_poses(world_mm, square.angle),
            square=square,
        )
