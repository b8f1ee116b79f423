"""Two processes over gloo against one: the same training, the same report, and an end when one of them dies."""

import json
import os
import signal
import subprocess
import sys
import time

import h5py
import pytest
import torch

from tests.support.distributed_steps import STEPS, outcome
from tests.support.helpers import ROOT
from tests.support.processes import run_as_two
from tests.test_cli import same_numbers
from tests.test_resume import logged_steps
from utils.checkpoint import training_states
from utils.distributed import SINGLE, Processes
from utils.errors import DiffPoseError

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
LIMIT_S = 60
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def torchrun(*args):
    result = subprocess.run(
        [*TORCHRUN, *map(str, args)],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=5 * LIMIT_S,
    )
    assert result.returncode == 0, result.stderr
    return result


def test_two_processes_train_as_one(tmp_path):
    run_as_two("tests.support.distributed_steps", tmp_path / "two.pt", logs=tmp_path)
    two, one = torch.load(tmp_path / "two.pt", weights_only=True), outcome()
    assert len(one["losses"]) == STEPS
    assert torch.allclose(two["losses"], one["losses"], rtol=0, atol=1e-6)  # float32
    for name, value in one["weights"].items():
        assert (two["weights"][name] - value).abs().max() <= 1e-9, name
    assert two["gradients"].keys() == one["gradients"].keys()
    for name, value in one["gradients"].items():
        assert (two["gradients"][name] - value).norm() <= 1e-5 * value.norm(), name


def test_evaluation_shared_by_two_processes_gives_the_same_report(trained, tmp_path):
    options = ("--config", trained / "config.yaml", "--do_not_use_wandb", "--device", "cpu")
    out = run_as_two("eval.py", *options, "--output", tmp_path, "--save_predictions", logs=tmp_path)
    assert out.count("written to") == 1
    ours, theirs = (json.loads((folder / "report.json").read_text())["results"] for folder in (tmp_path, trained))
    same_numbers(ours, theirs, within=0.01)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine["num_frames"] == other["num_frames"]
        assert mine["groups"].keys() == other["groups"].keys()
        assert mine["calibration"]["error"] == pytest.approx(other["calibration"]["error"], abs=1e-6)
        assert mine["sharpness_mm"] == pytest.approx(other["sharpness_mm"], abs=0.01)
    with h5py.File(tmp_path / "predictions_full.h5") as file:
        assert sorted(file["predictions/row"][:]) == list(range(30))
    assert (tmp_path / "hypotheses_full.png").exists()


def ranks(launcher):
    """Rank -> process id of the workers that a torchrun process has started."""
    found = {}
    with open(f"/proc/{launcher}/task/{launcher}/children") as children:
        for child in map(int, children.read().split()):
            with open(f"/proc/{child}/environ", "rb") as file:
                environment = dict(entry.split(b"=", 1) for entry in file.read().split(b"\0") if b"=" in entry)
            if b"RANK" in environment:
                found[int(environment[b"RANK"])] = child
    return found


def begin(tiny, name, *settings):
    """A two-process training without an end, once it has taken some steps and saved; and its folder."""
    args = (
        "--config",
        tiny,
        "--seed",
        "1",
        "--run_name",
        name,
        "--no_eval",
        "--do_not_use_wandb",
        "--device",
        "cpu",
        "--set",
        "TRAIN.BATCH_SIZE_PER_GPU=3",
        "TRAIN.NUM_STEPS=1000000",
        *settings,
    )
    process = subprocess.Popen(
        [*TORCHRUN, str(ROOT / "train.py"), *map(str, args)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    folder, limit = tiny.parent / f"run_{name}", time.monotonic() + LIMIT_S
    while not (folder.is_dir() and training_states(folder)) and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.05)
    return process, folder


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="finds the processes through /proc")
@pytest.mark.parametrize("rank", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_killed_process_ends_all_with_a_clear_message_and_the_run_goes_on(script, tiny, rank, monkeypatch):
    monkeypatch.setattr("models.denoiser.HIDDEN", 1024)  # as in the processes that torchrun starts
    process, folder = begin(tiny, "k", "TRAIN.SAVE_EVERY=2")
    begun = time.monotonic()
    os.kill(ranks(process.pid)[rank], signal.SIGKILL)
    out, err = process.communicate(timeout=LIMIT_S)
    assert time.monotonic() - begun < LIMIT_S
    assert process.returncode != 0
    assert out.count("run folder") == 1
    if rank == 1:
        lines = [line for line in err.replace("\r", "\n").splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, err
        assert lines[0].startswith("error: process 0 of 2: lost another process")
        assert "--resume" in lines[0]
    steps = logged_steps(folder)
    assert steps == sorted(set(steps))
    saved = int(training_states(folder)[0].stem.rpartition("-")[2])
    code, out, err = script(
        "train",
        "--config",
        tiny,
        "--seed",
        1,
        "--run_name",
        "k",
        "--no_eval",
        "--resume",
        "--do_not_use_wandb",
        "--set",
        f"TRAIN.NUM_STEPS={saved + 1}",
    )
    assert code == 0, err
    assert f"at step {saved}" in out
    assert "the run had processes 2, now 1" in err


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="finds the processes through /proc")
def test_signal_to_torchrun_saves_in_the_same_step_everywhere(tiny):
    process, folder = begin(tiny, "s", "TRAIN.SAVE_EVERY=2")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=LIMIT_S)
    newest = training_states(folder)[0]
    assert f"stopped at {newest.stem.replace('-', ' ').replace('state', 'step')}; go on with" in err


@pytest.mark.slow
def test_training_by_two_processes_ends_with_a_report(tiny):
    torchrun(
        ROOT / "train.py",
        "--config",
        tiny,
        "--seed",
        1,
        "--run_name",
        "two",
        "--do_not_use_wandb",
        "--device",
        "cpu",
        "--set",
        "TRAIN.BATCH_SIZE_PER_GPU=3",
        "TRAIN.VALIDATE_EVERY=2",
        "TRAIN.VALIDATE_FRAMES=5",
        "TRAIN.AUGMENT=true",
        "WORKERS=1",
    )
    folder = tiny.parent / "run_two"
    assert {"model-final.pt", "report.json", "hypotheses_full.png"} <= {path.name for path in folder.iterdir()}
    assert sorted(set(logged_steps(folder))) == [1, 2, 3, 4]


def test_environment_that_torchrun_did_not_make_is_refused(monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert Processes.from_environment() == SINGLE
    for size in ("2", "many"):
        monkeypatch.setenv("WORLD_SIZE", size)
        with pytest.raises(DiffPoseError, match="start several processes with torchrun"):
            Processes.from_environment()


def test_devices_that_processes_cannot_share_are_refused(monkeypatch):
    pair = Processes(rank=1, world_size=2, local_rank=1, on_this_machine=2)
    assert pair.device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(DiffPoseError, match="2 processes need a GPU each, this machine has 1"):
        pair.device("auto")
