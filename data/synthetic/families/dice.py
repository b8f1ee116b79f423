"""Random numbers, one for each pose of a batch."""

import numpy as np


class Dice:
    """Draws ``count`` values at a time; means, spreads and bounds may be numbers or vectors (K,)."""

    def __init__(self, rng: np.random.Generator, count: int):
        self.rng = rng
        self.count = count

    def between(self, low, high) -> np.ndarray:
        """Uniform values (count,) or (count, K)."""
        return self.rng.uniform(low, high, (self.count, *np.shape(low)))

    def around(self, mean, spread) -> np.ndarray:
        """Normal values (count,) or (count, K), none further than two and a half spreads from the mean."""
        shape = np.broadcast_shapes(np.shape(mean), np.shape(spread))
        return mean + spread * np.clip(self.rng.standard_normal((self.count, *shape)), -2.5, 2.5)

    def chance(self, probability: float) -> np.ndarray:
        """True with a probability: (count,) of bool."""
        return self.rng.uniform(size=self.count) < probability

    def pick(self, weights) -> np.ndarray:
        """Indices (count,) into ``weights``, each as often as its weight says."""
        weights = np.asarray(weights, dtype=np.float64)
        edges = np.cumsum(weights / weights.sum())
        return np.minimum(np.searchsorted(edges, self.rng.uniform(size=self.count)), len(weights) - 1)

    def pick_row(self, low: np.ndarray, high: np.ndarray, weights=None) -> tuple[np.ndarray, np.ndarray]:
        """One of several kinds for each pose: its index (count,), and values (count, K) between its bounds.

        low, high: (kinds, K).
        """
        low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
        kind = self.pick(np.ones(len(low)) if weights is None else weights)
        return kind, self.rng.uniform(low[kind], high[kind])
