"""Small raw data sets in the true on-disk formats, and weights for the detector, for tests of preprocessing."""

import io
import os
import pickle
from pathlib import Path

import cdflib
import cv2
import h5py
import numpy as np
import torch
from cdflib.cdfwrite import CDF

from data.preprocessing.h36m.source import JOINTS
from models.hrnet import HRNet
from tests.support.helpers import deterministic_weights

IMAGE_SHAPE = (96, 120)
CAMERA = "54138969"


def save_weights(path: Path, *, under_net: bool = False) -> Path:
    """HRNet weights with positive heatmaps, as a plain state dict or under ``net``."""
    state = deterministic_weights(HRNet()).state_dict()
    state["final_layer.weight"] *= 1e-3
    state["final_layer.bias"] += 2.0
    torch.save({"net": state, "epoch": 3} if under_net else state, path)
    return path


def write_cdf(path: Path, values: np.ndarray) -> None:
    """Human3.6M's layout: one record, variable 0 of shape (1, frames, 64 or 96)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    spec = {"Variable": "Pose", "Data_Type": 44, "Num_Elements": 1, "Rec_Vary": True, "Dim_Sizes": list(values.shape)}
    with CDF(str(path), cdf_spec={"Majority": "row_major"}) as file:
        file.write_var(spec, var_data=values[None].astype(np.float32))
    assert cdflib.CDF(str(path)).varget(0).shape == (1, *values.shape)


def picture(number: int) -> np.ndarray:
    """An image whose content tells its number apart from its neighbours'."""
    image = np.full((*IMAGE_SHAPE, 3), 40, np.uint8)
    cv2.circle(image, (20 + 7 * number % 80, 20 + 5 * number % 60), 12, (40, 120, 250), -1)
    cv2.putText(image, str(number), (30, 70), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (255, 255, 255), 2)
    return image


def write_video(path: Path, num_frames: int, *, rate: float = 50) -> None:
    """An MP4 made with OpenCV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), rate, IMAGE_SHAPE[::-1])
    assert video.isOpened()
    for number in range(num_frames):
        video.write(picture(number))
    video.release()


def joints_2d(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Random positions (*shape, 2) inside the image, and a little outside."""
    return rng.uniform(-8, 1, (*shape, 2)) + rng.uniform(0, 1, (*shape, 2)) * IMAGE_SHAPE[::-1]


def add_h36m(folder: Path, subject: str, stem: str, *, frames: int = 9, video_frames: int | None = None) -> dict:
    """One recording of a subject as h36m-fetch extracts it; the annotations that were written."""
    rng = np.random.default_rng([len(subject), *stem.encode(), *subject.encode()])
    poses_2d = joints_2d(rng, frames, 32).astype(np.float32)
    poses_3d = rng.uniform(-900, 4000, (frames, 32, 3)).astype(np.float32)
    write_cdf(folder / subject / "Poses_D2_Positions" / f"{stem}.cdf", poses_2d.reshape(frames, 64))
    for name in ("Poses_D3_Positions_mono", "Poses_D3_Positions_mono_universal"):
        values = poses_3d if name.endswith("mono") else 1.1 * poses_3d
        write_cdf(folder / subject / name / f"{stem}.cdf", values.reshape(frames, 96))
    write_video(folder / subject / "Videos" / f"{stem}.mp4", frames if video_frames is None else video_frames)
    return {"2d": poses_2d, "3d": poses_3d, "joints_2d": poses_2d[:, JOINTS], "joints_3d": poses_3d[:, JOINTS]}


def touch_h36m(folder: Path, subject: str, *stems: str) -> None:
    """Empty files under a recording's names: enough for listing them."""
    for stem in stems:
        for part in ("Poses_D2_Positions", "Poses_D3_Positions_mono"):
            path = folder / subject / part / f"{stem}.cdf"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        path = folder / subject / "Videos" / f"{stem}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def add_3dhp(folder: Path, name: str, *, valid: list[int], images: int | None = None) -> dict[str, np.ndarray]:
    """A test sequence of MPI-INF-3DHP; the annotations that were written."""
    rng = np.random.default_rng([*name.encode()])
    count = len(valid)
    arrays = {
        "annot2": joints_2d(rng, count, 1, 17),
        "annot3": rng.uniform(-900, 4000, (count, 1, 17, 3)),
        "univ_annot3": rng.uniform(-900, 4000, (count, 1, 17, 3)),
        "valid_frame": np.array(valid, dtype=np.float64)[:, None],
    }
    pictures = folder / name / "imageSequence"
    pictures.mkdir(parents=True, exist_ok=True)
    for number in range(count if images is None else images):
        cv2.imwrite(str(pictures / f"img_{number + 1:06d}.jpg"), picture(number))
    with h5py.File(folder / name / "annot_data.mat", "w", userblock_size=512) as file:
        for key, values in arrays.items():
            file.create_dataset(key, data=values).attrs["MATLAB_class"] = np.bytes_("double")
    with (folder / name / "annot_data.mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return arrays


class _Latin1Pickler(pickle._Pickler):
    """Writes arrays as Python 2 did: text for bytes, and numpy's old module paths."""

    def save_bytes(self, value: bytes) -> None:
        self.write(pickle.BINSTRING + len(value).to_bytes(4, "little") + value)
        self.memoize(value)

    def save_global(self, value: object, name: str | None = None) -> None:
        module = {"numpy._core.multiarray": "numpy.core.multiarray"}.get(value.__module__, value.__module__)
        self.write(pickle.GLOBAL + f"{module}\n{value.__name__}\n".encode())
        self.memoize(value)

    dispatch = pickle._Pickler.dispatch | {bytes: save_bytes}


def latin1_pickle(content: object) -> bytes:
    """A pickle like those of Python 2, protocol 2."""
    buffer = io.BytesIO()
    _Latin1Pickler(buffer, protocol=2).dump(content)
    return buffer.getvalue()


def add_3dpw(folder: Path, split: str, name: str, *, seen: list[list[int]]) -> dict[str, list[np.ndarray]]:
    """A sequence of 3DPW with one person for each list in ``seen``, which says in which frames it is seen at all."""
    rng = np.random.default_rng([*name.encode()])
    count = len(seen[0])
    poses_2d = []
    for flags in seen:
        confidence = rng.uniform(0.2, 1, (count, 18)) * (rng.uniform(0, 1, (count, 18)) > 0.3)
        confidence[:, :4] = 0.9
        confidence *= np.array(flags)[:, None]
        places = joints_2d(rng, count, 18) * (confidence > 0)[..., None]
        poses_2d.append(np.concatenate([places, confidence[..., None]], axis=2).transpose(0, 2, 1))
    content = {
        "poses2d": poses_2d,
        "jointPositions": [rng.uniform(-1, 1, (count, 72)) for _ in seen],
        "sequence": name,
        "genders": ["m"] * len(seen),
        "img_frame_ids": np.arange(count),
        "texture": {"scale": np.float64(1.5)},
    }
    annotations = folder / "sequenceFiles" / split
    annotations.mkdir(parents=True, exist_ok=True)
    (annotations / f"{name}.pkl").write_bytes(latin1_pickle(content))
    pictures = folder / "imageFiles" / name
    pictures.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        cv2.imwrite(str(pictures / f"image_{number:05d}.jpg"), picture(number))
    return content


def script_environment() -> dict[str, str]:
    """For scripts run by tests: the repository importable, one thread."""
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
