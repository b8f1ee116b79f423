"""From poses in the world to rows of the wide world: one camera, one detector and one crop for each."""

from dataclasses import dataclass

import numpy as np

from data.ambiguity import is_ambiguous
from data.hdf5.compact import CompactForm
from data.schema import Field
from data.synthetic import embedded_detector
from data.synthetic.cameras import RowCameras
from data.synthetic.detector import NUM_LIMBS, PARTNER, Mixture, doubt, draw_mixture, draw_peaks
from data.synthetic.joint_definitions import draw_definition
from data.synthetic.occlusion import RowPanels, Visibility, add_extremities, recorded_joints, see_rows
from utils.crops import crop_box
from utils.heatmaps import argmax_2d
from utils.skeleton import HEATMAP_SIZE, MPII_JOINTS, MPII_TO_H36M

EMBEDDED_SHARE = 0.70
"""Of the rows: seen by a detector like the demo's; the others by one like HRNet."""
HRNET_LIKE, EMBEDDED_LIKE = 0, 1
DETECTOR_FIELD = Field(
    name="detector", dtype=np.dtype("u1"), shape=(), unit="0 like HRNet, 1 like the demo's", frame="style of the maps"
)
_PICK = list(MPII_TO_H36M)
_LEGS = [MPII_JOINTS.index(name) for name in ("RHip", "RKnee", "RFoot", "LHip", "LKnee", "LFoot")]
_EAR_SHARE = 0.55
_SWAPPED_LEGS = 0.012
# Hands and feet move with the points that they are made from.
_TIPS = [MPII_JOINTS.index(name) for name in ("LWrist", "RWrist", "RFoot", "LFoot")]


@dataclass(frozen=True)
class Crops:
    """Where each row's crop lies in its picture: upper left corner (F, 2) and side (F,), whole px."""

    corner: np.ndarray
    side: np.ndarray

    def cells(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (F, J, 2) -> (column, row) cells."""
        return HEATMAP_SIZE * self.shares(pixels)

    def shares(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (F, J, 2) -> shares of the crop."""
        return (pixels - self.corner[:, None]) / self.side[:, None, None]

    def pixels(self, cells: np.ndarray) -> np.ndarray:
        """The inverse of :meth:`cells`."""
        return self.corner[:, None] + cells / HEATMAP_SIZE * self.side[:, None, None]


def draw_crops(points_px: np.ndarray, rng: np.random.Generator) -> Crops:
    """Crops around found points (F, J, 2) by the project's rule, a little off as a detector's boxes are."""
    corner, side = crop_box(points_px)
    count = len(side)
    loose = rng.uniform(size=count) < 0.10
    scale = np.exp(rng.normal(np.where(loose, 0.06, 0.0), np.where(loose, 0.12, 0.02)))
    shift = rng.standard_normal((count, 2)) * np.where(loose, 0.04, 0.01)[:, None]
    new_side = np.maximum(np.round(side * np.clip(scale, 0.85, 1.5)), 8.0)
    middle = corner + side[:, None] / 2 + shift * side[:, None]
    return Crops(corner=np.round(middle - new_side[:, None] / 2), side=new_side)


def simulate_wide(
    joints_mm: np.ndarray,
    cameras: RowCameras,
    radius: np.ndarray,
    panels: RowPanels,
    compact: CompactForm,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """The measured columns of the h36m schema, and ``occluded`` and ``detector``, for poses (F, 17, 3) of any bodies.

    joints_mm: kinematics in the world, z up; radius (F, C): see :func:`data.synthetic.occlusion.capsule_radii`. What is
    said to be the truth, and what the detector looks for, follow definitions of the joints that are drawn here.
    Heatmaps are in compact form.
    """
    count = len(joints_mm)
    truth = draw_definition(rng, count).redefine(joints_mm)
    seen = see_rows(add_extremities(joints_mm), cameras, radius, panels)
    pixels = cameras.project(cameras.to_camera(add_extremities(truth)))
    embedded = rng.uniform(size=count) < EMBEDDED_SHARE
    points, error, visibility = _embedded_points(joints_mm, pixels, cameras, seen, rng)
    around = _crop_points(pixels, points, cameras, embedded, rng)
    crops = draw_crops(around, rng)

    cells = crops.cells(pixels[:, :17])
    hidden_by = crops.cells(cameras.project(cameras.to_camera(seen.place_mm)))
    found = embedded_detector.Detection(points=crops.cells(points), error=error, visibility=visibility)
    one = _hrnet_mixture(cells, hidden_by, seen, rng)
    other = embedded_detector.draw_maps(found, cells[:, _PICK], rng)
    mixture = Mixture(
        **{
            part: np.where(_rows_like(embedded, getattr(one, part)), getattr(other, part), getattr(one, part))
            for part in ("centre", "std", "weight", "height")
        }
    )
    heatmaps, ambiguous = stored_maps(draw_peaks(mixture), compact)
    return {
        "gt_3d": np.swapaxes(cameras.to_camera(truth), 1, 2).astype(np.float32),
        "gt_2d": np.swapaxes(pixels[:, :17], 1, 2).astype(np.float32),
        "gt_2d_image_coords": np.swapaxes(crops.shares(recorded_joints(pixels)), 1, 2).astype(np.float32),
        "argmax_2d": argmax_2d(heatmaps),
        "crop_size": crops.side.astype(np.int32),
        "hardsubset": ambiguous.astype(np.uint8),
        "heatmap": heatmaps,
        "occluded": seen.reason[:, _PICK],
        "detector": np.where(embedded, EMBEDDED_LIKE, HRNET_LIKE).astype(np.uint8),
    }


def stored_maps(heatmaps: np.ndarray, compact: CompactForm) -> tuple[np.ndarray, np.ndarray]:
    """Maps (F, 16, 64, 64) float32 -> their compact form, float16, and which rows are hard: (F,) bool."""
    peak = heatmaps.max(axis=(2, 3), keepdims=True)
    # Before float16: numbers too small for it take a hundred times as long to convert.
    heatmaps *= heatmaps >= 0.9 * compact.threshold * peak
    return compact(heatmaps), is_ambiguous(heatmaps)


def _rows_like(flags: np.ndarray, array: np.ndarray) -> np.ndarray:
    """Flags (F,) with as many axes as an array."""
    return flags.reshape(-1, *[1] * (array.ndim - 1))


def _embedded_points(
    joints_mm: np.ndarray, pixels: np.ndarray, cameras: RowCameras, seen: Visibility, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the embedded detector finds its points (F, 16, 2), px; their expected error, cells, and visibility."""
    looked_for = draw_definition(rng, len(joints_mm)).redefine(joints_mm)
    ears = (1 - _EAR_SHARE) * joints_mm[:, 9] + _EAR_SHARE * joints_mm[:, 10]
    first = Crops(*crop_box(pixels))
    sought = cameras.project(cameras.to_camera(np.concatenate([looked_for, ears[:, None]], axis=1)))
    cells = first.cells(sought)
    difficulty = embedded_detector.posture_difficulty(joints_mm)
    found = embedded_detector.find_points(cells[:, :17], cells[:, 17], seen, difficulty, rng)
    points = first.pixels(found.points)
    # Points outside the picture are guessed, often no farther than its edge.
    inside = np.clip(points, 0, cameras.size[:, None] - 1)
    pull = rng.uniform(0, 1, (len(points), 1, 1)) * (rng.uniform(size=(len(points), 1, 1)) < 0.6)
    return points + pull * (inside - points), found.error, found.visibility


def _crop_points(
    pixels: np.ndarray, points: np.ndarray, cameras: RowCameras, embedded: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The points (F, 21, 2), px, that crops are made around: found ones, or the true ones, sometimes inside only."""
    tips = pixels[:, 17:] + points[:, _TIPS] - pixels[:, (13, 16, 3, 6)]
    found = np.concatenate([embedded_detector.made_joints(points), points[:, :1], tips], axis=1)
    inside = np.clip(pixels, 0, cameras.size[:, None] - 1)
    cut = (rng.uniform(size=len(pixels)) < 0.5)[:, None, None]
    true = np.where(cut, inside, pixels)
    # Somebody of whom next to nothing is in the picture keeps the whole crop.
    small = np.ptp(true, axis=1).max(axis=-1) < 0.3 * np.ptp(pixels, axis=1).max(axis=-1)
    true = np.where(small[:, None, None], pixels, true)
    return np.where(embedded[:, None, None], found, true)


def _hrnet_mixture(cells: np.ndarray, hidden_by: np.ndarray, seen: Visibility, rng: np.random.Generator) -> Mixture:
    """Maps as the benchmark's detector gives them, with habits of many detectors: width, height, places of joints."""
    count = len(cells)
    cells, hidden_by = cells[:, _PICK], hidden_by[:, _PICK]
    reason, depth = seen.reason[:, _PICK], seen.depth[:, _PICK]
    unsure = doubt(reason, depth, rng.beta(1.0, 5.0, (count, NUM_LIMBS)), rng)
    mixture = draw_mixture(cells, hidden_by, reason, unsure, rng)
    shift = rng.uniform(0.1, 0.9, (count, 1, 1)) * rng.standard_normal((count, len(_PICK), 2))
    centre = mixture.centre + shift[:, :, None]
    swapped = np.zeros((count, len(_PICK)), bool)
    swapped[:, _LEGS] = rng.uniform(size=(count, 1)) < _SWAPPED_LEGS
    centre = np.where(swapped[..., None, None], centre[:, PARTNER], centre)
    width = np.exp(rng.normal(0.05, 0.12, (count, 1)))
    height = mixture.height * rng.uniform(0.8, 1.1, (count, 1))
    return Mixture(centre=centre, std=mixture.std * width[..., None], weight=mixture.weight, height=height)
