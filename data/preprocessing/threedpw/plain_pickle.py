"""Reading pickles of strangers: numpy arrays and plain containers, and nothing that runs."""

import pickle
from pathlib import Path

import numpy as np

from utils.environment import environment_trouble
from utils.errors import DiffPoseError

try:
    from numpy._core import multiarray, numeric
except ImportError:  # numpy 1
    from numpy.core import multiarray, numeric  # type: ignore[no-redef]


def _encode(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes into old pickles."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"an encoding '{encoding}'")
    return text.encode("latin1")


_ADMITTED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
}
# Module paths of numpy 1 and 2.
for _package in ("numpy.core", "numpy._core"):
    _ADMITTED[f"{_package}.multiarray", "_reconstruct"] = multiarray._reconstruct
    _ADMITTED[f"{_package}.multiarray", "scalar"] = multiarray.scalar
    _ADMITTED[f"{_package}.numeric", "_frombuffer"] = numeric._frombuffer  # type: ignore[attr-defined]


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which only code would need") from None

    def persistent_load(self, pid: object) -> object:
        raise pickle.UnpicklingError("it refers to objects outside the file")


def load_plain_pickle(path: Path) -> object:
    """The content of a pickle of Python 2 (latin1) or 3 that holds numpy arrays, containers, text and numbers only.

    Raises DiffPoseError for anything else, before any of it is run, and for a damaged or missing file.
    """
    try:
        with path.open("rb") as file:
            return _PlainUnpickler(file, encoding="latin1").load()
    except Exception as error:  # damaged pickles raise nearly anything
        trouble = environment_trouble(error)
        if trouble:
            raise DiffPoseError(f"{path}: cannot be read ({trouble})") from error
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DiffPoseError(f"{path}: not a readable pickle of arrays ({reason}): download it again") from error
