"""Paired comparisons of runs, frame by frame and seed by seed, with bootstrap intervals over motions and seeds.

Frames of one motion are not independent, and neither are the frames of one training: an interval resamples whole
motions and, beside them, seeds (scipy.stats.bootstrap on two samples, percentiles).
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import bootstrap

from experiments.frame_errors import read_run
from utils.errors import DiffPoseError
from utils.evaluation.calibration import LEVELS, observed_shares

RESAMPLES = 10_000
CALIBRATION = "calibration_error"


@dataclass(frozen=True)
class Evaluated:
    """One way to sample from the S trainings of a configuration, on F frames.

    ``errors``: name -> (S, F), mm. ``closer``: (S, F, J) hypotheses closer to their median pose than the truth.
    """

    errors: Mapping[str, np.ndarray]
    closer: np.ndarray
    hypotheses: int
    sampler: str
    steps: int


@dataclass(frozen=True)
class Trained:
    """All trainings of a configuration: ``name`` without its folder, seeds in order, and evaluation -> Evaluated.

    ``steps`` x ``batch``: the budget of each; ``minutes``: wall time of all, evaluation included.
    """

    name: str
    seeds: tuple[int, ...]
    steps: int
    batch: int
    minutes: float
    evaluations: Mapping[str, Evaluated]

    def of_seeds(self, seeds: Sequence[int], evaluation: str) -> Evaluated:
        """An evaluation of these seeds alone."""
        whole, places = self.evaluations[evaluation], [self.seeds.index(seed) for seed in seeds]
        errors = {name: values[places] for name, values in whole.errors.items()}
        return dataclasses.replace(whole, errors=errors, closer=whole.closer[places])


@dataclass(frozen=True)
class Frames:
    """The F frames that all runs share: ``motion`` (F,) numbers from 0, ``full``, ``hard`` (F,) bool, ``ambiguity``."""

    motion: np.ndarray
    full: np.ndarray
    hard: np.ndarray
    ambiguity: np.ndarray
    source: str
    stride: int

    def split(self, name: str) -> np.ndarray:
        """(F,) bool: the frames of full or hard."""
        return {"full": self.full, "hard": self.hard}[name]


def read_runs(folder: Path) -> tuple[Frames, dict[str, Trained]]:
    """The frames and, by short name, every configuration below a folder of ``sweep.py --frame_errors``.

    Only evaluations that all seeds of a configuration have count. Raises DiffPoseError when there is nothing to read,
    and when files are of different frames, draws or budgets.
    """
    files = {path: read_run(path) for path in sorted(folder.rglob("seed*.json"))}
    if not files:
        raise DiffPoseError(f"{folder}: holds no seed<number>.json: run experiments/sweep.py --frame_errors first")
    first = next(iter(files))
    for path, content in files.items():
        if content["frames"] != files[first]["frames"] or content["about"]["seed"] != files[first]["about"]["seed"]:
            raise DiffPoseError(f"{path}: of other frames or draws than {first}: evaluate one of them again")
    about, frames = files[first]["about"], files[first]["frames"]
    groups: dict[str, list[dict]] = {}
    for content in files.values():
        groups.setdefault(Path(content["experiment"]["name"]).name, []).append(content)
    found = Frames(
        motion=np.unique(frames["motion"], return_inverse=True)[1],
        full=np.array(frames["full"], bool),
        hard=np.array(frames["hard"], bool),
        ambiguity=np.array(frames["ambiguity"], float),
        source=about["source"],
        stride=about["stride"],
    )
    return found, {name: _trained(name, contents) for name, contents in groups.items()}


def _trained(name: str, contents: list[dict]) -> Trained:
    contents = sorted(contents, key=lambda content: content["experiment"]["seed"])
    abouts = [content["experiment"] for content in contents]
    kinds = {(about["name"], about["steps"], about["batch"]) for about in abouts}
    if len(kinds) > 1 or len({about["seed"] for about in abouts}) < len(abouts):
        raise DiffPoseError(
            f"{name}: its files are of several configurations or budgets, or of one seed twice: keep one"
        )
    shared = [key for key in contents[0]["evaluations"] if all(key in other["evaluations"] for other in contents)]
    evaluations = {}
    for key in shared:
        parts = [content["evaluations"][key] for content in contents]
        ways = {(*(part[what] for what in ("sampler", "steps", "hypotheses")), *part["errors"]) for part in parts}
        if len(ways) > 1:
            raise DiffPoseError(f"{name}: its seeds were sampled in several ways for '{key}': evaluate them again")
        names = [error for error in parts[0]["errors"] if error != "closer"]
        evaluations[key] = Evaluated(
            errors={error: np.array([part["errors"][error] for part in parts]) for error in names},
            closer=np.array([part["errors"]["closer"] for part in parts]),
            hypotheses=parts[0]["hypotheses"],
            sampler=parts[0]["sampler"],
            steps=parts[0]["steps"],
        )
    return Trained(
        name,
        seeds=tuple(about["seed"] for about in abouts),
        steps=abouts[0]["steps"],
        batch=abouts[0]["batch"],
        minutes=sum(about["minutes"] for about in abouts),
        evaluations=evaluations,
    )


# --- scores of weighted motions

Score = Callable[[np.ndarray], np.ndarray]
"""From R weightings of the M motions, (R, M) counts, to each seed's score, (R, S)."""


def mean_score(errors: np.ndarray, motion: np.ndarray) -> Score:
    """The mean over frames of errors (S, F); ``motion`` (F,) from 0."""
    number = motion.max() + 1
    sums = np.stack([np.bincount(motion, seed, minlength=number) for seed in errors])  # (S, M)
    counts = np.bincount(motion, minlength=number)
    return lambda weights: (weights @ sums.T) / (weights @ counts)[:, None]


def calibration_score(closer: np.ndarray, motion: np.ndarray, hypotheses: int) -> Score:
    """The calibration error (utils/evaluation/calibration.py) of ranks (S, F, J)."""
    ranks = np.eye(hypotheses + 1)
    shares = observed_shares(ranks)[closer].astype(np.float32)  # (S, F, J, L): how much of each level holds the truth
    number = motion.max() + 1
    sums = np.zeros((number, *shares.shape[:1], *shares.shape[2:]))
    np.add.at(sums, motion, shares.swapaxes(0, 1))
    counts = np.bincount(motion, minlength=number)

    def score(weights: np.ndarray) -> np.ndarray:
        observed = np.tensordot(weights, sums, axes=1) / (weights @ counts)[:, None, None, None]
        return np.abs(observed - np.asarray(LEVELS)).mean((2, 3))

    return score


def score_of(evaluated: Evaluated, name: str, frames: Frames, chosen: np.ndarray) -> Score:
    """The score called ``name`` (a key of ``errors``, or calibration_error) on the chosen (F,) bool frames."""
    motion = np.unique(frames.motion[chosen], return_inverse=True)[1]
    if name == CALIBRATION:
        return calibration_score(evaluated.closer[:, chosen], motion, evaluated.hypotheses)
    return mean_score(evaluated.errors[name][:, chosen], motion)


def seed_scores(evaluated: Evaluated, name: str, frames: Frames, chosen: np.ndarray) -> np.ndarray:
    """Each seed's score on the chosen (F,) bool frames, (S,)."""
    return score_of(evaluated, name, frames, chosen)(np.ones((1, len(np.unique(frames.motion[chosen])))))[0]


# --- differences and their intervals

Intervals = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Values, and the lower and upper ends of their 95 % intervals."""


@dataclass(frozen=True)
class Difference:
    """A paired difference: its mean, its 95 % interval, and every seed's own."""

    size: float
    low: float
    high: float
    by_seed: tuple[float, ...]

    @property
    def verdict(self) -> str:
        """What the interval says of a claim that the difference is positive."""
        return "holds" if self.low > 0 else "does not hold" if self.high < 0 else "open"


def resampled(score: Score, motions: int, seeds: int, *, resamples: int = RESAMPLES) -> Intervals:
    """Value, lower and upper end of the 95 % interval of a score averaged over seeds.

    Every interval of as many motions and seeds is made of the same resamples. ``score`` may also give (R, S, G): G
    values at once, and so G intervals.
    """

    def statistic(chosen_motions: np.ndarray, chosen_seeds: np.ndarray, axis: int) -> np.ndarray:
        rows, picks = np.atleast_2d(chosen_motions), np.atleast_2d(chosen_seeds)
        weights = np.stack([np.bincount(row, minlength=motions) for row in rows]).astype(float)
        values = score(weights)  # (R, S) or (R, S, G)
        picks = picks.reshape(*picks.shape, *(1,) * (values.ndim - 2))
        means = np.take_along_axis(values, picks, axis=1).mean(1)
        return np.moveaxis(means, 0, -1) if chosen_motions.ndim > 1 else means[0]

    samples = (np.arange(motions), np.arange(seeds) if seeds > 1 else np.zeros(2, int))  # scipy wants two of each
    found = bootstrap(
        samples,
        statistic,
        vectorized=True,
        axis=-1,
        n_resamples=resamples,
        batch=1000,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    value = statistic(*samples, axis=-1)
    return value, found.confidence_interval.low, found.confidence_interval.high


def difference(
    larger: Evaluated, smaller: Evaluated, name: str, frames: Frames, chosen: np.ndarray, *, resamples: int = RESAMPLES
) -> Difference:
    """How much larger a score is of one than of the other, on the chosen (F,) bool frames and the same seeds."""
    above, below = (score_of(evaluated, name, frames, chosen) for evaluated in (larger, smaller))
    motions = len(np.unique(frames.motion[chosen]))
    value, low, high = resampled(
        lambda weights: above(weights) - below(weights), motions, len(larger.closer), resamples=resamples
    )
    by_seed = (above(np.ones((1, motions))) - below(np.ones((1, motions))))[0]
    return Difference(float(value), float(low), float(high), tuple(by_seed.tolist()))


def gain_curve(
    gains: np.ndarray, frames: Frames, at: np.ndarray, *, width: float, resamples: int = RESAMPLES
) -> Intervals:
    """Gain as a curve over the frames' ambiguity: value, low and high at ``at`` (G,), each (G,).

    gains: (S, F). A Gaussian kernel averages over the logarithm of the ambiguity, ``width`` its standard deviation.
    """
    apart = np.log(at)[None, :] - np.log(frames.ambiguity)[:, None]
    kernel = np.exp(-0.5 * (apart / width) ** 2)  # (F, G)
    number = frames.motion.max() + 1
    sums, counts = np.zeros((number, len(gains), len(at))), np.zeros((number, len(at)))
    np.add.at(sums, frames.motion, np.einsum("sf,fg->fsg", gains, kernel))
    np.add.at(counts, frames.motion, kernel)

    def score(weights: np.ndarray) -> np.ndarray:
        return np.tensordot(weights, sums, axes=1) / (weights @ counts)[:, None, :]

    return resampled(score, number, len(gains), resamples=resamples)
