"""The wide world's rows: which there are, and their simulation. Each has its own body, pose, heading and camera.

Two thirds are poses of the families in ``data/synthetic/families``, drawn by their weights; two ninths are the
benchmark's actions, done by anybody and seen by any camera; one ninth is the benchmark itself: its subjects, cameras
and detector.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from data.hdf5.compact import CompactForm
from data.schema import ACTIONS, Field
from data.synthetic.actions import draw_place, perform_at
from data.synthetic.bodies import Body, random_body, subject_body
from data.synthetic.bones import mirrored, turned, vary_bones
from data.synthetic.cameras import CAMERAS, RowCameras
from data.synthetic.families import FAMILIES, draw_pose
from data.synthetic.occlusion import capsule_radii
from data.synthetic.views import draw_scene, simulate_rows
from data.synthetic.wide_cameras import draw_cameras, draw_panels
from data.synthetic.wide_views import HRNET_LIKE, simulate_wide
from utils.heatmaps import argmax_2d

POSES, PERFORMED, STUDIO = "poses", "performed", "studio"
KINDS = {POSES: 6 / 9, PERFORMED: 2 / 9, STUDIO: 1 / 9}
"""Where a row's pose comes from, and the share of such rows."""
TASK_ROWS = 192
FAMILY_NAMES = (*FAMILIES, *ACTIONS)
FAMILY_FIELD = Field(
    name="family", dtype=np.dtype("i2"), shape=(), unit="index into the attribute 'families'", frame="the pose"
)
CAMERA_FIELDS = (
    Field(name="camera_k", dtype=np.dtype("f4"), shape=(4,), unit="px", frame="fx, fy, cx, cy"),
    Field(name="camera_r", dtype=np.dtype("f4"), shape=(3, 3), unit="", frame="world to camera, z up in the world"),
    Field(name="camera_t", dtype=np.dtype("f4"), shape=(3,), unit="mm", frame="x_camera = r @ x_world + t"),
)
# Poses that one person strikes in a performed action, and the seconds between two of them.
_POSES_OF_A_TAKE, _SECONDS_BETWEEN = 12, 1.4
_BONE_SPREAD = 0.03


@dataclass(frozen=True)
class WideTask:
    """Rows first..last-1 of one kind of a subject label's rows."""

    split: str
    subject: str
    kind: str
    first: int
    last: int


def plan_wide(split: str, rows: dict[str, int]) -> list[WideTask]:
    """The work for a split with so many ``rows`` under each subject label, in the file's order."""
    tasks = []
    for subject, count in rows.items():
        edges = np.round(count * np.cumsum([0.0, *KINDS.values()])).astype(int)
        for kind, total in zip(KINDS, np.diff(edges).tolist(), strict=True):
            tasks += [
                WideTask(split, subject, kind, first, min(first + TASK_ROWS, total))
                for first in range(0, total, TASK_ROWS)
            ]
    return tasks


def simulate_wide_task(task: WideTask, rng: np.random.Generator, compact: CompactForm) -> dict[str, np.ndarray]:
    """The columns of a task's rows, heatmaps in compact form."""
    count = task.last - task.first
    columns = _studio_rows(task.subject, count, rng, compact) if task.kind == STUDIO else _wide_rows(task, rng, compact)
    columns["subject"] = np.full(count, task.subject)
    columns["action"] = np.array(FAMILY_NAMES)[columns["family"]]
    columns["frame_orig"] = np.arange(task.first, task.last, dtype=np.int32)
    return columns


def _wide_rows(task: WideTask, rng: np.random.Generator, compact: CompactForm) -> dict[str, np.ndarray]:
    """Rows of any body in any pose before any camera."""
    count = task.last - task.first
    if task.kind == POSES:
        body = random_body(rng, count)
        joints, family = draw_pose(rng, body, count)
        radius, variant = capsule_radii(body), np.zeros(count, np.int64)
    else:
        done = _perform(count, lambda: random_body(rng), rng)
        joints = vary_bones(done.joints, _BONE_SPREAD, rng)
        family, variant, radius = done.family, done.variant, done.radius
    joints = turned(mirrored(joints, rng.uniform(size=count) < 0.5), rng.uniform(0, 2 * np.pi, count))
    cameras = draw_cameras(joints, rng)
    panels = draw_panels(joints, cameras, rng)
    columns = simulate_wide(joints, cameras, radius, panels, compact, rng)
    names = {"family": family.astype(np.int16), "subaction": variant.astype(str), "cam": np.full(count, "wide")}
    return {**columns, **names, **camera_columns(cameras)}


@dataclass(frozen=True)
class _Performed:
    """Poses of the benchmark's actions: joints (F, 17, 3), family and variant (F,), capsules' radii (F, C)."""

    joints: np.ndarray
    family: np.ndarray
    variant: np.ndarray
    radius: np.ndarray


def _perform(count: int, draw_body: Callable[[], Body], rng: np.random.Generator) -> _Performed:
    """``count`` poses, several of a take at moments far apart."""
    joints, family, variant, radius = [], [], [], []
    for first in range(0, count, _POSES_OF_A_TAKE):
        poses = min(_POSES_OF_A_TAKE, count - first)
        body, action, way = draw_body(), int(rng.integers(len(ACTIONS))), int(rng.integers(2))
        time = _SECONDS_BETWEEN * (np.arange(_POSES_OF_A_TAKE) + rng.uniform())
        joints.append(perform_at(FAMILY_NAMES[len(FAMILIES) + action], way, body, time, rng)[:poses])
        family += [len(FAMILIES) + action] * poses
        variant += [way] * poses
        radius.append(np.repeat(capsule_radii(body), poses, axis=0))
    return _Performed(np.concatenate(joints), np.array(family), np.array(variant), np.concatenate(radius))


def _studio_rows(subject: str, count: int, rng: np.random.Generator, compact: CompactForm) -> dict[str, np.ndarray]:
    """Rows as the benchmark has them, of a subject of its own: each from another moment, heading and place."""
    body = subject_body(subject)
    done = _perform(count, lambda: body, rng)
    place = [draw_place(FAMILY_NAMES[family], rng) for family in done.family]
    joints = turned(done.joints, rng.uniform(0, 2 * np.pi, count)) + np.array(place)[:, None]
    choice = rng.integers(len(CAMERAS), size=count)
    cameras = RowCameras.chosen(CAMERAS, choice)
    scenes = [draw_scene(CAMERAS[camera], pose[0], rng) for camera, pose in zip(choice, joints, strict=True)]
    columns = simulate_rows(joints, cameras, body, rng, scenes=scenes)
    columns["heatmap"] = compact(columns["heatmap"])
    return {
        **columns,
        "argmax_2d": argmax_2d(columns["heatmap"]),
        "detector": np.full(count, HRNET_LIKE, np.uint8),
        "family": done.family.astype(np.int16),
        "subaction": done.variant.astype(str),
        "cam": np.array([camera.name for camera in CAMERAS])[choice],
        **camera_columns(cameras),
    }


def camera_columns(cameras: RowCameras) -> dict[str, np.ndarray]:
    """The columns of :data:`CAMERA_FIELDS`."""
    translation = -np.einsum("fij,fj->fi", cameras.rotation, cameras.position)
    return {
        "camera_k": np.concatenate([cameras.focal, cameras.centre], axis=1).astype(np.float32),
        "camera_r": cameras.rotation.astype(np.float32),
        "camera_t": translation.astype(np.float32),
    }
