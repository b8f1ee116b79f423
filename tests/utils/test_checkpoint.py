"""Weights and training states on disk."""

import os
import pickle

import pytest
import torch
from torch import nn

from utils.checkpoint import (
    load_file,
    load_training_state,
    load_weights,
    save_atomic,
    save_training_state,
    training_states,
)
from utils.ema import Ema
from utils.errors import DiffPoseError


def published(model):
    return {"step": 7, "model": model.state_dict(), "ema": Ema(model).state_dict(), "scaler": {}}


def state(step):
    model = nn.Linear(2, 2)
    return published(model) | {"step": step, "optimizer": {}, "seed": 0}


def test_raw_and_ema_weights_load(tmp_path):
    source = nn.Linear(2, 2)
    content = published(source)
    content["ema"]["ema_model.weight"] = torch.full((2, 2), 5.0)
    save_atomic(content, tmp_path / "model-final.pt")
    raw, ema = nn.Linear(2, 2), nn.Linear(2, 2)
    assert load_weights(raw, tmp_path / "model-final.pt") == 7
    load_weights(ema, tmp_path / "model-final.pt", weights="ema")
    assert torch.equal(raw.weight, source.weight)
    assert torch.equal(ema.weight, torch.full((2, 2), 5.0))


def test_code_in_a_checkpoint_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    path = tmp_path / "evil.pt"
    torch.save({"model": Evil()}, path)
    with pytest.raises(DiffPoseError, match=r"evil\.pt: not a readable checkpoint"):
        load_file(path)
    path.write_bytes(pickle.dumps({"model": Evil()}))
    with pytest.raises(DiffPoseError, match="not a readable checkpoint"):
        load_file(path)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 and no more"])
def test_foreign_files_are_named(tmp_path, content):
    path = tmp_path / "model-final.pt"
    path.write_bytes(content)
    with pytest.raises(DiffPoseError, match=r"model-final\.pt: not a readable checkpoint"):
        load_file(path)


def test_truncated_file_is_named(tmp_path):
    path = tmp_path / "model-final.pt"
    save_atomic(published(nn.Linear(50, 50)), path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DiffPoseError, match="truncated"):
        load_weights(nn.Linear(50, 50), path)


def test_missing_parts_are_named(tmp_path):
    path = tmp_path / "a.pt"
    with pytest.raises(DiffPoseError, match="no such checkpoint"):
        load_weights(nn.Linear(1, 1), path)
    save_atomic([1, 2], path)
    with pytest.raises(DiffPoseError, match="holds a list"):
        load_weights(nn.Linear(1, 1), path)
    save_atomic({"step": 1}, path)
    with pytest.raises(DiffPoseError, match="no raw weights"):
        load_weights(nn.Linear(1, 1), path)
    save_atomic({"step": 1, "model": nn.Linear(1, 1).state_dict(), "ema": {}}, path)
    with pytest.raises(DiffPoseError, match="no ema weights"):
        load_weights(nn.Linear(1, 1), path, weights="ema")


def test_other_configuration_is_named_by_its_entries(tmp_path):
    path = tmp_path / "model-final.pt"
    save_atomic(published(nn.Linear(3, 2)), path)
    with pytest.raises(DiffPoseError, match=r"another configuration \(weight is \[2, 3\], not \[2, 4\]\)"):
        load_weights(nn.Linear(4, 2), path)
    with pytest.raises(DiffPoseError, match=r"0\.weight is missing"):
        load_weights(nn.Sequential(nn.Linear(3, 2)), path)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    model = nn.Linear(2, 2)
    with torch.no_grad():
        model.weight[0, 0] = torch.nan
    save_atomic(published(model), tmp_path / "m.pt")
    with pytest.raises(DiffPoseError, match="not finite"):
        load_weights(nn.Linear(2, 2), tmp_path / "m.pt")


def test_only_the_last_states_are_kept_and_a_damaged_one_is_passed_over(tmp_path):
    for step in (5, 10, 100):
        save_training_state(state(step), tmp_path, step=step, keep=2)
    assert [path.name for path in training_states(tmp_path)] == ["state-100.pt", "state-10.pt"]
    newest = tmp_path / "state-100.pt"
    newest.write_bytes(newest.read_bytes()[:100])
    content, path = load_training_state(tmp_path)
    assert content["step"] == 10
    assert path.name == "state-10.pt"


def test_nothing_to_resume_from_is_said(tmp_path):
    with pytest.raises(DiffPoseError, match="holds no training state"):
        load_training_state(tmp_path)
    save_atomic(published(nn.Linear(1, 1)), tmp_path / "model-final.pt")
    with pytest.raises(DiffPoseError, match="lacks optimizer, seed"):
        load_training_state(tmp_path / "model-final.pt")


def test_failed_save_leaves_the_old_file_and_no_partial_one(tmp_path):
    path = tmp_path / "m.pt"
    save_atomic({"step": 1}, path)

    class Unpicklable:
        def __reduce__(self):
            raise RuntimeError("no space left")

    with pytest.raises(DiffPoseError, match="no space left"):
        save_atomic({"bad": Unpicklable()}, path)
    assert load_file(path) == {"step": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.pt"]
    with pytest.raises(DiffPoseError, match="cannot be written"):
        save_atomic({"step": 1}, tmp_path / "missing" / "m.pt")
