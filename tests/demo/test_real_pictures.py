"""The embedded detector and the shipped weights on a real frame, in every form that a picture comes in."""

import re

import cv2
import numpy as np
import pytest

from demo import PoseEstimator
from tests.demo.test_images import exif_orientation
from tests.support.helpers import ROOT
from utils.errors import DiffPoseError


@pytest.fixture(scope="module")
def estimator(fetched):
    return PoseEstimator.load(num_hypotheses=10, detector="embedded", device="cpu")


@pytest.fixture(scope="module")
def reference(estimator, walker):
    return estimator(walker)


def jpeg(image):
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 97])[1].tobytes()


def png(image):
    return cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


FORMS = {
    "16 bit": (lambda image: png(image.astype(np.uint16) * 257), 1.0),
    "RGBA": (lambda image: png(np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])), 1.0),
    "grey": (lambda image: png(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)), 1.0),
    "turned by EXIF": (lambda image: exif_orientation(jpeg(np.rot90(image)), 6), 1.0),
    "8000 px": (lambda image: jpeg(cv2.resize(image, (8000, 4498))), 8000 / 1768),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_person(form, estimator, reference, walker, tmp_path):
    encode, scale = FORMS[form]
    path = tmp_path / "picture"
    path.write_bytes(encode(walker[..., ::-1]))
    people = estimator(path)
    wanted = reference.persons[0]
    # The man on the roof may be found too.
    away = [np.median(np.abs(person.joints_px / scale - wanted.joints_px)) for person in people.persons]
    assert min(away) < 0.02 * wanted.side
    difference = people.poses.consensus_mm[int(np.argmin(away))] - reference.poses.consensus_mm[0]
    assert np.linalg.norm(difference, axis=-1).mean() < 100


def test_a_box_finds_whom_the_search_overlooks(estimator, walker):
    """The man on the roof is small and far from the middle."""
    people = estimator(walker, square=(np.array([560.0, 40.0]), 440.0))
    assert 300 < people.persons[0].side < 460
    assert people.poses.consensus_mm[0, [3, 6], 1].max() < -300
    with pytest.raises(DiffPoseError, match="in the given box"):
        estimator(np.full_like(walker, 128), square=(np.array([100.0, 100.0]), 300.0))


def test_the_readmes_lines(walker, tmp_path, monkeypatch):
    block = next(
        text
        for text in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
        if "PoseEstimator" in text
    )
    assert len([line for line in block.splitlines() if line]) == 4
    (tmp_path / "person.jpg").write_bytes(jpeg(walker[..., ::-1]))
    monkeypatch.chdir(tmp_path)
    # Somebody who stands with hanging arms: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles.
    across = [0, 5, -5, 12, -12, 30, -30, 35, -35, 37, -37, 20, -20, 20, -20, 20, -20]
    down = [0, -5, -5, 0, 0, 45, 45, 95, 95, 140, 140, 150, 150, 230, 230, 310, 310]
    names = {"xy": np.stack((across, down), axis=-1)[None] + 400.0, "confidence": np.ones((1, 17))}
    exec(block, names)
    standing = names["poses"].consensus_mm[0]
    assert standing[10, 1] > 400 > -400 > standing[3, 1], "head above the hips, feet below"
    assert standing[11, 0] > 50 > -50 > standing[14, 0], "the left side is on the right of the picture"
    poses = names["people"].poses
    assert poses.hypotheses_mm.shape == (1, 200, 17, 3)
    assert poses.consensus_mm.shape == (1, 17, 3)
    assert poses.spread_mm.shape == (1, 17)
    assert float(poses.modes[0].weights.sum()) == pytest.approx(1)
