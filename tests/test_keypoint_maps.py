"""experiments/keypoint_maps.py: its scores on poses whose answer is known, options, and one line for other files."""

from types import SimpleNamespace

import numpy as np
import pytest

from experiments import keypoint_maps
from utils.errors import DiffPoseError
from utils.skeleton import COMMON13


class Exact:
    """An estimator whose hypotheses lie around the truth, and whose consensus is off by 30 mm in one joint."""

    def __init__(self, truth):
        self.truth, self.seen = truth, []

    def from_heatmaps(self, heatmaps, *, frames):
        self.seen.append(heatmaps)
        truth = self.truth[list(frames)]
        noise = np.random.default_rng(0).normal(0, 40, (len(truth), 50, 17, 3))
        consensus = truth.copy()
        consensus[:, 11, 2] += 30
        return SimpleNamespace(
            hypotheses_mm=(truth[:, None] + noise).astype(np.float32), consensus_mm=consensus.astype(np.float32)
        )


def test_the_table(tiny_data, monkeypatch, capsys):
    path = tiny_data / "tiny.h5"
    heatmaps, truth = keypoint_maps.read_rows(path, "testset", 2)
    assert heatmaps.shape == (15, 16, 64, 64)
    exact = Exact(truth)
    monkeypatch.setattr(keypoint_maps.PoseEstimator, "load", lambda *args, **options: exact)
    command = ["keypoint_maps.py", str(path), "--stride", "2", "--try_model", "width=3", "growth=0"]
    monkeypatch.setattr("sys.argv", command)
    keypoint_maps.main()
    lines = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [line[0].removeprefix("| ") for line in lines[2:]] == [
        "as they are",
        "drawn from peaks and confidences",
        "drawn from peaks alone",
        "width=3 growth=0",
    ]
    off = 30 / len(COMMON13.numbers)
    assert float(lines[2][1]) == pytest.approx(off, abs=0.06)
    assert 0 < float(lines[2][2]) < 10
    np.testing.assert_array_equal(exact.seen[0], heatmaps)
    cells, sure = keypoint_maps.peaks(heatmaps)
    assert cells.shape == (15, 16, 2)
    assert (sure == heatmaps.max((2, 3))).all()
    # Wider maps reach farther: those of 3 cells beyond those of 2.
    assert exact.seen[3].mean() > exact.seen[2].mean()


def test_one_line_for_what_does_not_fit(tmp_path, tiny_data):
    with pytest.raises(DiffPoseError, match="expected NAME=VALUE"):
        keypoint_maps.peak_model(["width"])
    with pytest.raises(DiffPoseError, match=r"the names are .*growth"):
        keypoint_maps.peak_model(["wide=3"])
    (tmp_path / "a.h5").write_text("no file")
    with pytest.raises(DiffPoseError, match=r"a\.h5: can't be read as HDF5"):
        keypoint_maps.read_rows(tmp_path / "a.h5", "testset", 1)
    with pytest.raises(DiffPoseError, match="choose another --split"):
        keypoint_maps.read_rows(tiny_data / "tiny.h5", "evening", 1)
