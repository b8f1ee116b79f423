"""The two files: ``positions_3d`` (subject -> action -> (F, 32, 3) m) and ``positions_2d`` (.. -> four cameras' px)."""

import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from utils.errors import DiffPoseError

NUM_RECORDED = 32
# All that arrays and plain containers need: a pickle may name any other function, and it would be run.
_ALLOWED = {
    (module, name)
    for module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric")
    for name in ("ndarray", "dtype", "_reconstruct", "scalar", "_frombuffer")
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no file of poses needs")
        return super().find_class(module, name)


def read_member(path: Path, name: str) -> object:
    """The object in a member of an npz file. Raises DiffPoseError; runs no code that the file names."""
    try:
        with zipfile.ZipFile(path) as archive:
            content = io.BytesIO(archive.read(f"{name}.npy"))
        version = np.lib.format.read_magic(content)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        _, _, dtype = readers[version](content)
        if dtype != np.dtype(object):
            raise DiffPoseError(f"{path}: {name} is an array of {dtype}, not VideoPose3D's subjects and actions")
        return _ArraysOnly(content).load().item()
    except OSError as error:
        raise DiffPoseError(f"{path}: can't be read ({error.strerror or error}): give VideoPose3D's file") from None
    except KeyError:
        raise DiffPoseError(
            f"{path}: holds no {name}: give VideoPose3D's data_3d_h36m.npz and data_2d_h36m_*.npz"
        ) from None
    except (zipfile.BadZipFile, ValueError, EOFError, AttributeError, pickle.UnpicklingError) as error:
        raise DiffPoseError(
            f"{path}: no npz file of poses ({' '.join(str(error).split())}): download it again"
        ) from None


def read_3d(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """Subject -> action -> world positions (F, 32, 3), mm. Raises DiffPoseError."""
    found = _by_subject(path, read_member(path, "positions_3d"))
    return {
        subject: {action: _poses_3d(path, f"{subject}, {action}", poses) for action, poses in actions.items()}
        for subject, actions in found.items()
    }


def _poses_3d(path: Path, what: str, values: object) -> np.ndarray:
    poses = np.asarray(values)
    if poses.dtype.kind != "f" or poses.ndim != 3 or poses.shape[1:] != (NUM_RECORDED, 3) or not len(poses):
        raise DiffPoseError(f"{path}: {what}: {poses.shape} of {poses.dtype}, expected (frames, 32, 3) in metres")
    if not np.isfinite(poses).all():
        raise DiffPoseError(f"{path}: {what}: holds positions that are not finite")
    if np.abs(poses).max() > 50:
        raise DiffPoseError(f"{path}: {what}: positions up to {np.abs(poses).max():.0f}: expected metres")
    return poses.astype(np.float64) * 1000


def read_2d(path: Path, num_cameras: int) -> tuple[str, dict[str, dict[str, list[np.ndarray]]]]:
    """Name of the layout, and subject -> action -> each camera's points (F, 17, 2), px. Raises DiffPoseError."""
    found = _by_subject(path, read_member(path, "positions_2d"))
    about = read_member(path, "metadata")
    name = str(about.get("layout_name", "")) if isinstance(about, Mapping) else ""
    layout = "coco17" if "coco" in name.lower() else "h36m17"
    out: dict[str, dict[str, list[np.ndarray]]] = {}
    for subject, actions in found.items():
        out[subject] = {}
        for action, cameras in actions.items():
            if len(cameras) != num_cameras:
                raise DiffPoseError(f"{path}: {subject}, {action}: {len(cameras)} cameras, expected {num_cameras}")
            points = [np.asarray(one, np.float64) for one in cameras]
            for k, one in enumerate(points):
                if one.ndim != 3 or one.shape[1:] not in ((17, 2), (17, 3)) or not np.isfinite(one).all():
                    raise DiffPoseError(
                        f"{path}: {subject}, {action}, camera {k}: {one.shape}, expected finite px (frames, 17, 2)"
                    )
            out[subject][action] = points
    return layout, out


def _by_subject(path: Path, content: object) -> Mapping[str, Mapping]:
    if not isinstance(content, dict) or not all(isinstance(actions, dict) for actions in content.values()):
        raise DiffPoseError(f"{path}: expected subjects, each with actions, as VideoPose3D's files have")
    return content
