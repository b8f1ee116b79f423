"""Drawn heatmaps: where they peak, how wide and high they are, and what is not seen."""

import numpy as np
import pytest

from data.keypoints.drawing import PEAKS, draw_heatmaps
from utils.heatmaps import LOST_LEVEL, moments


def test_place_width_and_height_follow_point_and_confidence():
    cells = np.array([[[20.0, 40.0], [31.5, 30.0], [31.0, 30.0]]])
    maps = draw_heatmaps(cells, np.array([[1.0, 0.5, 0.01]]))
    assert maps.shape == (1, 3, 64, 64)
    assert maps.dtype == np.float32
    assert np.unravel_index(maps[0, 0].argmax(), (64, 64)) == (40, 20)
    of = moments(maps[0])
    np.testing.assert_allclose(of.mean[:2], cells[0, :2], atol=1e-3)
    wide = np.sqrt(of.variance[:2].mean(1))
    std = PEAKS.std(np.array([1.0, 0.5]))
    # Moments leave out what is under a tenth of the peak: 0.863 of a Gaussian's width.
    np.testing.assert_allclose(wide, 0.863 * std, rtol=0.03)
    assert std[1] > 1.2 * std[0]
    assert maps[0, 0].max() == pytest.approx(PEAKS.height)
    assert maps[0, 1].max() < 0.9 * maps[0, 0].max()
    assert (maps[0, 2] == np.float32(LOST_LEVEL)).all()


def test_a_rules_error_widens_and_a_point_outside_stays_at_the_edge():
    cells = np.array([[[30.0, 30.0], [-9.0, 80.0], [np.nan, np.nan]]])
    maps = draw_heatmaps(cells, np.array([[1.0, 1.0, 0.0]]), np.array([[3.0, 0.0, 0.0]]))
    assert np.sqrt(moments(maps[0]).variance[0].mean()) > 2.7
    assert np.unravel_index(maps[0, 1].argmax(), (64, 64)) == (63, 0)
    assert np.isfinite(maps).all()
