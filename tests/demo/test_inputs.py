"""Inputs that people really have, through the command line: the rows of docs/inputs.md that belong to the demo."""

import json
import re
import shutil
import struct

import cv2
import numpy as np
import pytest

from demo.embedded import EmbeddedDetector
from demo.estimator import PoseEstimator
from demo.images import output_names, read_image
from demo.inference import SpreadPictures
from demo.smoothing import jitter_mm
from demo.source import kind_of
from demo.video import Video
from tests.demo.test_inference import film, picture, results
from tests.support.fake_people import FakeNetwork
from tests.support.stick_figure import keypoints_of


def scene():
    """Somebody, for the fake detector, in the second of four places of the upper row: found there only if upright."""
    image = np.full((90, 240, 3), 60, np.uint8)
    image[:60, 60:120] = (255, 240, 230)
    return image


def stored(image, orientation):
    """The pixels of a file that show this picture once they are turned as EXIF's orientation says."""
    turns = {
        1: image,
        2: image[:, ::-1],
        3: image[::-1, ::-1],
        4: image[::-1],
        5: image.swapaxes(0, 1),
        6: np.rot90(image, 1),
        7: np.rot90(image, 2).swapaxes(0, 1),
        8: np.rot90(image, -1),
    }
    return np.ascontiguousarray(turns[orientation])


def modes(image):
    alpha = np.full((*image.shape[:2], 1), 255, np.uint8)
    alpha[-10:, -40:] = 0
    kinds = {"grey": image[..., 1], "rgb": image, "rgba": np.concatenate([image, alpha], -1)}
    return kinds | {f"{name}16": values.astype(np.uint16) * 257 for name, values in kinds.items()}


def with_tag(tiff, orientation):
    """A little-endian TIFF file with the orientation in its directory."""
    data = bytearray(tiff)
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    entries = [bytes(data[start + 2 + 12 * k : start + 14 + 12 * k]) for k in range(count)]
    entries = [entry for entry in entries if struct.unpack("<H", entry[:2])[0] != 274]
    entries = sorted([*entries, struct.pack("<HHIHH", 274, 3, 1, orientation, 0)], key=lambda e: e[1] * 256 + e[0])
    struct.pack_into("<I", data, 4, len(data))
    return bytes(data) + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)


def encoded(image, ending, orientation):
    """The file's bytes."""
    pixels = stored(image, orientation)
    if ending == ".tif":
        return with_tag(cv2.imencode(ending, pixels)[1].tobytes(), orientation)
    exif = b"II*\x00" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    quality = [cv2.IMWRITE_WEBP_QUALITY, 101] if ending == ".webp" else []
    metadata = [np.frombuffer(exif, np.uint8)]
    return cv2.imencodeWithMetadata(ending, pixels, [cv2.IMAGE_METADATA_EXIF], metadata, quality)[1].tobytes()


EXIST = [(".jpg", "grey"), (".jpg", "rgb"), (".webp", "rgb"), (".webp", "rgba")]
EXIST += [(ending, mode) for ending in (".png", ".tif") for mode in modes(np.zeros((90, 240, 3), np.uint8))]


@pytest.mark.parametrize(("ending", "mode"), EXIST)
def test_every_orientation_of_every_format_is_read_upright(tmp_path, ending, mode):
    for orientation in range(1, 9):
        path = tmp_path / f"{orientation}{ending}"
        path.write_bytes(encoded(modes(scene())[mode], ending, orientation))
        image = read_image(path).astype(int)
        wanted = scene()[..., ::-1].astype(int) if "rgb" in mode else scene()[..., [1, 1, 1]].astype(int)
        if "rgba" in mode:
            wanted[-10:, -40:] = 127
        assert image.shape == wanted.shape, orientation
        assert np.abs(image - wanted).mean() < (3 if ending == ".jpg" else 0.01), orientation


def test_turned_pictures_with_alpha_give_the_upright_pose(demo, tmp_path):
    """Once: an RGBA PNG or WebP with orientation 6 was lifted lying on its side, up to 396 mm off, exit 0."""
    folder = tmp_path / "turned"
    folder.mkdir()
    kinds = [(".png", "rgba"), (".webp", "rgba"), (".jpg", "rgb")]
    for ending, mode in kinds:
        for orientation in (1, 6):
            data = encoded(modes(scene())[mode], ending, orientation)
            (folder / f"{ending[1:]}_{mode}_{orientation}{ending}").write_bytes(data)
    code, _, err = demo("--input", folder, "--num_hypotheses", "2")
    assert code == 0, err
    arrays, _ = results(tmp_path / "out")
    assert len(arrays["source"]) == 2 * len(kinds)
    assert (arrays["crop_px"] == (60, 0, 60)).all()


def test_one_tiny_person_does_not_lose_the_others(demo, tmp_path, monkeypatch):
    """Once: "a person 22 px high is too small", exit 2, and nobody was lifted."""
    people = [((80, 90), 34.0, 0.0), ((220, 90), 15.0, 0.0)]
    detector = EmbeddedDetector(network=FakeNetwork(people))
    monkeypatch.setattr(PoseEstimator, "detector", property(lambda self: detector))
    image = np.full((180, 320, 3), 128, np.uint8)
    cv2.imwrite(str(tmp_path / "two.png"), image)
    code, out, err = demo("--input", tmp_path / "two.png")
    assert code == 0, err
    arrays, _ = results(tmp_path / "out")
    assert len(arrays["frame"]) == 1
    assert abs(arrays["joints_px"][0, 6] - (80, 90)).max() < 1, "the larger one is kept"
    assert re.search(r"two\.png: left out: .*\b1[78] px", err)
    assert "1 too small person left out in 1 frame" in out
    writer = cv2.VideoWriter(str(tmp_path / "two.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (320, 180))
    for _ in range(3):
        writer.write(image)
    writer.release()
    code, out, err = demo("--input", tmp_path / "two.avi")
    assert results(tmp_path / "out")[0]["frame"].tolist() == [0, 1, 2]
    assert "3 too small people left out in 3 frames" in out
    detector._network.people.pop(0)
    code, _, err = demo("--input", tmp_path / "two.avi")
    assert code == 2
    assert "too small" in err, "where nobody is large enough, the message says so"


def test_two_inputs_give_two_pictures(demo, tmp_path):
    """Once: photo.jpg and photo.png gave one photo_poses.png."""
    folder = tmp_path / "same"
    folder.mkdir()
    for name in ("photo.jpg", "photo.png", "photo.jpg.png", "other.png"):
        picture(folder / name)
    assert demo("--input", folder)[0] == 0
    made = sorted(path.name for path in (tmp_path / "out").glob("*_poses.png"))
    assert made == ["other_poses.png", "photo.jpg_2_poses.png", "photo.jpg_poses.png", "photo.png_poses.png"]
    names = output_names([folder / name for name in ("A.png", "a.PNG", "a.jpg", "b.png")])
    assert len({name.casefold() for name in names}) == 4, "also where names differ by case alone"


def animation(path, delays):
    moving = cv2.Animation()
    frames = []
    for k in range(len(delays)):
        picture(path.with_suffix(".bmp"), 1 + k % 2)
        frames.append(cv2.cvtColor(cv2.imread(str(path.with_suffix(".bmp"))), cv2.COLOR_BGR2BGRA))
    moving.frames, moving.durations, moving.loop_count = frames, delays, 0
    assert cv2.imwriteanimation(str(path), moving)
    return path


def page_data(folder):
    """What the viewer shows."""
    return json.loads(re.search(r"const DATA = (\{.*\});\n", (folder / "viewer.html").read_text())[1])


def test_times_of_an_animation_are_the_decoders(demo, tmp_path):
    """Once: delays of 40, 200, 40, 40 ms were labelled 0, 0.08, 0.16, 0.24 s; of a WebP there was one frame."""
    for ending in (".gif", ".png", ".webp"):
        path = animation(tmp_path / f"moving{ending}", [40, 200, 40, 40])
        times = [frame.time_s for frame in Video(path).frames()]
        assert times == pytest.approx([0, 0.04, 0.24, 0.28], abs=1e-3), ending
        assert [image[10, 70, 0] > 200 for _, image in Video(path)] == [False, True, False, True], ending
    code, _, err = demo("--input", path)
    assert code == 0, err
    frames = page_data(tmp_path / "out")["frames"]
    assert [frame["time"] for frame in frames] == pytest.approx([0, 0.04, 0.24, 0.28], abs=1e-3)
    assert [frame["label"].split(" s")[0] for frame in frames] == ["0.00", "0.04", "0.24", "0.28"]
    assert [len(frame["people"]) for frame in frames] == [1, 2, 1, 2], "each its own picture"


def test_a_folder_names_what_it_leaves_out(demo, tmp_path):
    """Once: .HEIC and .jfif were skipped without a word."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    picture(folder / "a.jpg")
    shutil.move(picture(folder / "b.jpg"), folder / "b.jfif")
    shutil.move(picture(folder / "c.png"), folder / "c")
    (folder / "d.HEIC").write_bytes(struct.pack(">I", 24) + b"ftypheic" + bytes(40))
    (folder / "notes.txt").write_text("no picture")
    for name in (".DS_Store", "Thumbs.db", "._a.jpg"):
        (folder / name).write_bytes(b"x")
    code, _, err = demo("--input", folder)
    assert code == 0, err
    assert results(tmp_path / "out")[0]["source"].tolist() == ["a.jpg", "b.jfif", "c"]
    assert err.count("d.HEIC") == err.count("notes.txt") == 1
    assert "convert it to JPEG" in err
    assert "3 hidden or system files" in err
    code, _, err = demo("--input", folder / "d.HEIC")
    assert code == 2
    assert "convert it to JPEG" in err


@pytest.fixture
def endless(tmp_path):
    """A WebM as browsers record it: nothing in it says how long it is."""
    path = tmp_path / "recorded.webm"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"VP80"), 10.0, (240, 90))
    if not writer.isOpened():
        pytest.skip("this OpenCV can't write VP8")
    for k in range(12):
        writer.write(cv2.imread(str(picture(tmp_path / "f.png", 1 + k % 2))))
    writer.release()
    data = path.read_bytes()
    assert data.count(b"\x44\x89\x88") == 1
    at = data.index(b"\x44\x89\x88")
    path.write_bytes(data[:at] + b"\xec\x89" + bytes(9) + data[at + 11 :])
    return path


def test_a_video_that_does_not_say_its_length(demo, tmp_path, endless):
    """Once: "not an image", and "no person found in 0 frames"."""
    assert Video(endless).expected is None
    code, out, err = demo("--input", endless)
    assert code == 0, err
    assert sorted(set(results(tmp_path / "out")[0]["frame"].tolist())) == list(range(12))
    assert "12 frames in" in out
    made = sorted(int(path.name[6:12]) for path in (tmp_path / "out").glob("frame_*_poses.png"))
    assert len(made) == 4
    assert made[0] == 0
    assert made[-1] >= 8, "spread over what came"
    assert len(page_data(tmp_path / "out")["frames"]) == 12


def test_pictures_are_spread_over_a_video_of_unknown_length(tmp_path):
    pictures, made = SpreadPictures(None), 0
    for step in range(1000):
        if pictures.wants(step):
            path = tmp_path / f"{step}.png"
            path.touch()
            pictures.made(step, path)
            made += 1
    pictures.finish()
    left = sorted(int(path.stem) for path in tmp_path.glob("*.png"))
    assert len(left) == 4
    assert (np.diff(left) > 150).all()
    assert made < 60


@pytest.mark.parametrize("ending", ["ts", "3gp", "flv", "mts"])
def test_what_a_file_is_decides_the_decoder(demo, tmp_path, ending):
    """Once: such containers were called images."""
    path = tmp_path / f"film.{ending}"
    code = {"flv": "FLV1"}.get(ending, "mp4v")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), 10.0, (240, 90))
    if not writer.isOpened():
        pytest.skip(f"this OpenCV can't write {code}")
    for _ in range(4):
        writer.write(cv2.imread(str(picture(tmp_path / "f.png", 2))))
    writer.release()
    assert kind_of(path) == "video"
    assert [image[10, 70, 0] > 200 for _, image in Video(path)] == [True] * 4
    if ending == "mts":
        assert demo("--input", path)[0] == 0
        assert results(tmp_path / "out")[0]["frame"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_wrong_endings(demo, tmp_path):
    shutil.move(picture(tmp_path / "a.png", 2), tmp_path / "a.mp4")
    shutil.move(film(tmp_path / "b.avi", [1, 2]), tmp_path / "b.jpg")
    assert (kind_of(tmp_path / "a.mp4"), kind_of(tmp_path / "b.jpg")) == ("image", "video")
    assert demo("--input", tmp_path / "a.mp4")[0] == 0
    assert results(tmp_path / "out")[0]["person"].tolist() == [0, 1]
    assert demo("--input", tmp_path / "b.jpg")[0] == 0
    assert results(tmp_path / "out")[0]["frame"].tolist() == [0, 1, 1]


def test_smooth_tracks_are_written(demo, tmp_path):
    path = film(tmp_path / "film.avi", [1, 1, 1, 2, 2])
    assert demo("--input", path, "--smooth")[0] == 0
    arrays, text = results(tmp_path / "out")
    assert arrays["smooth_mm"].shape == arrays["consensus_mm"].shape
    np.testing.assert_allclose(text["frames"][3]["people"][1]["smooth_mm"], arrays["smooth_mm"][4], atol=0.051)
    assert np.abs(arrays["smooth_mm"] - arrays["consensus_mm"]).max() > 1
    code, _, err = demo("--input", picture(tmp_path / "one.png"), "--smooth")
    assert code == 2
    assert "--smooth" in err
    assert demo("--input", path)[0] == 0
    assert "smooth_mm" not in results(tmp_path / "out")[0]


def test_smooth_tracks_of_keypoints(demo, tmp_path):
    shaken = keypoints_of("coco17") + np.random.default_rng(0).normal(0, 12, (9, 17, 2))
    np.save(tmp_path / "walk.npy", shaken)
    code, out, err = demo("--keypoints", tmp_path / "walk.npy", "--smooth")
    assert code == 0, err
    assert "smooth tracks: as if of 25 frames a second" in out
    slow, text = results(tmp_path / "out")
    assert jitter_mm(slow["smooth_mm"]) < 0.7 * jitter_mm(slow["consensus_mm"])
    assert (text["fps"], text["frames"][1].get("time_s")) == (None, None)
    code, out, _ = demo("--keypoints", tmp_path / "walk.npy", "--smooth", "--fps", "200")
    assert code == 0
    assert "smooth tracks" not in out
    fast, text = results(tmp_path / "out")
    assert text["fps"] == 200
    assert jitter_mm(fast["smooth_mm"]) < jitter_mm(slow["smooth_mm"]), "less time to move in"
    code, _, err = demo("--keypoints", tmp_path / "walk.npy", "--smooth", "--layout", "nonsense")
    assert code == 2
    code, _, err = demo("--keypoints", tmp_path / "walk.npy", "--smooth", "--fps", "0.5")
    assert code == 0
    assert "note: --smooth changed nothing" in err
    np.save(tmp_path / "one.npy", keypoints_of("coco17")[0])
    code, _, err = demo("--keypoints", tmp_path / "one.npy", "--smooth")
    assert code == 2
    assert "--smooth: a smooth track needs frames that follow each other" in err
