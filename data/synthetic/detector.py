"""Heatmaps like a 2D detector's.

A joint that is seen gives one peak of about two cells near its true cell. A hidden joint gives a mixture of Gaussians:
at its own place, at its left/right partner's, at its occluder's. Which of these places carries which peak is drawn with
the peaks' own weights, and the whole mixture is shifted by a draw of that peak, so the true cell is a sample of the map
that is shown: the map's highest-density regions contain it as often as they say.
"""

from dataclasses import dataclass

import numpy as np

from data.synthetic.occlusion import BEHIND_BODY, BEHIND_OBJECT, OUTSIDE, VISIBLE
from utils.skeleton import HEATMAP_SIZE, MPII_TO_H36M, NUM_HEATMAPS

VISIBLE_STD = 2.0
JITTER_STD = 0.8
"""Spread of a visible joint's peak and of its distance from the truth, per axis, in cells."""
QUANTUM = 1.0 / 1024.0
_FLOOR_LEVELS = np.array([-1.0, 0.0, 1.0], dtype=np.float32) * QUANTUM
_FLOOR_SHARES = (0.15, 0.70, 0.15)
_FLOOR_BLOCK = 4
_FLOOR_MASS = _FLOOR_SHARES[2] * QUANTUM * HEATMAP_SIZE**2
_NUM_PEAKS = 3

# MPII order: RFoot RKnee RHip LHip LKnee LFoot Hip Spine Thorax Head RWrist RElbow RShoulder LShoulder LElbow LWrist
PARTNER = np.array([5, 4, 3, 2, 1, 0, 6, 7, 8, 9, 15, 14, 13, 12, 11, 10])
_PARENT = np.array([1, 2, 6, 6, 3, 4, 7, 8, 9, 8, 11, 12, 8, 8, 13, 14])
_LIMB = np.array([0, 0, 0, 1, 1, 1, 4, 4, 4, 4, 2, 2, 2, 3, 3, 3])
NUM_LIMBS = 5
# How badly hiding a joint hurts: little on the trunk, whose outline gives it away, most at wrists and ankles.
_FRAILTY = np.array([1.0, 0.8, 0.35, 0.35, 0.8, 1.0, 0.25, 0.25, 0.25, 0.35, 1.0, 0.85, 0.4, 0.4, 0.85, 1.0])


@dataclass(frozen=True)
class Mixture:
    """Peaks of each map: centre (F, 16, K, 2) column and row, std and weight (F, 16, K), height (F, 16) of the map."""

    centre: np.ndarray
    std: np.ndarray
    weight: np.ndarray
    height: np.ndarray


def draw_habits(generator: np.random.Generator) -> np.ndarray:
    """How badly the detector copes with each limb of one recording: (5,) in 0..1."""
    return generator.beta(1.0, 5.0, NUM_LIMBS)


def doubt(reason: np.ndarray, depth: np.ndarray, habits: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """How unsure the detector is of each joint (F, 16), MPII order: 0 when it is seen, up to 1.

    habits: (5,), or (F, 5) where rows have their own.

    More so the deeper the joint lies behind its occluder, when its parent is hidden too, behind foreign objects, and
    outside the picture.
    """
    hidden = reason != VISIBLE
    lapse = generator.beta(0.5, 7.0, (len(reason), NUM_LIMBS))
    level = 0.04 + 0.10 * depth + 0.05 * hidden[:, _PARENT] + 0.20 * habits[..., _LIMB] + 0.53 * lapse[:, _LIMB]
    level = level + 0.06 * (reason == BEHIND_OBJECT) + 0.08 * (reason == OUTSIDE)
    level = level * generator.uniform(0.8, 1.2, reason.shape) * _FRAILTY
    return np.where(hidden, np.clip(level, 0.0, 1.0), 0.0)


def _pull(place: np.ndarray, truth: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """``place`` moved towards ``truth`` until it is at most ``limit`` cells away."""
    away = place - truth
    distance = np.maximum(np.linalg.norm(away, axis=-1, keepdims=True), 1e-6)
    return truth + away * np.minimum(1.0, limit[..., None] / distance)


def draw_mixture(
    cells: np.ndarray, occluder: np.ndarray, reason: np.ndarray, unsure: np.ndarray, generator: np.random.Generator
) -> Mixture:
    """Peaks of the heatmaps of joints at ``cells`` (F, 16, 2), hidden by something at ``occluder`` (F, 16, 2).

    reason, unsure: (F, 16). Column, row; MPII order.
    """
    shape = unsure.shape
    hidden = reason != VISIBLE
    limit = 6.4 + 24.0 * unsure**2
    partner = _pull(cells[:, PARTNER], cells, limit)
    behind_body = (reason == BEHIND_BODY)[..., None]
    third = _pull(np.where(behind_body, occluder, cells[:, _PARENT]), cells, 0.8 * limit)
    places = np.stack([cells, partner, third], axis=2)  # (F, 16, K, 2)

    wander = generator.uniform(0.9, 1.1, (*shape, _NUM_PEAKS))
    std = np.where(hidden, VISIBLE_STD + 3.0 * unsure, VISIBLE_STD)[..., None] * wander
    lone = np.arange(NUM_HEATMAPS) == PARTNER
    weight = np.stack(
        [np.ones(shape), np.where(lone, 0.0, 0.22 * _FRAILTY + 0.40 * unsure), 0.07 * _FRAILTY + 0.30 * unsure], axis=-1
    )
    weight *= generator.uniform(0.5, 1.5, weight.shape)
    weight[..., 1:] *= hidden[..., None]
    weight /= weight.sum(axis=-1, keepdims=True)

    # The peak that the truth is a sample of takes the true place; the peak that it displaces takes that one's.
    chosen = (generator.uniform(size=shape)[..., None] > np.cumsum(weight, axis=-1)).sum(axis=-1)
    chosen = np.minimum(chosen, _NUM_PEAKS - 1)[..., None]
    order = np.broadcast_to(np.arange(_NUM_PEAKS), (*shape, _NUM_PEAKS)).copy()
    np.put_along_axis(order, np.zeros_like(chosen), chosen, axis=-1)
    np.put_along_axis(order, chosen, 0, axis=-1)
    centre = np.take_along_axis(places, order[..., None], axis=2)
    error = np.where(hidden, np.take_along_axis(std, chosen, axis=-1)[..., 0], JITTER_STD)
    shift = error[..., None] * generator.standard_normal((*shape, 2))

    wide = std[..., 0] / VISIBLE_STD
    height = np.clip(generator.normal(0.84, 0.08, shape), 0.5, 0.99) * wide**-0.9
    height *= np.where(hidden, generator.uniform(0.7, 1.0, shape), 1.0)
    # A share of the map is background floor; as often, a hidden joint is nowhere near its peaks.
    mass = height * 2 * np.pi * (VISIBLE_STD * wide) ** 2
    lost = hidden & (generator.uniform(size=shape) < _FLOOR_MASS / (mass + _FLOOR_MASS))
    elsewhere = np.take_along_axis(cells, generator.integers(0, NUM_HEATMAPS, shape)[..., None], axis=1) - cells
    shift = shift + np.where(lost[..., None], elsewhere, 0.0)
    return Mixture(centre=centre + shift[:, :, None], std=std, weight=weight, height=height)


def draw_peaks(mixture: Mixture) -> np.ndarray:
    """Heatmaps (F, 16, 64, 64) float32 of a mixture.

    Every map has a positive value: a peak that lies outside the map is brought to its edge.
    """
    grid = np.arange(HEATMAP_SIZE, dtype=np.float32)
    centre = np.clip(mixture.centre, 0, HEATMAP_SIZE - 1).astype(np.float32)[..., None, :]  # (F, 16, K, 1, 2)
    scale = (1.0 / mixture.std).astype(np.float32)[..., None]
    column = np.exp(-0.5 * ((grid - centre[..., 0]) * scale) ** 2)
    row = np.exp(-0.5 * ((grid - centre[..., 1]) * scale) ** 2)
    row *= (mixture.weight / mixture.std**2).astype(np.float32)[..., None]
    maps = np.swapaxes(row, -1, -2) @ column  # (F, 16, 64, 64)
    maps *= (mixture.height / maps.max(axis=(2, 3))).astype(np.float32)[..., None, None]
    return maps


def render(mixture: Mixture, generator: np.random.Generator) -> np.ndarray:
    """As :func:`draw_peaks`, with a faint floor; multiples of 1/1024, which float16 holds."""
    maps = draw_peaks(mixture)
    coarse = HEATMAP_SIZE // _FLOOR_BLOCK
    floor = generator.choice(_FLOOR_LEVELS, p=_FLOOR_SHARES, size=(*maps.shape[:2], coarse, 1, coarse, 1))
    maps = maps.reshape(*maps.shape[:2], coarse, _FLOOR_BLOCK, coarse, _FLOOR_BLOCK)
    maps += floor
    maps *= 1.0 / QUANTUM
    np.rint(maps, out=maps)
    maps *= QUANTUM
    return maps.reshape(*mixture.height.shape, HEATMAP_SIZE, HEATMAP_SIZE)


def detect(
    cells: np.ndarray,
    occluder_cells: np.ndarray,
    reason: np.ndarray,
    depth: np.ndarray,
    habits: np.ndarray,
    generator: np.random.Generator,
) -> np.ndarray:
    """Heatmaps (F, 16, 64, 64) float32 of the 17 joints at ``cells`` (F, 17, 2) (column, row of the map).

    occluder_cells: (F, 17, 2); reason, depth: (F, 17) of a :class:`data.synthetic.occlusion.Visibility`; habits: see
    :func:`draw_habits`.
    """
    pick = list(MPII_TO_H36M)
    cells, occluder_cells, reason, depth = (array[:, pick] for array in (cells, occluder_cells, reason, depth))
    unsure = doubt(reason, depth, habits, generator)
    return render(draw_mixture(cells, occluder_cells, reason, unsure, generator), generator)
