"""What the modules here ask of a 2D detector: the script hands it in, since data and models never import each other."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np


class HeatmapDetector(Protocol):
    """A detector that is ready to run."""

    def stream(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Batches of images (B, 255, 255, 3), RGB float32 in 0..255 -> their heatmaps (B, 16, 64, 64) float16."""
        ...


class DetectorPackage(Protocol):
    """What :mod:`models.hrnet` offers; a script passes the package itself.

    ``WEIGHT_FILES``: kind of weights ("h36m", "orig") -> published file name. ``PRECISIONS``: names of what the network
    can compute in.
    """

    @property
    def WEIGHT_FILES(self) -> Mapping[str, str]: ...  # noqa: N802 - a constant of a module

    @property
    def PRECISIONS(self) -> Mapping[str, Any]: ...  # noqa: N802

    def weights_path(self, kind: str, path: Path | None) -> Path:
        """The file to use: ``path``, else the published one of ``kind``."""
        ...

    def load_hrnet(self, path: Path) -> Any:
        """The network with the weights of a file. Raises DiffPoseError for an unusable one."""
        ...

    def Detector(self, model: Any, *, device: Any, precision: str) -> HeatmapDetector:  # noqa: N802 - a class
        """The network made ready for a device and a precision."""
        ...
