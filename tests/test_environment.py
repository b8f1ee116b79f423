"""What is around the files: other projects on the path, no home folder, locks, missing plugins, failing disks."""

import ast
import copy
import fcntl
import json
import os
import pwd
import re
import resource
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from data.hdf5 import published_table
from data.pose_dataset import PoseDataset
from data.preprocessing.conversion.frames import file_images
from data.preprocessing.threedpw.plain_pickle import load_plain_pickle
from models import build_model
from models.hrnet import load_hrnet, network
from tests.conftest import TINY
from tests.support.hdf5_files import make_columns, write_published
from tests.support.helpers import ROOT, deterministic_weights
from utils.cache import cache_folder
from utils.checkpoint import load_file, load_weights
from utils.config import load_config, save_config
from utils.errors import DiffPoseError

OURS = re.compile(r"^from (data|demo|experiments|models|utils)\b", re.M)
# Those that import modules of this project; the ones in the root folder find them by themselves.
SCRIPTS = [
    path
    for folder in ("data/preprocessing", "demo", "experiments")
    for path in (ROOT / folder).rglob("*.py")
    if '__name__ == "__main__"' in path.read_text() and OURS.search(path.read_text())
]

pytestmark = pytest.mark.usefixtures("narrow")


@pytest.fixture(scope="module")
def untrained(tmp_path_factory, tiny_data):
    """The folder of a run that was never trained, and its model's state dict."""
    folder = tmp_path_factory.mktemp("untrained")
    (folder / "tiny.yaml").write_text(TINY.format(root=ROOT, output=folder, data=tiny_data))
    config = load_config(folder / "tiny.yaml")
    save_config(config, folder / "config.yaml")
    state = deterministic_weights(build_model(config)).state_dict()
    torch.save({"step": 1, "model": state, "ema": {}, "scaler": {}}, folder / "model-final.pt")
    return folder, state


@pytest.fixture
def run(untrained, script):
    """run(*arguments) -> (exit code, stdout, stderr, results without their info) of eval.py on an untrained model."""
    folder, state = untrained

    def evaluate(*arguments):
        given = ["--config", folder / "config.yaml", "--split", "full", "--num_hypotheses", 2, "--stride", 2]
        code, out, err = script("eval", *given, "--weights", "raw", "--no_pictures", "--do_not_use_wandb", *arguments)
        report = folder / "report.json"
        scores = json.loads(report.read_text())["results"] if code == 0 else [{"info": None}]
        report.unlink(missing_ok=True)
        return code, out, err, [{**result, "info": None} for result in scores]

    evaluate.folder, evaluate.state = folder, state
    return evaluate


def safetensors(state):
    """The bytes of a safetensors file with float tensors, by the format's description."""
    header, parts, place = {"__metadata__": {"format": "pt"}}, [], 0
    for name, value in state.items():
        data = value.contiguous().numpy().tobytes()
        kinds = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64", torch.bool: "BOOL"}
        shape = list(value.shape)
        header[name] = {"dtype": kinds[value.dtype], "shape": shape, "data_offsets": [place, place + len(data)]}
        parts.append(data)
        place += len(data)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(parts)


def error_line(err):
    (line,) = [line for line in err.replace("\r", "\n").splitlines() if "error: " in line]
    assert "Traceback" not in err
    assert "\x1b" not in err
    return line.partition("error: ")[2]


def test_weights_of_other_forms_give_the_same_scores(run):
    """Once: "checkpoint of another configuration", and for safetensors "has no raw weights"."""
    code, _, err, scores = run()
    assert code == 0, err
    wrapped = {f"module._orig_mod.{name}": value for name, value in run.state.items()}
    (run.folder / "other.safetensors").write_bytes(safetensors(wrapped))
    code, _, err, found = run("--checkpoint", run.folder / "other.safetensors")
    assert code == 0, err
    assert found == scores
    assert "all names begin with 'module.' and '_orig_mod.'" in err
    assert "one set of weights" in err
    other = run.folder / "other.pt"
    torch.save({"step": 7, "model": wrapped, "ema": {}, "scaler": {}}, other)
    model = build_model(load_config(run.folder / "config.yaml"))
    assert load_weights(model, other) == 7
    torch.save({"epoch": 3, "state_dict": {f"model.{name}": value for name, value in run.state.items()}}, other)
    assert load_weights(model, other) == 0
    assert all(torch.equal(value, run.state[name]) for name, value in model.state_dict().items())


def test_a_pickled_model_and_a_cut_safetensors_file_are_one_clean_line(run):
    other = run.folder / "whole.pt"
    torch.save(torch.nn.Linear(2, 2), other)
    code, _, err, _ = run("--checkpoint", other)
    assert code == 2
    assert "holds a pickled torch.nn.modules.linear.Linear" in error_line(err)
    assert error_line(err).endswith("save the weights alone, torch.save(model.state_dict(), FILE)")
    other.write_text("<!DOCTYPE html><html>Quota exceeded</html>")
    assert run("--checkpoint", other)[0] == 2
    with pytest.raises(DiffPoseError, match=r"it begins with '<!DOCTYPE', as no file of torch.save does\)$"):
        load_file(other)
    other.write_bytes(safetensors(run.state)[:-10])
    assert run("--checkpoint", other)[0] == 2
    with pytest.raises(DiffPoseError, match="is cut off"):
        load_file(other)


def test_hrnet_weights_of_other_forms_load(tmp_path, monkeypatch):
    """Once "not HRNet-W32 weights (0 of 1754 entries)". A small network stands for the large one."""
    small = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.BatchNorm2d(2))
    monkeypatch.setattr(network, "HRNet", lambda: copy.deepcopy(small))
    state = small.state_dict()
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, tmp_path / "wrapped.pt")
    (tmp_path / "w.safetensors").write_bytes(safetensors(state))
    for name in ("wrapped.pt", "w.safetensors"):
        found = network.load_hrnet(tmp_path / name).state_dict()
        assert found.keys() == state.keys()
        assert all(torch.equal(value, state[key]) for key, value in found.items())
    torch.save(torch.nn.Linear(2, 2), tmp_path / "whole.pt")
    with pytest.raises(DiffPoseError, match=r"holds a pickled torch\.nn\.modules\.linear\.Linear"):
        network.load_hrnet(tmp_path / "whole.pt")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_scripts_put_this_project_first(path):
    """Before the first import of ours: another project's utils.py or models/ on PYTHONPATH can't be taken for it."""
    found, depth = False, len(path.relative_to(ROOT).parts) - 1
    for node in ast.parse(path.read_text()).body:
        text = ast.unparse(node)
        found |= text == f"sys.path.insert(0, str(Path(__file__).resolve().parents[{depth}]))"
        if OURS.match(text):
            assert found, f"{path.name} has '{text}' before it has put its own project first"
    assert found


@pytest.mark.parametrize("name", ["data", "demo", "experiments", "models", "utils"])
def test_a_package_of_ours_goes_before_another_one_of_that_name(name):
    """Without this file, Python takes one that has it from anywhere on the path, however late: so of experiments."""
    assert (ROOT / name / "__init__.py").is_file()


def test_another_project_on_the_path_changes_nothing(tiny_data, tmp_path):
    """Once a traceback: AttributeError or ModuleNotFoundError from the other project's utils.py."""
    (tmp_path / "other" / "models").mkdir(parents=True)
    (tmp_path / "other" / "data").mkdir()
    for name in ("utils.py", "models/__init__.py", "data/__init__.py"):
        (tmp_path / "other" / name).write_text("raise RuntimeError('of another project')\n")
    command = [sys.executable, ROOT / "data/preprocessing/validate.py", tiny_data / "tiny.h5"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "other")}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "Traceback" not in result.stderr
    assert "testset: 30 rows, 30 of them looked at" in result.stdout


def test_without_a_home_folder_the_index_goes_to_the_temporary_one(tmp_path, monkeypatch):
    """Once a traceback: "Could not determine home directory"."""

    def nobody(uid):
        raise KeyError(uid)

    path = tmp_path / "published.h5"
    write_published(path, "h36m", {"testset": make_columns("h36m", 5, split="testset")})
    expected = PoseDataset(path, split="test", show_progress=False).poses_mm()
    (index,) = tmp_path.glob("*.index.h5")
    index.unlink()
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    real = published_table.new_hdf5

    def refusing(path, **options):
        if path.parent == tmp_path:
            raise PermissionError(13, "Permission denied")
        return real(path, **options)

    monkeypatch.setattr(published_table, "new_hdf5", refusing)
    assert cache_folder() == tmp_path / "tmp" / f"diffpose-{os.getuid()}"  # where the demo's files go
    elsewhere = PoseDataset(path, split="test", show_progress=False)
    assert [found.parent.name for found in (tmp_path / "tmp").rglob("*.index.h5")] == [f"diffpose-{os.getuid()}"]
    np.testing.assert_array_equal(elsewhere.poses_mm(), expected)
    (tmp_path / "tmp" / f"diffpose-{os.getuid()}").chmod(0o777)  # others could have put an index there
    with pytest.raises(DiffPoseError, match="its index can be written neither beside it nor in the cache folder"):
        PoseDataset(path, split="test", show_progress=False)


def test_a_missing_plugin_is_no_damage(run, tmp_path):
    """Once "the file is damaged, make it again"."""
    path = tmp_path / "predictions.h5"
    with h5py.File(path, "w") as file:
        file["predictions/row"] = np.arange(2)
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((1, 2, 17, 3))
        properties.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))
        space = h5py.h5s.create_simple((2, 2, 17, 3))
        group = file["predictions"].id
        column = h5py.h5d.create(group, b"hypotheses", h5py.h5t.IEEE_F32LE, space, properties)
        column.write_direct_chunk((0, 0, 0, 0), b"compressed")
    code, _, err, _ = run("--predictions", path)
    assert code == 2
    assert "needs HDF5 filter 32015, whose plugin is not installed: pip install hdf5plugin" in error_line(err)
    assert "damaged" not in err


def test_a_locked_file_is_read(run):
    """Once "not a readable HDF5 file (truncated or of another kind)"."""
    code, _, err, sampled = run("--save_predictions")
    assert code == 0, err
    path = run.folder / "predictions_full.h5"
    with path.open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        code, _, err, scores = run("--predictions", path)
    assert code == 0, err
    np.testing.assert_allclose(scores[0]["best_of_n"]["mpjpe"], sampled[0]["best_of_n"]["mpjpe"], rtol=1e-5)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file whose reading fails")
@pytest.mark.parametrize(
    "read",
    [lambda path: list(file_images([path])), load_plain_pickle, load_file, load_hrnet, PoseDataset],
    ids=["image", "pickle", "checkpoint", "detector", "dataset"],
)
def test_a_disk_that_fails_is_named_and_not_the_file(tmp_path, read):
    path = tmp_path / "file"
    path.symlink_to("/proc/self/mem")  # reading its first bytes is an input/output error
    with pytest.raises(DiffPoseError, match="Input/output error: the disk or the share fails") as caught:
        read(path)
    assert not {"damaged", "download", "truncated"} & set(str(caught.value).partition(";")[0].split())


def test_a_full_disk_while_predictions_are_saved_is_one_line(run, tmp_path):
    """Once the process ended in a segmentation fault: HDF5 tries the failed write again when it is closed."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**13, limits[1]))
    try:
        code, _, err, _ = run("--save_predictions", "--output", tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == 2
    assert "predictions_full.h5: cannot be written (File too large)" in error_line(err)
    assert not list(tmp_path.glob("predictions*"))
