"""What the report says, and that what it writes is whole, readable and free of NaN."""

import dataclasses
import json

import numpy as np
import pytest

from utils.errors import DiffPoseError
from utils.evaluation import BY_ACTION, SplitInfo, evaluate
from utils.evaluation.report import SYNTHETIC_NOTICE, format_report, published_table, write_report
from utils.skeleton import H36M17

ACTIONS = ("Directions", "Walking")


def result_of(split="full", *, hypotheses=5, **info):
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(8, 17, 3)).astype(np.float32) * 300
    poses = truth[:, None] + rng.normal(size=(8, hypotheses, 17, 3)).astype(np.float32) * 50
    batch = {
        "row": np.arange(8),
        "hypotheses_mm": poses - poses[:, :, :1],
        "gt_mm": truth - truth[:, :1],
        "z0_mm": poses[:, 0] - poses[:, 0, :1],
    }
    facts = {"dataset": "h36m", "source": "synthetic: for a test", "stride": 16, "seed": 42, "weights": "ema"} | info
    return evaluate(
        [batch],
        skeleton=H36M17,
        info=SplitInfo(split=split, **facts),
        averaging=BY_ACTION,
        groups={row: ACTIONS[row % 2] for row in range(8)},
        expected_groups=(*ACTIONS, "Photo"),
        skipped_rows=[9],
    )


def test_text_states_its_conditions():
    result = result_of(checkpoint="runs/a/model-final.pt")
    text = format_report([result])
    for fact in (
        "8 frames",
        "stride 16",
        "5 hypotheses",
        "h36m17 (17)",
        "averaged by action (2 groups)",
        "skipped rows 1",
        "seed 42",
        "weights ema",
        "precision float32",
        "runs/a/model-final.pt",
        "no frame of: Photo",
    ):
        assert fact in text
    line = next(line for line in text.splitlines() if line.startswith("best of 5"))
    best = result.rows["best"]
    assert line.split()[3:] == [
        "oracle",
        f"{best['mpjpe']:.1f}",
        f"{best['pa_mpjpe']:.1f}",
        f"{best['mpjpe_sc']:.1f}",
        f"{100 * best['pck']:.1f}",
        f"{100 * best['pck_sc']:.1f}",
        f"{best['cps']:.1f}",
        f"{best['symmetry']:.1f}",
    ]
    assert all(any(line.startswith(action) for line in text.splitlines()) for action in ACTIONS)
    assert f"expected calibration error {result.calibration.error:.3f}" in text


def test_only_human36m_stands_beside_published_numbers():
    synthetic = format_report([result_of()])
    assert SYNTHETIC_NOTICE in synthetic
    assert "Wehrbein" not in synthetic
    assert "not Human3.6M" in format_report([result_of(source="mocap: somebody's")])
    assert "not comparable" not in format_report([result_of(dataset="3DHP", source="MPI-INF-3DHP")])
    real = result_of(source="Human3.6M", is_human36m=True)
    text = format_report([real, dataclasses.replace(real, info=dataclasses.replace(real.info, split="hard"))])
    assert "not comparable" not in text
    best = real.rows["best"]
    ours = next(line for line in text.splitlines() if line.startswith("ours"))
    assert ours.count(f"{best['mpjpe']:.1f} / {best['pa_mpjpe']:.1f}") == 2
    assert "44.2 / 32.1" in text
    assert "30.526" in text
    assert "not the published protocol on 'full': 5 hypotheses" in text


def test_published_table_needs_no_second_split():
    real = result_of("hard", source="Human3.6M", is_human36m=True)
    ours = next(line for line in published_table([real]) if line.startswith("ours"))
    assert ours.split()[1:3] == ["-", "-"]


@pytest.mark.parametrize("hypotheses", [1, 5])
def test_files(tmp_path, hypotheses):
    result = result_of(hypotheses=hypotheses, is_human36m=True)
    text = write_report([result], tmp_path / "run")
    assert (tmp_path / "run" / "report.txt").read_text() == text
    report = json.loads((tmp_path / "run" / "report.json").read_text(), parse_constant=pytest.fail)
    assert report["schema"] == "diffpose-report"
    stored = report["results"][0]
    assert stored["rows"] == result.rows
    assert stored["info"]["split"] == "full"
    assert len(stored["best_of_n"]["mpjpe"]) == hypotheses
    assert len(stored["cps_curve"]) == 300
    assert stored["missing_groups"] == ["Photo"]
    assert (stored["calibration"] is None) == (hypotheses == 1)
    assert len(report["published"]["methods"]) == 6
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["report.json", "report.txt"]


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(DiffPoseError, match="cannot be written"):
        write_report([result_of()], tmp_path / "run")
    assert (tmp_path / "run").read_text() == "a file"
