"""The wide world as an HDF5 file for training, of any number of rows, simulated in parallel."""

import json
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from data.hdf5.access import text_attribute
from data.hdf5.columnar import ColumnarWriter, encode_heatmap
from data.hdf5.compact import CompactForm
from data.preprocessing.conversion.ordered_pool import ordered_map
from data.synthetic.row_kinds import INDEPENDENT, ROWS_ATTRIBUTE
from data.synthetic.simulated_file import write_simulated
from data.synthetic.views import OCCLUDED_FIELD
from data.synthetic.wide import CAMERA_FIELDS, FAMILY_FIELD, FAMILY_NAMES, WideTask, plan_wide, simulate_wide_task
from data.synthetic.wide_views import DETECTOR_FIELD
from utils.errors import DiffPoseError

WORLD_VERSION = 1
WIDE_SOURCE = "synthetic: DiffPose wide world"
FAMILIES_ATTRIBUTE = "families"
TRAIN_LABELS, HELD_OUT_LABEL, TEST_LABELS = ("S1", "S5", "S6", "S7"), "S8", ("S9", "S11")
_COMPRESSION_LEVEL = 1


@dataclass(frozen=True)
class WideParameters:
    """What a file depends on; the number of workers is not among it. ``compact``: threshold of the heatmaps' form."""

    rows: int = 300_000
    test_rows: int = 4_000
    seed: int = 0
    compact: float = 0.02
    world_version: int = WORLD_VERSION

    @property
    def compact_form(self) -> CompactForm:
        return CompactForm(threshold=self.compact)

    def as_json(self) -> str:
        """What the file keeps."""
        return json.dumps({"world": "wide", **asdict(self)})


def labelled_rows(parameters: WideParameters) -> dict[str, dict[str, int]]:
    """Rows of each split under each subject label.

    The label S8 has as many training rows as the test split (at most a tenth), so that a configuration can hold them
    out: ``TRAIN.SUBJECTS`` S1, S5, S6, S7 and ``TRAIN.VALIDATE_SUBJECTS`` S8.
    """
    held = min(parameters.test_rows, parameters.rows // 10)
    train = dict(zip(TRAIN_LABELS, _evenly(parameters.rows - held, len(TRAIN_LABELS)), strict=True))
    test = dict(zip(TEST_LABELS, _evenly(parameters.test_rows, len(TEST_LABELS)), strict=True))
    return {"trainset": {**train, HELD_OUT_LABEL: held}, "testset": test}


def _evenly(total: int, parts: int) -> list[int]:
    edges = [total * number // parts for number in range(parts + 1)]
    return [edges[number + 1] - edges[number] for number in range(parts)]


def encoded_task(task: WideTask, parameters: WideParameters) -> dict:
    """The columns of a task with the heatmaps in their stored form. Depends on nothing but the task and the seed."""
    names = (task.split, task.subject, task.kind, str(task.first))
    rng = np.random.default_rng([parameters.seed, *(zlib.crc32(name.encode()) for name in ("wide", *names))])
    columns: dict = simulate_wide_task(task, rng, parameters.compact_form)
    columns["heatmap"] = [encode_heatmap(heatmap, level=_COMPRESSION_LEVEL) for heatmap in columns["heatmap"]]
    return columns


def _is_there(path: Path, parameters: WideParameters) -> bool:
    """Whether the file was made with these parameters. DiffPoseError when it is something else than a wide file."""
    if not path.exists():
        return False
    try:
        with h5py.File(path) as file:
            found = json.loads(text_attribute(file["dataset"], "parameters"))
            if found["world"] == "wide":
                return found == json.loads(parameters.as_json())
    except (OSError, KeyError, TypeError, ValueError):
        pass
    raise DiffPoseError(f"{path} exists and is no wide world: choose another --output or overwrite it with --force")


def build_wide(
    path: str | Path, parameters: WideParameters, *, workers: int = 2, force: bool = False, show_progress: bool = True
) -> bool:
    """Write a wide world to ``path``; False when it is there already with the same parameters.

    A wide world with other parameters is replaced, another file only with ``force``. Raises :class:`DiffPoseError` for
    bad numbers and for a place that can't be written.
    """
    path = Path(path)
    if min(parameters.rows, parameters.test_rows, workers) < 1 or parameters.seed < 0:
        raise DiffPoseError("--rows, --test_rows and --workers must be at least 1, --seed at least 0")
    if not force and _is_there(path, parameters):
        return False
    tasks = [task for split, rows in labelled_rows(parameters).items() for task in plan_wide(split, rows)]

    def blocks(_: ColumnarWriter) -> Iterator[tuple[str, dict]]:
        encoded = ordered_map(partial(encoded_task, parameters=parameters), tasks, workers=min(workers, len(tasks)))
        return zip((task.split for task in tasks), encoded, strict=True)

    write_simulated(
        path,
        blocks,
        source=f"{WIDE_SOURCE}, seed {parameters.seed}",
        attrs={
            "detector": "simulated: like the demo's and like HRNet",
            "parameters": parameters.as_json(),
            ROWS_ATTRIBUTE: INDEPENDENT,
            FAMILIES_ATTRIBUTE: json.dumps(FAMILY_NAMES),
        },
        total=parameters.rows + parameters.test_rows,
        extra_fields=(OCCLUDED_FIELD, FAMILY_FIELD, DETECTOR_FIELD, *CAMERA_FIELDS),
        level=_COMPRESSION_LEVEL,
        compact=parameters.compact_form,
        show_progress=show_progress,
        title="wide world",
    )
    return True
