"""The frontier tool: every setting once, paired intervals that hold what they should, and its three files."""

import json
import sys

import numpy as np
import pytest

from experiments import frontier
from experiments.frontier import Frames, compare, settings_of
from utils.config import load_config
from utils.errors import DiffPoseError


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the tool with arguments; returns what it printed."""

    def start(*args):
        monkeypatch.setattr(sys, "argv", ["frontier.py", *map(str, args)])
        assert frontier.main() == 0
        return capsys.readouterr().out

    return start


def test_files_of_a_frontier(run, trained, tmp_path):
    arguments = ["--config", trained / "config.yaml", "--output", tmp_path, "--frames", 6, "--num_hypotheses", 4]
    arguments += ["--samplers", "ancestral", "ddim", "ddim:0.5", "optimal", "--steps", 2, 3, "--sets", 0, 2]
    printed = run(*arguments)
    content = json.loads((tmp_path / "frontier.json").read_text())
    assert content["about"]["rows"] == "6 validation rows of tiny.h5"
    results = content["results"]
    assert results[0]["name"] == "published chain"
    assert len(results) == 1 + 4 * 2 * 2 - 1, "ancestral with all steps and sets is the published chain itself"
    assert all(number["difference"] == 0 for number in results[0]["numbers"].values())
    for result in results:
        for number in result["numbers"].values():
            assert number["value"] == pytest.approx(number["reference"] + number["difference"])
            assert number["interval"][0] <= number["interval"][1]
        assert result["hypotheses_per_s"] > 0
    assert (tmp_path / "frontier.md").read_text() in printed
    assert printed.count("| ddim ") == 4
    assert (tmp_path / "frontier.png").stat().st_size > 10_000


def test_what_cannot_be_is_one_line(trained):
    config = load_config(trained / "config.yaml")
    args = frontier.parse_arguments
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["frontier.py", "--config", "x", "--steps", "9"])
        with pytest.raises(DiffPoseError, match=r"TEST\.STEPS: at most MODEL\.TIMESTEPS \(3\)"):
            settings_of(config, args())
        patch.setattr(sys, "argv", ["frontier.py", "--config", "x", "--samplers", "heun", "--steps", "2"])
        with pytest.raises(DiffPoseError, match=r"TEST\.SAMPLER"):
            settings_of(config, args())


def test_each_setting_also_with_the_mirror_image(trained):
    config = load_config(trained / "config.yaml", ["TEST.FLIP=true"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["frontier.py", "--config", "x", "--samplers", "ddim", "--steps", "2", "--flip"])
        settings = settings_of(config, frontier.parse_arguments())
    assert [setting.name for setting in settings] == ["published chain", "ddim", "ddim, flip"]
    assert [setting.config.test.flip for setting in settings] == [False, False, True]


def frames(best, within):
    return Frames({"best_mpjpe": best}, within, 1.0)


def test_differences_are_paired_over_frames():
    """A gain of 1 mm in every frame is certain, however different the frames are; noise about 0 is not."""
    source = np.random.default_rng(0)
    best, within = source.uniform(20, 200, 300), source.uniform(size=(300, 16, 19)).round()
    certain = compare(frames(best - 1, within), frames(best, within))["best_mpjpe"]
    assert certain["difference"] == pytest.approx(-1)
    assert certain["interval"] == pytest.approx([-1, -1])
    unsure = compare(frames(best + source.normal(size=300), within), frames(best, within))["best_mpjpe"]
    low, high = unsure["interval"]
    assert low < 0 < high
    assert high - low == pytest.approx(2 * 1.96 / 300**0.5, rel=0.15)


def test_calibration_of_resampled_frames():
    """Balls that never hold the truth: each level misses by itself, 0.5 on average; the share within 80 % is 0."""
    nothing = compare(frames(np.ones(50), np.zeros((50, 16, 19))), frames(np.ones(50), np.ones((50, 16, 19))))
    assert nothing["calibration_error"]["value"] == pytest.approx(0.5)
    assert nothing["covered_80"]["value"] == 0
    assert nothing["covered_80"]["difference"] == pytest.approx(-1)
