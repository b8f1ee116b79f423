"""The demo's command: every kind of input, every output, and one line for what can't work."""

import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from demo import inference
from tests.support.helpers import ROOT
from utils.skeleton import H36M_JOINTS, MPII_JOINTS


def picture(path, people=1, width=240):
    image = np.full((90, width, 3), 120, np.uint8)
    for k in range(people):
        image[:60, 60 * k : 60 * k + 60] = 255
    assert cv2.imwrite(str(path), image)
    return path


def film(path, counts):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (240, 90))
    for people in counts:
        picture(path.with_suffix(".png"), people)
        writer.write(cv2.imread(str(path.with_suffix(".png"))))
    writer.release()
    return path


def results(folder):
    with np.load(folder / "poses.npz") as file:
        arrays = dict(file)
    return arrays, json.loads((folder / "poses.json").read_text())


def test_one_picture_with_two_people(demo, tmp_path):
    code, out, err = demo("--input", picture(tmp_path / "two.png", 2))
    assert code == 0, err
    assert "2 poses of 6 hypotheses" in out
    assert "average body" in out
    arrays, text = results(tmp_path / "out")
    assert arrays["hypotheses_mm"].shape == (2, 6, 17, 3)
    assert arrays["consensus_mm"].shape == (2, 17, 3)
    assert arrays["spread_mm"].shape == arrays["guessed"].shape == (2, 17)
    assert arrays["joints_px"].shape == (2, 16, 2)
    assert arrays["person"].tolist() == [0, 1]
    assert arrays["joints"].tolist() == list(H36M_JOINTS)
    assert arrays["joints_2d"].tolist() == list(MPII_JOINTS)
    weights = arrays["mode_weights"]
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)
    assert (np.isnan(arrays["mode_poses_mm"]).any((2, 3)) == (weights == 0)).all()
    assert (text["schema"], text["version"], text["num_hypotheses"]) == ("diffpose-poses", 1, 6)
    people = text["frames"][0]["people"]
    np.testing.assert_allclose(people[1]["consensus_mm"], arrays["consensus_mm"][1], atol=0.051)
    assert sum(mode["weight"] for mode in people[0]["modes"]) == pytest.approx(1, abs=1e-3)
    png = cv2.imread(str(tmp_path / "out" / "two_poses.png"))
    assert png.shape[1] > 1400
    assert png.std() > 20
    assert "two.png" in (tmp_path / "out" / "viewer.html").read_text()
    assert not [path for path in (tmp_path / "out").iterdir() if "partial" in path.name]


def test_one_of_them(demo, tmp_path):
    path = picture(tmp_path / "two.png", 2)
    assert demo("--input", path, "--person", "1")[0] == 0
    assert results(tmp_path / "out")[0]["crop_px"].tolist() == [[60, 0, 60]]
    code, _, err = demo("--input", path, "--person", "2")
    assert code == 2
    assert "2 found" in err


def test_a_given_box_and_the_whole_image(demo, tmp_path):
    path = picture(tmp_path / "none.png", 0)
    assert demo("--input", path, "--bbox", "10", "20", "30", "50")[0] == 0
    assert results(tmp_path / "out")[0]["crop_px"].tolist() == [[0, 20, 50]]
    assert demo("--input", path, "--whole_image")[0] == 0
    assert results(tmp_path / "out")[0]["crop_px"].tolist() == [[0, -75, 240]]


def test_a_folder_leaves_out_what_it_cannot_read(demo, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    picture(folder / "a.png", 1)
    picture(folder / "b.png", 0)
    (folder / "c.jpg").write_text("no picture")
    picture(folder / "d.png", 2)
    code, out, err = demo("--input", folder)
    assert code == 0, err
    assert "c.jpg" in err
    arrays, text = results(tmp_path / "out")
    assert arrays["source"].tolist() == ["a.png", "d.png", "d.png"]
    assert [frame["source"] for frame in text["frames"]] == ["a.png", "d.png"]
    assert "frames/s" in out


def test_a_video(demo, tmp_path):
    code, out, err = demo("--input", film(tmp_path / "film.avi", [1, 1, 0, 1, 2, 2, 1]), "--every", "2")
    assert code == 0, err
    arrays, _ = results(tmp_path / "out")
    assert arrays["frame"].tolist() == [0, 4, 4, 6]
    assert arrays["person"].tolist() == [0, 0, 1, 0]
    assert "4 frames in" in out
    assert "frames/s" in out
    assert "4/4" in err, "a progress bar"
    page = (tmp_path / "out" / "viewer.html").read_text()
    assert "0.40 s, frame 4" in page


def test_memory_does_not_hold_the_hypotheses(demo, tmp_path, monkeypatch):
    """Every frame's hypotheses go to the disk at once."""
    held = []
    add = inference.ResultWriter.add

    def watch(writer, rows):
        add(writer, rows)
        held.append(sum(np.asarray(v).nbytes for values in writer._columns.values() for v in values))

    monkeypatch.setattr(inference.ResultWriter, "add", watch)
    assert demo("--input", film(tmp_path / "film.avi", [1] * 5), "--num_hypotheses", "300")[0] == 0
    arrays, _ = results(tmp_path / "out")
    assert arrays["hypotheses_mm"].shape == (5, 300, 17, 3)
    assert held[-1] < arrays["hypotheses_mm"].nbytes / 20


def test_same_seed_same_poses(demo, tmp_path):
    path = picture(tmp_path / "one.png")
    found = []
    for seed in ("0", "0", "1"):
        assert demo("--input", path, "--seed", seed)[0] == 0
        found.append(results(tmp_path / "out")[0]["hypotheses_mm"])
    np.testing.assert_array_equal(found[0], found[1])
    assert np.abs(found[0] - found[2]).max() > 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "missing.png", "no such file"),
        (lambda folder: (folder / "e.png").write_bytes(b"") or folder / "e.png", "empty"),
        (lambda folder: (folder / "t.jpg").write_text("text") and folder / "t.jpg", "not an image"),
        (lambda folder: (folder / "v.mp4").write_text("text") and folder / "v.mp4", "not a video"),
        (lambda folder: picture(folder / "nobody.png", 0), "no person"),
        (lambda folder: film(folder / "nobody.avi", [0, 0]), "no person"),
    ],
)
def test_input_that_cannot_work(demo, tmp_path, make, words):
    code, _, err = demo("--input", make(tmp_path))
    line = err.strip().splitlines()[-1]
    assert code == 2
    assert line.startswith("error: ")
    assert words in line


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--num_hypotheses", "0"), "at least 1"),
        (("--every", "0"), "at least 1"),
        (("--bbox", "0", "0", "0", "5"), "at least 1"),
        (("--height_cm", "900"), "height"),
        (("--config", "missing.yaml"), "missing.yaml"),
    ],
)
def test_arguments_that_cannot_work(demo, tmp_path, args, words):
    code, _, err = demo("--input", picture(tmp_path / "a.png"), *args)
    assert code == 2
    assert words in err
    assert len(err.strip().splitlines()) == 1


def test_output_that_cannot_be_written(demo, tmp_path):
    blocked = tmp_path / "file"
    blocked.touch()
    code, _, err = demo("--input", picture(tmp_path / "a.png"), "--output", blocked / "out")
    assert code == 2
    assert "--output" in err
    assert len(err.strip().splitlines()) == 1


def test_detector_not_fetched_and_no_network(tmp_path):
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PIP_NO_INDEX": "1",
        "PIP_INDEX_URL": "",
        "PYTHONPATH": str(ROOT),
    }
    environment.pop("PIP_FIND_LINKS", None)
    command = [
        sys.executable,
        ROOT / "demo" / "inference.py",
        "--input",
        picture(tmp_path / "a.png"),
        "--detector",
        "embedded",
        "--output",
        tmp_path / "out",
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert result.returncode == 2
    assert "not fetched yet" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_real_thing_on_a_video_frame(walker, tmp_path):
    """The shipped weights and the embedded detector, by the command: facing and sides as the detector sees them."""
    cv2.imwrite(str(tmp_path / "walker.png"), walker[..., ::-1])
    command = [
        sys.executable,
        ROOT / "demo" / "inference.py",
        "--input",
        tmp_path / "walker.png",
        "--output",
        tmp_path / "out",
        "--num_hypotheses",
        "20",
        "--detector",
        "embedded",
        "--device",
        "cpu",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr
    assert "facing agrees in 100.0 %, left and right in 100.0 %" in result.stdout
    pose = results(tmp_path / "out")[0]["consensus_mm"][0]
    assert pose[[3, 6], 1].max() < -400, "feet down"
    assert pose[10, 1] > 400
    assert pose[11, 2] > pose[14, 2], "her left shoulder is nearer to the camera"
    assert pose[13, 0] < -100, "and her left hand is in front, to the left"
