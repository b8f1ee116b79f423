"""From joints in the world to the rows of a file: camera, occlusion, crop and detector.

Nothing here knows where the motion came from: simulated or recorded joints give rows alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.ambiguity import is_ambiguous
from data.schema import EPISODE_COLUMN, Field
from data.synthetic.bodies import Body
from data.synthetic.cameras import Camera, RowCameras
from data.synthetic.detector import detect, draw_habits
from data.synthetic.occlusion import (
    H36M_17_OF_32,
    Panel,
    RowPanels,
    add_extremities,
    capsule_radii,
    draw_panel,
    recorded_joints,
    see_rows,
)
from utils.crops import crop_box
from utils.heatmaps import argmax_2d
from utils.skeleton import HEATMAP_SIZE, MPII_TO_H36M

PANEL_PROBABILITY = 0.10
OCCLUDED_FIELD = Field(
    name="occluded",
    dtype=np.dtype("u1"),
    shape=(16,),
    unit="0 seen, 1 behind the body, 2 behind an object, 3 outside the picture",
    frame="MPII joints",
)
"""A column beyond Human3.6M's: why each heatmap's joint is hidden. Only for checking the simulation."""

EPISODE_FIELD = Field(
    name=EPISODE_COLUMN, dtype=np.dtype("i4"), shape=(), unit="number within the split", frame="rows of one motion"
)
"""A column beyond Human3.6M's: which rows show the same motion, for statistics that must not count them as several."""


@dataclass(frozen=True)
class Scene:
    """What stays the same through one episode of one camera: an object in the way, the detector's weak limbs."""

    panel: Panel | None
    habits: np.ndarray


def draw_scene(camera: Camera, middle_mm: np.ndarray, generator: np.random.Generator) -> Scene:
    """Draw the scene of one episode of a subject who stays near ``middle_mm`` (3,) in the world."""
    habits = draw_habits(generator)
    panel = draw_panel(generator, camera, middle_mm) if generator.uniform() < PANEL_PROBABILITY else None
    return Scene(panel=panel, habits=habits)


def simulate_view(
    joints_world_mm: np.ndarray,
    camera: Camera,
    body: Body,
    generator: np.random.Generator,
    *,
    scene: Scene | None = None,
) -> dict[str, np.ndarray]:
    """The measured columns of the h36m schema for joints (F, 17, 3) in the world (z up, mm), seen by one camera.

    Returns gt_3d, gt_2d, gt_2d_image_coords, argmax_2d, crop_size, heatmap (float16), hardsubset and ``occluded``
    (:data:`OCCLUDED_FIELD`), each with a leading axis F. ``scene`` is drawn from the generator when absent; pass one to
    treat parts of a recording alike.
    """
    if scene is None:
        scene = draw_scene(camera, joints_world_mm[:, 0].mean(axis=0), generator)
    count = len(joints_world_mm)
    return simulate_rows(joints_world_mm, RowCameras.same(camera, count), body, generator, scenes=[scene] * count)


def simulate_rows(
    joints_world_mm: np.ndarray,
    cameras: RowCameras,
    body: Body,
    generator: np.random.Generator,
    *,
    scenes: Sequence[Scene],
) -> dict[str, np.ndarray]:
    """As :func:`simulate_view`, with a camera and a scene for each of the F rows."""
    points = add_extremities(joints_world_mm)
    panels = RowPanels.of([scene.panel for scene in scenes])
    seen = see_rows(points, cameras, capsule_radii(body), panels)
    pixels = cameras.project(cameras.to_camera(points))
    corner, side = crop_box(pixels)

    def in_crop(positions: np.ndarray) -> np.ndarray:
        return (positions - corner[:, None]) / side[:, None, None]

    # A heatmap's column c shows the crop's 64ths c: a detector's target for x px is cell x / stride.
    cells = HEATMAP_SIZE * in_crop(pixels[:, :17])
    occluder = HEATMAP_SIZE * in_crop(cameras.project(cameras.to_camera(seen.place_mm)))
    habits = np.stack([scene.habits for scene in scenes])
    heatmaps = detect(cells, occluder, seen.reason, seen.depth, habits, generator)
    return {
        "gt_3d": np.swapaxes(cameras.to_camera(joints_world_mm), 1, 2).astype(np.float32),
        "gt_2d": np.swapaxes(pixels[:, :17], 1, 2).astype(np.float32),
        "gt_2d_image_coords": np.swapaxes(in_crop(recorded_joints(pixels)), 1, 2).astype(np.float32),
        "argmax_2d": argmax_2d(heatmaps),
        "crop_size": side.astype(np.int32),
        "hardsubset": is_ambiguous(heatmaps).astype(np.uint8),
        "heatmap": heatmaps.astype(np.float16),
        "occluded": seen.reason[:, list(MPII_TO_H36M)],
    }


def true_cells(columns: dict[str, np.ndarray]) -> np.ndarray:
    """The true (column, row) cells (F, 16, 2), MPII order, of rows' ``gt_2d_image_coords`` (F, 2, 32)."""
    crop = np.swapaxes(columns["gt_2d_image_coords"], 1, 2)[:, list(H36M_17_OF_32)]
    return HEATMAP_SIZE * crop[:, list(MPII_TO_H36M)]
