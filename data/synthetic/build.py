"""The whole benchmark as one HDF5 file: which sequences it holds, and their simulation in parallel."""

import json
import multiprocessing
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path

import h5py
import numpy as np

from data.ambiguity import HARD_SUBSET_RULE
from data.hdf5.access import text_attribute
from data.hdf5.columnar import ColumnarWriter, encode_heatmap
from data.hdf5.compact import CompactForm
from data.schema import ACTIONS, SUBJECTS
from data.synthetic.actions import perform
from data.synthetic.bodies import subject_body
from data.synthetic.cameras import CAMERA_NAMES, camera_named, write_cameras
from data.synthetic.views import OCCLUDED_FIELD, draw_scene, simulate_view
from utils.errors import DiffPoseError

GENERATOR_VERSION = 1
SOURCE = "synthetic: DiffPose embedded benchmark"
# Rows are every fourth frame of the 50 Hz video, the first one at index 3.
FRAME_STEP = 4
# File names sort a numbered take before the bare one, so subaction 1 comes first, as in Human3.6M's files.
SUBACTIONS = ("1", "0")
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
class Task:
    """Rows first..last-1 of one camera's recording of a take that lasts ``take_rows`` rows."""

    split: str
    subject: str
    action: str
    subaction: str
    cam: str
    take_rows: int
    first: int
    last: int


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
    """The work for a split, in the file's order, in pieces whose size does not depend on the number of workers."""
    sequences = plan_sequences(split, rows)
    longest: dict[tuple[str, str, str], int] = {}
    for *take, _, count in sequences:
        longest[tuple(take)] = max(longest.get(tuple(take), 0), count)
    return [
        Task(split, *take, cam, longest[tuple(take)], first, min(first + _ROWS_A_TASK, count))
        for *take, cam, count in sequences
        for first in range(0, count, _ROWS_A_TASK)
    ]


def _generator(seed: int, *names: object) -> np.random.Generator:
    return np.random.default_rng([seed, *(zlib.crc32(str(name).encode()) for name in names)])


@lru_cache(maxsize=2)
def take_joints(subject: str, action: str, subaction: str, rows: int, seed: int) -> np.ndarray:
    """World joints (rows, 17, 3) in mm of one take, every fourth frame; what all four cameras see."""
    generator = _generator(seed, "take", subject, action, subaction)
    joints = perform(action, int(subaction), subject_body(subject), FRAME_STEP * rows, generator)
    return joints[FRAME_STEP - 1 :: FRAME_STEP]


def simulate_task(task: Task, seed: int) -> dict[str, np.ndarray]:
    """The columns of a task's rows. Depends on nothing but the task and the seed."""
    names = (task.subject, task.action, task.subaction)
    joints = take_joints(*names, task.take_rows, seed)
    camera = camera_named(task.cam)
    scene = draw_scene(camera, joints[:, 0].mean(axis=0), _generator(seed, "scene", *names, task.cam))
    columns = simulate_view(
        joints[task.first : task.last],
        camera,
        subject_body(task.subject),
        _generator(seed, "rows", *names, task.cam, task.first),
        scene=scene,
    )
    count = task.last - task.first
    for name in ("subject", "action", "subaction", "cam"):
        columns[name] = np.full(count, getattr(task, name))
    columns["frame_orig"] = FRAME_STEP * np.arange(task.first, task.last, dtype=np.int32) + FRAME_STEP - 1
    return columns


def _encoded_task(task: Task, parameters: BuildParameters) -> dict:
    columns = simulate_task(task, parameters.seed)
    encode = partial(encode_heatmap, level=_COMPRESSION_LEVEL, compact=parameters.compact_form)
    columns["heatmap"] = [encode(heatmap) for heatmap in columns["heatmap"]]
    return columns


def _results(tasks: list[Task], parameters: BuildParameters, workers: int) -> Iterator[tuple[Task, dict]]:
    """Each task with its columns, in order; at most a few tasks a worker are under way, so memory does not grow."""
    if workers == 1:
        for task in tasks:
            yield task, _encoded_task(task, parameters)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        remaining = iter(tasks)
        running = deque((task, pool.submit(_encoded_task, task, parameters)) for task in islice(remaining, 4 * workers))
        try:
            while running:
                task, future = running.popleft()
                columns = future.result()
                running.extend((new, pool.submit(_encoded_task, new, parameters)) for new in islice(remaining, 1))
                yield task, columns
        except BrokenProcessPool as error:
            raise DiffPoseError("a worker process ended unexpectedly (out of memory?): try --workers 1") from error
        finally:
            pool.shutdown(cancel_futures=True)


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
    from tqdm import tqdm

    path, parameters = Path(path), parameters or BuildParameters()
    if min(parameters.train_rows, parameters.test_rows, workers) < 1 or parameters.seed < 0:
        raise DiffPoseError("--train_rows, --test_rows and --workers must be at least 1, --seed at least 0")
    if not force and existing_parameters(path) == parameters:
        return False
    attributes = {
        "source": f"{SOURCE}, seed {parameters.seed}",
        "detector": "simulated",
        "units": "gt_3d in mm, camera frame; gt_2d in px",
        "hard_subset": HARD_SUBSET_RULE,
        "parameters": parameters.as_json(),
    }
    tasks = plan_tasks("trainset", parameters.train_rows) + plan_tasks("testset", parameters.test_rows)
    total = parameters.train_rows + parameters.test_rows
    with (
        ColumnarWriter(
            path,
            dataset="h36m",
            attrs=attributes,
            level=_COMPRESSION_LEVEL,
            compact=parameters.compact_form,
            extra_fields=(OCCLUDED_FIELD,),
        ) as writer,
        tqdm(total=total, unit="row", desc="benchmark", disable=not show_progress) as bar,
    ):
        write_cameras(writer, [subject for split in ("trainset", "testset") for subject in SUBJECTS["h36m"][split]])
        for task, columns in _results(tasks, parameters, min(workers, len(tasks))):
            writer.append(task.split, columns)
            bar.update(task.last - task.first)
    return True
