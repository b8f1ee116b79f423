"""Heatmaps as arrays: which cells count, their moments, where they peak, and whether their numbers are sound."""

from dataclasses import dataclass

import numpy as np

from utils.skeleton import HEATMAP_SIZE

COUNTED_SHARE = 0.1
"""Cells above this share of their map's peak count in moments, so that a detector's faint floor does not."""
LOST_LEVEL = 0.004
"""A map that holds this value everywhere says nothing: how a joint that is not seen is given to a lifter."""

# Bits of float16. Non-negative values are in the order of their patterns, and from here on they are infinite or NaN;
# read as unsigned numbers, negative values that are infinite or NaN are the largest.
_NON_FINITE, _NEGATIVE_NON_FINITE = 0x7C00, 0xFC00


@dataclass(frozen=True)
class Moments:
    """Of M maps: ``mass`` (M,), ``mean`` (M, 2) as (column, row), ``variance`` (M, 2) of both, ``covariance`` (M,)."""

    mass: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    covariance: np.ndarray


def moments(maps: np.ndarray) -> Moments:
    """Moments, in cells, of the part of each float32 map (M, H, W) above a tenth of its peak.

    A map without a positive value has mass 0, and NaN for the rest.
    """
    height, width = maps.shape[1:]
    peak = maps.max(axis=(1, 2), keepdims=True)
    maps = np.where(maps > COUNTED_SHARE * np.maximum(peak, 0), maps, 0)
    # Counted from the map's middle, where single precision is enough along a row.
    column = np.arange(width, dtype=np.float32) - width / 2
    row = np.arange(height, dtype=np.float64) - height / 2
    # Along each row: mass, first and second moment of the column.
    along = (maps @ np.stack([np.ones_like(column), column, column**2], axis=1)).astype(np.float64)  # (M, H, 3)
    mass = along[..., 0].sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_x, mean_y = along[..., 1].sum(axis=1) / mass, along[..., 0] @ row / mass
        var_x = along[..., 2].sum(axis=1) / mass - mean_x**2
        var_y = along[..., 0] @ row**2 / mass - mean_y**2
        covariance = along[..., 1] @ row / mass - mean_x * mean_y
    return Moments(
        mass=mass,
        mean=np.stack([mean_x + width / 2, mean_y + height / 2], axis=1),
        variance=np.stack([var_x, var_y], axis=1),
        covariance=covariance,
    )


def argmax_2d(heatmaps: np.ndarray) -> np.ndarray:
    """(row, column) / 64 of each map's first maximum: (N, 2, J) float32 for heatmaps (N, J, 64, 64)."""
    cells = heatmaps.reshape(*heatmaps.shape[:2], -1)
    if cells.dtype == np.float16 and (peak_bits(heatmaps)[0] > 0).all():
        # Positive values are in the order of their bits, and whole numbers are compared much faster.
        cells = cells.view(np.int16)
    cell = cells.argmax(axis=-1)  # (N, J)
    return (np.stack(np.divmod(cell, HEATMAP_SIZE), axis=1) / HEATMAP_SIZE).astype(np.float32)


def peak_bits(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of float16 maps (..., H, W): the bits (..., ) int16 of each peak, and whether all its values are finite.

    The bits are above zero where a value is, and are the peak's where all values are finite. Works on the bits
    as integers: reductions over float16 itself would cost more than reading it.
    """
    cells = maps.reshape(*maps.shape[:-2], -1)
    peak = cells.view("<i2").max(axis=-1)
    return peak, (peak < _NON_FINITE) & (cells.view("<u2").max(axis=-1) < _NEGATIVE_NON_FINITE)
