"""BlazePose's two networks (Bazarevsky et al. 2020), run by LiteRT: one finds people, one finds 33 body points.

Images are RGB (H, W, 3) uint8; positions are (x, y) in px of the image, x right, y down.
"""

import contextlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

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
_REGION = 1.25
_MID_HIP, _BODY_EDGE = 0, 1


@dataclass(frozen=True)
class Landmarks:
    """What the landmark network says of one square region.

    Attributes:
        points: (33, 2) px of the image.
        visibility: (33,) 0..1.
        presence: 0..1, how sure it is that a person is there.
        maps: (33, 64, 64) 0..1, a map of each point over the region; cell (c, r) lies c/64 of its side from its left.
        world_mm: (33, 3) its own guess in 3D: x right, y up, z towards the camera, about the mid-hip.
    """

    points: np.ndarray
    visibility: np.ndarray
    presence: float
    maps: np.ndarray
    world_mm: np.ndarray


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


def cut_out(image: np.ndarray, corner: np.ndarray, side: float, size: int) -> np.ndarray:
    """The square at ``corner`` (x, y) px with ``side`` px of an image, as (size, size, 3) uint8; black outside.

    Pixel i shows the i/size-th of the square. Shrinking averages over the pixels that a new one covers.
    """
    left, top = (int(value) for value in np.floor(corner))
    right, bottom = (int(value) for value in np.ceil(corner + side))
    part = image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    offset = np.array([max(left, 0), max(top, 0)], dtype=np.float64)
    if not part.size:
        return np.zeros((size, size, 3), np.uint8)
    shrink = int(side // size)
    if shrink > 1:  # whole pixels first, so that the bilinear step below sees them all
        small = cv2.resize(
            part, (-(-part.shape[1] // shrink), -(-part.shape[0] // shrink)), interpolation=cv2.INTER_AREA
        )
    else:
        small, shrink = part, 1
    ratio = np.array([small.shape[1] / part.shape[1], small.shape[0] / part.shape[0]])
    scale = size / side / ratio
    # Pixel middles: (u + 0.5) / size of the side lies at corner + .. = offset + (v + 0.5) / ratio.
    shift = (offset - corner) * size / side + 0.5 * scale - 0.5
    matrix = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
    return cv2.warpAffine(small, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


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

    def regions(self, image: np.ndarray) -> list[tuple[np.ndarray, float]]:
        """Corner (2,) and side, px, of a square around each person that is found, the surest first.

        Where nobody is found in the whole picture, its parts are searched for smaller people.
        """
        height, width = image.shape[:2]
        side = max(height, width)
        found = self._search(image, np.array([(width - side) / 2, (height - side) / 2]), side)
        if not found:
            part = max(min(height, width) / 2, 1)
            lefts, tops = (np.linspace(0, full - part, max(1, round(full / part * 1.5))) for full in (width, height))
            for left, top in itertools.product(lefts, tops):
                found += self._search(image, np.array([left, top]), part)
        return found

    def _search(self, image: np.ndarray, corner: np.ndarray, side: float) -> list[tuple[np.ndarray, float]]:
        """People in one square of an image."""
        boxes, scores = self._finder(cut_out(image, corner, side, FINDER_SIZE) / np.float32(127.5) - 1)
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
            keys = np.average(points[same, 2:], axis=0, weights=weights[same]) * side + corner
            reach = 2 * np.linalg.norm(keys[_BODY_EDGE] - keys[_MID_HIP]) * _REGION
            found.append((keys[_MID_HIP] - reach / 2, float(reach)))
        return found

    def landmarks(self, image: np.ndarray, corner: np.ndarray, side: float) -> Landmarks:
        """Body points of the person in the square at ``corner`` (2,) with ``side``, px."""
        crop = cut_out(image, np.asarray(corner, np.float64), side, NETWORK_SIZE)
        points, presence, _, maps, world = self._network(crop / np.float32(255))
        points = points.reshape(39, 5)[:33]
        return Landmarks(
            points=corner + points[:, :2] / NETWORK_SIZE * side,
            visibility=sigmoid(points[:, 3]),
            presence=float(presence[0]),
            maps=sigmoid(maps[..., :33].transpose(2, 0, 1)).astype(np.float32),
            world_mm=1000 * world.reshape(39, 3)[:33] * np.array([1.0, -1.0, -1.0]),
        )
