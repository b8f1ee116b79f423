"""Paths of a number over time, out of which motions are made: wandering, held poses, repeated gestures."""

from collections.abc import Callable

import numpy as np

FRAME_RATE = 50.0


def ease(share: np.ndarray) -> np.ndarray:
    """0..1 -> 0..1 with no speed at either end."""
    share = np.clip(share, 0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)


def keyed(rng: np.random.Generator, time: np.ndarray, draw: Callable[[], np.ndarray], *, every: float = 0.9, hold=0.2):
    """Values (F, ...) that pass through draws at irregular times about ``every`` seconds apart.

    hold: the share of each interval in which the value rests at its draw.
    """
    count = int(np.ceil(time[-1] / (0.7 * every))) + 3
    times = np.cumsum(every * rng.uniform(0.7, 1.3, count)) - every * rng.uniform(1.0, 1.6)
    values = np.stack([np.asarray(draw(), dtype=np.float64) for _ in range(count)])
    index = np.clip(np.searchsorted(times, time, side="right") - 1, 0, count - 2)
    share = (time - times[index]) / (times[index + 1] - times[index])
    weight = ease((share - hold) / (1.0 - hold)).reshape(-1, *[1] * (values.ndim - 1))
    return values[index] * (1 - weight) + values[index + 1] * weight


def wander(rng: np.random.Generator, time: np.ndarray, mean, spread, *, every: float = 0.9) -> np.ndarray:
    """Smooth path with the given mean and spread (scalars or vectors); draws within two and a half spreads."""
    mean, spread = np.broadcast_arrays(np.asarray(mean, dtype=np.float64), spread)
    level = mean + 0.5 * spread * np.clip(rng.standard_normal(mean.shape), -2.5, 2.5)
    return keyed(
        rng, time, lambda: level + 0.85 * spread * np.clip(rng.standard_normal(mean.shape), -2.2, 2.2), every=every
    )


def between(rng: np.random.Generator, time: np.ndarray, low, high, *, every: float = 0.9) -> np.ndarray:
    """Smooth path between ``low`` and ``high`` (scalars or vectors), uniform at its keys."""
    return keyed(rng, time, lambda: rng.uniform(low, high), every=every)


def cycles(time: np.ndarray, pace: np.ndarray) -> np.ndarray:
    """How many cycles (F,) have passed at ``pace`` (F,) cycles per second; times (F,) may lie far apart."""
    return np.cumsum(pace * np.diff(time, prepend=time[0] - 1.0 / FRAME_RATE))


def swing(rng: np.random.Generator, time: np.ndarray, period: float) -> np.ndarray:
    """-1..1, a sine with a drifting period and a random phase."""
    pace = 1.0 / (period * (1.0 + 0.12 * wander(rng, time, 0.0, 1.0, every=1.5)))
    return np.sin(2 * np.pi * (cycles(time, pace) + rng.uniform()))


def visits(rng: np.random.Generator, time: np.ndarray, period: float, *, stay: float = 0.3) -> np.ndarray:
    """0..1: a hand that goes to a place (1), stays there for a share of the period, and comes back (0)."""
    wave = 0.5 + 0.5 * swing(rng, time, period)
    return ease((wave - 0.5 + 0.5 * stay) / 0.45)
