"""Bad input on the command line: one clear line, exit code 2, no traceback, nothing half written."""

import importlib
import subprocess
import sys

import h5py
import numpy as np
import pytest

from data.schema import ACTIONS
from tests.support.hdf5_files import make_columns, write_columnar
from tests.support.helpers import ROOT

EXPERIMENTS_WITH_SEEDS = ("frontier", "frame_errors", "keypoint_maps", "sweep")


def refused(result, *words):
    code, _, err = result
    assert code == 2
    # Progress bars, which a terminal wipes away, are no messages; a processor without bfloat16 is warned about once.
    lines = [line for line in err.replace("\r", "\n").splitlines() if line.strip() and "|" not in line]
    lines = [line for line in lines if not line.startswith("warning: this processor")]
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    assert "Traceback" not in err
    for word in words:
        assert word in lines[0]


def write_rows(path, change):
    """A file like tiny.h5 whose columns ``change`` may spoil."""
    splits = {}
    for split in ("trainset", "testset"):
        columns = make_columns("h36m", 30, split=split)
        columns["action"] = np.array(ACTIONS).repeat(2).astype("S16")
        change(columns)
        splits[split] = columns
    write_columnar(path, "h36m", splits)
    return path


def train(script, tiny, *settings):
    return script(
        "train", "--config", tiny, "--run_name", "x", "--no_eval", "--do_not_use_wandb", "--set", "WORKERS=0", *settings
    )


def use(path):
    return f"DATASET.ROOT={path.parent}", f"DATASET.TRAINFILE={path.name}", f"DATASET.TESTFILE={path.name}"


def test_without_human36m_the_way_out_is_named():
    """Also a check that the real command has no traceback: the others run in this process."""
    command = [sys.executable, ROOT / "train.py", "--config", ROOT / "diffpose.yaml", "--do_not_use_wandb"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    refused(
        (result.returncode, "", result.stderr),
        "H36M_dataset_h36m_hrnet.h5",
        "data/preprocessing/H36M.py",
        "make quickstart",
    )


def test_unknown_key_and_wrong_type(script, tiny):
    refused(train(script, tiny, "MODEL.EXTRA.NUM_SAMPELS=8"), "MODEL.EXTRA.NUM_SAMPELS", "NUM_SAMPLES")
    refused(train(script, tiny, "TRAIN.LR=fast"), "TRAIN.LR", "fast")
    assert [path.name for path in tiny.parent.iterdir()] == ["tiny.yaml"]


def test_missing_truncated_and_foreign_hdf5(script, tiny, tiny_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    refused(train(script, tiny, *use(folder / "absent.h5")), "absent.h5")
    whole = (tiny_data / "tiny.h5").read_bytes()
    (folder / "cut.h5").write_bytes(whole[: len(whole) // 2])
    refused(train(script, tiny, *use(folder / "cut.h5")), "cut.h5")
    (folder / "text.h5").write_text("hello")
    refused(train(script, tiny, *use(folder / "text.h5")), "text.h5")
    assert [path.name for path in tiny.parent.iterdir()] == ["tiny.yaml"]


def test_file_without_the_split_or_a_field(script, tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    write_columnar(folder / "no_train.h5", "h36m", {"testset": make_columns("h36m", 6)})
    refused(train(script, tiny, *use(folder / "no_train.h5")), "no_train.h5", "trainset")
    path = write_rows(folder / "no_field.h5", lambda columns: None)
    with h5py.File(path, "a") as file:
        del file["dataset/trainset/gt_3d"]
    refused(train(script, tiny, *use(path)), "no_field.h5", "gt_3d")
    assert [path.name for path in tiny.parent.iterdir()] == ["tiny.yaml"]


def test_heatmaps_of_another_shape(script, tiny, tmp_path_factory):
    path = write_rows(tmp_path_factory.mktemp("bad") / "small_maps.h5", lambda columns: None)
    with h5py.File(path, "a") as file:
        del file["dataset/trainset/heatmap"]
        file["dataset/trainset/heatmap"] = np.ones((30, 16, 32, 32), np.float16)
    refused(train(script, tiny, *use(path)), "small_maps.h5", "heatmap", "64")


@pytest.mark.parametrize("workers", [0, 2])
def test_nan_poses_and_joints_without_mass_name_their_row(script, tiny, tmp_path_factory, workers):
    folder = tmp_path_factory.mktemp("bad")

    def spoil_pose(columns):
        columns["gt_3d"][3, 0, 5] = np.nan

    def spoil_map(columns):
        columns["heatmap"][4, 9] = 0

    path = write_rows(folder / "nan.h5", spoil_pose)
    refused(train(script, tiny, *use(path), f"WORKERS={workers}", "TRAIN.NUM_STEPS=20"), "nan.h5", "row 3")
    path = write_rows(folder / "flat.h5", spoil_map)
    refused(
        script(
            "train",
            "--config",
            tiny,
            "--run_name",
            "y",
            "--no_eval",
            "--do_not_use_wandb",
            "--set",
            *use(path),
            f"WORKERS={workers}",
            "TRAIN.NUM_STEPS=20",
        ),
        "flat.h5",
        "row 4",
        "Head",
    )
    assert not list(tiny.parent.rglob("*.partial"))


def test_bad_rows_can_be_skipped_and_are_counted_in_an_evaluation(script, trained, tmp_path):
    def spoil(columns):
        columns["gt_3d"][3, 0, 5] = np.nan
        columns["heatmap"][4, 9] = 0

    path = write_rows(tmp_path / "two_bad.h5", spoil)
    args = (
        "--config",
        trained / "config.yaml",
        "--do_not_use_wandb",
        "--no_pictures",
        "--output",
        tmp_path,
        "--set",
        *use(path),
    )
    refused(script("eval", *args), "two_bad.h5", "row 3")
    assert not list(tmp_path.glob("report*"))
    code, out, err = script("eval", *args, "--skip_bad")
    assert code == 0, err
    assert "28 frames" in out
    assert "skipped rows 2" in out
    assert script("eval", *args, "--skip_bad", "--split", "full", "--save_predictions")[0] == 0
    predictions = ("--split", "full", "--predictions", tmp_path / "predictions_full.h5", "--skip_bad")
    code, out, err = script("eval", *args, *predictions)
    assert code == 0, err
    assert "28 frames" in out
    assert "skipped rows 2" in out
    refused(script("eval", *args, *predictions[:-1]), "two_bad.h5", "row 3")


def test_action_without_rows(script, trained, tmp_path):
    def drop_photo(columns):
        columns["action"][columns["action"] == b"Photo"] = b"Posing"

    path = write_rows(tmp_path / "no_photo.h5", drop_photo)
    args = (
        "--config",
        trained / "config.yaml",
        "--do_not_use_wandb",
        "--no_pictures",
        "--output",
        tmp_path,
        "--set",
        *use(path),
    )
    refused(script("eval", *args), "no_photo.h5", "Photo", "--actions")
    refused(script("eval", *args, "--actions", "Photo"), "Photo")
    assert script("eval", *args, "--actions", "Posing", "Walking")[0] == 0


def test_checkpoint_of_another_configuration(script, trained):
    args = ("eval", "--config", trained / "config.yaml", "--do_not_use_wandb", "--output", trained / "no")
    refused(script(*args, "--set", "MODEL.CONDITION_DIM=16"), "model-final.pt", "another configuration")
    refused(script(*args, "--set", "MODEL.TIMESTEPS=4"), "model-final.pt", "another configuration")
    assert not (trained / "no").exists()


def test_number_of_hypotheses_stride_and_device(script, trained):
    args = ("eval", "--config", trained / "config.yaml", "--do_not_use_wandb")
    refused(script(*args, "--num_hypotheses", 0), "--num_hypotheses 0")
    refused(script(*args, "--stride", 0), "--stride 0")
    refused(script(*args, "--device", "tpu"), "--device tpu")


def test_folder_without_a_checkpoint(script, tiny):
    refused(script("eval", "--config", tiny, "--do_not_use_wandb"), "model-final.pt", "no such checkpoint")


def test_run_folder_that_cannot_be_written(script, tiny):
    refused(train(script, tiny, f"OUTPUT_DIR={tiny}/below_a_file"), "run folder", "OUTPUT_DIR")
    refused(train(script, tiny, "OUTPUT_DIR=/proc/diffpose"), "/proc/diffpose_x")


def test_report_folder_that_cannot_be_written(script, trained, tiny):
    refused(
        script("eval", "--config", trained / "config.yaml", "--do_not_use_wandb", "--output", f"{tiny}/x"), "report"
    )


def test_predictions_that_do_not_fit(script, trained, tmp_path):
    args = (
        "eval",
        "--config",
        trained / "config.yaml",
        "--do_not_use_wandb",
        "--no_pictures",
        "--output",
        tmp_path,
        "--split",
        "full",
    )
    refused(script(*args, "--predictions", tmp_path / "absent.h5"), "absent.h5")
    with h5py.File(tmp_path / "few.h5", "w") as file:
        file["predictions/hypotheses"] = np.zeros((2, 3, 17, 3), np.float32)
        file["predictions/row"] = np.arange(2)
    refused(script(*args, "--predictions", tmp_path / "few.h5"), "few.h5", "28 of the 30 rows", "row 2")


@pytest.mark.parametrize(
    "script", ["train", "eval", "demo.inference", *(f"experiments.{name}" for name in EXPERIMENTS_WITH_SEEDS)]
)
def test_a_seed_that_is_none_is_refused(script, monkeypatch, capsys):
    module = importlib.import_module(script)
    flag = "--seeds" if script.endswith("sweep") else "--seed"
    for seed in ("-1", "1.5", str(2**64)):
        monkeypatch.setattr(sys, "argv", [script, flag, seed])
        with pytest.raises(SystemExit) as stop:
            getattr(module, "parse_arguments", module.main)()
        assert stop.value.code == 2
        assert f"{flag}: {seed}: a seed is a whole number from 0" in capsys.readouterr().err
