"""Fixtures that several tests share."""

import os
import signal
import sys

import numpy as np
import pytest

import eval as eval_script
import train as train_script
from data.schema import ACTIONS
from tests.support.config_keys import BASE
from tests.support.hdf5_files import make_columns, write_columnar
from tests.support.helpers import FIXTURES, ROOT
from tests.support.processes import ForkedScript, Setting, made_once, run_in_fork
from utils.config import change_config, load_config
from utils.errors import run_script

os.environ.setdefault("WANDB_MODE", "disabled")

NARROW = ("models.denoiser.HIDDEN", 64)
SCRIPTS = {"train": train_script, "eval": eval_script}
TINY = """
EXTENDS: {root}/diffpose.yaml
OUTPUT_DIR: {output}/run
DATASET: {{ROOT: {data}, TRAINFILE: tiny.h5, TESTFILE: tiny.h5}}
MODEL: {{CONDITION_DIM: 8, TIMESTEPS: 3, DIFFUSION_OBJECTIVE: pred_x0, EXTRA: {{NUM_SAMPLES: 4}}}}
TRAIN: {{NUM_STEPS: 4, BATCH_SIZE_PER_GPU: 6, SAVE_EVERY: 2, LOG_EVERY: 1, LR: 0.001}}
TEST: {{NUM_HYPO: 5, STRIDE: 1, BATCH_SIZE_PER_GPU: 4}}
WORKERS: 0
"""


@pytest.fixture
def keep_signal_handlers():
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def script(monkeypatch, capsys, keep_signal_handlers):
    """Run a script in this process: script('train', '--config', ..) -> (exit code, stdout, stderr)."""

    def run(name, *args):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, args)])
        with pytest.raises(SystemExit) as stop:
            run_script(SCRIPTS[name].main)
        out = capsys.readouterr()
        return int(stop.value.code or 0), out.out, out.err

    return run


@pytest.fixture(scope="module")
def narrow():
    """Denoisers with 64 hidden channels in place of 1024, where what is tested does not depend on the width."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*NARROW)
        yield


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory):
    """A folder with tiny.h5: 30 rows a split, every action twice."""
    folder = tmp_path_factory.mktemp("data")
    splits = {}
    for split, seed in (("trainset", 0), ("testset", 1)):
        columns = make_columns("h36m", 30, split=split, seed=seed)
        columns["action"] = np.array(ACTIONS).repeat(2).astype("S16")
        splits[split] = columns
    write_columnar(folder / "tiny.h5", "h36m", splits)
    return folder


@pytest.fixture
def tiny(tmp_path, tiny_data, monkeypatch):
    """A configuration file for the tiny data, with its runs in tmp_path; models are narrow."""
    monkeypatch.setattr(*NARROW)
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY.format(root=ROOT, output=tmp_path, data=tiny_data))
    return path


@pytest.fixture
def trained(trained_once, monkeypatch):
    """The folder of a finished tiny run, trained and evaluated by the real scripts; models are narrow."""
    monkeypatch.setattr(*NARROW)
    return trained_once


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory, tiny_data):
    """The same for all test processes."""
    with made_once(tmp_path_factory, "trained") as (folder, is_first):
        if is_first:
            path = folder / "tiny.yaml"
            path.write_text(TINY.format(root=ROOT, output=folder, data=tiny_data))
            options = ("--config", path, "--seed", 1, "--run_name", "a", "--do_not_use_wandb", "--device", "cpu")
            setting = Setting(replaced={"subprocess.run": run_in_fork, NARROW[0]: NARROW[1]})
            code, out, err = ForkedScript("train.py", *options, logs=folder, setting=setting).wait()
            assert code == 0, err
            assert "best of 5" in out
    return folder / "run_a"


@pytest.fixture(scope="session")
def vectors():
    """Load a reference vector file by its stem, as a dict of numpy arrays."""

    def load(stem: str) -> dict[str, np.ndarray]:
        with np.load(FIXTURES / f"{stem}.npz") as file:
            return dict(file)

    return load


@pytest.fixture
def make(tiny):
    """make('KEY=value', ..) -> a configuration of a small model on the tiny data."""
    base = load_config(tiny)
    return lambda *settings: change_config(base, [*BASE, *settings])
