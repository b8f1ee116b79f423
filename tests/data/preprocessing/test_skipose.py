"""Ski-Pose PTZ, a small folder in the true form: through preprocessing, validate.py and eval.py; and bad labels."""

import json
import re

import cv2
import h5py
import numpy as np
import pytest
import torch

from data.preprocessing.skipose.source import SkiPose
from data.preprocessing.validate import validate
from models import build_model, hrnet
from tests.conftest import TINY
from tests.support.fake_detector import run_script_here  # noqa: F401 - a fixture
from tests.support.hdf5_files import attributes
from tests.support.helpers import ROOT, deterministic_weights
from tests.support.ski_pose import DotDetector, add_skipose
from utils.config import change_config, load_config, save_config
from utils.errors import DiffPoseError
from utils.skeleton import skeleton_for

# (subj, seq, cam, frame): frames as the pictures count them, in any order.
TRAIN = [(1, 0, 0, 4), (1, 0, 0, 2), (1, 0, 1, 2), (2, 3, 0, 7)]
TEST = [(6, 5, camera, frame) for camera in (0, 2) for frame in (1, 2, 4, 5)] + [(6, 9, 1, 3)]
SMALL = ["DATASET.DATASET=SkiPose", "DATASET.TESTFILE=SkiPose_dataset_h36m_hrnet.h5", "TEST.BATCH_SIZE_PER_GPU=8"]


@pytest.fixture
def folder(tmp_path):
    add_skipose(tmp_path / "raw", "train", TRAIN)
    add_skipose(tmp_path / "raw", "test", TEST)
    return tmp_path / "raw"


@pytest.fixture
def convert(folder, tmp_path, run_script_here, monkeypatch):  # noqa: F811
    """convert(*arguments) -> (exit code, stderr, the path of the file) of SkiPose.py with a detector that sees dots."""
    monkeypatch.setattr(hrnet, "Detector", DotDetector)

    def run(*arguments):
        given = ("--input_dir", folder, "--output_dir", tmp_path / "out", "--device", "cpu", *arguments)
        code, _, err = run_script_here(ROOT / "data" / "preprocessing" / "SkiPose.py", *given)
        return code, err, tmp_path / "out" / "SkiPose_dataset_h36m_hrnet.h5"

    return run


def rows_of(path, split):
    with h5py.File(path, locking=False) as file:
        return {name: column[()] for name, column in file["dataset"][split].items()}


def change(folder, **changed):
    with h5py.File(folder / "test" / "labels.h5", "r+") as file:
        for name, values in changed.items():
            del file[name]
            if values is not None:
                file[name] = values


def test_labels_and_pictures_become_rows(convert, tmp_path):
    labels = add_skipose(tmp_path / "raw", "test", TEST)
    code, err, path = convert()
    assert code == 0, err
    train, test = rows_of(path, "trainset"), rows_of(path, "testset")
    named = [train[name].tolist() for name in ("subject", "action", "cam", "frame_orig")]
    assert list(zip(*named, strict=True)) == [
        (b"S1", b"seq_000", b"00", 2),
        (b"S1", b"seq_000", b"00", 4),
        (b"S1", b"seq_000", b"01", 2),
        (b"S2", b"seq_003", b"00", 7),
    ]
    assert test["frame_orig"].tolist() == [frame for _, _, _, frame in TEST]
    np.testing.assert_allclose(test["gt_3d"], 1000 * labels["3D"].reshape(-1, 17, 3).swapaxes(1, 2), rtol=1e-5)
    np.testing.assert_allclose(test["gt_2d"], 256 * labels["2D"].reshape(-1, 17, 2).swapaxes(1, 2), rtol=1e-5)
    with h5py.File(path, locking=False) as file:
        assert attributes(file["dataset"])["source"] == "Ski-Pose PTZ"


def test_the_file_is_in_order_and_planted_faults_are_found(convert, folder):
    """The detector sees the dots that stand in each row's own picture, so that maps and labels must belong together."""
    code, err, path = convert()
    assert code == 0, err
    report = validate(path, show_progress=False)
    assert report.findings == []
    assert f"{path}: skipose, columnar layout" in report.lines
    assert any(re.search(r"argmax 0\.\d cells from gt_2d", line) for line in report.lines)
    with h5py.File(folder / "test" / "labels.h5") as file:
        poses = file["3D"][()].reshape(-1, 17, 3)
    for changed, words in (
        (poses / 1000, ["gt_3d seems to be in metres instead of mm"]),
        (poses * (1, -1, 1), ["heads are below hips", "does not project onto gt_2d: it does with y negated"]),
        (poses * (-1, 1, 1), ["does not project onto gt_2d: it does with x negated", "knees bend backwards"]),
        (poses[:, ::-1], ["bones are no human's", "does not project"]),
    ):
        change(folder, **{"3D": changed.reshape(-1, 51)})
        assert convert("--force")[0] == 0
        findings = " | ".join(validate(path, show_progress=False).findings)
        for word in words:
            assert word in findings


@pytest.mark.usefixtures("narrow")
def test_it_is_evaluated_by_sequence(convert, tmp_path, script):
    code, err, path = convert()
    assert code == 0, err
    (tmp_path / "tiny.yaml").write_text(TINY.format(root=ROOT, output=tmp_path, data=path.parent))
    config = change_config(load_config(tmp_path / "tiny.yaml"), SMALL)
    save_config(config, tmp_path / "config.yaml")
    state = deterministic_weights(build_model(config)).state_dict()
    torch.save({"step": 1, "model": state, "ema": {}, "scaler": {}}, tmp_path / "model-final.pt")
    given = ["--config", tmp_path / "config.yaml", "--num_hypotheses", 2, "--weights", "raw", "--no_pictures"]
    code, _, err = script("eval", *given, "--do_not_use_wandb", "--device", "cpu")
    assert code == 0, err
    full = json.loads((tmp_path / "report.json").read_text())["results"][0]
    assert (full["info"]["dataset"], full["info"]["split"], full["info"]["stride"]) == ("SkiPose", "full", 1)
    assert {name: group["num_frames"] for name, group in full["groups"].items()} == {"seq_005": 8, "seq_009": 1}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"3D": None}, "has no '3D'"),
        ({"2D": np.zeros((9, 32))}, "'2D' has shape (9, 32), expected (9, 34)"),
        ({"3D": np.full((9, 51), np.nan)}, "'3D' holds values that are not finite, first in row 0"),
        ({"2D": np.full((9, 34), 120.0)}, "'2D' seems to be in px: expected shares of the picture's side"),
        ({"frame": np.arange(8)}, "'frame' has shape (8,), expected (9,) numbers"),
        ({"cam": np.full(9, -1)}, "'cam' holds numbers that count nothing"),
        ({"subj": np.full(9, 12)}, "'subj' has 12, skiers have numbers from 0 to 9"),
        ({"frame": np.full(9, 1)}, "frame 1 of sequence 5, camera 0 has two labels"),
        ({"frame": np.arange(50, 59)}, "image_000050.png: no such picture and 3 others that the labels name"),
    ],
)
def test_bad_labels_are_one_line(folder, changed, words):
    change(folder, **changed)
    with pytest.raises(DiffPoseError) as caught:
        [recording.load() for recording in SkiPose().recordings(folder, SkiPose.subjects)]
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_folders_and_pictures_are_one_line(folder, convert):
    picture = folder / "test" / "seq_009" / "cam_01" / "image_000003.png"
    whole = picture.read_bytes()
    cv2.imwrite(str(picture), np.zeros((128, 256, 3), np.uint8))
    code, err, _ = convert()
    assert code == 2
    assert "image_000003.png: 256 x 128 px, Ski-Pose PTZ's are 256 x 256" in err
    picture.write_bytes(whole[:50])
    assert "image_000003.png: not a readable image" in convert()[1]
    picture.write_bytes(whole)
    (folder / "train" / "labels.h5").write_bytes(b"no HDF5")
    assert "labels.h5" in convert()[1]
    (folder / "train" / "labels.h5").unlink()
    code, err, path = convert()
    assert code == 2
    assert re.search(r"error: .*train/labels\.h5: file of labels not found: check --input_dir", err)
    assert not path.exists()


def test_its_skeleton_is_human36m_s():
    assert skeleton_for("SkiPose") is skeleton_for("h36m")
