"""Raw data as people have it: pictures by their numbers, files that are no data, pictures and poses out of step."""

import cv2
import h5py
import numpy as np
import pytest

from tests.support.fake_detector import run_script_here, shown  # noqa: F401 - a fixture
from tests.support.helpers import ROOT
from tests.support.raw_data import IMAGE_SHAPE, add_3dhp, add_3dpw, add_h36m, write_video

FRAMES = 12
LEFT_BY_OTHERS = ("._img_000003.jpg", ".DS_Store", "Thumbs.db", "img_000003.jpg.md5", "SHA256SUMS.txt")


@pytest.fixture
def sequence(tmp_path):
    """sequence(valid=.., name=..) -> the picture folder of TS1, whose pictures show 10 times their number."""

    def make(*, valid=(1,) * FRAMES, name="img_{:06d}.jpg"):
        add_3dhp(tmp_path / "raw", "TS1", valid=list(valid), images=0)
        pictures = tmp_path / "raw" / "TS1" / "imageSequence"
        for number in range(1, FRAMES + 1):
            cv2.imwrite(str(pictures / name.format(number)), np.full((*IMAGE_SHAPE, 3), 10 * number, np.uint8))
        return pictures

    return make


@pytest.fixture
def convert(tmp_path, run_script_here):  # noqa: F811
    """convert('3DHP', subject) -> (exit code, output, errors, {column: values} of its rows)."""

    def run(script, subject, split="testset"):
        code, out, err = run_script_here(
            ROOT / "data" / "preprocessing" / f"{script}.py",
            *("--input_dir", tmp_path / "raw", "--output_dir", tmp_path / "out", "--device", "cpu"),
            *("--subjects", subject),
        )
        rows = {}
        for path in (tmp_path / "out").glob("*.h5"):
            with h5py.File(path, locking=False) as file:
                rows = {name: column[()] for name, column in file["dataset"][split].items()}
        return code, out, err, rows

    return run


def refused(result, *words):
    code, _, err, rows = result
    lines = [line for line in err.replace("\r", "\n").splitlines() if line.startswith("error: ")]
    assert code == 2
    assert len(lines) == 1
    assert "Traceback" not in err
    assert not rows
    for word in words:
        assert str(word) in lines[0]


@pytest.mark.parametrize("name", ["img_{:06d}.jpg", "img_{}.jpg", "IMG-{:03d}.JPG"])
def test_the_number_in_a_picture_s_name_says_which_frame_it_is(sequence, convert, name):
    sequence(name=name)
    code, _, err, rows = convert("3DHP", "TS1")
    assert code == 0, err
    assert rows["frame_orig"].tolist() == list(range(FRAMES))
    np.testing.assert_allclose(shown(rows["heatmap"]), 10 * np.arange(1, FRAMES + 1), atol=2)


def test_a_picture_that_is_missing_at_an_invalid_frame_moves_no_other(sequence, convert):
    valid = [number != 5 for number in range(1, FRAMES + 1)]
    (sequence(valid=valid) / "img_000005.jpg").unlink()
    code, _, err, rows = convert("3DHP", "TS1")
    assert code == 0, err
    numbers = [number for number in range(1, FRAMES + 1) if number != 5]
    assert (rows["frame_orig"] + 1).tolist() == numbers
    np.testing.assert_allclose(shown(rows["heatmap"]), 10 * np.array(numbers), atol=2)


def test_a_picture_that_is_missing_at_a_valid_frame_is_named(sequence, convert):
    (sequence() / "img_000005.jpg").unlink()
    refused(convert("3DHP", "TS1"), "no picture of frame 5 (img_000005.jpg)", "TS1")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("img_5.jpg", ("has the number 5, and so has img_000005.jpg",)),
        ("cover.jpg", ("cover.jpg: no number at the end of its name",)),
        ("img_000000.jpg", ("img_000000.jpg: has the number 0",)),
    ],
)
def test_pictures_whose_numbers_do_not_tell_are_named(sequence, convert, name, words):
    cv2.imwrite(str(sequence() / name), np.zeros((*IMAGE_SHAPE, 3), np.uint8))
    refused(convert("3DHP", "TS1"), *words)


def test_what_systems_leave_in_folders_is_passed_over_with_a_count(sequence, convert, tmp_path):
    pictures = sequence()
    add_h36m(tmp_path / "raw", "S9", "Greeting.54138969", frames=4)
    add_3dpw(tmp_path / "raw", "test", "downtown_cafe_00", seen=[[1, 1]])
    folders = {
        "3DHP": ("TS1", pictures, FRAMES),
        "H36M": ("S9", tmp_path / "raw" / "S9" / "Poses_D2_Positions", 1),
        "3DPW": ("te", tmp_path / "raw" / "sequenceFiles" / "test", 2),
    }
    for script, (subject, folder, count) in folders.items():
        endings = {"3DHP": ".jpg", "H36M": ".cdf", "3DPW": ".pkl"}
        for name in LEFT_BY_OTHERS:
            (folder / name.replace(".jpg", endings[script])).write_bytes(b"\0\5\26\7")
        code, _, err, rows = convert(script, subject)
        assert code == 0, err
        assert len(rows["frame_orig"]) == count
        assert f"{folder}: {len(LEFT_BY_OTHERS)} files are no {endings[script]} files" in err
        for path in (tmp_path / "out").glob("*.h5"):
            path.unlink()


def test_a_video_of_another_rate_is_out_of_step_and_refused(convert, tmp_path, monkeypatch):
    add_h36m(tmp_path / "raw", "S9", "Greeting.54138969", frames=8)
    video = tmp_path / "raw" / "S9" / "Videos" / "Greeting.54138969.mp4"
    write_video(video, 4, rate=25)
    refused(convert("H36M", "S9"), video, "has 25 frames per second where the annotations have 50")
