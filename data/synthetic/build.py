"""The whole benchmark as one HDF5 file: which sequences it holds, and their simulation in parallel."""

import json
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path

import h5py
import numpy as np

from data.hdf5.access import text_attribute
from data.hdf5.columnar import ColumnarWriter, encode_heatmap
from data.hdf5.compact import CompactForm
from data.preprocessing.conversion.ordered_pool import ordered_map
from data.schema import ACTIONS, SUBJECTS
from data.synthetic.actions import perform
from data.synthetic.bodies import subject_body
from data.synthetic.cameras import CAMERA_NAMES, RowCameras, camera_named, write_cameras
from data.synthetic.simulated_file import write_simulated
from data.synthetic.views import EPISODE_FIELD, OCCLUDED_FIELD, draw_scene, simulate_rows
from utils.errors import DiffPoseError

GENERATOR_VERSION = 2
SOURCE = "synthetic: DiffPose embedded benchmark"
# Rows are every fourth frame of the 50 Hz video, the first one at index 3.
FRAME_STEP = 4
# File names sort a numbered take before the bare one, so subaction 1 comes first, as in Human3.6M's files.
SUBACTIONS = ("1", "0")
EPISODE_ROWS = 4
"""Rows of one camera that show one motion. Heading, place, posture, tempo, gesture, objects and the detector's habits
are drawn anew for the next: a take is many short episodes, since a model would learn a few long ones by heart."""
_ROWS_A_TASK = 256
_COMPRESSION_LEVEL = 4


@dataclass(frozen=True)
class BuildParameters:
    """What a build depends on; the number of workers is not among it.

    ``compact``: the threshold of the compact form of the heatmaps, None for their values as simulated.
    """

    train_rows: int = 20_000
    test_rows: int = 4_000
    seed: int = 0
    generator_version: int = GENERATOR_VERSION
    compact: float | None = None

    @property
    def compact_form(self) -> CompactForm | None:
        return None if self.compact is None else CompactForm(threshold=self.compact)

    def as_json(self) -> str:
        """What the file keeps; options that are not used stay out of it."""
        return json.dumps({name: value for name, value in asdict(self).items() if value is not None})


@dataclass(frozen=True)
class Piece:
    """Rows first..last-1 of one camera's recording of a take."""

    cam: str
    first: int
    last: int


@dataclass(frozen=True)
class Task:
    """Pieces of a take, in the file's order; ``number`` is the first episode of the take among those of the split."""

    split: str
    subject: str
    action: str
    subaction: str
    number: int
    pieces: tuple[Piece, ...]

    @property
    def rows(self) -> int:
        return sum(piece.last - piece.first for piece in self.pieces)


def plan_sequences(split: str, rows: int) -> list[tuple[str, str, str, str, int]]:
    """(subject, action, subaction, camera, rows) of every sequence of a split, in the file's order.

    Rows are spread evenly. With fewer rows than sequences each has one row, and the sequences that are left out are
    chosen so that every action of every subject stays for as long as possible.
    """
    keys = [
        (subject, action, subaction, cam)
        for subject in SUBJECTS["h36m"][split]
        for action in sorted(ACTIONS)
        for subaction in SUBACTIONS
        for cam in CAMERA_NAMES
    ]
    views = len(SUBACTIONS) * len(CAMERA_NAMES)
    if rows < len(keys):
        # Turning through the views from action to action keeps cameras and subactions balanced.
        priority = [(3 * (number % views) + number // views) % views for number in range(len(keys))]
        order = sorted(range(len(keys)), key=lambda number: (priority[number], number))
        keys = [keys[number] for number in sorted(order[:rows])]
    edges = [rows * number // len(keys) for number in range(len(keys) + 1)]
    return [(*key, edges[number + 1] - edges[number]) for number, key in enumerate(keys)]


def plan_tasks(split: str, rows: int) -> list[Task]:
    """The work for a split, in the file's order, in tasks whose size does not depend on the number of workers.

    A task holds all four cameras of a take when they are short, so that its motions are made once.
    """
    takes: dict[tuple[str, str, str], list[tuple[str, int]]] = {}
    for subject, action, subaction, cam, count in plan_sequences(split, rows):
        takes.setdefault((subject, action, subaction), []).append((cam, count))
    tasks, number = [], 0
    for (subject, action, subaction), views in takes.items():
        longest = max(count for _, count in views)
        pieces = [
            Piece(cam, first, min(first + _ROWS_A_TASK, count))
            for cam, count in views
            for first in range(0, count, _ROWS_A_TASK)
        ]
        together = [tuple(pieces)] if longest * len(views) <= _ROWS_A_TASK else [(piece,) for piece in pieces]
        tasks += [Task(split, subject, action, subaction, number, chosen) for chosen in together]
        number += -(-longest // EPISODE_ROWS)
    return tasks


def _generator(seed: int, *names: object) -> np.random.Generator:
    return np.random.default_rng([seed, *(zlib.crc32(str(name).encode()) for name in names)])


@lru_cache(maxsize=2 * _ROWS_A_TASK)
def episode_joints(subject: str, action: str, subaction: str, episode: int, seed: int) -> np.ndarray:
    """World joints (4, 17, 3) in mm of one episode of a take, every fourth frame; what all four cameras see."""
    generator = _generator(seed, "episode", subject, action, subaction, episode)
    joints = perform(action, int(subaction), subject_body(subject), FRAME_STEP * EPISODE_ROWS, generator)
    return joints[FRAME_STEP - 1 :: FRAME_STEP]


def _simulate_piece(task: Task, piece: Piece, seed: int) -> dict[str, np.ndarray]:
    """The columns of one camera's rows, each with the scene of its episode."""
    take = (task.subject, task.action, task.subaction)
    camera = camera_named(piece.cam)
    rows = np.arange(piece.first, piece.last)
    joints, scenes = [], {}
    for episode in range(piece.first // EPISODE_ROWS, (piece.last - 1) // EPISODE_ROWS + 1):
        own = episode_joints(*take, episode, seed)
        joints.append(own[rows[rows // EPISODE_ROWS == episode] % EPISODE_ROWS])
        scenes[episode] = draw_scene(
            camera, own[:, 0].mean(axis=0), _generator(seed, "scene", *take, episode, piece.cam)
        )
    columns = simulate_rows(
        np.concatenate(joints),
        RowCameras.same(camera, len(rows)),
        subject_body(task.subject),
        _generator(seed, "rows", *take, piece.cam, piece.first),
        scenes=[scenes[row // EPISODE_ROWS] for row in range(piece.first, piece.last)],
    )
    columns["cam"] = np.full(len(rows), piece.cam)
    columns["frame_orig"] = (FRAME_STEP * rows + FRAME_STEP - 1).astype(np.int32)
    columns["episode"] = (task.number + rows // EPISODE_ROWS).astype(np.int32)
    return columns


def simulate_task(task: Task, seed: int) -> dict[str, np.ndarray]:
    """The columns of a task's rows. Depends on nothing but the task and the seed."""
    parts = [_simulate_piece(task, piece, seed) for piece in task.pieces]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    for name in ("subject", "action", "subaction"):
        columns[name] = np.full(task.rows, getattr(task, name))
    return columns


def _encoded_task(task: Task, parameters: BuildParameters) -> dict:
    """The columns of a task with the heatmaps in their stored form."""
    columns: dict = simulate_task(task, parameters.seed)
    encode = partial(encode_heatmap, level=_COMPRESSION_LEVEL, compact=parameters.compact_form)
    columns["heatmap"] = [encode(heatmap) for heatmap in columns["heatmap"]]
    return columns


def existing_parameters(path: Path) -> BuildParameters | None:
    """The parameters of a benchmark file that exists, None when there is no file.

    Raises :class:`DiffPoseError` when the file is something else than a benchmark.
    """
    if not path.exists():
        return None
    try:
        with h5py.File(path) as file:
            return BuildParameters(**json.loads(text_attribute(file["dataset"], "parameters")))
    except (OSError, KeyError, TypeError, ValueError):
        raise DiffPoseError(
            f"{path} exists and is not an embedded benchmark: choose another --output or overwrite it with --force"
        ) from None


def build(
    path: str | Path,
    parameters: BuildParameters | None = None,
    *,
    workers: int = 2,
    force: bool = False,
    show_progress: bool = True,
) -> bool:
    """Write the benchmark to ``path``; False when it is there already with the same parameters.

    A benchmark with other parameters is replaced, another file only with ``force``. Raises :class:`DiffPoseError` for
    bad numbers and for a place that can't be written.
    """
    path, parameters = Path(path), parameters or BuildParameters()
    if min(parameters.train_rows, parameters.test_rows, workers) < 1 or parameters.seed < 0:
        raise DiffPoseError("--train_rows, --test_rows and --workers must be at least 1, --seed at least 0")
    if not force and existing_parameters(path) == parameters:
        return False
    tasks = plan_tasks("trainset", parameters.train_rows) + plan_tasks("testset", parameters.test_rows)

    def blocks(writer: ColumnarWriter) -> Iterator[tuple[str, dict]]:
        write_cameras(writer, [subject for split in ("trainset", "testset") for subject in SUBJECTS["h36m"][split]])
        encoded = ordered_map(partial(_encoded_task, parameters=parameters), tasks, workers=min(workers, len(tasks)))
        return zip((task.split for task in tasks), encoded, strict=True)

    write_simulated(
        path,
        blocks,
        source=f"{SOURCE}, seed {parameters.seed}",
        attrs={"parameters": parameters.as_json()},
        total=parameters.train_rows + parameters.test_rows,
        extra_fields=(OCCLUDED_FIELD, EPISODE_FIELD),
        level=_COMPRESSION_LEVEL,
        compact=parameters.compact_form,
        show_progress=show_progress,
        title="benchmark",
    )
    return True
