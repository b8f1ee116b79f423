"""Logging: the local file always, Weights & Biases where it works."""

import json
import sys
import types

import pytest

from utils.errors import DiffPoseError
from utils.tracking import Tracker


class FakeRun:
    def __init__(self, failing_log=False):
        self.id, self.logged, self.finished, self.failing_log = "abc123", [], False, failing_log

    def log(self, numbers, step):
        if self.failing_log:
            raise RuntimeError("the server is gone\nand a long trace")
        self.logged.append((step, numbers))

    def finish(self):
        self.finished = True


def fake_wandb(monkeypatch, run=None, error=None):
    def init(**settings):
        if error:
            raise error
        fake.settings = settings
        return run

    fake = types.ModuleType("wandb")
    fake.init = init
    fake.setup = lambda: types.SimpleNamespace(settings=types.SimpleNamespace(mode="online"))
    fake.api = types.SimpleNamespace(api_key=None)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def test_local_log_is_always_written_and_continued(tmp_path):
    for step in (1, 2):
        tracker = Tracker(use_wandb=False, config={})
        tracker.open_folder(tmp_path)
        tracker.log(step, loss=0.5)
        tracker.close()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [(1, 0.5), (2, 0.5)]


def test_wandb_off_means_off(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)  # an import would raise
    tracker = Tracker(use_wandb=False, config={})
    assert tracker.run_id is None


def test_wandb_gets_the_numbers_and_goes_offline_without_an_account(monkeypatch):
    run = FakeRun()
    fake = fake_wandb(monkeypatch, run)
    tracker = Tracker(use_wandb=True, config={"A": 1}, project="p", entity="e", run_name="n")
    tracker.log(3, loss=1.0)
    tracker.close()
    assert tracker.run_id is None
    assert run.logged == [(3, {"loss": 1.0})]
    assert run.finished
    assert fake.settings == {"project": "p", "entity": "e", "mode": "offline", "name": "n", "config": {"A": 1}}


@pytest.mark.parametrize(
    "error", [ImportError("No module named 'wandb'"), RuntimeError("no network"), ValueError("bad key")]
)
def test_failing_start_never_stops_a_run(monkeypatch, capsys, error):
    fake_wandb(monkeypatch, error=error)
    tracker = Tracker(use_wandb=True, config={})
    tracker.log(1, loss=1.0)
    tracker.close()
    warning = capsys.readouterr().err
    assert warning.count("\n") == 1
    assert str(error) in warning


def test_failing_log_is_named_once_and_the_local_log_goes_on(monkeypatch, capsys, tmp_path):
    fake_wandb(monkeypatch, FakeRun(failing_log=True))
    tracker = Tracker(use_wandb=True, config={})
    tracker.open_folder(tmp_path)
    for step in (1, 2, 3):
        tracker.log(step, loss=1.0)
    tracker.close()
    assert capsys.readouterr().err.count("the server is gone") == 1
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 3


def test_folder_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(DiffPoseError, match="log can't be written"):
        Tracker(use_wandb=False, config={}).open_folder(tmp_path / "absent")
