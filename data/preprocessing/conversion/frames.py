"""What every source hands to the pipeline: recordings, each with its annotated frames and a stream of images."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from utils.decoders import open_video
from utils.environment import environment_trouble
from utils.errors import DiffPoseError

# A container may count a few frames that no decoder shows.
_FRAMES_TO_SPARE = 4
_RATE_TOLERANCE = 0.02


@dataclass(frozen=True)
class Frames:
    """The rows of a recording before detection.

    Attributes:
        columns: columns of the schema with a leading row axis, except ``argmax_2d``, ``heatmap`` and ``hardsubset``.
        boxes: (N, 4) crops in px.
        images: starts the stream of BGR images (H, W, 3) uint8, one per row; when it ends early, so do the rows.
    """

    columns: dict[str, np.ndarray]
    boxes: np.ndarray
    images: Callable[[], Iterator[np.ndarray]]

    def __len__(self) -> int:
        return len(self.boxes)

    def first(self, count: int | None) -> "Frames":
        """The first ``count`` rows; all for None."""
        if count is None:
            return self
        columns = {name: values[:count] for name, values in self.columns.items()}
        return replace(self, columns=columns, boxes=self.boxes[:count])


@dataclass(frozen=True)
class Recording:
    """One camera's recording of one person and action: it is finished, or still to do, as a whole.

    ``key`` is its unique file name without suffix; ``inputs`` are the files whose sizes say whether it is still the
    same; ``load`` reads the annotations.
    """

    key: str
    split: str
    inputs: tuple[Path, ...]
    load: Callable[[], Frames]


class Source(Protocol):
    """A raw data set."""

    dataset: str
    file_stem: str
    source: str
    units: str
    subjects: tuple[str, ...]

    def recordings(self, folder: Path, subjects: Sequence[str]) -> list[Recording]:
        """The recordings of ``subjects`` in the order of the rows of the file to be made."""
        ...


def require(path: Path, what: str) -> Path:
    """``path`` when it is there, else DiffPoseError."""
    try:
        path.stat()
    except OSError as error:
        trouble = environment_trouble(error)
        if trouble:
            raise DiffPoseError(f"{path}: {what} cannot be looked at ({trouble})") from error
        raise DiffPoseError(
            f"{path}: {what} not found: check --input_dir and the folder layout in docs/preprocessing.md"
        ) from None
    return path


def video_images(path: Path, indices: np.ndarray, *, rate: float | None = None) -> Iterator[np.ndarray]:
    """The frames at increasing ``indices`` of a video, as BGR images, up to the video's end.

    ``rate``: frames per second that the indices are meant for. Raises DiffPoseError for a file that is not a video, for
    one that states another rate, and for one that ends before the length that it declares.
    """
    _check_readable(require(path, "video"))
    video = open_video(path, [cv2.CAP_PROP_N_THREADS, 1])
    try:
        if not video.isOpened():
            raise DiffPoseError(f"{path}: not a readable video (truncated?): download it again")
        stated = video.get(cv2.CAP_PROP_FPS)
        if rate is not None and stated > 0 and abs(stated - rate) > _RATE_TOLERANCE * rate:
            raise DiffPoseError(
                f"{path}: has {stated:.4g} frames per second where the annotations have {rate:g}, so they would be out "
                "of step: take the video as it was published"
            )
        declared = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        wanted = iter(indices)
        index = next(wanted, None)
        position = 0
        while index is not None and video.grab():
            if position == index:
                decoded, image = video.retrieve()
                if not decoded:
                    break
                yield image
                index = next(wanted, None)
            position += 1
        needed = min(declared, int(indices[-1]) + 1) if len(indices) else 0
        if index is not None and (position == 0 or position < needed - _FRAMES_TO_SPARE):
            raise DiffPoseError(f"{path}: only {position} of {declared} frames can be decoded: download it again")
    finally:
        video.release()


def _check_readable(path: Path) -> None:
    """DiffPoseError where the machine fails to read a file: OpenCV would only say that it is no picture."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        trouble = environment_trouble(error) or error.strerror
        raise DiffPoseError(f"{path}: cannot be read ({trouble})") from error


def file_images(paths: Sequence[Path]) -> Iterator[np.ndarray]:
    """The image files as BGR images; DiffPoseError for one that is missing or damaged."""
    for path in paths:
        _check_readable(require(path, "image"))
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise DiffPoseError(f"{path}: not a readable image: download it again")
        yield image
