"""Motion capture as rows: takes are read, put before simulated cameras, and written in parallel."""

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count, pairwise
from pathlib import Path

import numpy as np

from data.hdf5.columnar import ColumnarWriter, encode_heatmap
from data.preprocessing.conversion.ordered_pool import ordered_map
from data.preprocessing.motion_capture.plan import PlannedTake
from data.preprocessing.motion_capture.recording_list import ListedRecording
from data.preprocessing.motion_capture.takes import Take, TakeOptions, load_take
from data.preprocessing.motion_capture.wide_cameras import VIEWS, draw_wide_camera
from data.schema import MOTION_CAPTURE_SOURCE, RECORDINGS_ATTRIBUTE
from data.synthetic.bodies import Body, body_from_joints
from data.synthetic.cameras import CAMERAS, Camera, write_cameras
from data.synthetic.kinematics import rotation
from data.synthetic.simulated_file import write_simulated
from data.synthetic.views import OCCLUDED_FIELD, draw_scene, simulate_view
from utils.errors import DiffPoseError

STUDIO, WIDE = "studio", "wide"
RIGS = (STUDIO, WIDE)
"""Human3.6M's four cameras, or cameras of all kinds (wide_cameras)."""
STUDIO_RADIUS_MM = 1300.0
"""How far from the studio's middle the hips may go before the studio is moved after them."""
WIDE_RADIUS_MM = 500.0
"""The same for wide cameras, which may be near."""
WIDE_ROWS = 12
"""A wide camera films at most so many rows, about a second, before another takes over."""
_ROWS_A_TASK = 256
_COMPRESSION_LEVEL = 4
_MAX_ATTRIBUTE_BYTES = 60_000


@dataclass(frozen=True)
class _Task:
    """Consecutive rows of one camera's recording, with all that simulating them needs."""

    planned: PlannedTake
    camera: Camera
    view: str
    segment: int
    first: int
    joints_mm: np.ndarray
    middle_mm: np.ndarray
    frames: np.ndarray
    body: Body
    seed: int


def load_takes(
    planned: Sequence[PlannedTake],
    options: TakeOptions,
    *,
    workers: int = 1,
    skip_bad: bool = False,
    report: Callable[[str], None] = print,
) -> list[tuple[PlannedTake, Take]]:
    """Read every file, in order. A file that cannot be used raises DiffPoseError, or is reported and left out."""
    from tqdm import tqdm

    loaded = []
    results = ordered_map(partial(_load, options=options), [take.path for take in planned], workers=workers)
    for take, result in zip(planned, tqdm(results, total=len(planned), desc="reading", unit="file"), strict=True):
        if isinstance(result, Take):
            loaded.append((take, result))
        elif skip_bad:
            report(f"left out: {result}")
        else:
            raise DiffPoseError(f"{result}; or leave such files out with --skip_bad")
    if not loaded:
        raise DiffPoseError("no motion file is left")
    return loaded


def _load(path: Path, options: TakeOptions) -> Take | str:
    try:
        return load_take(path, options)
    except DiffPoseError as error:
        return str(error)


def place_in_studio(
    joints_mm: np.ndarray, generator: np.random.Generator, *, radius_mm: float = STUDIO_RADIUS_MM
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Turn a take (F, 17, 3) to a drawn heading and bring it into the view of the cameras.

    The take is cut into segments in which the hips stay within ``radius_mm`` of their middle, and each is moved there,
    as if the studio were elsewhere. Returns the joints and the segments' (first, last) rows.
    """
    turn = rotation("z", np.array([generator.uniform(0, 360)]))[0]
    joints_mm = joints_mm.astype(np.float64) @ turn.T
    hips = joints_mm[:, 0, :2]
    segments = []
    start = 0
    low = high = hips[0]
    for row in range(1, len(hips) + 1):
        if row < len(hips):
            new_low, new_high = np.minimum(low, hips[row]), np.maximum(high, hips[row])
            if np.linalg.norm(new_high - new_low) <= 2 * radius_mm:
                low, high = new_low, new_high
                continue
        joints_mm[start:row, :, :2] -= (low + high) / 2
        segments.append((start, row))
        if row < len(hips):
            start, low, high = row, hips[row].copy(), hips[row].copy()
    return joints_mm, segments


def _generator(seed: int, *names: object) -> np.random.Generator:
    return np.random.default_rng([seed, *(zlib.crc32(str(name).encode()) for name in names)])


def _pieces(start: int, stop: int) -> list[tuple[int, int]]:
    """A segment in equal pieces of at most :data:`WIDE_ROWS` rows."""
    pieces = -(-(stop - start) // WIDE_ROWS)
    edges = np.linspace(start, stop, pieces + 1).round().astype(int).tolist()
    return list(pairwise(edges))


def _tasks(planned: PlannedTake, take: Take, seed: int, rig: str, counter: Iterator[int]) -> Iterator[_Task]:
    """A take's rows in pieces. ``counter`` numbers wide cameras through the file."""
    radius = STUDIO_RADIUS_MM if rig == STUDIO else WIDE_RADIUS_MM
    joints, segments = place_in_studio(take.joints_mm, _generator(seed, "heading", planned.name), radius_mm=radius)
    if rig == WIDE:
        segments = [piece for segment in segments for piece in _pieces(*segment)]
    body = body_from_joints(joints, name=planned.subject)
    for view in range(len(CAMERAS) if rig == STUDIO else VIEWS):
        for number, (start, stop) in enumerate(segments):
            if rig == STUDIO:
                camera = CAMERAS[view]
                name = camera.name
            else:
                name = f"wide {view}"
                generator = _generator(seed, "camera", planned.name, name, number)
                camera = draw_wide_camera(joints[start:stop], generator, name=f"W{next(counter):07d}")
            middle = joints[start:stop, 0].mean(axis=0)
            for first in range(start, stop, _ROWS_A_TASK):
                rows = slice(first, min(first + _ROWS_A_TASK, stop))
                yield _Task(planned, camera, name, number, first, joints[rows], middle, take.frames[rows], body, seed)


def _simulate(task: _Task) -> tuple[str, dict]:
    """The columns of a task's rows, heatmaps compressed. Depends on the take's name, the rows and the seed only."""
    camera = task.camera
    names = (task.planned.name, task.view)
    scene = draw_scene(camera, task.middle_mm, _generator(task.seed, "scene", *names, task.segment))
    columns: dict = simulate_view(
        task.joints_mm, camera, task.body, _generator(task.seed, "rows", *names, task.first), scene=scene
    )
    columns["heatmap"] = [encode_heatmap(heatmap, level=_COMPRESSION_LEVEL) for heatmap in columns["heatmap"]]
    for name in ("subject", "action", "subaction"):
        columns[name] = np.full(len(task.frames), getattr(task.planned, name))
    columns["cam"] = np.full(len(task.frames), camera.name)
    columns["frame_orig"] = task.frames
    return task.planned.split, columns


def _with_cameras_kept(tasks: Iterable[_Task], writer: ColumnarWriter) -> Iterator[_Task]:
    """Pass tasks on, and write each of their cameras once."""
    kept = ""
    for task in tasks:
        if task.camera.name != kept:
            kept = task.camera.name
            writer.write_camera(
                task.planned.subject,
                kept,
                intrinsics=task.camera.intrinsics,
                rotation=task.camera.rotation,
                translation=task.camera.translation,
            )
        yield task


def _kinds(takes: Sequence[tuple[PlannedTake, Take]], listed: Sequence[ListedRecording]) -> str:
    """The attribute :data:`data.schema.RECORDINGS_ATTRIBUTE`: kind -> its recordings' names, as JSON."""
    used = {planned.name for planned, _ in takes}
    kinds = {
        kind: [r.name for r in listed if r.kind == kind and r.name in used] for kind in {r.kind: 0 for r in listed}
    }
    text = json.dumps(kinds)
    if len(text) > _MAX_ATTRIBUTE_BYTES:
        raise DiffPoseError(f"the list of {len(listed)} recordings is too long for an HDF5 attribute: split it")
    return text


def write_takes(
    path: str | Path,
    takes: Sequence[tuple[PlannedTake, Take]],
    *,
    seed: int = 0,
    rig: str = STUDIO,
    listed: Sequence[ListedRecording] = (),
    workers: int = 1,
    parameters: dict[str, object] | None = None,
    show_progress: bool = True,
) -> dict[str, int]:
    """Simulate all takes and write the HDF5 file; returns the rows of each split.

    The same takes and seed give the same rows, however many workers there are. ``rig`` is one of :data:`RIGS`; the
    kinds of ``listed`` recordings are kept in the file. Raises DiffPoseError when the file cannot be written.
    """
    # An attribute holds at most 64 KiB: names are cut so that those of all possible subjects fit.
    subjects = {planned.subject: planned.origin.encode()[:40].decode(errors="ignore") for planned, _ in takes}
    attributes = {
        "subjects": json.dumps(subjects, ensure_ascii=False),
        "parameters": json.dumps({**(parameters or {}), "seed": seed}),
    }
    if listed:
        attributes[RECORDINGS_ATTRIBUTE] = _kinds(takes, listed)
    total = (len(CAMERAS) if rig == STUDIO else VIEWS) * sum(len(take.frames) for _, take in takes)
    counter = count(1)
    tasks: Iterable[_Task] = (task for planned, take in takes for task in _tasks(planned, take, seed, rig, counter))

    def blocks(writer: ColumnarWriter) -> Iterator[tuple[str, dict]]:
        if rig == STUDIO:
            write_cameras(writer, subjects)
        return ordered_map(_simulate, tasks if rig == STUDIO else _with_cameras_kept(tasks, writer), workers=workers)

    return write_simulated(
        path,
        blocks,
        source=f"{MOTION_CAPTURE_SOURCE}, seed {seed}",
        attrs=attributes,
        total=total,
        extra_fields=(OCCLUDED_FIELD,),
        level=_COMPRESSION_LEVEL,
        show_progress=show_progress,
    )
