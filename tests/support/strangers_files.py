"""One reader per kind of file that strangers send, each with whole files to damage."""

import io
import pickle
import random

import cv2
import h5py
import numpy as np
import torch
from torch import nn

from data.pose_dataset import PoseDataset
from data.preprocessing.h36m.source import read_cdf
from data.preprocessing.motion_capture.bvh import read_bvh
from data.preprocessing.threedhp.source import read_annotations
from data.preprocessing.threedpw.plain_pickle import load_plain_pickle
from demo.images import read_image
from tests.support.fuzzing import Reader
from tests.support.hdf5_files import make_columns, write_columnar, write_published
from tests.support.helpers import FIXTURES, ROOT
from tests.support.raw_data import picture, write_cdf
from utils.checkpoint import load_training_state, load_weights
from utils.config import ignore_warning, load_config
from utils.ema import Ema
from utils.evaluation.predictions import PredictionFile, PredictionWriter
from utils.skeleton import H36M17

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
