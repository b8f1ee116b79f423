"""What the demo's tests share: a small model in a run folder, and the embedded detector where it can be had."""

import numpy as np
import pytest
import torch

from demo.fetch import DEMO_VIDEO, LANDMARK_NETWORK, PERSON_FINDER, fetch
from models import build_model
from tests.support.helpers import ROOT
from utils.config import change_config, load_config, save_config
from utils.errors import DiffPoseError


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """A run folder with an untrained small model: config.yaml and model-final.pt."""
    folder = tmp_path_factory.mktemp("run")
    settings = [
        "MODEL.CONDITION_DIM=8",
        "MODEL.TIMESTEPS=3",
        "MODEL.EXTRA.NUM_SAMPLES=4",
        "MODEL.DIFFUSION_OBJECTIVE=pred_x0",
    ]
    config = change_config(load_config(ROOT / "diffpose.yaml"), settings)
    save_config(config, folder / "config.yaml")
    torch.manual_seed(0)
    torch.save({"step": 0, "model": build_model(config).state_dict()}, folder / "model-final.pt")
    return folder


@pytest.fixture(scope="session")
def fetched():
    """The embedded detector's files and the demo video, fetched with pip once; skips without a network."""
    try:
        return fetch(PERSON_FINDER, LANDMARK_NETWORK, DEMO_VIDEO)
    except DiffPoseError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def walker(fetched):
    """A frame of the demo video, RGB uint8: a woman walks to the left, her left side towards the camera."""
    from demo.video import Video

    return next(image for number, image in Video(fetched[2], every=100) if number == 100)


@pytest.fixture
def noise_image():
    return np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
