"""Pictures as people have them, videos as they come, and clear words about the rest."""

import struct

import cv2
import numpy as np
import pytest

from demo.images import images_in, read_image, to_rgb8
from demo.source import kind_of
from demo.video import Video
from utils.errors import DiffPoseError

RGB = np.zeros((40, 60, 3), np.uint8)
RGB[:, :20] = (250, 10, 20)
RGB[:10, 40:] = (10, 20, 250)


def write(path, image):
    assert cv2.imwrite(str(path), image)
    return path


def exif_orientation(jpeg: bytes, value: int) -> bytes:
    """A JPEG with the EXIF orientation tag set."""
    tiff = b"II*\x00" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, value, 0, 0)
    payload = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + jpeg[2:]


def test_colours_come_out_as_rgb(tmp_path):
    np.testing.assert_array_equal(read_image(write(tmp_path / "a.png", RGB[..., ::-1])), RGB)


def test_16_bit(tmp_path):
    np.testing.assert_array_equal(read_image(write(tmp_path / "a.png", RGB[..., ::-1].astype(np.uint16) * 257)), RGB)


def test_transparency_becomes_grey(tmp_path):
    alpha = np.full((40, 60, 1), 255, np.uint8)
    alpha[20:] = 0
    image = read_image(write(tmp_path / "a.png", np.concatenate([RGB[..., ::-1], alpha], -1)))
    np.testing.assert_array_equal(image[:20], RGB[:20])
    assert (image[20:] == 127).all()


@pytest.mark.parametrize("factor", [1, 257])
def test_grey(tmp_path, factor):
    grey = np.arange(0, 240, dtype=np.uint16).reshape(12, 20) * factor
    image = read_image(write(tmp_path / "a.png", grey.astype(np.uint8 if factor == 1 else np.uint16)))
    np.testing.assert_array_equal(image, np.arange(0, 240).reshape(12, 20, 1).repeat(3, -1))


def test_exif_rotation(tmp_path):
    jpeg = cv2.imencode(".jpg", RGB[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    path = tmp_path / "a.jpg"
    path.write_bytes(exif_orientation(jpeg, 6))  # the camera was held upright: turn clockwise
    image = read_image(path)
    assert image.shape == (60, 40, 3)
    np.testing.assert_allclose(image.astype(int), np.rot90(RGB, -1).astype(int), atol=90)
    assert abs(image.astype(int) - np.rot90(RGB, -1).astype(int)).mean() < 6


def test_8000_pixels(tmp_path):
    large = cv2.resize(RGB, (8000, 5000), interpolation=cv2.INTER_NEAREST)
    assert read_image(write(tmp_path / "a.jpg", large)).shape == (5000, 8000, 3)


def test_floats():
    np.testing.assert_array_equal(to_rgb8(RGB[..., ::-1].astype(np.float32) / 255), RGB)


def test_bad_files_get_one_line(tmp_path):
    empty, text, cut = tmp_path / "empty.jpg", tmp_path / "text.jpg", tmp_path / "cut.png"
    empty.touch()
    text.write_text("not a picture")
    cut.write_bytes(cv2.imencode(".png", RGB)[1].tobytes()[:60])
    for path, words in (
        (empty, "empty"),
        (text, "not an image"),
        (cut, "image"),
        (tmp_path / "no.jpg", "no such file"),
    ):
        with pytest.raises(DiffPoseError, match=words) as caught:
            read_image(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


def test_kinds_of_input(tmp_path):
    write(tmp_path / "b.png", RGB)
    write(tmp_path / "a.png", RGB)
    (tmp_path / "notes.txt").touch()
    assert kind_of(tmp_path) == "folder"
    assert [path.name for path in images_in(tmp_path)] == ["a.png", "b.png"]
    assert kind_of(tmp_path / "a.png") == "image"
    with pytest.raises(DiffPoseError, match="no such file"):
        kind_of(tmp_path / "c.mp4")
    (tmp_path / "none").mkdir()
    with pytest.raises(DiffPoseError, match="no picture"):
        images_in(tmp_path / "none")


@pytest.fixture
def film(tmp_path):
    """12 frames of 64 x 48; frame k is 20 k bright."""
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (64, 48))
    for k in range(12):
        writer.write(np.full((48, 64, 3), 20 * k, np.uint8))
    writer.release()
    return path


def test_every_kth_frame(film):
    video = Video(film, every=5)
    frames = list(video)
    assert (video.expected, video.fps, video.size) == (3, 10.0, (64, 48))
    assert [number for number, _ in frames] == [0, 5, 10]
    np.testing.assert_allclose([image.mean() for _, image in frames], [0, 100, 200], atol=4)


def test_a_video_that_ends_early(film, capsys):
    video = Video(film)
    video.num_frames = 40  # what its header promised
    assert len(list(video)) == 12
    assert "ends after 12 of 40 frames" in capsys.readouterr().err
    video.fps = 34.0  # of a variable rate: the promised 1.18 s are all there, the last frame is at 1.1 s
    assert len(list(video)) == 12
    assert not capsys.readouterr().err


def test_not_a_video(tmp_path):
    for name, content in (("a.mp4", b""), ("b.mp4", b"not a film")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DiffPoseError, match=name) as caught:
            Video(tmp_path / name)
        assert "\n" not in str(caught.value)
