"""Files from strangers: whatever is in them, a reader succeeds or says in one line what is wrong with the file."""

import copy
import random

import numpy as np
import pytest
import torch

from tests.support.distributed_steps import batches, make_trainer
from tests.support.fuzzing import Reader, findings, outcome, run_in_children
from tests.support.strangers_files import READERS, read_weights, state_content
from train import fit
from utils.checkpoint import load_file, load_training_state, save_atomic
from utils.distributed import SINGLE
from utils.errors import DiffPoseError

MUTANTS, SOAK_MUTANTS = 24, 250


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_damaged_files_end_in_one_line(tmp_path, reader):
    assert findings(reader, MUTANTS, tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_many_damaged_files_end_in_one_line(tmp_path, reader):
    assert findings(reader, SOAK_MUTANTS, tmp_path, seed=1) == []


def test_the_whole_files_are_read(tmp_path):
    """Else the damaged ones would show nothing."""
    for reader in READERS:
        whole = reader.seeds(tmp_path)[0]
        path = tmp_path / f"whole{reader.suffix}"
        path.write_bytes(whole)
        reader.read(path)


def test_the_harness_sees_crashes_exceptions_long_messages_and_outsized_memory(tmp_path):
    def read(path):
        text = path.read_text()
        if text == "memory":
            np.ones(2**30)
        if text == "crash":
            import ctypes

            ctypes.string_at(0)
        if text == "lines":
            raise DiffPoseError("one\ntwo")
        raise {"proper": DiffPoseError, "other": KeyError}[text](text)

    reader = Reader("probe", ".txt", lambda folder: [b""], read)
    kinds = [b"proper", b"crash", b"other", b"proper", b"lines", b"memory", b"proper"]
    found = list(run_in_children(reader, kinds, tmp_path))
    assert len(found) == 4
    for text, wanted in zip(
        found, ("signal 11", "KeyError", "2 line breaks|1 line breaks", "MemoryError"), strict=True
    ):
        assert any(word in text for word in wanted.split("|")), text


# --- whole files with content that nobody expects


def odd_values(source):
    weird = [None, -1, 2**70, float("nan"), "text", b"\xff", [], {}, (), {"a": {"b": [1]}}, True, complex(1, 2)]
    tensors = [
        torch.zeros(0),
        torch.full((2, 3), torch.nan),
        torch.zeros(2, 3, dtype=torch.int64),
        torch.zeros(3, 2),
        torch.zeros(2, 3, dtype=torch.complex64),
        torch.zeros(2, 3).to_sparse(),
        torch.zeros(()),
        torch.zeros(1).expand(10**6),
        torch.zeros(2, 3, dtype=torch.bool),
    ]
    return source.choice(weird + tensors)


def spoil(content, source):
    """Replace, remove or add one entry somewhere in nested dicts and lists."""
    place = content
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = source.choice(keys)
        inner = place[key]
        if isinstance(inner, dict | list) and len(inner) and source.random() < 0.7:
            place = inner
            continue
        kind = source.randrange(4)
        if kind == 0 and isinstance(place, dict):
            del place[key]
        elif kind == 1 and isinstance(place, dict):
            place[source.choice(["extra", 5, "step"])] = odd_values(source)
        else:
            place[key] = odd_values(source)
        return content


def test_odd_content_of_a_checkpoint_ends_in_one_line(tmp_path):
    source, path = random.Random(2), tmp_path / "model-final.pt"
    for _ in range(60):
        torch.save(spoil(state_content(), source), path)
        assert outcome(read_weights, path) == ""
        assert outcome(load_training_state, path) == ""


def test_odd_content_of_a_training_state_ends_in_one_line():
    trainer = make_trainer(SINGLE, torch.float32, 1)
    fit(trainer, batches(SINGLE), after_step=lambda result: None)
    state, source = trainer.state_dict(), random.Random(3)
    for _ in range(60):
        spoiled = {**state, **{name: copy.copy(state[name]) for name in ("model", "ema", "generators", "run")}}
        spoiled["optimizer"] = {
            "state": {k: dict(v) for k, v in state["optimizer"]["state"].items()},
            "param_groups": [dict(group) for group in state["optimizer"]["param_groups"]],
        }
        spoil(spoiled, source)
        assert outcome(lambda _, content=spoiled: trainer.load_state_dict(content, "state-1.pt"), None) == ""


def test_a_checkpoint_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path):
    import zipfile

    whole, bomb = tmp_path / "whole.pt", tmp_path / "bomb.pt"
    save_atomic({"model": {"weight": torch.zeros(2**22)}}, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert bomb.stat().st_size < 2**16
    with pytest.raises(DiffPoseError, match="compressed"):
        load_file(bomb)
