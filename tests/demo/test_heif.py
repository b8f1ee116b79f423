"""AVIF and HEIC: turned as their own boxes say, or refused with the way out, never taken for a film."""

import base64

import cv2
import numpy as np
import pytest

from demo import heif
from demo.heif import heif_hint, heif_turn
from demo.images import read_image
from demo.source import kind_of
from tests.demo.test_inference import picture
from tests.demo.test_inputs import stored

# Pillow's, 16 x 8: the upper left red, the upper right white, the lower left blue, the lower right black. Its boxes say
# "turn by 3 quarters, then mirror", which is EXIF's orientation 7.
AVIF = base64.b64decode(
    "AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUIAAAD/bWV0YQAAAAAAAAAhaGRscgAAAAAAAAAAcGljdAAAAAAAAAAAAAAAAAAAAAAOcGl0"
    "bQAAAAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAAAAEAAAEnAAAAUQAAAChpaW5mAAAAAAABAAAAGmluZmUCAAAAAAEAAGF2MDFDb2xvcgAAAAB+aXBy"
    "cAAAAF1pcGNvAAAAFGlzcGUAAAAAAAAAEAAAAAgAAAAQcGl4aQAAAAADCAgIAAAADGF2MUOBAAwAAAAAE2NvbHJuY2x4AAEADQAGgAAAAAlpcm90"
    "AwAAAAlpbWlyAAAAABlpcG1hAAAAAAAAAAEAAQYBAoMEhYYAAABZbWRhdBIACggYDL+0QENBoTJDEgf39qkAggg+QAAA4CMSYsAdTsUZcodLGVSx"
    "mb9PXfrTENmdoYICOsNEjKNsFzwSqckfYsyowWQahsNcwhDHH7iOQA=="
)
# EXIF's orientation -> quarters against the clock and the axis of the mirror, as Pillow's encoder writes them.
TURNS = {1: (0, None), 2: (0, 1), 3: (2, None), 4: (0, 0), 5: (1, 0), 6: (3, None), 7: (3, 0), 8: (1, None)}


def with_turn(quarters, axis):
    """The same pixels with other boxes; one that is absent is also taken from the list of the picture's properties."""
    data = AVIF.replace(b"irot\3", b"irot" + bytes([quarters]) if quarters else b"free\3")
    data = data.replace(b"imir\0", b"free\0" if axis is None else b"imir" + bytes([axis]))
    listed = bytes([0x85 if quarters else 0, 0 if axis is None else 0x86])
    return data.replace(b"\x83\x04\x85\x86", b"\x83\x04" + listed)


@pytest.mark.parametrize("orientation", TURNS)
def test_avif_is_turned_as_its_boxes_say(tmp_path, orientation):
    """Once not turned at all: poses up to 800 mm off, exit 0."""
    path = tmp_path / "a.avif"
    path.write_bytes(with_turn(*TURNS[orientation]))
    if not cv2.haveImageReader(str(path)):
        pytest.skip("this OpenCV can't read AVIF")
    pixels = np.zeros((8, 16, 3), int)
    pixels[:4, :8], pixels[:4, 8:], pixels[4:, :8] = (250, 40, 30), (240, 240, 240), (20, 60, 220)
    assert np.abs(stored(read_image(path), orientation) - pixels).mean() < 20
    turn = heif_turn(path.read_bytes())
    assert turn == (TURNS[orientation] if orientation > 1 else None)


def test_cut_boxes_say_nothing():
    for length in range(0, len(AVIF), 5):
        heif_turn(AVIF[:length])
    assert heif_turn(AVIF[:60]) is None


def test_a_picture_of_a_telephone_is_no_film(tmp_path, demo):
    """Once a "video" of one frame, which was one tile of the picture, lying on its side: FFmpeg opens HEIC too."""
    path = tmp_path / "IMG_0001.HEIC"
    writer = cv2.VideoWriter(str(tmp_path / "a.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10.0, (64, 48))
    writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    film = (tmp_path / "a.mp4").read_bytes()
    assert kind_of(tmp_path / "a.mp4") == "video"
    path.write_bytes(film[:8] + b"heic" + film[12:])
    code, _, err = demo("--input", path)
    assert code == 2
    assert err.endswith(
        "HEIC, which this OpenCV can't read: convert it to JPEG, e.g. with heif-convert or pillow-heif\n"
    )


def test_an_opencv_without_avif_says_what_to_do(tmp_path, demo, monkeypatch):
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "a.avif").write_bytes(AVIF)
    picture(tmp_path / "mixed" / "b.png")
    known = cv2.haveImageReader
    monkeypatch.setattr(cv2, "haveImageReader", lambda path: not path.endswith(".avif") and known(path))
    wanted = "AVIF, which this OpenCV can't read: convert it to JPEG, e.g. with avifdec or Pillow"
    code, _, err = demo("--input", tmp_path / "mixed" / "a.avif")
    assert code == 2
    assert wanted in err
    code, _, err = demo("--input", tmp_path / "mixed")
    assert code == 0, err
    assert err.count(f"a.avif ({wanted})") == 1
    assert heif_hint(tmp_path / "mixed" / "b.png") is None
    assert heif.kind_of_heif(b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic") == "HEIC"
