"""Errors frame by frame: those of eval.py, for each frame; evaluations that are there already are kept."""

import json
import re
import shutil
import sys

import numpy as np
import pytest

from data.recordings import motions_of
from data.splits import evaluation_set
from experiments import frame_errors
from experiments.frame_errors import Frames, overrides_of
from utils.config import load_config
from utils.errors import DiffPoseError


@pytest.fixture
def run(monkeypatch):
    """Run the script with arguments and read its file."""

    def start(output, *args):
        monkeypatch.setattr(sys, "argv", ["frame_errors.py", "--output", str(output), *map(str, args)])
        assert frame_errors.main() == 0
        return json.loads(output.read_text())

    return start


def test_errors_of_every_frame_are_those_of_the_report(run, trained, tmp_path):
    output = tmp_path / "errors.json"
    arguments = ["--config", trained / "config.yaml", "--device", "cpu", "--evaluations"]
    content = run(output, *arguments, "raw")
    assert set(content["evaluations"]) == {"raw"}
    frames, errors = content["frames"], content["evaluations"]["raw"]["errors"]
    count = len(frames["row"])
    assert len(set(frames["row"])) == count
    assert all(len(values) == count for values in [*frames.values(), *errors.values()])

    report = json.loads((trained / "report.json").read_text())
    for result in report["results"]:
        chosen = np.array(frames[result["info"]["split"]], bool)
        assert chosen.sum() == result["num_frames"]
        for name, row in (
            ("best_5_mpjpe", "best"),
            ("mean_pose_mpjpe", "mean_pose"),
            ("zero_noise_mpjpe", "zero_noise"),
        ):
            found = np.array(errors[name])[chosen]
            if result["info"]["split"] == "full":  # averaged over actions there
                actions = np.array(frames["action"])[chosen]
                expected = np.mean([found[actions == action].mean() for action in set(actions)])
            else:
                expected = found.mean()
            assert expected == pytest.approx(result["rows"][row]["mpjpe"], rel=1e-3)
    before = content["evaluations"]["raw"]
    content = run(output, *arguments, "raw", "ema/published", "ema/ddim:2")
    assert set(content["evaluations"]) == {"raw", "ema/published", "ema/ddim:2"}
    assert content["evaluations"]["raw"] == before
    assert content["evaluations"]["ema/ddim:2"]["steps"] == 2
    for evaluation in ("ema", "raw"):  # of which the file has the second already
        with pytest.raises(DiffPoseError, match="of other draws or weights"):
            run(output, "--seed", 1, *arguments, evaluation)
    content["frames"]["row"][0] += 1
    output.write_text(json.dumps(content))
    with pytest.raises(DiffPoseError, match="of other frames"):
        run(output, *arguments, "ema")


def test_evaluations_are_named_by_weights_and_sampler():
    assert overrides_of("raw") == ["TEST.WEIGHTS=raw"]
    assert overrides_of("ema/heun:5")[-2:] == ["TEST.SAMPLER=heun", "TEST.STEPS=5"]
    for wrong in ("best", "ema/ddim", "raw/ddim:x", "ema/ddim:0", "ema/auto:3", "ema/nothing:5"):
        with pytest.raises(DiffPoseError, match=f"--evaluations {wrong}"):
            overrides_of(wrong)


def test_rows_of_one_motion_have_one_number(trained):
    config = load_config(trained / "config.yaml")
    rows = evaluation_set(config, "full")
    numbers = motions_of(rows, "test")
    assert numbers.shape == (len(rows),)
    frames = Frames(config)
    assert frames.about["motion"][: len(rows)] == numbers.tolist()


def test_ambiguity_is_the_mean_over_joints(trained, monkeypatch):
    monkeypatch.setattr(frame_errors, "heatmap_spread", lambda maps: np.tile(np.arange(16.0), (len(maps), 1)))
    frames = Frames(load_config(trained / "config.yaml"))
    frames.measure_ambiguity()
    assert frames.about["ambiguity"] == [7.5] * len(frames.dataset)


def test_another_file_is_not_overwritten(run, trained, tmp_path):
    output = tmp_path / "mine.json"
    output.write_text("{}")
    with pytest.raises(DiffPoseError, match=r"not a whole file of .*about"):
        run(output, "--config", trained / "config.yaml")
    assert output.read_text() == "{}"


def test_what_cannot_be_done_leaves_no_file(run, trained, tmp_path):
    output = tmp_path / "errors.json"
    with pytest.raises(DiffPoseError, match=r"TEST\.STEPS"):
        run(output, "--config", trained / "config.yaml", "--evaluations", "ema", "ema/ddim:99")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text((trained / "config.yaml").read_text())
    (folder / "model-final.pt").write_text("junk")
    with pytest.raises(DiffPoseError, match=r"model-final\.pt"):
        run(output, "--config", folder / "config.yaml")
    (folder / "model-final.pt").unlink()
    text = (folder / "config.yaml").read_text().replace("CHECKPOINT: ''", "CHECKPOINT: nowhere/model-final.pt")
    (folder / "config.yaml").write_text(text)
    with pytest.raises(DiffPoseError, match=r"nowhere/model-final\.pt: no such checkpoint"):
        run(output, "--config", folder / "config.yaml")
    assert not output.exists()


def test_evaluations_of_a_file_have_as_many_hypotheses(run, trained, tmp_path):
    folder, output = tmp_path / "run", tmp_path / "errors.json"
    shutil.copytree(trained, folder)
    run(output, "--config", folder / "config.yaml", "--device", "cpu", "--evaluations", "raw")
    path = folder / "config.yaml"
    path.write_text(re.sub(r"NUM_HYPO: \d+", "NUM_HYPO: 3", path.read_text()))
    with pytest.raises(DiffPoseError, match="not of 3 hypotheses"):
        run(output, "--config", path, "--evaluations", "raw")


def test_a_folder_that_cannot_be_written_is_known_before_the_evaluation(run, trained, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(frame_errors, "evaluate", lambda *_args, **_options: pytest.fail("too late"))
    with pytest.raises(DiffPoseError, match="file"):
        run(tmp_path / "file" / "errors.json", "--config", trained / "config.yaml")
