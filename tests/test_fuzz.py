"""Files from strangers: whatever is in them, a reader succeeds or says in one line what is wrong with the file."""

import copy
import io
import itertools
import pickle
import random

import cv2
import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from data.loader import SeededBatchSampler
from data.pose_dataset import PoseDataset
from data.preprocessing.h36m.source import read_cdf
from data.preprocessing.motion_capture.bvh import read_bvh
from data.preprocessing.threedhp.source import read_annotations
from data.preprocessing.threedpw.plain_pickle import load_plain_pickle
from demo.images import read_image
from tests.support.distributed_steps import batches, make_trainer
from tests.support.fuzzing import Reader, findings, outcome, run_in_children
from tests.support.hdf5_files import make_columns, write_columnar, write_published
from tests.support.helpers import FIXTURES, ROOT
from tests.support.raw_data import picture, write_cdf
from utils.checkpoint import load_file, load_training_state, load_weights, save_atomic
from utils.config import ignore_warning, load_config
from utils.config.yaml_file import parse_yaml
from utils.distributed import SINGLE
from utils.ema import Ema
from utils.errors import DiffPoseError
from utils.evaluation.predictions import PredictionFile, PredictionWriter
from utils.randomness import StepDraws
from utils.skeleton import H36M17

MUTANTS, SOAK_MUTANTS = 24, 250
BVH = b"""HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Spine
  {
    OFFSET 0 10.5 -1e-3
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 0 5 0
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.0333333
0 90 0 1 2 3 4 5 6
1 91 0 2 3 4 5 6 7
"""


# --- whole files of each kind


def yaml_files(folder):
    return [
        (ROOT / "diffpose.yaml").read_bytes(),
        (FIXTURES / "published_main.yaml").read_bytes(),
        b"EXTENDS: other.yaml\nTRAIN: {LR: 1e-4, SUBJECTS: [S1, S5]}\n",
    ]


def hdf5_files(folder):
    splits = {"testset": make_columns("h36m", 2)}
    paths = [
        write_columnar(folder / "columnar.h5", "h36m", splits),
        write_published(folder / "plain.h5", "h36m", splits),
        write_published(folder / "packed.h5", "h36m", splits, chunk_rows=2, compression=1),
    ]
    return [path.read_bytes() for path in paths]


def state_content():
    model = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return {
        "step": 7,
        "model": model.state_dict(),
        "ema": Ema(model).state_dict(),
        "scaler": {"scale": 65536.0},
        "optimizer": optimizer.state_dict(),
        "seed": 1,
        "generators": {"python": random.Random(1).getstate()},
    }


def checkpoint_files(folder):
    whole, old = io.BytesIO(), io.BytesIO()
    torch.save(state_content(), whole)
    torch.save(state_content(), old, _use_new_zipfile_serialization=False)
    return [whole.getvalue(), whole.getvalue(), old.getvalue(), pickle.dumps({"model": {"weight": [1.0, 2.0]}})]


def prediction_files(folder):
    batch = {
        "row": np.arange(3),
        "hypotheses_mm": np.zeros((3, 4, 17, 3)),
        "gt_mm": np.zeros((3, 17, 3)),
        "z0_mm": np.ones((3, 17, 3)),
    }
    path = folder / "predictions.h5"
    with PredictionWriter(path, skeleton=H36M17, attrs={"split": "full"}) as writer:
        writer.append(batch)
    return [path.read_bytes()]


def pickle_files(folder):
    content = {"poses2d": [np.ones((2, 3, 18))], "jointPositions": [np.zeros((2, 72), np.float32)], "genders": ["m"]}
    return [pickle.dumps(content, protocol=protocol) for protocol in (0, 2, 4)]


def cdf_files(folder):
    write_cdf(folder / "poses.cdf", np.arange(3 * 64, dtype=np.float32).reshape(3, 64))
    return [(folder / "poses.cdf").read_bytes()]


def matlab_files(folder):
    path = folder / "annot.mat"
    with h5py.File(path, "w") as file:
        for name, axes in (("annot2", 2), ("annot3", 3), ("univ_annot3", 3)):
            file[name] = np.ones((3, 1, 17, axes))
        file["valid_frame"] = np.ones((3, 1))
    return [path.read_bytes()]


def image_files(folder):
    return [cv2.imencode(suffix, picture(1))[1].tobytes() for suffix in (".jpg", ".png", ".bmp", ".webp")]


# --- readers of each kind


def read_dataset(path):
    dataset = PoseDataset(path, split="test", show_progress=False)
    return dataset.cameras, dataset.poses_mm(), list(dataset)


def read_weights(path):
    for weights in ("raw", "ema"):
        load_weights(nn.Linear(3, 2), path, weights=weights)


def read_predictions(path):
    return list(PredictionFile(path, skeleton=H36M17, num_rows=30).batches(batch_size=2))


WORDS = {
    "yaml": (
        b"&a ",
        b"*a ",
        b"!!python/object/apply:os.system ",
        b"{",
        b"[",
        b"EXTENDS: ",
        b"1e999",
        b": ",
        b"\t",
        b"- ",
        b"? ",
        b"|\n",
        b"\xff",
        b"\xef\xbb\xbf",
        b"---\n",
        b"TRAIN:\n",
        b"\0",
        b"9" * 50,
    ),
    "bvh": (
        b"{",
        b"}",
        b"JOINT a",
        b"nan",
        b"inf",
        b"1e400",
        b"-",
        b"MOTION\n",
        b"Frames: 99999999\n",
        b"CHANNELS 3",
        b"9" * 400,
    ),
    "pickle": (
        b"cos\nsystem\n",
        b"cnumpy\nzeros\n",
        b"(",
        b"R",
        b".",
        b"\x93",
        b"\x81",
        b"b",
        b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
    ),
}
READERS = [
    Reader("yaml", ".yaml", yaml_files, lambda path: load_config(path, report=ignore_warning), words=WORDS["yaml"]),
    Reader("hdf5", ".h5", hdf5_files, read_dataset, head_bytes=12000),
    Reader("weights", ".pt", checkpoint_files, read_weights, words=WORDS["pickle"]),
    Reader("state", ".pt", checkpoint_files, load_training_state, words=WORDS["pickle"]),
    Reader("predictions", ".h5", prediction_files, read_predictions, head_bytes=12000),
    Reader("bvh", ".bvh", lambda folder: [BVH], lambda path: read_bvh(path).positions(), words=WORDS["bvh"]),
    Reader("pickle", ".pkl", pickle_files, load_plain_pickle, words=WORDS["pickle"]),
    Reader("cdf", ".cdf", cdf_files, lambda path: read_cdf(path, 2)),
    Reader("matlab", ".mat", matlab_files, read_annotations),
    Reader("image", ".jpg", image_files, read_image, head_bytes=600),
]


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
    trainer.fit(batches(SINGLE), after_step=lambda result: None)
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


# --- properties


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=200) | st.text(alphabet=" -:[]{}&*!|>\n\t'\"#%@a1.", max_size=80))
def test_any_text_is_plain_values_or_one_line(text):
    def plain(value):
        if isinstance(value, dict):
            return all(isinstance(key, str) and plain(inner) for key, inner in value.items())
        if isinstance(value, list):
            return all(map(plain, value))
        return value is None or isinstance(value, str | bool | int | float)

    def read(text):
        assert plain(parse_yaml(text, "text"))

    assert outcome(read, text) == ""


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 50),
    own=st.integers(1, 6),
    world=st.integers(1, 4),
    start=st.integers(0, 40),
    seed=st.integers(0, 2**31),
)
def test_batches_do_not_depend_on_where_a_run_begins_or_how_it_is_shared(rows, own, world, start, seed):
    def take(count, **place):
        return list(itertools.islice(SeededBatchSampler(rows, own * world, seed, **place), count))

    whole = take(start + 3)[start:]
    shared = [take(3, start_step=start, rank=rank, world_size=world) for rank in range(world)]
    assert [list(itertools.chain(*parts)) for parts in zip(*shared, strict=True)] == whole


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(0, 12), max_size=3), step=st.integers(0, 2**40), seed=st.integers(0, 2**62))
def test_draws_of_a_step_do_not_depend_on_how_it_is_shared(cuts, step, seed):
    whole = StepDraws(seed, step, global_batch=12).normal("noise", 3)
    edges = [0, *sorted(cuts), 12]
    parts = [StepDraws(seed, step, global_batch=12, part=slice(a, b)) for a, b in itertools.pairwise(edges)]
    assert torch.equal(torch.cat([part.normal("noise", 3) for part in parts]), whole)


LEAVES = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(max_size=9) | st.floats(allow_nan=False)


@settings(max_examples=25, deadline=None)
@given(
    content=st.dictionaries(
        st.text(max_size=9),
        st.recursive(
            LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
        ),
        max_size=4,
    )
)
def test_what_is_saved_is_what_is_loaded(content, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "x.pt"
    save_atomic(content, path)
    assert load_file(path) == content
