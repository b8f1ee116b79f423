"""Heatmaps made easy to compress: a lossy form of the same float16 arrays, which every reader takes as it is.

What takes the room in a file is a map's faint floor and the last bits of its values. Neither says much about where the
joint is, so the compact form drops both, and deflating the rows does the rest.
"""

import argparse
from dataclasses import dataclass

import numpy as np

from utils.heatmaps import peak_bits

STORAGE_ATTRIBUTE = "heatmap_storage"
"""Attribute of ``/dataset`` that says which form the maps are in."""
AS_PUBLISHED = "as published"
DEFAULT_THRESHOLD = 0.001
DEFAULT_MANTISSA_BITS = 5
_MANTISSA_BITS = 10


def compact_heatmaps(maps: np.ndarray, *, threshold: float, mantissa_bits: int) -> np.ndarray:
    """The compact form of maps (..., H, W), as float16.

    Cells below the share ``threshold`` (0 to below 1) of their map's peak become 0, and so do negative ones, which
    count as 0 in drawing candidates. The others are rounded to the nearest number whose mantissa has
    ``mantissa_bits`` (1 to 10) bits: their relative error is at most ``2 ** -(mantissa_bits + 1)`` (below
    ``2 ** -14``, where float16 loses bits anyway, the absolute error is at most what this is at ``2 ** -14``). The
    peak keeps its value, and so does a cell that would reach it by rounding: the first maximum stays where it was.

    The threshold is itself rounded up to such a number, so that compacting twice is compacting once. A map that is not
    finite or has no positive value comes back as it was: readers should find what is wrong with it.

    Raises ValueError for parameters out of range.
    """
    if not 0 <= threshold < 1 or not 1 <= mantissa_bits <= _MANTISSA_BITS:
        raise ValueError(f"threshold {threshold} of 0 to below 1, mantissa_bits {mantissa_bits} of 1 to 10")
    original = np.array(maps, dtype="<f2", order="C")
    bits = original.view("<i2").reshape(*original.shape[:-2], -1)
    peak, finite = (values[..., None] for values in peak_bits(original))
    usable = finite & (peak > 0)
    lost = _MANTISSA_BITS - mantissa_bits
    # Of whole numbers: a carry out of the mantissa raises the exponent, as it should.
    rounded = bits + np.int16((1 << lost) >> 1) & np.int16(-1 << lost)
    rounded *= bits >= _lowest_kept(peak, threshold, lost)
    exact = ~usable | (bits == peak) | (rounded >= peak)
    return np.where(exact, bits, rounded).view("<f2").reshape(original.shape)


def _lowest_kept(peak: np.ndarray, threshold: float, lost: int) -> np.ndarray:
    """Bit patterns of the smallest numbers without their ``lost`` last bits that reach the threshold."""
    limit = threshold * np.where(peak > 0, peak, 0).astype(np.int16).view("<f2").astype(np.float64)
    with np.errstate(invalid="ignore"):
        nearest = limit.astype("<f2")
        patterns = nearest.view("<i2") + (nearest < limit)
    return -(-patterns >> lost) << lost


@dataclass(frozen=True)
class CompactForm:
    """How heatmaps are compacted; its text is what a file says about them."""

    threshold: float = DEFAULT_THRESHOLD
    mantissa_bits: int = DEFAULT_MANTISSA_BITS

    @classmethod
    def parse(cls, text: str) -> "CompactForm":
        """The form with this threshold. Raises argparse.ArgumentTypeError for what is none."""
        try:
            share = float(text)
        except ValueError:
            share = -1.0
        if not 0 <= share < 1:
            raise argparse.ArgumentTypeError(f"'{text}' is no share from 0 to below 1")
        return cls(threshold=share)

    def __call__(self, maps: np.ndarray) -> np.ndarray:
        return compact_heatmaps(maps, threshold=self.threshold, mantissa_bits=self.mantissa_bits)

    def __str__(self) -> str:
        return f"compact: cells below {self.threshold:g} of the peak are 0, {self.mantissa_bits} mantissa bits"


def add_compact_option(parser: argparse.ArgumentParser) -> None:
    """``--compact [SHARE]``: gives a :class:`CompactForm`, None without it."""
    parser.add_argument(
        "--compact",
        nargs="?",
        type=CompactForm.parse,
        const=CompactForm(),
        metavar="SHARE",
        help="store heatmaps in a lossy, smaller form: cells below this share of their map's peak "
        f"({DEFAULT_THRESHOLD:g} if left out) are 0, mantissas have {DEFAULT_MANTISSA_BITS} bits",
    )
