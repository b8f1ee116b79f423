"""Tables in DeepLabCut's form: one person, several, labelled pictures, names of joints, and what is broken."""

import numpy as np
import pytest

from data.keypoints.deeplabcut import joint_named
from data.keypoints.files import read_keypoints
from data.keypoints.layouts import LAYOUTS
from utils.errors import DiffPoseError

COCO = LAYOUTS["coco17"]
GENERATOR = np.random.default_rng(0)


def table(points, sure=None, *, parts=COCO.joints, people=(), rows=None):
    """The text of a file of points (F, P, K, 2), confidences (F, P, K); NaN are empty cells."""
    coords = ["x", "y"] + ["likelihood"] * (sure is not None)
    who = people or ("",)
    columns = [(person, part, coordinate) for person in who for part in parts for coordinate in coords]
    lines = [["scorer", *["DLC_resnet50"] * len(columns)]]
    if people:
        lines.append(["individuals", *(column[0] for column in columns)])
    lines += [["bodyparts", *(column[1] for column in columns)], ["coords", *(column[2] for column in columns)]]
    values = points if sure is None else np.concatenate([points, sure[..., None]], axis=-1)
    for number, frame in enumerate(values):
        lines.append([rows[number] if rows else str(number), *(f"{v:.3f}" if v == v else "" for v in frame.ravel())])
    return "\n".join(",".join(line) for line in lines) + "\n"


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_one_person_in_a_video(tmp_path):
    points, sure = GENERATOR.uniform(1, 900, (4, 1, 17, 2)), GENERATOR.uniform(0, 1, (4, 1, 17))
    found = read_keypoints(write(tmp_path / "a.csv", table(points, sure)))
    assert found.is_sequence
    assert found.layout == "coco17"
    assert [frame.name for frame in found.frames] == [f"frame {k}" for k in range(4)]
    for number, frame in enumerate(found.frames):
        np.testing.assert_allclose(frame.points, points[number], atol=6e-4)
        np.testing.assert_allclose(frame.confidence, sure[number], atol=6e-4)


def test_columns_go_by_their_names_and_other_ones_are_passed_over(tmp_path):
    order = GENERATOR.permutation(17)
    spelled = [_spelling(COCO.joints[k], n) for n, k in enumerate(order)]
    points = GENERATOR.uniform(1, 900, (2, 1, 17, 2))
    more = np.concatenate([points[:, :, order], np.ones((2, 1, 1, 2))], axis=2)
    found = read_keypoints(write(tmp_path / "a.csv", table(more, parts=[*spelled, "racket"])))
    np.testing.assert_allclose(found.frames[1].points, points[1], atol=6e-4)
    assert found.frames[0].confidence is None


def _spelling(name, number):
    side, _, part = name.partition("_")
    if not part:
        return name.title()
    return (f"{side[0].upper()}{part.title()}", f"{part}_{side}", f"{side} {part}", f"{part}_{side[0]}")[number % 4]


def test_several_people_of_whom_one_comes_later(tmp_path):
    points = GENERATOR.uniform(1, 900, (3, 2, 17, 2))
    points[0, 1] = np.nan
    text = table(points, np.ones((3, 2, 17)), people=("anna", "bert"))
    found = read_keypoints(write(tmp_path / "a.csv", text))
    assert [len(frame.points) for frame in found.frames] == [1, 2, 2]
    np.testing.assert_allclose(found.frames[2].points, points[2], atol=6e-4)


def test_an_empty_frame_stays_a_frame(tmp_path):
    points = GENERATOR.uniform(1, 900, (3, 1, 17, 2))
    points[0] = np.nan
    found = read_keypoints(write(tmp_path / "a.csv", table(points)))
    assert [len(frame.points) for frame in found.frames] == [0, 1, 1]


def test_a_table_is_told_by_its_content_and_rows_keep_their_numbers(tmp_path):
    points = GENERATOR.uniform(1, 900, (3, 1, 17, 2))
    text = table(points, rows=["10", "11", "14"])
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    found = read_keypoints(tmp_path / "a.txt")
    assert [(frame.name, frame.number) for frame in found.frames] == [(f"frame {k}", k) for k in (10, 11, 14)]


def test_labelled_pictures_are_no_video(tmp_path):
    points = GENERATOR.uniform(1, 900, (2, 1, 17, 2))
    names = ["labeled-data/walk/img01.png", "labeled-data/walk/img27.png"]
    found = read_keypoints(write(tmp_path / "a.csv", table(points, rows=names)))
    assert not found.is_sequence
    assert [frame.name for frame in found.frames] == names
    text = table(points, rows=["labeled-data,walk,img01.png", "labeled-data,walk,img27.png"])
    head = [line.replace(",", ",,,", 1) if k < 3 else line for k, line in enumerate(text.splitlines())]
    found = read_keypoints(write(tmp_path / "b.csv", "\n".join(head)))
    assert [frame.name for frame in found.frames] == names
    np.testing.assert_allclose(found.frames[1].points, points[1], atol=6e-4)


def test_the_layout_is_that_of_most_joints_or_the_one_asked_for(tmp_path):
    parts = LAYOUTS["halpe26"].joints
    path = write(tmp_path / "a.csv", table(GENERATOR.uniform(1, 9, (2, 1, 26, 2)), parts=parts))
    assert read_keypoints(path).layout == "halpe26"
    found = read_keypoints(path, "coco17")
    assert found.layout == "coco17"
    assert found.frames[0].points.shape == (1, 17, 2)
    path = write(tmp_path / "b.csv", table(np.ones((2, 1, 12, 2)), parts=COCO.joints[5:]))
    frame = read_keypoints(path).frames[0]
    assert np.isnan(frame.points[0, :5]).all()
    assert np.isfinite(frame.points[0, 5:]).all()


def test_no_name_means_two_joints():
    for layout in LAYOUTS.values():
        assert [joint_named(name, layout) for name in layout.joints] == list(layout.joints)
    assert joint_named("tail_base", COCO) is None
    assert joint_named("l", COCO) is None


GOOD = table(np.ones((2, 1, 17, 2)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "no JSON .*DeepLabCut's .csv"),
        ("scorer,a,b\n0,1,2\n", "not DeepLabCut's form: expected rows that begin with bodyparts"),
        (GOOD.replace("coords,x,y", "coords,x,x"), "nose comes twice"),
        (GOOD.replace("left_ear,left_ear", "left_ear,right_ear"), "right_ear comes twice"),
        (GOOD.replace("coords,x,y", "coords,x,likelihood"), "no x and y of nose"),
        (GOOD.replace(",x,y", ",u,v"), "no x, y and likelihood"),
        (GOOD.rstrip() + ",3\n", "row 5 is not as long"),
        (GOOD.replace("1.000", "one", 1), "'one': numbers are expected"),
        (table(np.ones((1, 1, 3, 2)), parts=["nose", "tail", "paw"]), r"\(nose, paw, tail\) fewer than 4 are joints"),
        ("\n".join(GOOD.splitlines()[:3]), "holds no frames below its names"),
    ],
)
def test_one_line_for_what_is_broken(text, said, tmp_path):
    path = write(tmp_path / "a.csv", text)
    with pytest.raises(DiffPoseError, match=said) as error:
        read_keypoints(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"scorer,\xff\xfe\n")
    with pytest.raises(DiffPoseError, match="can't be read as a table"):
        read_keypoints(tmp_path / "a.csv")
