"""Interrupted runs go on exactly: killed at any moment, even while saving, they end with the same weights."""

import contextlib
import json
import os
import random
import shutil
import signal
import time

import numpy as np
import pytest
import torch

from tests.support.processes import ForkedScript
from utils.randomness import generator_states, restore_generators
from utils.stop_signal import StopSignal

KILLS = 3
SOAK_KILLS = 20
SAVE_EVERY = 4
# More steps than a run may get ahead before it is killed, so that no run ends before its kill.
STEPS_A_KILL = 8
ENDLESS_S = 120


def same_weights(a, b):
    ours, theirs = (torch.load(folder / "model-final.pt", weights_only=True) for folder in (a, b))
    for part in ("model", "ema"):
        assert ours[part].keys() == theirs[part].keys()
        for name, value in theirs[part].items():
            assert torch.equal(ours[part][name], value), name


def logged_steps(folder):
    with contextlib.suppress(FileNotFoundError):
        return [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines() if line[-1] == "}"]
    return []


def arguments(config, name, kills):
    return [
        "--config",
        config,
        "--seed",
        "1",
        "--run_name",
        name,
        "--no_eval",
        "--do_not_use_wandb",
        "--set",
        f"TRAIN.NUM_STEPS={STEPS_A_KILL * kills + 4}",
        f"TRAIN.SAVE_EVERY={SAVE_EVERY}",
        "WORKERS=2",
    ]


def stopped_while_saving(process, folder, delay):
    """Whether a process that is seen to write a checkpoint still does so ``delay`` seconds on; it then stands still."""
    if not any(folder.glob("*.partial")):
        return False
    time.sleep(delay)
    process.stop()
    if any(folder.glob("*.partial")):
        return True
    os.kill(process.pid, signal.SIGCONT)
    return False


def kill_somewhere(process, folder, moment, while_saving, after_saving):
    """SIGKILL a training process: soon after it has taken a random number of steps, or while it writes a checkpoint.

    ``after_saving``: not before there is a checkpoint to go on from, which a busy machine may be slow to write.
    """
    begun, limit = len(logged_steps(folder)), time.monotonic() + ENDLESS_S
    steps, delay = moment.randrange(STEPS_A_KILL - 2), moment.uniform(0, 0.02 if while_saving else 0.3)
    while process.poll() is None and time.monotonic() < limit:
        if while_saving:
            if stopped_while_saving(process, folder, delay):
                break
            delay *= 0.8  # a save that was over too soon: a little earlier in the next
        elif len(logged_steps(folder)) >= begun + steps and (not after_saving or any(folder.glob("state-*.pt"))):
            time.sleep(delay)
            break
        time.sleep(0.002)
    process.kill()
    return process.wait()[0] == -signal.SIGKILL


def check_killed_run(script, tiny, kills):
    code, _, err = script("train", *arguments(tiny, "whole", kills))
    assert code == 0, err
    folder, moment, half_written = tiny.parent / "run_killed", random.Random(kills), 0
    args = ("--resume", *arguments(tiny, "killed", kills))
    for kill in range(kills):
        process = ForkedScript("train.py", *args, logs=tiny.parent)
        killed = kill_somewhere(process, folder, moment, kill % 3 == 1, after_saving=kill == kills - 1)
        assert killed, "it ended before it was killed"
        half_written += any(folder.glob("*.partial"))
        for model in folder.glob("model-*.pt"):
            model.unlink()  # they are many and large
    code, out, err = ForkedScript("train.py", *args, logs=tiny.parent).wait()
    assert code == 0, err
    assert "resumed" in out
    assert "Traceback" not in err
    assert half_written, "no kill fell into a checkpoint's writing"
    same_weights(folder, tiny.parent / "run_whole")
    assert logged_steps(folder) == logged_steps(tiny.parent / "run_whole")
    assert not list(folder.glob("*.partial"))


def test_killed_at_random_moments_ends_with_equal_weights(script, tiny):
    check_killed_run(script, tiny, KILLS)


@pytest.mark.slow
def test_killed_twenty_times_ends_with_equal_weights(script, tiny):
    check_killed_run(script, tiny, SOAK_KILLS)


# --- what a resumed run looks at


@pytest.fixture
def half_done(tiny, trained):
    """A copy of the tiny run as it was at step 2 of 4; and the arguments that go on with it."""
    folder = tiny.parent / "run_half"
    folder.mkdir()
    for name in ("config.yaml", "log.jsonl", "state-2.pt"):
        shutil.copy(trained / name, folder / name)
    return folder, ("--config", tiny, "--seed", 1, "--run_name", "half", "--no_eval", "--do_not_use_wandb", "--resume")


def change(path, **entries):
    content = torch.load(path, weights_only=True)
    for name, value in entries.items():
        content["run"][name] = value
    torch.save(content, path)


def test_leftovers_of_a_kill_are_cleaned_up(script, half_done, trained):
    folder, args = half_done
    (folder / "state-4.pt.partial").write_bytes(b"half a state")
    with (folder / "log.jsonl").open("a") as log:
        log.write('{"step": 5, "loss": 0.')
    code, out, err = script("train", *args)
    assert code == 0, err
    assert "resumed" in out
    assert "warning" not in err
    assert not list(folder.glob("*.partial"))
    assert logged_steps(folder) == [1, 2, 3, 4]
    same_weights(folder, trained)


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied"])
def test_damaged_newest_state_is_named_and_the_one_before_used(script, half_done, trained, damage):
    folder, args = half_done
    newest = folder / "state-3.pt"
    content = bytearray((trained / "state-4.pt").read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1  # one bit of one weight
    newest.write_bytes(content[: {"cut": len(content) * 2 // 3, "flipped": None, "emptied": 0}[damage]])
    code, out, err = script("train", *args)
    assert code == 0, err
    warnings = [line for line in err.replace("\r", "\n").splitlines() if line.startswith("warning")]
    assert len(warnings) == 1
    assert "state-3.pt" in warnings[0]
    assert "state-2.pt at step 2" in out
    assert (folder / "state-3.pt.damaged").exists()
    same_weights(folder, trained)


def test_other_configuration_is_refused_by_name_and_nothing_is_changed(script, half_done):
    folder, args = half_done
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for setting, words in (
        ("TRAIN.LR=0.5", "TRAIN.LR was 0.001, is 0.5"),
        ("MODEL.EXTRA.NUM_SAMPLES=8", "MODEL.EXTRA.NUM_SAMPLES was 4, is 8"),
        ("TRAIN.BATCH_SIZE_PER_GPU=3", "TRAIN.BATCH_SIZE_PER_GPU x processes was 6, is 3"),
        ("TRAIN.SUBJECTS=[S1]", "TRAIN.SUBJECTS"),
    ):
        code, _, err = script("train", *args, "--set", setting)
        assert (code, err.count("\n")) == (2, 1), err
        assert words in err
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_touches_no_weight_may_change(script, half_done, trained):
    folder, args = half_done
    code, _, err = script(
        "train",
        *args,
        "--set",
        "TRAIN.SAVE_EVERY=3",
        "TRAIN.LOG_EVERY=2",
        "WORKERS=1",
        "TEST.NUM_HYPO=7",
        "TRAIN.KEEP=1",
    )
    assert code == 0, err
    same_weights(folder, trained)
    assert [path.name for path in folder.glob("state-*")] == ["state-4.pt"]
    code, out, err = script("train", *args, "--set", "TRAIN.NUM_STEPS=5")
    assert code == 0, err
    assert "at step 4" in out
    assert (folder / "state-5.pt").exists()


def test_other_thread_count_is_said(script, half_done):
    folder, args = half_done
    change(folder / "state-2.pt", threads=7)
    code, _, err = script("train", *args)
    assert code == 0, err
    lines = [line for line in err.splitlines() if "warning" in line]
    assert len(lines) == 1
    assert f"threads 7, now {torch.get_num_threads()}" in lines[0]


def test_global_generators_go_on_where_they_were():
    def draws():
        return random.random(), np.random.rand(), float(torch.rand(()))

    states = generator_states()
    wanted = draws()
    assert draws() != wanted
    restore_generators(states)
    assert draws() == wanted


def test_second_signal_stops_at_once_but_an_echo_does_not(keep_signal_handlers):
    stop = StopSignal()
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)  # as torchrun passes on what a terminal has sent to all
    assert stop.asked
    stop._first -= 2
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
