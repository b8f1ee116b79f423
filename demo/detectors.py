"""The 2D detectors by name: an image -> its people, each with the 16 heatmaps of the crop that lifters know."""

import torch

from demo.crops import Square, square_around
from demo.embedded import EmbeddedDetector
from demo.hrnet import HRNetDetector
from demo.person import Detector
from models import hrnet
from utils.errors import DiffPoseError

DETECTORS = ("auto", "embedded", "hrnet")
CROPS = ("turned", "upright")


def choose_detector(
    name: str, *, device: torch.device | str = "cpu", threads: int = 2, crops: str = CROPS[0]
) -> Detector:
    """``embedded``, ``hrnet``, or ``auto``: hrnet where its fine-tuned weights are, else embedded.

    ``crops``: one of CROPS; see :class:`demo.embedded.EmbeddedDetector`.

    Raises DiffPoseError, with the way out, when the detector can't be used.
    """
    if name not in DETECTORS:
        raise DiffPoseError(f"--detector {name}: it is one of {', '.join(DETECTORS)}")
    if crops not in CROPS:
        raise DiffPoseError(f"crops {crops}: it is one of {', '.join(CROPS)}")
    if name == "auto":
        published = hrnet.WEIGHTS_FOLDER / hrnet.WEIGHT_FILES["h36m"]
        name = "hrnet" if published.is_file() else "embedded"
    if name == "hrnet":
        return HRNetDetector(device=device, threads=threads, crops=crops)
    return EmbeddedDetector(threads=threads, crops=crops)


def given_square(x: float, y: float, width: float, height: float) -> Square:
    """The square of a box that the user gives: its person is looked for inside."""
    return square_around(x, y, width, height)
