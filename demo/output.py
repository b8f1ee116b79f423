"""Results as files: poses.npz (all hypotheses, as arrays) and poses.json (all but the hypotheses); see docs/demo.md."""

import contextlib
import json
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from demo.estimator import Poses
from demo.person import Person
from utils.errors import DiffPoseError
from utils.evaluation.consensus import Modes
from utils.files import renamed_when_whole
from utils.skeleton import MPII_JOINTS

SCHEMA, SCHEMA_VERSION = "diffpose-poses", 1
MAX_MODES = 5
UNITS = (
    "mm, root-centred; x right in the picture, y up, z towards the camera; 2D in px of the picture from its upper left"
)
OTHER_OUTPUT = "free some space, or choose another folder with --output"
SCALE_NOTE = "size of an average body: a single image does not tell it; give --height_cm to set it"


def prepare_folder(folder: str | Path) -> Path:
    """Make the output folder. Raises DiffPoseError when nothing can be written there."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DiffPoseError(
            f"{folder}: cannot be written ({error.strerror}): choose another folder with --output"
        ) from None
    return folder


@dataclass(frozen=True)
class Row:
    """One person in one frame; arrays of a single pose, otherwise as in :class:`demo.estimator.Poses`."""

    source: str
    frame: int
    number: int
    person: Person
    hypotheses_mm: np.ndarray
    consensus_mm: np.ndarray
    spread_mm: np.ndarray
    guessed: np.ndarray
    modes: Modes


def rows_of(source: str, frame: int, numbers: list[int], persons: list[Person], poses: Poses) -> list[Row]:
    """The rows of one frame, one for each person."""
    return [
        Row(
            source,
            frame,
            numbers[i],
            persons[i],
            poses.hypotheses_mm[i],
            poses.consensus_mm[i],
            poses.spread_mm[i],
            poses.guessed[i],
            poses.modes[i],
        )
        for i in range(len(persons))
    ]


class ResultWriter:
    """Collects rows and writes poses.npz and poses.json on a clean exit.

    Hypotheses go to a temporary file in the output folder at once, so memory does not grow with H.
    """

    def __init__(self, folder: Path, *, joints: tuple[str, ...], bones: tuple[tuple[int, int], ...], about: dict):
        self.folder, self.about, self.joints, self.bones = folder, about, joints, bones
        self._hypotheses = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._shape: tuple[int, ...] = ()
        self._columns: dict[str, list] = {}
        self._frames: list[dict] = []

    def __enter__(self) -> "ResultWriter":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._write()
        except OSError as problem:
            raise self._cannot_write(problem) from None
        finally:
            with contextlib.suppress(OSError):  # what a full disk left in its buffer
                self._hypotheses.close()

    def _cannot_write(self, error: OSError) -> DiffPoseError:
        return DiffPoseError(f"{self.folder}: cannot be written ({error.strerror}): {OTHER_OUTPUT}")

    def __len__(self) -> int:
        return len(self._columns.get("frame", ()))

    def add(self, rows: list[Row]) -> None:
        """The rows of one frame."""
        if not rows:
            return
        for row in rows:
            self._shape = row.hypotheses_mm.shape
            try:
                self._hypotheses.write(np.ascontiguousarray(row.hypotheses_mm, np.float32).data)
            except OSError as error:
                raise self._cannot_write(error) from None
            count = min(len(row.modes.weights), MAX_MODES)
            poses = np.full((MAX_MODES, *self._shape[1:]), np.nan, np.float32)
            weights = np.zeros(MAX_MODES, np.float32)
            poses[:count], weights[:count] = row.modes.poses_mm[:count], row.modes.weights[:count]
            values = {
                "source": row.source,
                "frame": row.frame,
                "person": row.number,
                "crop_px": np.array([*row.person.corner, row.person.side], np.float32),
                "crop_angle_deg": np.float32(np.degrees(row.person.angle)),
                "joints_px": row.person.joints_px.astype(np.float32),
                "confidence": row.person.confidence.astype(np.float32),
                "consensus_mm": row.consensus_mm,
                "spread_mm": row.spread_mm,
                "guessed": row.guessed,
                "mode_poses_mm": poses,
                "mode_weights": weights,
            }
            for name, value in values.items():
                self._columns.setdefault(name, []).append(value)
        self._frames.append(
            {"source": rows[0].source, "frame": rows[0].frame, "people": [self._as_json(row) for row in rows]}
        )

    def set_smooth(self, poses_mm: dict[tuple[int, int], np.ndarray]) -> None:
        """Add ``smooth_mm`` to every row: (frame, person) -> pose (J, 3)."""
        keys = zip(self._columns["frame"], self._columns["person"], strict=True)
        self._columns["smooth_mm"] = [poses_mm[key] for key in keys]
        for frame in self._frames:
            for person in frame["people"]:
                pose = poses_mm[frame["frame"], person["person"]]
                person["smooth_mm"] = np.round(pose.astype(np.float64), 1).tolist()

    def _as_json(self, row: Row) -> dict:
        def rounded(values: np.ndarray) -> list:
            return np.round(np.asarray(values, np.float64), 1).tolist()

        modes = zip(row.modes.weights.tolist(), row.modes.poses_mm.numpy(), strict=True)
        return {
            "person": row.number,
            "crop_px": rounded([*row.person.corner, row.person.side]),
            "crop_angle_deg": round(float(np.degrees(row.person.angle)), 1),
            "joints_px": [None if np.isnan(joint).any() else rounded(joint) for joint in row.person.joints_px],
            "confidence": np.round(row.person.confidence.astype(float), 3).tolist(),
            "consensus_mm": rounded(row.consensus_mm),
            "spread_mm": rounded(row.spread_mm),
            "guessed": [name for name, flag in zip(self.joints, row.guessed, strict=True) if flag],
            "modes": [{"weight": round(weight, 4), "pose_mm": rounded(pose)} for weight, pose in modes],
        }

    def _write(self) -> None:
        about = {
            "schema": SCHEMA,
            "version": SCHEMA_VERSION,
            "units": UNITS,
            **self.about,
            "joints": self.joints,
            "bones": self.bones,
            "joints_2d": MPII_JOINTS,
        }
        with renamed_when_whole(self.folder / "poses.json") as partial:
            partial.write_text(json.dumps({**about, "frames": self._frames}), encoding="utf-8")
        arrays = {name: np.array(values) for name, values in self._columns.items()}
        arrays |= {"joints": np.array(self.joints), "joints_2d": np.array(MPII_JOINTS), "bones": np.array(self.bones)}
        with (
            renamed_when_whole(self.folder / "poses.npz") as partial,
            zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED, allowZip64=True) as archive,
        ):
            for name, values in arrays.items():
                with archive.open(f"{name}.npy", "w") as file:
                    np.lib.format.write_array(file, values)
            self._write_hypotheses(archive)

    def _write_hypotheses(self, archive: zipfile.ZipFile) -> None:
        header = {"descr": "<f4", "fortran_order": False, "shape": (len(self), *self._shape)}
        self._hypotheses.seek(0)
        with archive.open("hypotheses_mm.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array_header_1_0(file, header)
            while block := self._hypotheses.read(1 << 20):
                file.write(block)
