"""The Gaussian fitted to a heatmap, and the hard subset that follows from it."""

import numpy as np
import pytest

from data.ambiguity import heatmap_spread, is_ambiguous


def gaussian(std_x, std_y=None, *, centre=(31.3, 30.8), turned=0.0, height=0.8):
    """A heatmap (64, 64) of a Gaussian whose first axis is turned by an angle in degrees."""
    x, y = np.meshgrid(np.arange(64) - centre[0], np.arange(64) - centre[1])
    cos, sin = np.cos(np.radians(turned)), np.sin(np.radians(turned))
    along, across = cos * x + sin * y, cos * y - sin * x
    return height * np.exp(-0.5 * (along / std_x) ** 2 - 0.5 * (across / (std_y or std_x)) ** 2)


@pytest.mark.parametrize("std", [1.5, 2.0, 4.0, 4.8, 5.3, 7.0])
@pytest.mark.parametrize("height", [0.15, 1.2])
def test_a_gaussians_own_spread_is_found_above_a_floor(std, height):
    noise = np.random.default_rng(0).normal(0.0, 0.003, (64, 64))
    maps = np.stack([gaussian(std, height=height), gaussian(std, height=height) + noise])[None]
    found = heatmap_spread(maps.astype(np.float16))
    np.testing.assert_allclose(found, std, rtol=0.06)


@pytest.mark.parametrize("turned", [0.0, 30.0, 90.0, 135.0])
def test_the_widest_axis_counts(turned):
    found = heatmap_spread(gaussian(6.0, 2.5, turned=turned)[None, None])
    np.testing.assert_allclose(found, 6.0, rtol=0.03)


def test_a_row_is_hard_when_any_joint_is():
    sure, broad = gaussian(2.0), gaussian(5.6)
    two_places = np.maximum(gaussian(2.0, centre=(15, 30)), gaussian(2.0, centre=(45, 30), height=0.6))
    rows = np.stack([[sure, sure], [sure, broad], [two_places, sure]])
    assert is_ambiguous(rows).tolist() == [False, True, True]
    assert is_ambiguous(rows, limit=6.0).tolist() == [False, False, True]


def test_a_map_without_a_positive_value_says_nothing():
    maps = np.stack([np.zeros((64, 64)), np.full((64, 64), -0.01)])[None]
    assert np.isinf(heatmap_spread(maps)).all()
    assert is_ambiguous(maps).tolist() == [True]


def test_many_rows_are_the_same_as_one_at_a_time():
    maps = np.random.default_rng(1).uniform(-0.01, 1, (70, 2, 64, 64)).astype(np.float16)
    together = heatmap_spread(maps)
    np.testing.assert_array_equal(together, np.concatenate([heatmap_spread(maps[i : i + 1]) for i in range(70)]))
