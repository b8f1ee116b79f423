"""Faults of the machine around a run: each ends in one line, and loses only the steps since the last checkpoint."""

import os
import resource
import signal
import subprocess
import sys
import time
import types

import pytest
import torch

import train as train_script
from data.loader import make_loader
from tests.support.processes import ForkedScript
from tests.test_resume import logged_steps, same_weights
from utils.checkpoint import load_training_state, save_training_state, training_states
from utils.errors import DiffPoseError
from utils.tracking import Tracker

PATIENCE_S = 60


def arguments(tiny, name, *settings):
    settings = ("--set", *settings) if settings else ()
    return ("--config", tiny, "--seed", 1, "--run_name", name, "--no_eval", "--do_not_use_wandb", *settings)


def error_line(err):
    """The one line of stderr besides progress bars and warnings."""
    lines = [line for line in err.replace("\r", "\n").splitlines() if line.strip() and "|" not in line]
    lines = [line for line in lines if not line.startswith("warning: ")]
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.fixture
def small_disk(tmp_path):
    """Mount a RAM disk of a number of bytes; returns its folder."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size, *options):
        command = ["mount", "-t", "tmpfs", "-o", ",".join([f"size={size}", *options]), "tmpfs", folder]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            pytest.skip(f"no permission to mount a small disk: {result.stderr.strip()}")
        return folder

    yield mount
    subprocess.run(["umount", folder], capture_output=True, check=False)


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_disk_full_or_locked_while_saving_then_the_run_goes_on(script, tiny, trained, small_disk, fault, monkeypatch):
    one_save = sum((trained / name).stat().st_size for name in ("model-1.pt", "state-4.pt"))
    # Room for the checkpoint of step 1, and for half of the next state.
    disk = small_disk(one_save * 3 // 2 + 2**16 if fault == "full" else 2**30)
    args = arguments(tiny, "full", f"OUTPUT_DIR={disk}/run", "TRAIN.SAVE_EVERY=1", "TRAIN.KEEP=1")
    log = Tracker.log

    def log_then_lock(self, step, **numbers):
        log(self, step, **numbers)
        if step == 2 and fault == "read-only":
            self._close_file()  # what is open for writing keeps a disk from being locked
            small_disk(2**30, "remount", "ro")

    with monkeypatch.context() as patch:
        patch.setattr(train_script.Tracker, "log", log_then_lock)
        code, _, err = script("train", *args)
    assert code == 2
    line = error_line(err)
    assert {"full": "No space left on device", "read-only": "Read-only file system"}[fault] in line
    assert str(disk) in line
    folder = disk / "run_full"
    assert [path.name for path in training_states(folder)] == ["state-1.pt"]
    small_disk(2**30, "remount", "rw")
    assert not list(folder.glob("*.partial"))
    code, out, err = script("train", *args, "--resume")
    assert code == 0, err
    assert "at step 1" in out
    same_weights(folder, trained)


def test_file_size_limit_while_saving_keeps_the_older_state(tmp_path):
    content = {"step": 1, "model": {"w": torch.zeros(2**18)}, "optimizer": {}, "ema": {}, "scaler": {}, "seed": 0}
    save_training_state(content, tmp_path, step=1, keep=1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**19, limits[1]))
    try:
        with pytest.raises(DiffPoseError, match=r"state-2\.pt: cannot be written \(File too large\)"):
            save_training_state(content, tmp_path, step=2, keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["state-1.pt"]
    assert load_training_state(tmp_path)[0]["step"] == 1


def test_run_folder_that_vanishes_is_one_line_and_can_be_put_back(script, tiny, trained, monkeypatch):
    folder, aside = tiny.parent / "run_gone", tiny.parent / "aside"
    log = Tracker.log

    def log_then_move(self, step, **numbers):
        log(self, step, **numbers)
        if step == 3:
            folder.rename(aside)

    with monkeypatch.context() as patch:
        patch.setattr(train_script.Tracker, "log", log_then_move)
        code, _, err = script("train", *arguments(tiny, "gone"))
    assert code == 2
    assert "model-final.pt: cannot be written (No such file or directory)" in error_line(err)
    aside.rename(folder)
    code, out, _ = script("train", *arguments(tiny, "gone"), "--resume")
    assert code == 0
    assert "at step 2" in out
    same_weights(folder, trained)


def test_log_on_a_full_disk_is_named_once_and_the_run_goes_on(tmp_path, capsys):
    tracker = Tracker(use_wandb=False, config={})
    tracker.open_folder(tmp_path)
    tracker._file.close()
    tracker._file = open("/dev/full", "w")  # noqa: SIM115 - closed by the tracker
    for step in (1, 2):
        tracker.log(step, loss=1.0)
    tracker.close()
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "No space left on device" in err


@pytest.mark.parametrize("fails", ["log", "finish"])
def test_wandb_that_raises_never_stops_a_run(script, tiny, trained, monkeypatch, fails):
    def broken(*args, **settings):
        raise RuntimeError("W&B is down\nwith a second line")

    run = types.SimpleNamespace(id="abc", log=lambda numbers, step: None, finish=lambda: None)
    fake = types.ModuleType("wandb")
    fake.init = lambda **settings: run
    fake.setup = lambda: types.SimpleNamespace(settings=types.SimpleNamespace(mode="offline"))
    setattr(run, fails, broken)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    args = [arg for arg in arguments(tiny, "w") if arg != "--do_not_use_wandb"]
    code, _, err = script("train", *args)
    assert code == 0, err
    assert err.count("warning: continuing without Weights & Biases (W&B is down)\n") == 1
    assert "second line" not in err
    assert logged_steps(tiny.parent / "run_w") == [1, 2, 3, 4]
    same_weights(tiny.parent / "run_w", trained)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory.\nMore lines"), MemoryError()])
def test_out_of_memory_is_one_line(script, tiny, monkeypatch, error):
    def run(*args):
        raise error

    monkeypatch.setattr(train_script, "run", run)
    code, _, err = script("train", *arguments(tiny, "m"))
    assert code == 2
    assert "lower TRAIN.BATCH_SIZE_PER_GPU" in error_line(err)


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="finds the workers through /proc")
def test_killed_loader_worker_ends_the_run_in_one_line(script, tiny):
    settings = ("TRAIN.NUM_STEPS=1000000", "WORKERS=2")
    run = ForkedScript("train.py", *arguments(tiny, "k", *settings), logs=tiny.parent)
    folder, limit = tiny.parent / "run_k", time.monotonic() + PATIENCE_S
    while not (folder.is_dir() and training_states(folder)) and time.monotonic() < limit:
        time.sleep(0.02)
    os.kill(children(run.pid)[0], signal.SIGKILL)
    code, _, err = run.wait(PATIENCE_S)
    assert code == 2, err
    assert "a process that loads data ended" in error_line(err)
    saved = int(training_states(folder)[0].stem.rpartition("-")[2])
    code, out, err = script("train", *arguments(tiny, "k", f"TRAIN.NUM_STEPS={saved + 1}"), "--resume")
    assert code == 0, err
    assert f"at step {saved}" in out


@pytest.mark.parametrize("error", [ConnectionResetError(104, "Connection reset by peer"), EOFError()])
def test_worker_killed_while_it_hands_over_a_batch_is_one_line(monkeypatch, error):
    def broken(self):
        yield {"row": 0}
        raise error

    loader = make_loader([{"row": 0}], batch_size=1, workers=1)
    monkeypatch.setattr(torch.utils.data.DataLoader, "__iter__", broken)
    with pytest.raises(DiffPoseError, match=r"a process that loads data ended \(.*(Connection reset|EOFError)"):
        list(loader)
