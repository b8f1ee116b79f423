"""Motion capture to rows: joints, names, units, axes, time, subjects, splits, and the command."""

import json
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest

from data.pose_dataset import PoseDataset
from data.preprocessing import mocap
from data.preprocessing.motion_capture.build import STUDIO_RADIUS_MM, place_in_studio
from data.preprocessing.motion_capture.bvh import read_bvh
from data.preprocessing.motion_capture.joint_names import map_joints, plain, read_mapping
from data.preprocessing.motion_capture.picture import body_views
from data.preprocessing.motion_capture.plan import find_files, plan_takes
from data.preprocessing.motion_capture.takes import UNITS_MM, TakeOptions, load_take, video_frames
from data.preprocessing.validate import validate
from data.splits import evaluation_set, training_set
from tests.support.bvh_files import NAMINGS, walk, write_bvh
from tests.support.helpers import ROOT
from utils.config import load_config
from utils.errors import DiffPoseError, run_script
from utils.skeleton import H36M_JOINTS

OPTIONS = TakeOptions()
J = {name: number for number, name in enumerate(H36M_JOINTS)}


@pytest.fixture(scope="module")
def take(tmp_path_factory):
    return load_take(write_bvh(tmp_path_factory.mktemp("take") / "walk.bvh"), OPTIONS)


def lengths(take, *bones):
    return [np.linalg.norm(take.joints_mm[:, J[a]] - take.joints_mm[:, J[b]], axis=-1) for a, b in bones]


def test_bones_stature_and_floor(take):
    expected = {
        ("LHip", "RHip"): 200,
        ("LHip", "LKnee"): 420,
        ("RKnee", "RFoot"): 410,
        ("LShoulder", "LElbow"): 280,
        ("RElbow", "RWrist"): 250,
        ("Hip", "Thorax"): 560,
    }
    for bone, length in zip(lengths(take, *expected), expected.values(), strict=True):
        np.testing.assert_allclose(bone, length, atol=0.1)
    assert take.unit == "cm"
    assert take.head_top == "'Head End Site'"
    assert 1600 < take.stature_mm < 1850
    heights = take.joints_mm[..., 2]
    assert 20 < heights.min() < 120  # ankles, above the toes on the floor
    assert 1550 < heights[:, J["Head"]].mean() < 1800
    np.testing.assert_allclose(take.joints_mm[:, 0], take.joints_mm[:, [1, 4]].mean(axis=1), atol=0.01)


def test_spine_and_neck_lie_on_their_chains(take):
    hip_spine, spine_thorax, thorax_neck, neck_head = (
        bone.mean()
        for bone in lengths(take, ("Hip", "Spine"), ("Spine", "Thorax"), ("Thorax", "Neck"), ("Neck", "Head"))
    )
    assert hip_spine / (hip_spine + spine_thorax) == pytest.approx(0.48, abs=0.01)
    assert thorax_neck / (thorax_neck + neck_head) == pytest.approx(0.51, abs=0.02)
    assert thorax_neck + neck_head == pytest.approx(280, abs=3)


def test_left_is_left_and_forward_is_forward(tmp_path):
    """The body faces BVH's +z, its left is +x: in the world (z up) it faces -y. The left arm is raised."""
    motion = walk(40)
    motion["left shoulder"][:] = (0, 0, 80)
    joints = load_take(write_bvh(tmp_path / "wave.bvh", motion), OPTIONS).joints_mm
    assert (joints[:, J["LWrist"], 2] > joints[:, J["Head"], 2]).all()
    assert (joints[:, J["RWrist"], 2] < joints[:, J["Spine"], 2]).all()
    assert (joints[:, J["LHip"], 0] > joints[:, J["RHip"], 0]).all()
    for side in "LR":
        between = (joints[:, J[f"{side}Hip"]] + joints[:, J[f"{side}Foot"]]) / 2
        assert (joints[:, J[f"{side}Knee"], 1] < between[:, 1]).all()
    front, side = body_views(joints[0].astype(float)).values()
    assert front[J["LHip"], 0] > 0 > front[J["RHip"], 0]  # who faces us has their left on our right
    assert side[J["LKnee"], 0] < (side[J["LHip"], 0] + side[J["LFoot"], 0]) / 2


@pytest.mark.parametrize("naming", NAMINGS)
def test_every_naming_finds_the_same_joints(tmp_path, take, naming):
    found = load_take(write_bvh(tmp_path / "a.bvh", naming=naming), OPTIONS)
    np.testing.assert_allclose(found.joints_mm, take.joints_mm, atol=1e-3)


@pytest.mark.parametrize("unit", UNITS_MM)
def test_units_are_found_or_stated(tmp_path, take, unit):
    path = write_bvh(tmp_path / "a.bvh", scale=10 / UNITS_MM[unit])
    found = load_take(path, OPTIONS)
    assert found.unit == unit
    np.testing.assert_allclose(found.joints_mm, take.joints_mm, atol=0.2)
    assert load_take(path, replace(OPTIONS, unit=unit)).stature_mm == pytest.approx(take.stature_mm, abs=1)


def test_a_wrong_or_unknown_unit_is_an_error(tmp_path):
    path = write_bvh(tmp_path / "a.bvh", scale=0.1)
    with pytest.raises(DiffPoseError, match=r"units tall, which no unit of .* state it by --unit"):
        load_take(path, OPTIONS)
    with pytest.raises(DiffPoseError, match=r"in m the body would be 17.* change --unit"):
        load_take(path, replace(OPTIONS, unit="m"))


def test_axes_and_mirror(tmp_path, take):
    upright = write_bvh(tmp_path / "z.bvh", z_up=True)
    with pytest.raises(DiffPoseError, match="nobody stands upright along y: state --up z"):
        load_take(upright, OPTIONS)
    np.testing.assert_allclose(load_take(upright, replace(OPTIONS, up="z")).joints_mm, take.joints_mm, atol=1e-2)
    lying = load_take(upright, replace(OPTIONS, up="y"))  # who states it is believed
    assert np.ptp(lying.joints_mm[..., 2], axis=1).max() < 1000
    mirrored = write_bvh(tmp_path / "m.bvh", mirror=True)
    with pytest.raises(DiffPoseError, match=r"left and right are exchanged.*--mirror"):
        load_take(mirrored, OPTIONS)
    np.testing.assert_allclose(load_take(mirrored, replace(OPTIONS, mirror=True)).joints_mm, take.joints_mm, atol=1e-2)
    no_feet = (
        write_bvh(tmp_path / "n.bvh", mirror=True)
        .read_text()
        .replace("OFFSET 0.000000 -6.000000 14.000000", "OFFSET 0 0 0")
    )
    (tmp_path / "n.bvh").write_text(no_feet.replace("OFFSET -0.000000 -6.000000 14.000000", "OFFSET 0 0 0"))
    with pytest.raises(DiffPoseError, match="left and right are exchanged"):
        load_take(tmp_path / "n.bvh", OPTIONS)  # the knees tell


def test_head_without_an_end_is_extrapolated(tmp_path):
    text = write_bvh(tmp_path / "a.bvh").read_text().replace("OFFSET 0.000000 16.000000 0.000000", "OFFSET 0 0 0")
    (tmp_path / "a.bvh").write_text(text)
    found = load_take(tmp_path / "a.bvh", OPTIONS)
    assert found.head_top == "extrapolated"
    top = found.joints_mm[:, J["Head"]]
    assert (top[:, 2] > 1550).all()
    assert lengths(found, ("Thorax", "Head"))[0].mean() == pytest.approx(310, abs=40)


def test_names_that_are_not_found_are_listed_and_can_be_mapped(tmp_path, take):
    path = write_bvh(tmp_path / "a.bvh")
    path.write_text(path.read_text().replace("LeftLeg", "Sinister Crus").replace("Head", "Caput"))
    with pytest.raises(
        DiffPoseError, match=r"no joint found for left_knee \(joints it has: Caput, .*Sinister Crus.*--map"
    ):
        load_take(path, OPTIONS)
    for name, text in (
        ("m.yaml", "left_knee: Sinister Crus\nhead: Caput\n"),
        ("m.json", '{"left_knee": "Sinister Crus", "head": "Caput"}'),
        ("m.txt", '\ufeff{\t"left_knee": "Sinister Crus", "head": "Caput"}'),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
        mapping = read_mapping(tmp_path / name)
        found = load_take(path, replace(OPTIONS, mapping=mapping))
        np.testing.assert_allclose(found.joints_mm, take.joints_mm, atol=1e-3)
    with pytest.raises(DiffPoseError, match="no joint is named 'Caput2'"):
        load_take(path, replace(OPTIONS, mapping={"head": "Caput2"}))
    with pytest.raises(DiffPoseError, match=r"'LeftHand' \(left_knee\) is not below 'LeftUpLeg' \(left_hip\)"):
        load_take(path, replace(OPTIONS, mapping={"left_knee": "LeftHand"}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("left_nee: A", "unknown part 'left_nee'"),
        ("left_knee: 3", "put it in quotes"),
        ("just text", "holds no"),
        ("[", "neither YAML nor JSON"),
        ("", "holds no"),
    ],
)
def test_bad_mapping_files(tmp_path, text, message):
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(DiffPoseError, match=message):
        read_mapping(tmp_path / "m.yaml")
    with pytest.raises(DiffPoseError, match="cannot be read"):
        read_mapping(tmp_path / "absent.yaml")


def test_ambiguous_names(tmp_path):
    path = write_bvh(tmp_path / "a.bvh", naming="Mixamo")
    path.write_text(path.read_text().replace("mixamorig:Spine1", "other:LeftUpLeg"))
    with pytest.raises(DiffPoseError, match="2 joints could be left_hip"):
        map_joints(read_bvh(path))
    assert plain("mixamorig:LeftUpLeg") == plain("Left_Up-Leg") == "leftupleg"
    assert plain("Bip01 L Thigh") == "lthigh"


@pytest.mark.parametrize("rate", [25, 30, 50, 60, 100, 120, 240])
def test_video_frames_are_every_fourth_of_50_hz(rate):
    frames, numbers = video_frames(10 * rate + 1, 1 / rate, 4)
    np.testing.assert_array_equal(numbers, np.arange(3, 501, 4))
    assert np.abs(frames / rate - numbers / 50).max() <= 0.5 / rate + 1e-9


def test_video_frames_at_the_edges():
    frames, numbers = video_frames(5, 0.2, 4)  # slower than the rows: each frame once
    np.testing.assert_array_equal(frames, np.unique(frames))
    assert (np.diff(numbers) > 0).all()
    assert [array.tolist() for array in video_frames(1, 0.01, 4)] == [[0], [0]]
    assert video_frames(101, 0.02, 1)[1].tolist() == list(range(101))


def test_the_studio_follows_long_ways(take):
    away = np.linspace(0, 9000, len(take.joints_mm))
    joints = take.joints_mm + np.stack([away, 0 * away, 0 * away], axis=-1)[:, None]
    moved, segments = place_in_studio(joints, np.random.default_rng(0))
    assert 4 <= len(segments) <= 6
    assert [stop for _, stop in segments[:-1]] == [start for start, _ in segments[1:]]
    assert (segments[0][0], segments[-1][1]) == (0, len(joints))
    assert np.linalg.norm(moved[:, 0, :2], axis=-1).max() <= STUDIO_RADIUS_MM + 1
    shapes = [poses - poses[:, :1] for poses in (joints, moved)]
    distances = [np.linalg.norm(pose[:, :, None] - pose[:, None], axis=-1) for pose in shapes]
    np.testing.assert_allclose(*distances, atol=0.01)
    np.testing.assert_allclose(moved[..., 2], joints[..., 2], atol=0.01)


def make_tree(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    return plan_takes(folder, find_files(folder))


def test_names_of_subjects_actions_and_splits(tmp_path):
    takes = make_tree(tmp_path / "a", "anna/walk.bvh", "anna/run.BVH", "bert/jump/1.bvh", "bert/jump/2.bvh", "cleo.bvh")
    named = {take.name: (take.origin, take.subject, take.action, take.subaction) for take in takes}
    assert named == {
        "anna/run.BVH": ("anna", "P01", "run", "0"),
        "anna/walk.bvh": ("anna", "P01", "walk", "0"),
        "bert/jump/1.bvh": ("bert", "P02", "jump", "0"),
        "bert/jump/2.bvh": ("bert", "P02", "jump", "1"),
        "cleo.bvh": ("cleo", "P03", "cleo", "0"),
    }
    splits = {split: {take.subject for take in takes if take.split == split} for split in ("trainset", "testset")}
    assert len(splits["testset"]) == 1
    assert not splits["trainset"] & splits["testset"]
    lafan = make_tree(tmp_path / "l", "walk1_subject1.bvh", "walk1_subject2.bvh", "dance2_subject1.bvh")
    assert {(take.origin, take.action) for take in lafan} == {
        ("subject1", "walk1"),
        ("subject2", "walk1"),
        ("subject1", "dance2"),
    }


def test_names_fit_their_columns_and_stay_apart(tmp_path):
    files = [f"s/a very long name of a take {n:03d}.bvh" for n in range(80)]
    takes = make_tree(tmp_path / "a", *files, *(f"{n:03d}/x.bvh" for n in range(205)))
    assert len({(take.subject, take.action, take.subaction) for take in takes}) == len(takes)
    assert all(len(take.subject) == 3 and len(take.action) <= 16 and len(take.subaction) == 1 for take in takes)
    assert all(take.action.isascii() and " " not in take.action for take in takes)


def test_choosing_the_test_split(tmp_path):
    folder = tmp_path / "a"
    make_tree(folder, "anna/walk.bvh", "anna/run.bvh", "bert/walk.bvh", "cleo/x.bvh", "dora/x.bvh")
    files = find_files(folder)

    def tested(**options):
        return {take.name for take in plan_takes(folder, files, **options) if take.split == "testset"}

    assert tested(test_files=["bert", "run.bvh"]) == {"bert/walk.bvh", "anna/run.bvh"}
    assert tested(test_share=0) == set()
    assert len(tested(test_share=1)) == 5
    assert len({tuple(sorted(tested(seed=seed))) for seed in range(8)}) > 1
    assert tested(seed=3) == tested(seed=3)
    with pytest.raises(DiffPoseError, match="--test_files nobody: no such file or subject"):
        tested(test_files=["nobody"])
    with pytest.raises(DiffPoseError, match="--test_share"):
        tested(test_share=1.5)
    one = [path for path in files if "anna" in str(path)]
    assert len([take for take in plan_takes(folder, one) if take.split == "testset"]) == 1
    with pytest.raises(DiffPoseError, match="no such folder"):
        find_files(folder / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DiffPoseError, match="no BVH file"):
        find_files(tmp_path / "empty")


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["mocap.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        run_script(mocap.main)
    return stop.value.code


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bvh")
    write_bvh(folder / "anna" / "Walking.bvh", walk(120, speed=150))
    write_bvh(folder / "bert" / "stroll.bvh", walk(90, rate=30, speed=60), naming="Mixamo", rate=30)
    return folder


def test_command_makes_a_file_that_is_right(tmp_path, monkeypatch, capsys, recordings):
    arguments = ["--input_dir", recordings, "--test_files", "bert", "--output_dir"]
    picture = tmp_path / "p" / "picture.png"
    assert run(monkeypatch, *arguments, tmp_path / "a", "--workers", 1, "--picture", picture) == 0
    printed = capsys.readouterr().out
    assert "P01 = anna: 1 files, 30 poses a camera, unit cm (1), 1.7" in printed
    assert "P02 = bert" in printed
    assert picture.read_bytes().startswith(b"\x89PNG")
    path = tmp_path / "a" / mocap.FILE_NAME
    assert validate(path, show_progress=False).findings == []
    with h5py.File(path) as file:
        assert json.loads(file["dataset"].attrs["subjects"]) == {"P01": "anna", "P02": "bert"}
        assert file["dataset/trainset/frame_orig"][:5].tolist() == [3, 7, 11, 15, 19]
        wrists = file["dataset/trainset/gt_3d"][:, :, [J["LWrist"], J["RWrist"]]]
    assert np.isfinite(wrists).all()
    names = {"ROOT": path.parent, "TRAINFILE": path.name, "TESTFILE": path.name}
    config = load_config(ROOT / "diffpose.yaml", [f"DATASET.{key}={value}" for key, value in names.items()])
    assert len(training_set(config)) == 4 * 30
    tested = evaluation_set(config, "full")
    assert set(tested.meta["action"]) == {"stroll"}
    assert not tested.is_human36m

    assert run(monkeypatch, *arguments, tmp_path / "b", "--workers", 2) == 0
    with h5py.File(path) as one, h5py.File(tmp_path / "b" / mocap.FILE_NAME) as two:
        for split in ("trainset", "testset"):
            for name, column in one["dataset"][split].items():
                np.testing.assert_array_equal(column[:], two["dataset"][split][name][:], err_msg=name)
    assert run(monkeypatch, *arguments, tmp_path / "b", "--seed", 1, "--workers", 1, "--every", 40) == 0
    assert len(PoseDataset(tmp_path / "b" / mocap.FILE_NAME, show_progress=False)) < 30


def test_command_errors_are_one_line(tmp_path, monkeypatch, capsys, recordings):
    target = tmp_path / "out" / mocap.FILE_NAME
    assert run(monkeypatch, "--input_dir", tmp_path / "none", "--output_dir", tmp_path) == 2
    assert "error: " in capsys.readouterr().err
    target.parent.mkdir()
    target.write_text("mine")
    assert run(monkeypatch, "--input_dir", recordings, "--output_dir", target.parent) == 2
    assert "replace it with --force" in capsys.readouterr().err
    assert target.read_text() == "mine"
    target.unlink()
    folder = tmp_path / "mixed"
    write_bvh(folder / "anna" / "walk.bvh", walk(20))
    (folder / "bert.bvh").write_text("HIERARCHY\nnothing")
    command = ("--input_dir", folder, "--output_dir", target.parent, "--workers", 1)
    assert run(monkeypatch, *command) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "bert.bvh: line 2" in error
    assert "--skip_bad" in error
    assert not target.exists()
    assert run(monkeypatch, *command, "--skip_bad", "--every", 8) == 0
    assert "left out: " in capsys.readouterr().out
    assert target.exists()
