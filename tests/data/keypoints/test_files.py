"""Files of keypoints in the forms that detectors write, and one line for those that are broken."""

import json

import numpy as np
import pytest

from data.keypoints.files import read_keypoints
from tests.support.stick_figure import keypoints_of
from utils.errors import DiffPoseError

COCO, BODY = keypoints_of("coco17")[0], keypoints_of("body25")[0]


def flat(points, confidence=0.7):
    return np.column_stack([points, np.full(len(points), confidence)]).ravel().tolist()


def write(path, content):
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("array", "frames", "people", "has_confidence"),
    [
        (COCO, 1, 1, False),
        (np.column_stack([COCO, np.full(17, 0.7)]), 1, 1, True),
        (np.stack([COCO] * 4), 4, 1, False),
        (np.zeros((3, 2, 17, 3)) + 1, 3, 2, True),
    ],
)
def test_arrays(tmp_path, array, frames, people, has_confidence):
    np.save(tmp_path / "a.npy", array)
    found = read_keypoints(tmp_path / "a.npy")
    assert [frame.number for frame in found.frames] == list(range(frames))
    assert found.frames[0].points.shape == (people, 17, 2)
    assert found.is_sequence == (frames > 1)
    assert (found.frames[0].confidence is not None) == has_confidence
    np.testing.assert_array_equal(found.frames[-1].points[-1], array.reshape(-1, 17, array.shape[-1])[-1, :, :2])


def test_named_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", keypoints=COCO[None], scores=np.full((1, 17), 0.3))
    frame = read_keypoints(tmp_path / "a.npz").frames[0]
    assert (frame.confidence == 0.3).all()
    np.savez(tmp_path / "b.npz", COCO[None])
    assert read_keypoints(tmp_path / "b.npz").frames[0].confidence is None


def test_coco_results_and_annotations(tmp_path):
    results = [
        {"image_id": image, "category_id": 1, "score": 1, "keypoints": flat(COCO + 5 * k)}
        for k, image in enumerate((7, 3, 7))
    ]
    found = read_keypoints(write(tmp_path / "r.json", results))
    assert [(frame.name, len(frame.points)) for frame in found.frames] == [("image 7", 2), ("image 3", 1)]
    np.testing.assert_array_equal(found.frames[0].points[1], COCO + 10)
    assert (found.frames[0].confidence == 0.7).all()
    flags = np.column_stack([COCO, [2, 1, 0] + [2] * 14]).ravel().tolist()
    content = {
        "images": [{"id": 3, "file_name": "a.jpg"}],
        "annotations": [{"image_id": 3, "keypoints": flags}],
    }
    frame = read_keypoints(write(tmp_path / "a.json", content)).frames[0]
    assert frame.name == "a.jpg"
    assert frame.confidence[0, :4].tolist() == [1, 0.5, 0, 1]


def test_openpose_folder(tmp_path):
    folder = tmp_path / "json"
    folder.mkdir()
    for number in (10, 9, 11):
        people = [] if number == 10 else [{"person_id": [-1], "pose_keypoints_2d": flat(BODY + number)}]
        write(folder / f"clip_{number}_keypoints.json", {"version": 1.3, "people": people})
    (folder / ".DS_Store").write_text("x")
    found = read_keypoints(folder)
    assert found.is_sequence
    assert [len(frame.points) for frame in found.frames] == [1, 0, 1]
    np.testing.assert_allclose(found.frames[2].points[0], BODY + 11)
    assert found.frames[0].name == "clip_9_keypoints.json"
    assert [frame.number for frame in found.frames] == [9, 10, 11]


@pytest.mark.parametrize(
    ("names", "numbers", "is_sequence"),
    [
        (["v_000000000003_keypoints", "v_000000000004_keypoints", "v_000000000007_keypoints"], [3, 4, 7], True),
        (["img1_keypoints", "img10_keypoints", "img2_keypoints"], [1, 2, 10], True),
        (["a_1_keypoints", "a_2_keypoints", "cover_keypoints"], [0, 1, 2], False),
        (["left_7_keypoints", "right_7_keypoints"], [0, 1], False),
        (["a_20261126205929123", "a_20261126205929163"], [0, 1], True),
    ],
)
def test_the_number_in_a_name_says_which_frame_it_is(tmp_path, capsys, names, numbers, is_sequence):
    """Once counted: of a folder without file 5, file 6 was called frame 5, and so on."""
    for name in names:
        write(tmp_path / f"{name}.json", {"people": [{"pose_keypoints_2d": flat(BODY)}]})
    found = read_keypoints(tmp_path)
    assert [frame.number for frame in found.frames] == numbers
    assert found.is_sequence == is_sequence
    gaps = "2 frames have no file between the first and the last; number 5 is missing"
    error = capsys.readouterr().err
    assert (gaps in error) == (numbers == [3, 4, 7])
    assert ("20261126205929163 is too large for a frame" in error) == names[0].startswith("a_2026")


def test_the_image_id_says_which_picture_it_is(tmp_path):
    entries = [{"image_id": number, "keypoints": flat(COCO)} for number in (4, 2, 4, 9)]
    found = read_keypoints(write(tmp_path / "a.json", entries))
    assert [(frame.number, len(frame.points)) for frame in found.frames] == [(4, 2), (2, 1), (9, 1)]


def text_file(path):
    path.write_text("0.1 0.2")
    return path


def test_the_content_says_what_a_file_is(tmp_path):
    """Once "no file of keypoints by its name"."""
    np.save(tmp_path / "a.npy", BODY)
    (tmp_path / "a.npy").rename(tmp_path / "a.json")
    text = json.dumps([{"image_id": 1, "keypoints": flat(BODY)}])
    (tmp_path / "b.NPY").write_text(text, encoding="utf-8-sig")
    for name in ("a.json", "b.NPY"):
        np.testing.assert_allclose(read_keypoints(tmp_path / name).frames[0].points[0], BODY, atol=1e-6)


def _save(path, array):
    np.save(path, array)
    return path


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: folder / "none.npy", "no such file"),
        (lambda folder: text_file(folder / "a.txt"), r"no JSON .*: give an array \(.npy, .npz\)"),
        (lambda folder: write(folder / "a.json", []), "holds no keypoints of anybody"),
        (lambda folder: write(folder / "a.json", {"x": 1}), "neither COCO's"),
        (lambda folder: write(folder / "a.json", [{"image_id": 1}]), "entry 0: no image_id and keypoints"),
        (lambda folder: write(folder / "a.json", [{"image_id": 1, "keypoints": [1, 2]}]), "2 numbers, not three"),
        (lambda folder: write(folder / "a.json", [{"image_id": 1, "keypoints": ["x"] * 3}]), "not a list of numbers"),
        (lambda folder: write(folder / "a.json", {"people": [{"pose": 1}]}), "person 0: no pose_keypoints_2d"),
        (lambda folder: write(folder / "a.json", {"annotations": [{"image_id": 1, "keypoints": [1, 2, 9]}]}), "flag"),
        (lambda folder: _save(folder / "a.npy", np.zeros((2, 17, 5))), r"\(2, 17, 5\) of float64: expected"),
        (lambda folder: _save(folder / "a.npy", np.array(["a", "b"])), "expected numbers"),
        (
            lambda folder: write(folder / "a.json", [{"image_id": 1, "keypoints": flat(one)} for one in (COCO, BODY)]),
            "of 17 and of 25 keypoints",
        ),
    ],
)
def test_one_line_for_what_is_broken(tmp_path, make, said):
    path = make(tmp_path)
    with pytest.raises(DiffPoseError, match=said) as error:
        read_keypoints(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_are_cut_off_or_foreign(tmp_path):
    for name, content, said in (
        ("a.json", b'[{"image_id": 1', "no JSON"),
        ("a.npy", b"\x93NUMPY", "can't be read as an array"),
        ("a.npz", b"PK\x03\x04 cut off", "can't be read as an array"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DiffPoseError, match=said):
            read_keypoints(tmp_path / name)
    np.savez(tmp_path / "b.npz", poses=np.zeros(3))
    with pytest.raises(DiffPoseError, match=r"b\.npz: holds poses: expected keypoints or xy"):
        read_keypoints(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", xy=COCO[None], scores=np.ones(3))
    with pytest.raises(DiffPoseError, match=r"confidence \(3,\)"):
        read_keypoints(tmp_path / "c.npz")
