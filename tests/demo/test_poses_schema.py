"""docs/poses.schema.json says what poses.json is: every kind of run fits it, and what is wrong does not."""

import json

import numpy as np
import pytest

from demo.output import SCHEMA, SCHEMA_VERSION
from tests.demo.test_inference import film, picture
from tests.support.helpers import ROOT
from tests.support.stick_figure import keypoints_of

TEXT = json.loads((ROOT / "docs" / "poses.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def validator():
    kind = pytest.importorskip("jsonschema").Draft202012Validator
    kind.check_schema(TEXT)
    return kind(TEXT)


def written(folder):
    """poses.json, read strictly: NaN is no JSON."""
    return json.loads((folder / "poses.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)


def unseen_wrist(path):
    sure = np.full((3, 17), 0.9)
    sure[:, 9] = 0
    np.savez(path, xy=keypoints_of("coco17") + 15 * np.arange(3)[:, None, None], confidence=sure)
    return path


def example():
    """The least that fits."""
    pose = [[0.0, 1.5, -2.0]] * 17
    person = {
        "person": 0,
        "crop_px": [-1.0, 2.0, 30.0],
        "crop_angle_deg": 0.0,
        "joints_px": [[1.0, 2.0]] * 15 + [None],
        "confidence": [0.5] * 16,
        "consensus_mm": list(pose),
        "spread_mm": [1.0] * 17,
        "guessed": [],
        "modes": [{"weight": 1.0, "pose_mm": pose}],
    }
    about = {name: "a" for name in ("units", "input", "model", "scale", "detector")}
    names = [f"joint {number}" for number in range(17)]
    return {
        **about,
        "schema": SCHEMA,
        "version": SCHEMA_VERSION,
        "seed": 0,
        "num_hypotheses": 200,
        "height_cm": None,
        "fps": None,
        "joints": names,
        "bones": [[0, 1]],
        "joints_2d": names[:16],
        "frames": [{"source": "a.png", "frame": 0, "people": [person]}],
    }


KINDS = {
    "picture": lambda folder: ("--input", picture(folder / "a.png", 2), "--height_cm", "170"),
    "video": lambda folder: ("--input", film(folder / "a.avi", [1, 0, 2])),
    "smooth video": lambda folder: ("--input", film(folder / "a.avi", [1, 2, 2]), "--smooth"),
    "keypoints": lambda folder: ("--keypoints", unseen_wrist(folder / "a.npz")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_demo_writes_fits(kind, demo, tmp_path, validator):
    code, _, err = demo(*KINDS[kind](tmp_path))
    assert code == 0, err
    content = written(tmp_path / "out")
    validator.validate(content)
    assert (content["schema"], content["version"]) == (SCHEMA, SCHEMA_VERSION)
    people = [person for frame in content["frames"] for person in frame["people"]]
    count = len(content["joints"])
    for person in people:
        poses = [person["consensus_mm"], *(mode["pose_mm"] for mode in person["modes"])]
        assert {len(pose) for pose in (*poses, person["spread_mm"])} == {count}
        assert set(person["guessed"]) <= set(content["joints"])
        assert ("smooth_mm" in person) == (kind == "smooth video")
    assert any(None in person["joints_px"] for person in people) == (kind == "keypoints")
    # Each thing that can be there is described, and each that must be there is.
    known = TEXT["$defs"]["person"]
    assert set(known["properties"]) - {"smooth_mm"} == set(known["required"]) <= set(people[0])
    assert set(TEXT["properties"]) == set(TEXT["required"]) == set(content)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("version",), 2),
        (("fps",), "30"),
        (("joints_2d",), ["Hip"]),
        (("frames",), []),
        (("frames", 0, "frame"), -1),
        (("frames", 0, "extra"), 1),
        (("frames", 0, "people", 0, "crop_px"), [1, 2]),
        (("frames", 0, "people", 0, "joints_px", 3), [1.0, 2.0, 3.0]),
        (("frames", 0, "people", 0, "confidence", 3), None),
        (("frames", 0, "people", 0, "consensus_mm", 4), [0.0, 1.0]),
        (("frames", 0, "people", 0, "guessed"), [3]),
        (("frames", 0, "people", 0, "modes", 0, "weight"), 1.5),
        (("frames", 0, "people", 0, "smooth_mm"), []),
    ],
)
def test_what_is_wrong_does_not_fit(where, value, validator):
    changed = place = example()
    validator.validate(changed)
    for step in where[:-1]:
        place = place[step]
    place[where[-1]] = value
    (error,) = validator.iter_errors(changed)
    assert all(a == b for a, b in zip(where, error.absolute_path, strict=False))
