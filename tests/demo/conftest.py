"""What the demo's tests share: a small model in a run folder, and the embedded detector where it can be had."""

import shutil
import sys

import numpy as np
import pytest
import torch

from demo import inference
from demo.estimator import PoseEstimator
from demo.fetch import DEMO_VIDEO, LANDMARK_NETWORK, PERSON_FINDER, fetch
from demo.person import Person
from models import build_model
from tests.support.helpers import ROOT
from tests.support.viewer_pages import as_desk
from utils.config import change_config, load_config, save_config
from utils.errors import DiffPoseError, run_script


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


class FakeDetector:
    """Finds as many people as a picture has bright squares of 60 px in its upper row."""

    name = "fake"

    def people(self, image, *, near=None):
        found = []
        for left in range(0, image.shape[1] - 59, 60):
            if image[10, left + 10, 0] > 200:
                found.append(self.person_in(image, (np.array([float(left), 0.0]), 60.0)))
        return found

    def person_in(self, image, square):
        if image.max() < 100:
            return None
        generator = np.random.default_rng(int(square[0][0]))
        heatmaps = generator.uniform(0, 1, (16, 64, 64)).astype(np.float32) ** 6
        joints = square[0] + generator.uniform(0, square[1], (16, 2))
        return Person(square[0], square[1], heatmaps, joints, heatmaps.max(axis=(1, 2)))


@pytest.fixture
def demo(run_folder, monkeypatch, tmp_path, capsys):
    """demo('--input', ..) with the small model and the fake detector -> (exit code, stdout, stderr)."""
    monkeypatch.setattr(PoseEstimator, "detector", property(lambda self: FakeDetector()))

    def run(*args):
        command = [
            "inference.py",
            "--config",
            run_folder / "config.yaml",
            "--output",
            tmp_path / "out",
            "--device",
            "cpu",
            "--num_hypotheses",
            "6",
            *args,
        ]
        monkeypatch.setattr(sys, "argv", [str(part) for part in command])
        with pytest.raises(SystemExit) as stop:
            run_script(inference.main)
        out = capsys.readouterr()
        return int(stop.value.code or 0), out.out, out.err

    return run


@pytest.fixture(scope="session")
def chromium():
    """Headless Chromium for all tests of pages; skips without it or without selenium."""
    pytest.importorskip("selenium", reason="selenium is not installed")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and chromedriver):
        pytest.skip("no chromium and chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "window-size=1280,760", "disable-dev-shm-usage"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium):
    """The browser with a desk's screen, an empty page and empty logs."""
    as_desk(chromium)
    chromium.get("about:blank")
    for log in ("browser", "performance"):
        chromium.get_log(log)
    return chromium
