"""Which rows of a file belong to one recording."""

import json

import h5py
import numpy as np
import pytest

from data.pose_dataset import PoseDataset
from data.preprocessing import mocap
from data.preprocessing.motion_capture.build import load_takes, write_takes
from data.preprocessing.motion_capture.plan import find_files, plan_takes
from data.preprocessing.motion_capture.takes import TakeOptions
from data.recordings import recordings_of
from tests.support.deepmimic_files import standing, write_clip
from utils.errors import DiffPoseError


@pytest.fixture
def path(tmp_path):
    for name in ("anna/walk", "anna/rest/1", "anna/rest/2", "bert/walk", "bert/wave"):
        write_clip(tmp_path / "in" / f"{name}.txt", standing(3))
    planned = plan_takes(tmp_path / "in", find_files(tmp_path / "in"), test_share=1)
    takes = load_takes(planned, TakeOptions(), report=lambda text: None)
    write_takes(tmp_path / mocap.FILE_NAME, takes, show_progress=False)
    return tmp_path / mocap.FILE_NAME


def opened(path):
    return PoseDataset(path, dataset="h36m", split="test", show_progress=False)


def test_recordings_are_called_by_their_action_where_that_is_enough(path):
    dataset = opened(path)
    recordings = recordings_of(dataset)
    assert set(recordings.of_row.values()) == {
        "wave",
        "walk P01 0",
        "walk P02 0",
        "rest P01 0",
        "rest P01 1",
    }
    assert recordings.kinds == {}
    waves = dataset.rows[np.asarray(dataset.meta["action"]) == "wave"].tolist()
    assert [row for row, name in recordings.of_row.items() if name == "wave"] == waves


def test_other_files_hold_no_recordings_and_damaged_lists_are_named(path):
    with h5py.File(path, "r+") as file:
        file["dataset"].attrs["recordings"] = np.bytes_(json.dumps({"still": ["wave"]}))
    assert recordings_of(opened(path)).kinds == {"still": ["wave"]}
    for text in ("[1", "[1]", '{"a": 1}'):
        with h5py.File(path, "r+") as file:
            file["dataset"].attrs["recordings"] = np.bytes_(text)
        with pytest.raises(DiffPoseError, match="attribute 'recordings' is no list of recordings"):
            recordings_of(opened(path))
    with h5py.File(path, "r+") as file:
        file["dataset"].attrs["source"] = np.bytes_("synthetic: for a test")
    assert recordings_of(opened(path)) is None
