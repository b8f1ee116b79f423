"""The wide world as a file: every row its own person, pose, camera and crop; two styles of heatmaps."""

import json
import sys

import h5py
import numpy as np
import pytest

from data.ambiguity import is_ambiguous
from data.pose_dataset import PoseDataset
from data.preprocessing.validate import validate
from data.schema import ACTIONS, FIELDS
from data.synthetic.__main__ import main
from data.synthetic.families import FAMILIES
from data.synthetic.occlusion import VISIBLE
from data.synthetic.views import true_cells
from data.synthetic.wide import FAMILY_NAMES, KINDS, STUDIO, TASK_ROWS, WideTask, plan_wide
from data.synthetic.wide_file import WideParameters, build_wide, encoded_task, labelled_rows
from data.synthetic.wide_views import EMBEDDED_LIKE, HRNET_LIKE
from tests.support.hdf5_files import attributes
from utils.errors import DiffPoseError, run_script

ROWS, TEST_ROWS = 900, 60


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("wide") / "wide.h5"
    assert build_wide(path, WideParameters(ROWS, TEST_ROWS), workers=1, show_progress=False)
    return path


@pytest.fixture(scope="module")
def rows(path):
    """The training split in memory: column -> array."""
    with h5py.File(path) as file:
        return {name: column[:] for name, column in file["dataset/trainset"].items()}


@pytest.fixture(scope="module")
def away(rows):
    """Distance in cells of each map's highest cell from the truth: (F, 16)."""
    found = 64 * np.stack([rows["argmax_2d"][:, 1], rows["argmax_2d"][:, 0]], axis=-1)
    return np.linalg.norm(found - true_cells(rows), axis=-1)


def test_columns_labels_and_attributes(path, rows):
    extra = {"occluded", "family", "detector", "camera_k", "camera_r", "camera_t"}
    assert set(rows) == {*FIELDS["h36m"], *extra}
    for name, field in FIELDS["h36m"].items():
        assert rows[name].dtype == field.dtype, name
        assert rows[name].shape == (ROWS, *field.shape), name
    labels, counts = np.unique(rows["subject"].astype(str), return_counts=True)
    assert dict(zip(labels, counts.tolist(), strict=True)) == labelled_rows(WideParameters(ROWS, TEST_ROWS))["trainset"]
    with h5py.File(path) as file:
        attrs = attributes(file["dataset"])
        assert set(file["dataset/testset/subject"][:]) == {b"S9", b"S11"}
    assert attrs["source"].startswith("synthetic:")
    assert json.loads(attrs["families"]) == [*FAMILIES, *ACTIONS]
    np.testing.assert_array_equal(rows["action"].astype(str), np.array(FAMILY_NAMES)[rows["family"]])


def test_datasets_read_it_and_validate_finds_nothing_wrong(path):
    for split, subjects, count in (("train", None, ROWS), ("train", ["S8"], TEST_ROWS), ("test", None, TEST_ROWS)):
        dataset = PoseDataset(path, split=split, subjects=subjects, show_progress=False)
        assert len(dataset) == count
        assert np.isfinite(np.asarray(dataset[count // 2]["target_m"])).all()
    report = validate(path, limit=0, show_progress=False)
    assert report.findings == []
    assert any("each row's own camera" in line for line in report.lines)
    assert any("each row is a body of its own" in line for line in report.lines)


@pytest.mark.parametrize(
    ("column", "change", "finding"),
    [
        ("gt_2d", lambda values: values + np.float32(30), "does not project onto gt_2d by the rows' own cameras"),
        ("gt_3d", lambda values: values * np.where(np.arange(17) == 13, 1.3, 1).astype("f4"), "bones are no human's"),
        ("gt_3d", lambda values: values[:, :, [0, 4, 5, 6, 1, 2, 3, *range(7, 17)]], "hips and shoulders disagree"),
    ],
)
def test_validate_finds_what_is_wrong_with_independent_rows(path, tmp_path, column, change, finding):
    broken = tmp_path / "broken.h5"
    broken.write_bytes(path.read_bytes())
    with h5py.File(broken, "r+") as file:
        data = file["dataset/trainset"][column]
        data[:] = change(data[:])
    findings = validate(broken, limit=300, show_progress=False).findings
    assert any(finding in text for text in findings), findings


def test_where_rows_come_from(rows):
    assert {kind: round(9 * share) for kind, share in KINDS.items()} == {"poses": 6, "performed": 2, "studio": 1}
    in_studio = rows["cam"] != b"wide"
    assert 0.09 < in_studio.mean() < 0.13
    posed = rows["family"] < len(FAMILIES)
    assert 0.64 < posed.mean() < 0.69
    assert not (posed & in_studio).any()
    many = plan_wide("trainset", {"S1": 1000, "S8": 10})
    assert sum(task.last - task.first for task in many) == 1010
    assert max(task.last - task.first for task in many) <= TASK_ROWS


def test_bodies_headings_and_cameras_are_each_rows_own(rows):
    wide = rows["cam"] == b"wide"
    pose = np.swapaxes(rows["gt_3d"][wide], 1, 2).astype(np.float64)
    shank = np.linalg.norm(pose[:, 3] - pose[:, 2], axis=-1)
    assert 0.05 < shank.std() / shank.mean() < 0.15
    assert len(np.unique(shank.round(3))) > 0.95 * len(shank)
    assert len(np.unique(rows["camera_k"][wide, 0])) > 0.95 * wide.sum()
    across = np.einsum("fji,fj->fi", rows["camera_r"][wide], pose[:, 4] - pose[:, 1])[:, :2]
    heading = np.arctan2(across[:, 1], across[:, 0])
    assert np.abs(np.exp(1j * heading).mean()) < 0.12
    left = np.einsum("fd,fd->f", np.cross(pose[:, 4] - pose[:, 1], pose[:, 8] - pose[:, 0]), pose[:, 9] - pose[:, 8])
    assert np.mean(left > 0) > 0.85, "noses point forwards: nobody is inside out"


def test_stored_cameras_see_what_the_rows_say(rows):
    pose = np.swapaxes(rows["gt_3d"], 1, 2)
    pixels = pose[..., :2] / pose[..., 2:] * rows["camera_k"][:, None, :2] + rows["camera_k"][:, None, 2:]
    np.testing.assert_allclose(np.swapaxes(pixels, 1, 2), rows["gt_2d"], atol=0.2)
    world = np.einsum("fji,fkj->fki", rows["camera_r"], pose - rows["camera_t"][:, None])
    assert np.quantile(world[..., 2].min(axis=1), 0.01) > -120, "nobody is below the floor"
    assert pose[..., 2].min() > 200


def test_heatmaps_are_usable_compact_and_mark_hard_rows(rows):
    maps = rows["heatmap"].astype(np.float32)
    peak = maps.max(axis=(2, 3))
    assert np.isfinite(maps).all()
    assert 0.05 < peak.min() <= peak.max() < 1.2
    assert ((maps == 0) | (maps > 0.019 * peak[..., None, None])).all()
    best = np.stack(np.divmod(maps.reshape(*maps.shape[:2], -1).argmax(axis=-1), 64), axis=1)
    np.testing.assert_array_equal(rows["argmax_2d"], best / np.float32(64))
    assert np.mean(rows["hardsubset"] != is_ambiguous(maps)) < 0.01
    assert 0.02 < rows["hardsubset"].mean() < 0.45


def test_both_detectors_err_more_where_joints_are_hidden(rows, away):
    seen = rows["occluded"] == VISIBLE
    for style, least in ((HRNET_LIKE, 0.25), (EMBEDDED_LIKE, 0.5)):
        chosen = rows["detector"] == style
        assert chosen.mean() > least
        visible, hidden = away[chosen][seen[chosen]], away[chosen][~seen[chosen]]
        assert 0.8 < np.median(visible) < 2.2
        assert hidden.mean() > 1.6 * visible.mean()
        peak = rows["heatmap"][chosen].astype(np.float32).max(axis=(2, 3))
        assert peak[~seen[chosen]].mean() < peak[seen[chosen]].mean()
    embedded = (rows["detector"] == EMBEDDED_LIKE) & (rows["cam"] == b"wide")
    assert 1.4 < away[embedded].mean() < 3.2
    assert 0.01 < np.mean(away[embedded] > 12) < 0.06, "limbs far off, or on the wrong side, now and then"


def test_crops_follow_the_rule_about(rows):
    extent = np.ptp(rows["gt_2d_image_coords"], axis=2).max(axis=1)
    middle = (rows["gt_2d_image_coords"].max(axis=2) + rows["gt_2d_image_coords"].min(axis=2)) / 2
    assert 0.79 < np.median(extent) < 0.86
    assert 0.02 < np.std(extent) < 0.25
    assert np.abs(np.median(middle, axis=0) - 0.5).max() < 0.02
    causes = np.bincount(rows["occluded"].ravel(), minlength=4) / rows["occluded"].size
    assert 0.10 < causes[1] < 0.35
    assert causes[2] > 0.004
    assert causes[3] > 0.004


def test_rows_depend_on_seed_and_place_only():
    task, parameters = WideTask("trainset", "S1", "poses", 192, 204), WideParameters(400, 40, 3)
    one, again = encoded_task(task, parameters), encoded_task(task, parameters)
    assert one["heatmap"] == again["heatmap"]
    for other in (
        encoded_task(task, WideParameters(400, 40, 4)),
        encoded_task(WideTask("testset", "S1", "poses", 192, 204), parameters),
        encoded_task(WideTask("trainset", "S1", "poses", 0, 12), parameters),
    ):
        assert np.abs(one["gt_3d"] - other["gt_3d"]).max() > 100
    studio = encoded_task(WideTask("trainset", "S6", STUDIO, 0, 14), parameters)
    assert set(studio["cam"]) <= {"54138969", "55011271", "58860488", "60457274"}
    assert len(studio["heatmap"]) == len(studio["gt_3d"]) == 14


def test_workers_change_nothing(tmp_path):
    for name, workers in (("one", 1), ("two", 2)):
        build_wide(tmp_path / name, WideParameters(40, 12, 5), workers=workers, show_progress=False)
    with h5py.File(tmp_path / "one") as one, h5py.File(tmp_path / "two") as two:
        for split in ("trainset", "testset"):
            for name, column in one["dataset"][split].items():
                np.testing.assert_array_equal(column[:], two["dataset"][split][name][:], err_msg=name)


def test_the_command_builds_once(tmp_path, monkeypatch, capsys):
    words = ["wide", "--output", str(tmp_path / "w.h5"), "--rows", "12", "--test_rows", "2", "--workers", "1"]
    monkeypatch.setattr(sys, "argv", ["data.synthetic", *words])
    main()
    assert "rows/s" in capsys.readouterr().out
    main()
    assert "already there" in capsys.readouterr().out
    assert build_wide(tmp_path / "w.h5", WideParameters(13, 2), workers=1, show_progress=False)
    (tmp_path / "precious.h5").write_text("mine")
    with pytest.raises(DiffPoseError, match="--force"):
        build_wide(tmp_path / "precious.h5", WideParameters(13, 2), workers=1, show_progress=False)
    for wrong in (["wide"], ["wide", "--output", str(tmp_path / "n.h5"), "--rows", "0"], ["measure", "missing.h5"]):
        monkeypatch.setattr(sys, "argv", ["data.synthetic", *wrong])
        with pytest.raises(SystemExit):
            run_script(main)
        assert capsys.readouterr().err.strip().splitlines()[-1].startswith("error: ")
