"""The scripts as their users run them: train, resume, evaluate, score predictions."""

import json
import shutil
import signal

import pytest
import torch
import yaml

import train as train_script
from models import build_model
from tests.support.helpers import FIXTURES, deterministic_weights
from tests.support.processes import ForkedScript
from utils.config import load_config
from utils.ema import Ema


def report(folder):
    return json.loads((folder / "report.json").read_text())["results"]


def weights(folder, part="model"):
    return torch.load(folder / "model-final.pt", weights_only=True)[part]


# Rules that choose among hypotheses: where two are as good, rounding decides, and a frame's pose changes as a whole.
CHOOSING = {"heatmap_best", "heatmap_mean", "medoid"}


def same_numbers(a, b, within=1e-3, choosing=0.0):
    """All rows agree to ``within``; ``choosing``: relative tolerance of the rules that choose, for other roundings."""
    for ours, theirs in zip(a, b, strict=True):
        for row, scores in ours["rows"].items():
            for key, value in scores.items():
                relative = choosing if row in CHOOSING else 0.0
                assert value == pytest.approx(theirs["rows"][row][key], abs=within, rel=relative), (row, key)


def test_training_leaves_a_whole_run_folder(trained):
    names = {path.name for path in trained.iterdir()}
    assert {
        "config.yaml",
        "model-final.pt",
        "model-1.pt",
        "state-4.pt",
        "log.jsonl",
        "report.json",
        "report.txt",
        "hypotheses_full.png",
        "hypotheses_hard.png",
        "best_of_n.png",
        "calibration.png",
    } <= names
    assert not [name for name in names if name.endswith(".partial")]
    lines = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert all(line["loss"] > 0 for line in lines)
    full, hard = report(trained)
    assert (full["num_frames"], hard["num_frames"]) == (30, 10)
    assert full["averaging"] == "by action"
    assert {"best", "median", "mean", "worst", "mean_pose", "zero_noise", "blind_mean_pose", "blind_best"} <= set(
        full["rows"]
    )


def test_equal_seeds_give_equal_weights_whatever_the_workers(script, tiny, trained):
    code, _, err = script(
        "train",
        "--config",
        tiny,
        "--seed",
        1,
        "--run_name",
        "b",
        "--no_eval",
        "--do_not_use_wandb",
        "--set",
        "WORKERS=2",
    )
    assert code == 0, err
    ours, theirs = weights(tiny.parent / "run_b"), weights(trained)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert not (tiny.parent / "run_b" / "report.json").exists()


def test_other_seed_gives_other_weights(script, tiny, trained):
    script("train", "--config", tiny, "--seed", 2, "--run_name", "c", "--no_eval", "--do_not_use_wandb")
    ours, theirs = weights(tiny.parent / "run_c"), weights(trained)
    assert not torch.equal(ours["denoise_fn.pose.weight"], theirs["denoise_fn.pose.weight"])


def test_resume_goes_on_from_the_newest_state_and_ends_equal(script, tiny, trained):
    folder = tiny.parent / "run_a"
    shutil.copytree(trained, folder)
    for name in ("model-final.pt", "state-4.pt"):
        (folder / name).unlink()
    args = ("--config", tiny, "--seed", 1, "--run_name", "a", "--no_eval", "--do_not_use_wandb")
    code, _, err = script("train", *args)
    assert code == 2
    assert "holds a run already" in err
    code, out, err = script("train", *args, "--resume")
    assert code == 0, err
    assert "at step 2" in out
    ours, theirs = weights(folder), weights(trained)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    ours, theirs = weights(folder, "ema"), weights(trained, "ema")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_resume_keys_continue_from_a_named_state(script, tiny, trained):
    for settings in (
        [f"TRAIN.RESUME={trained / 'state-2.pt'}"],
        ["TRAIN.RESUME=true", f"TRAIN.CHECKPOINT={trained / 'state-2.pt'}"],
    ):
        name = f"d{len(settings)}"
        code, out, err = script(
            "train",
            "--config",
            tiny,
            "--seed",
            1,
            "--run_name",
            name,
            "--no_eval",
            "--do_not_use_wandb",
            "--set",
            *settings,
        )
        assert code == 0, err
        assert "resumed" in out
        ours, theirs = weights(tiny.parent / f"run_{name}"), weights(trained)
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_signal_saves_and_stops_and_the_run_can_go_on(script, tiny, monkeypatch):
    log = train_script.Tracker.log

    def log_then_signal(self, step, **numbers):
        log(self, step, **numbers)
        if step == 3:
            signal.raise_signal(signal.SIGTERM)

    args = ("--config", tiny, "--seed", 1, "--run_name", "s", "--no_eval", "--do_not_use_wandb")
    with monkeypatch.context() as patch:
        patch.setattr(train_script.Tracker, "log", log_then_signal)
        code, _, err = script("train", *args)
    assert code == 130
    assert "stopped at step 3" in err
    folder = tiny.parent / "run_s"
    assert (folder / "state-3.pt").exists()
    assert not (folder / "model-final.pt").exists()
    code, out, _ = script("train", *args, "--resume")
    assert code == 0
    assert "at step 3" in out


def test_dry_run_prints_the_resolved_configuration_and_writes_nothing(script, tiny):
    code, out, _ = script("train", "--config", tiny, "--dry_run", "--set", "TRAIN.LR=3e-4")
    assert code == 0
    printed = yaml.safe_load(out)
    assert printed["TRAIN"]["LR"] == 3e-4
    assert printed["MODEL"]["CONDITION_DIM"] == 8
    assert [path.name for path in tiny.parent.iterdir()] == ["tiny.yaml"]


def test_saved_configuration_is_the_resolved_one(trained):
    config = load_config(trained / "config.yaml")
    assert config.train.num_steps == 4
    assert config.model.extra.drop_method == "any"


def test_validation_is_logged_in_training(script, tiny):
    code, _, err = script(
        "train",
        "--config",
        tiny,
        "--run_name",
        "v",
        "--no_eval",
        "--do_not_use_wandb",
        "--set",
        "TRAIN.VALIDATE_EVERY=2",
        "TRAIN.VALIDATE_FRAMES=5",
        "TRAIN.VALIDATE_HYPO=3",
        "TRAIN.SUBJECTS=[S1, S6, S7]",
        "TRAIN.VALIDATE_SUBJECTS=[S5, S8]",
    )
    assert code == 0, err
    lines = [json.loads(line) for line in (tiny.parent / "run_v" / "log.jsonl").read_text().splitlines()]
    curves = [line for line in lines if "validation/best_mpjpe" in line]
    assert [line["step"] for line in curves] == [2, 4]
    assert all(line["validation/mean_mpjpe"] >= line["validation/best_mpjpe"] > 0 for line in curves)


def test_evaluation_does_not_depend_on_batches_chunks_or_workers(script, trained, tmp_path):
    args = ("--config", trained / "config.yaml", "--do_not_use_wandb", "--no_pictures", "--output", tmp_path)
    for settings in (["TEST.BATCH_SIZE_PER_GPU=30", "TEST.CHUNK=2"], ["TEST.BATCH_SIZE_PER_GPU=1", "WORKERS=2"]):
        code, _, err = script("eval", *args, "--set", *settings)
        assert code == 0, err
        same_numbers(report(tmp_path), report(trained), within=0.01, choosing=0.01)
        assert not list(tmp_path.glob("*.png"))


def test_evaluation_seed_changes_the_draws(script, trained, tmp_path):
    script(
        "eval",
        "--config",
        trained / "config.yaml",
        "--do_not_use_wandb",
        "--no_pictures",
        "--output",
        tmp_path,
        "--seed",
        7,
    )
    assert report(tmp_path)[0]["rows"]["best"]["mpjpe"] != report(trained)[0]["rows"]["best"]["mpjpe"]


def test_predictions_are_saved_once_and_scored_again(script, trained, tmp_path):
    args = ("--config", trained / "config.yaml", "--do_not_use_wandb", "--no_pictures")
    code, _, err = script("eval", *args, "--output", tmp_path / "first", "--save_predictions")
    assert code == 0, err
    first = report(tmp_path / "first")
    for split, index in (("full", 0), ("hard", 1)):
        code, _, err = script(
            "eval",
            *args,
            "--output",
            tmp_path / split,
            "--split",
            split,
            "--predictions",
            tmp_path / "first" / f"predictions_{split}.h5",
        )
        assert code == 0, err
        same_numbers(report(tmp_path / split), first[index : index + 1])


def test_flags_choose_hypotheses_stride_weights_split_and_precision(script, trained, tmp_path):
    args = ("--config", trained / "config.yaml", "--do_not_use_wandb", "--no_pictures", "--output", tmp_path)
    code, _, err = script(
        "eval",
        *args,
        "--num_hypotheses",
        3,
        "--stride",
        2,
        "--weights",
        "ema",
        "--split",
        "full",
        "--precision",
        "tf32",
    )
    assert code == 0, err
    (full,) = report(tmp_path)
    assert (full["num_hypotheses"], full["num_frames"]) == (3, 15)
    assert (full["info"]["weights"], full["info"]["precision"], full["info"]["stride"]) == ("ema", "tf32", 2)


def test_published_checkpoint_evaluates(tmp_path, tiny_data):
    """The published form: config.yaml with legacy keys beside a dict of step, model, ema and scaler."""
    folder = tmp_path / "published"
    folder.mkdir()
    text = (FIXTURES / "published_main.yaml").read_text()
    parsed = yaml.safe_load(text)["DATASET"]
    for key, value in (("ROOT", tiny_data), ("TRAINFILE", "tiny.h5"), ("TESTFILE", "tiny.h5")):
        text = text.replace(f"{key}: {parsed[key]}", f"{key}: {value}").replace(
            f"{key}: '{parsed[key]}'", f"{key}: {value}"
        )
    (folder / "config.yaml").write_text(text)
    model = deterministic_weights(build_model(load_config(folder / "config.yaml", report=lambda line: None)))
    ema = Ema(model).state_dict()
    for name in ("initted", "step"):
        ema[name] = ema[name].reshape(1)
    torch.save(
        {"step": 700_000, "model": model.state_dict(), "ema": ema, "scaler": {"scale": 65536.0}},
        folder / "model-final.pt",
    )
    options = ("--do_not_use_wandb", "--num_hypotheses", 2, "--stride", 1, "--no_pictures")
    code, _, err = ForkedScript("eval.py", "--config", folder / "config.yaml", *options, logs=tmp_path).wait()
    assert code == 0, err
    assert "keys without effect are ignored" in err
    assert report(folder)[0]["num_frames"] == 30


def test_our_model_entry_loads_into_the_published_names(trained, vectors):
    content = torch.load(trained / "model-final.pt", weights_only=True)
    assert set(content) == {"step", "model", "ema", "scaler"}
    names = {entry.split(" ")[0] for entry in vectors("diffpose")["state_dict_names"]}
    assert set(content["model"]) == names
