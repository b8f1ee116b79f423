"""The BVH parser and forward kinematics: known answers, turns by their matrices, and bad files."""

import itertools
import random
import time

import numpy as np
import pytest

from data.preprocessing.motion_capture import bvh
from data.preprocessing.motion_capture.bvh import read_bvh
from data.preprocessing.motion_capture.takes import TakeOptions, load_take
from tests.support.bvh_files import NAMINGS, SKELETON, bvh_text, walk
from utils.errors import DiffPoseError

# An upper and a lower arm of lengths 2 and 1 along x at a root that moves, and a joint with its own positions.
SMALL = """HIERARCHY
ROOT Base
{
  OFFSET 5 5 5
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Elbow
  {
    OFFSET 2 0 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 1 0 0
    }
  }
  JOINT Slider
  {
    OFFSET 0 3 7
    CHANNELS 1 Yposition
  }
}
MOTION
Frames: 4
Frame Time: 0.0333333
0 0 0  0 0 0   0 0 0  4
1 2 3  90 0 0  0 0 0  4
0 0 0  90 0 0  90 0 0  4
0 0 0  90 90 0  0 0 90  0
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "file.bvh"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_forward_kinematics_by_hand(write):
    motion = read_bvh(write(SMALL))
    assert motion.names == ["Base", "Elbow", "Slider"]
    assert [joint.name for joint in motion.joints] == ["Base", "Elbow", "Elbow End Site", "Slider"]
    assert motion.frame_time == pytest.approx(1 / 30, abs=1e-5)
    expected = [
        # The root's position channels replace its offset; the slider's replaces y only.
        [[0, 0, 0], [2, 0, 0], [3, 0, 0], [0, 4, 7]],
        # A quarter turn about z takes x to y, y to -x.
        [[1, 2, 3], [1, 4, 3], [1, 5, 3], [-3, 2, 10]],
        # The elbow turns on: x of the forearm points to -x.
        [[0, 0, 0], [0, 2, 0], [-1, 2, 0], [-4, 0, 7]],
        # Rz(90) Rx(90): x to y, y to z, z to x; the elbow's Ry(90) takes its x to -z of the root, that is -x.
        [[0, 0, 0], [0, 2, 0], [-1, 2, 0], [7, 0, 0]],
    ]
    np.testing.assert_allclose(motion.positions(), expected, atol=1e-12)
    np.testing.assert_allclose(motion.positions(np.array([2, 0])), np.array(expected)[[2, 0]], atol=1e-12)


def turn(axis, degrees):
    """The matrix (3, 3) of a turn about an axis, by its definition."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(3)
    first, second = {"X": (1, 2), "Y": (2, 0), "Z": (0, 1)}[axis]
    matrix[[first, second, first, second], [first, second, second, first]] = cos, cos, -sin, sin
    return matrix


@pytest.mark.parametrize("order", ["".join(axes) for axes in itertools.permutations("XYZ")])
def test_every_channel_order_by_matrices(write, order):
    text = SMALL.replace("Zrotation Xrotation Yrotation", " ".join(f"{axis}rotation" for axis in order))
    head, _ = text.split("0.0333333\n")
    numbers = np.random.default_rng(0).uniform(-180, 180, (4, 10))
    motion = read_bvh(write(f"{head}0.04\n" + "\n".join(" ".join(map(repr, row.tolist())) for row in numbers)))
    for values, place in zip(numbers, motion.positions()[:, 2], strict=True):
        root = np.linalg.multi_dot([turn(*pair) for pair in zip(order, values[3:6], strict=True)])
        elbow = np.linalg.multi_dot([root, *(turn(*pair) for pair in zip(order, values[6:9], strict=True))])
        np.testing.assert_allclose(place, values[:3] + root @ [2, 0, 0] + elbow @ [1, 0, 0], atol=1e-9)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("ROOT Base\n{", "ROOT Base {"),
        lambda text: text.replace("0 0 0  0 0 0   0 0 0  4\n", "0 0 0 0 0\n\n0 0 0 0 4\n"),
        lambda text: text.replace("Frames: 4", "FRAMES:   4").replace("Xposition", "XPosition") + "\n\n",
        lambda text: text.replace("\n", "\n\n").replace("  ", "\t"),
    ],
)
def test_harmless_variants_mean_the_same(write, change):
    plain = read_bvh(write(SMALL)).positions()
    np.testing.assert_array_equal(read_bvh(write(change(SMALL))).positions(), plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "ends where 'HIERARCHY'"),
        (lambda text: text[5:], "line 1: does not begin with HIERARCHY"),
        (lambda text: text.split("MOTION")[0], "ends where 'MOTION' should follow"),
        (lambda text: text[:-8], "ends in frame 4 of 4"),
        (lambda text: text + "1 2 3", "line 28: more numbers than 4 frames of 10 channels"),
        (lambda text: text.replace("1 2 3", "1 two 3"), "line 25: 'two' where a number should be"),
        (lambda text: text.replace("1 2 3", "1 nan 3"), "'nan' is not a finite number"),
        (lambda text: text.replace("1 2 3", "1 1e30 3"), "'1e30' is not a finite number of sane size"),
        (lambda text: text.replace("OFFSET 2 0 0", "OFFSET 2 0"), "line 8: a joint needs one OFFSET of three numbers"),
        (lambda text: text.replace("    OFFSET 2 0 0\n", ""), "joint 'Elbow' has no OFFSET"),
        (lambda text: text.replace("CHANNELS 1 ", "CHANNELS 2 "), "CHANNELS with the number of channels"),
        (lambda text: text.replace("Yposition\n", "Yscale\n"), "unknown channel 'yscale'"),
        (lambda text: text.replace("JOINT Slider", "SEGMENT Slider"), "unknown keyword 'SEGMENT'"),
        (lambda text: text.replace("}\nMOTION", "MOTION"), "MOTION before the last joint is closed"),
        (lambda text: text.replace("}\nMOTION", "}\n}\nMOTION"), "'}' without '{'"),
        (lambda text: text.replace("ROOT Base\n{", "ROOT Base"), "where '{' should open a joint"),
        (lambda text: text.replace("Frames: 4", "Frames: 2.5"), "2.5 frames"),
        (lambda text: text.replace("Frames: 4", "Frames: 0"), "0 frames"),
        (lambda text: text.replace("Frames: 4", "Frames: 900000000000"), "is not a finite number of sane size"),
        (lambda text: text.replace("0.0333333", "0"), "a frame time of 0 s"),
        (lambda text: text.replace("Frame Time", "Frame Rate"), "where 'Frame Time:' should be"),
    ],
)
def test_bad_files_are_one_line(write, change, message):
    with pytest.raises(DiffPoseError) as caught:
        read_bvh(write(change(SMALL)))
    text = str(caught.value)
    assert message in text
    assert "file.bvh: " in text
    assert "\n" not in text


def test_limits(write, monkeypatch, tmp_path):
    deep = "HIERARCHY\n" + "".join(
        f"{'JOINT' if n else 'ROOT'} J{n}\n{{\nOFFSET 0 0 0\n" for n in range(bvh.MAX_DEPTH + 1)
    )
    with pytest.raises(DiffPoseError, match="nested over"):
        read_bvh(write(deep))
    wide = "HIERARCHY\nROOT R\n{\nOFFSET 0 0 0\n" + "JOINT J\n{\nOFFSET 0 0 0\n}\n" * bvh.MAX_JOINTS
    with pytest.raises(DiffPoseError, match="over 1000 joints"):
        read_bvh(write(wide))
    with pytest.raises(DiffPoseError, match="bytes long"):
        read_bvh(write(b"HIERARCHY\n" + b"x" * (bvh.MAX_LINE_BYTES + 1)))
    with pytest.raises(DiffPoseError, match="cut the take"):
        read_bvh(
            write(
                SMALL.replace("Frames: 4", "Frames: 2000000").replace(
                    "JOINT Slider", "JOINT A\n{\nOFFSET 0 0 0\n}\n" * 20 + "JOINT Slider"
                )
            )
        )
    monkeypatch.setattr(bvh, "MAX_FILE_BYTES", 100)
    with pytest.raises(DiffPoseError, match="are read: cut the take"):
        read_bvh(write(SMALL))
    with pytest.raises(DiffPoseError, match="cannot be read"):
        read_bvh(tmp_path / "absent.bvh")


def test_mutated_files_give_a_motion_or_one_line(write):
    source = bvh_text(walk(4)).encode()
    generator = random.Random(0)
    words = [
        b"{",
        b"}",
        b"\n",
        b"JOINT x",
        b"End Site",
        b"MOTION",
        b"CHANNELS 3",
        b"-",
        b"1e9",
        b"nan",
        b"\x00",
        b"\xff",
    ]
    motions, errors = 0, []
    start = time.monotonic()
    for _ in range(120):
        text = bytearray(source)
        for _ in range(generator.randint(1, 4)):
            place, length = generator.randrange(len(text)), generator.choice([0, 1, 5, 200])
            text[place : place + length] = generator.choice([b"", generator.choice(words), bytes(text[:length])])
        try:
            motion = read_bvh(write(bytes(text)))
            assert np.isfinite(motion.positions()).all()
            motions += 1
            assert np.isfinite(load_take(motion.path, TakeOptions()).joints_mm).all()
        except DiffPoseError as error:
            errors.append(str(error))
    assert min(motions, len(errors)) > 5
    assert all("\n" not in error and len(error) < 600 for error in errors)
    assert time.monotonic() - start < 20


def test_the_test_skeleton_is_whole():
    assert all(
        set(SKELETON) - {joint for joint in SKELETON if joint.endswith("end")} == set(names)
        for names in NAMINGS.values()
    )
