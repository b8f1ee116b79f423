"""Known samplers have known calibration: ideal, overconfident, underconfident."""

import numpy as np
import pytest
import torch

from utils.evaluation.calibration import LEVELS, CalibrationCounter, observed_shares
from utils.evaluation.metrics import truth_ranks

JOINTS = ("Hip", "Knee", "Foot")
FRAMES, HYPOTHESES = 3000, 50


def measured(spread_ratio, *, parts=1, seed=0):
    """Calibration of hypotheses whose spread is ``spread_ratio`` times that of the truth around their centre."""
    rng = np.random.default_rng(seed)
    scale = rng.uniform(10, 80, size=(FRAMES, 1, 3, 1)) * np.array([1.0, 0.5, 3.0])
    scale[:, :, 0] = 0
    centre = rng.normal(size=(FRAMES, 1, 3, 3)) * 300
    truth = (centre + rng.normal(size=(FRAMES, 1, 3, 3)) * scale)[:, 0]
    poses = centre + rng.normal(size=(FRAMES, HYPOTHESES, 3, 3)) * scale * spread_ratio
    closer, farther = truth_ranks(torch.from_numpy(poses), torch.from_numpy(truth))
    counter = CalibrationCounter(num_hypotheses=HYPOTHESES, joints=JOINTS)
    for part in np.array_split(np.arange(FRAMES), parts):
        counter.add(closer[part].numpy(), farther[part].numpy())
    return counter.result()


def test_ideal_sampler():
    calibration = measured(1.0)
    assert calibration.error < 0.02
    np.testing.assert_allclose(calibration.observed, LEVELS, atol=0.03)
    assert calibration.truth_quantile == pytest.approx(0.5, abs=0.03)
    assert calibration.joints == JOINTS[1:]
    assert calibration.num_frames == FRAMES


def test_overconfident_sampler():
    calibration = measured(0.5)
    assert calibration.error > 0.2
    assert all(observed < level for observed, level in zip(calibration.observed, LEVELS, strict=True))
    assert calibration.truth_quantile < 0.3


def test_underconfident_sampler():
    calibration = measured(2.0)
    assert calibration.error > 0.2
    assert all(observed > level for observed, level in zip(calibration.observed, LEVELS, strict=True))
    assert calibration.truth_quantile > 0.7


def test_batches_do_not_matter():
    whole, parts = measured(0.8), measured(0.8, parts=7)
    assert parts.observed_per_joint == whole.observed_per_joint
    assert parts.truth_quantile_per_joint == pytest.approx(whole.truth_quantile_per_joint)


@pytest.mark.parametrize("hypotheses", [2, 7, 200])
def test_uniform_ranks_are_ideal_at_every_level(hypotheses):
    np.testing.assert_allclose(observed_shares(np.full((1, hypotheses + 1), 3))[0], LEVELS, atol=1e-12)


def test_extremes():
    counts = np.zeros((2, 11), dtype=int)
    counts[0, 10] = counts[1, 0] = 5
    observed = observed_shares(counts)
    assert observed[0, :18].max() == 0  # the truth is farther out than every hypothesis
    assert observed[1, 1:].min() == 1  # and nearer than all of them


def test_misuse():
    with pytest.raises(ValueError, match="at least 2"):
        CalibrationCounter(num_hypotheses=1, joints=JOINTS)
    counter = CalibrationCounter(num_hypotheses=2, joints=JOINTS)
    with pytest.raises(ValueError, match="no frame"):
        counter.result()
    with pytest.raises(ValueError, match="ranks must be"):
        counter.add(np.zeros((4, 2), dtype=int), np.zeros((4, 2), dtype=int))
