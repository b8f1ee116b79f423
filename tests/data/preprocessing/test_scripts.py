"""The preprocessing scripts on small raw data sets in the true formats, from the command line to our reader."""

import h5py
import numpy as np
import pytest

from data.ambiguity import HARD_SUBSET_RULE
from data.pose_dataset import PoseDataset
from data.preprocessing.conversion.crops import joint_boxes
from data.preprocessing.h36m.source import JOINTS
from data.preprocessing.threedhp.source import JOINTS as HP_JOINTS
from data.schema import FIELDS
from tests.data.conftest import CAM, HARD_LINES
from tests.support.hdf5_files import attributes

# What the rows of the test split should be called, in order; the raw take numbers are those of conftest.py.
TEST_ROWS = [
    ("S9", "Discussion", "1"),
    ("S9", "Discussion", "0"),
    ("S9", "Greeting", "1"),
    ("S9", "Greeting", "0"),
    ("S9", "Phoning", "1"),
    ("S9", "Phoning", "0"),
    ("S9", "Smoking", "1"),
    ("S9", "Smoking", "0"),
    ("S11", "Discussion", "1"),
    ("S11", "Discussion", "0"),
    ("S11", "Greeting", "1"),
    ("S11", "Greeting", "0"),
    ("S11", "Phoning", "1"),
    ("S11", "Phoning", "0"),
    ("S11", "Smoking", "1"),
    ("S11", "Smoking", "0"),
]
TRAIN_ROWS = [
    ("S1", "Photo", "0", 3),
    ("S1", "Walking", "1", 3),
    ("S1", "Walking", "1", 7),
    ("S5", "Waiting", "0", 3),
    ("S6", "Posing", "1", 3),
    ("S7", "WalkDog", "0", 3),
    ("S8", "Directions", "0", 3),
]


def columns(path, split):
    with h5py.File(path, locking=False) as file:
        return {name: column[()] for name, column in file["dataset"][split].items()}


def names(rows, *keys):
    return [
        tuple(str(value, "ascii") if isinstance(value, bytes) else value for value in row)
        for row in zip(*(rows[key].tolist() for key in keys), strict=True)
    ]


@pytest.mark.parametrize("name", ["H36M", "3DHP", "3DPW", "SkiPose"])
def test_outputs_hold_the_published_columns_and_open_with_our_reader(finished, name):
    path, log = finished(name)
    assert path.name == f"{name}_dataset_h36m_hrnet.h5"
    dataset = name.lower()
    with h5py.File(path, locking=False) as file:
        attrs = attributes(file["dataset"])
        for split in file["dataset"]:
            shapes = {key: (column.dtype, column.shape[1:]) for key, column in file["dataset"][split].items()}
            assert shapes == {field.name: (field.dtype, field.shape) for field in FIELDS[dataset].values()}
    assert attrs["detector"].startswith("HRNet-W32 weights.pt, sha256 ")
    if name != "H36M":
        assert attrs["hard_subset"] == HARD_SUBSET_RULE
        assert f"({HARD_SUBSET_RULE})" in log
    for split in ("train", "test")[name == "3DHP" :]:
        data = PoseDataset(path, dataset=name, split=split)
        item = data[len(data) - 1]
        assert np.isfinite(np.asarray(item["gt_mm"])).all()
        stored = columns(path, f"{split}set")
        row, column = np.divmod(stored["heatmap"].reshape(len(data), 16, -1).argmax(-1), 64)
        np.testing.assert_allclose(stored["argmax_2d"].reshape(-1, 2, 16), np.stack([row, column], 1) / 64)
        # The images of different frames differ, and so do their maps.
        assert len({maps.tobytes() for maps in stored["heatmap"]}) == len(data)


def test_h36m_selects_names_and_converts_as_published(finished, raw):
    path, _ = finished("H36M")
    train, test = columns(path, "trainset"), columns(path, "testset")
    assert names(test, "subject", "action", "subaction") == TEST_ROWS
    assert names(train, "subject", "action", "subaction", "frame_orig") == TRAIN_ROWS
    assert set(test["frame_orig"]) == {3}
    assert set(train["cam"]) == {CAM.encode()}
    written = raw["h36m"]["S1", f"Walking 1.{CAM}"]
    for row, frame in ((1, 3), (2, 7)):
        joints = written["2d"][frame]
        np.testing.assert_array_equal(train["gt_3d"][row], written["3d"][frame][list(JOINTS)].T)
        np.testing.assert_array_equal(train["gt_2d"][row], joints[list(JOINTS)].T)
        (box,), (side,) = joint_boxes(joints[None])
        assert train["crop_size"][row] == side
        np.testing.assert_allclose(train["gt_2d_image_coords"][row], (joints - box[:2]).T / side, rtol=1e-5, atol=1e-6)
    assert PoseDataset(path, split="test").is_human36m


def test_3dhp_keeps_valid_frames_and_orders_joints(finished, raw):
    path, _ = finished("3DHP")
    test = columns(path, "testset")
    expected = [("TS1", 1), ("TS2", 0), ("TS2", 2), *((f"TS{number}", 1) for number in range(3, 7))]
    assert names(test, "action", "frame_orig") == expected
    assert names(test, "subject", "frame_orig") == expected
    for row, (name, frame) in enumerate(expected):
        for column, source in (("gt_3d", "annot3"), ("gt_3d_uni", "univ_annot3"), ("gt_2d", "annot2")):
            pose = raw["3dhp"][name][source][frame, 0][list(HP_JOINTS)]
            np.testing.assert_allclose(test[column][row], pose.T.reshape(-1), rtol=1e-6)


def test_3dpw_leaves_out_unseen_frames_and_validation(finished, raw):
    path, _ = finished("3DPW")
    train, test = columns(path, "trainset"), columns(path, "testset")
    keys = ("subject", "action", "subaction", "cam", "frame_orig")
    assert names(train, *keys) == [
        ("tr", "downtown_walking", "0", "0", 0),
        ("tr", "downtown_walking", "0", "0", 1),
        ("tr", "downtown_walking", "0", "1", 1),
    ]
    assert names(test, *keys) == [("te", "courtyard_basket", "1", "0", frame) for frame in (0, 1)]
    written = raw["3dpw"]["two"]
    for row, (person, frame) in enumerate(((0, 0), (0, 1), (1, 1))):
        np.testing.assert_allclose(train["gt_2d"][row], written["poses2d"][person][frame], rtol=1e-6)
        np.testing.assert_allclose(
            train["gt_3d"][row], written["jointPositions"][person][frame].reshape(24, 3), rtol=1e-6
        )


def test_every_line_of_the_hard_list_matches_by_meaning(finished):
    path, log = finished("H36M")
    assert f"hard list: {len(HARD_LINES)} of {len(HARD_LINES)} lines matched" in log
    assert columns(path, "testset")["hardsubset"].all()
    assert not columns(path, "trainset")["hardsubset"].any()
    with h5py.File(path, locking=False) as file:
        assert attributes(file["dataset"])["hard_subset"].startswith("list list.txt, sha256 ")
    assert len(PoseDataset(path, split="test", hard_only=True)) == len(HARD_LINES)


def test_the_command_as_documented_with_weights_options_and_limit(preprocess, tmp_path, finished):
    """A process of its own, from another folder; the original weights' name; trial run; another storage."""
    options = ("--use_orig_hrnet", "--subjects", "S1", "--compression", "gzip-4", "--precision", "bfloat16")
    options = (*options, "--batch_size", 1, "--workers", 3, "--limit")
    code, log = preprocess("H36M", "out", *options, 1, folder=tmp_path)
    assert code == 0, log
    path = tmp_path / "out" / "H36M_dataset_orig_hrnet.h5"
    ours, full = columns(path, "trainset"), columns(finished("H36M")[0], "trainset")
    assert names(ours, "action", "frame_orig") == [("Photo", 3), ("Walking", 3)]
    np.testing.assert_allclose(ours["heatmap"].astype(float), full["heatmap"][:2].astype(float), atol=0.1)
    with h5py.File(path, locking=False) as file:
        assert file["dataset/trainset/heatmap"].compression == "gzip"
    assert "nothing to do" in preprocess("H36M", "out", *options, 1, folder=tmp_path)[1]
    code, log = preprocess("H36M", "out", *options, 2, folder=tmp_path)
    assert code == 2
    assert "made with other settings" in log
