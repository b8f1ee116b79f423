"""Names, crops and reading of raw data: which recordings there are, and one line for whatever is wrong."""

import cv2
import h5py
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from data.preprocessing.conversion.command import parse_arguments
from data.preprocessing.conversion.command import preprocess as run_preprocess
from data.preprocessing.conversion.crops import detector_image, joint_boxes
from data.preprocessing.conversion.frames import file_images, video_images
from data.preprocessing.h36m.hard_list import HardList
from data.preprocessing.h36m.names import recording_name
from data.preprocessing.h36m.source import Human36M, load_recording
from data.preprocessing.threedhp.source import ThreeDHP
from data.preprocessing.threedpw.source import ThreeDPW
from data.schema import ACTIONS
from models import hrnet
from models.hrnet import IMAGE_MEAN, IMAGE_STD
from tests.data.conftest import CAM
from tests.support.raw_data import add_3dhp, add_3dpw, add_h36m, touch_h36m, write_cdf, write_video
from utils.errors import DiffPoseError

# Raw take numbers of the actions that do not follow the default rule, as {subaction 0's, subaction 1's}.
ODD_TAKES = {
    "S1": {"Eating": ("", " 2"), "SittingDown": ("", " 2"), "Sitting": (" 2", " 1")},
    "S5": {
        "Photo": ("", " 2"),
        "Directions": (" 2", " 1"),
        "Greeting": (" 2", " 1"),
        "Waiting": (" 2", " 1"),
        "Discussion": (" 3", " 2"),
    },
    "S6": {"Posing": ("", " 2"), "Waiting": ("", " 3"), "Eating": (" 2", " 1"), "Sitting": (" 2", " 1")},
    "S7": {"Phoning": ("", " 2"), "Waiting": (" 2", " 1"), "Walking": (" 2", " 1")},
    "S8": {"WalkTogether": (" 2", " 1")},
    "S9": {"Discussion": (" 2", " 1")},
    "S11": {"Greeting": ("", " 2"), "Smoking": ("", " 2"), "Discussion": (" 2", " 1"), "Phoning": (" 3", " 2")},
}
RAW_ACTIONS = {"Photo": "TakingPhoto", "WalkDog": "WalkingDog"}
CAMERAS = ("54138969", "55011271", "58860488", "60457274")


def fails(call, *words):
    """The call raises one line with these words in it."""
    with pytest.raises(DiffPoseError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert str(word) in message


def test_all_subjects_actions_takes_and_cameras_have_their_names(tmp_path):
    expected = []
    for subject in Human36M.subjects:
        for action in ACTIONS:
            for subaction, take in enumerate(ODD_TAKES[subject].get(action, ("", " 1"))):
                touch_h36m(tmp_path, subject, *(f"{RAW_ACTIONS.get(action, action)}{take}.{cam}" for cam in CAMERAS))
                expected.extend((subject, action, str(subaction), cam) for cam in CAMERAS)
    assert len(expected) == 7 * 15 * 2 * 4
    left_out = {("S5", "Waiting", "1", "55011271"), ("S11", "Directions", "0", "54138969")}
    recordings = Human36M().recordings(tmp_path, Human36M.subjects)
    keys = [recording.key for recording in recordings]
    assert set(keys) == {"_".join(name) for name in set(expected) - left_out}
    assert len(keys) == len(expected) - 2
    assert [key.split("_")[0] for key in keys] == sorted(
        (key.split("_")[0] for key in keys), key=("S1", "S5", "S6", "S7", "S8", "S9", "S11").index
    )
    # A numbered take sorts before the bare one, and the raw name decides: TakingPhoto comes after Smoking.
    ours = [key for key in keys if key.startswith("S9_") and key.endswith(CAM)]
    assert ours[:4] == [f"S9_{name}_{CAM}" for name in ("Directions_1", "Directions_0", "Discussion_1", "Discussion_0")]
    actions = list(dict.fromkeys(key.split("_")[1] for key in keys if key.startswith("S9_")))
    assert actions.index("Smoking") < actions.index("Photo") < actions.index("Waiting")
    assert {recording.split for recording in recordings[-50:]} == {"testset"}


@pytest.mark.parametrize(
    ("subject", "stem"),
    [
        ("S1", f"Walking 2.{CAM}"),
        ("S1", f"Eating 1.{CAM}"),
        ("S5", f"Discussion.{CAM}"),
        ("S9", f"Jumping.{CAM}"),
        ("S9", f"_ALL 1.{CAM}"),
        ("S9", "Walking 1"),
        ("S9", "Walking 1.5413896"),
        ("S6", f"Waiting 1.{CAM}"),
    ],
)
def test_other_names_are_errors_that_name_the_file(tmp_path, subject, stem):
    fails(lambda: recording_name(subject, stem, "here"), "here: ")
    touch_h36m(tmp_path, subject, stem)
    fails(lambda: Human36M().recordings(tmp_path, [subject]), tmp_path / subject / "Poses_D2_Positions" / f"{stem}.cdf")


def test_a_recording_under_two_names_is_an_error(tmp_path):
    touch_h36m(tmp_path, "S9", f"Photo.{CAM}", f"TakingPhoto.{CAM}")
    fails(lambda: Human36M().recordings(tmp_path, ["S9"]), "TakingPhoto", "a second file of S9 Photo 0")


def test_crops_are_the_published_ones(vectors):
    examples = vectors("hrnet")
    boxes, sides = joint_boxes(examples["crop_joints"])
    np.testing.assert_array_equal(boxes, examples["crop_box"])
    np.testing.assert_array_equal(sides, examples["crop_size"])


@pytest.mark.parametrize("box", [(10, 20, 90, 100), (-40, -60, 300, 280), (30, 30, 80, 79), (500, 500, 560, 560)])
def test_scaling_is_that_of_the_published_order(box):
    """Normalise, then scale bilinearly with half-pixel centres and without antialiasing; black outside the image."""
    image = np.random.default_rng(0).integers(0, 256, (210, 190, 3)).astype(np.uint8)
    left, top, right, bottom = box
    crop = np.zeros((bottom - top, right - left, 3), np.float32)
    for y in range(max(top, 0), min(bottom, 210)):
        for x in range(max(left, 0), min(right, 190)):
            crop[y - top, x - left] = image[y, x, ::-1] / 255
    mean, std = np.array(IMAGE_MEAN, np.float32), np.array(IMAGE_STD, np.float32)
    normalised = torch.from_numpy((crop - mean) / std).permute(2, 0, 1)[None]
    expected = F.interpolate(normalised, (255, 255), mode="bilinear", align_corners=False)[0].permute(1, 2, 0).numpy()
    ours = (detector_image(image, np.array(box)) / 255 - mean) / std
    np.testing.assert_allclose(ours, expected, atol=2e-3 if box[2] == 300 else 1e-4)


def test_joints_that_make_no_crop_are_refused():
    assert (joint_boxes(np.full((1, 4, 2), 10.0))[1] == 2).all()
    fails(lambda: joint_boxes(np.full((1, 4, 2), np.nan)), "not finite")
    fails(lambda: joint_boxes(np.array([[[0.0, 0], [1e6, 0]]])), "not in pixels")


def test_the_shorter_of_video_and_annotation_counts(tmp_path):
    stem = f"Walking.{CAM}"
    paths = [
        tmp_path / "S1" / part / f"{stem}{end}"
        for part, end in (("Poses_D2_Positions", ".cdf"), ("Poses_D3_Positions_mono", ".cdf"), ("Videos", ".mp4"))
    ]
    name = recording_name("S1", stem, "")
    for annotated, filmed, rows in ((13, 13, 3), (13, 9, 2), (9, 13, 2), (3, 9, 0)):
        add_h36m(tmp_path, "S1", stem, frames=annotated, video_frames=filmed)
        frames = load_recording(name, *paths)
        images = list(frames.images())
        assert min(len(images), len(frames)) == rows
        if rows:
            # The rows show frames 3, 7, ..: the dot moves with the frame's number.
            assert not np.array_equal(images[0], images[1])


def test_damaged_h36m_files_are_one_line(tmp_path):
    stem = f"Walking.{CAM}"
    add_h36m(tmp_path, "S1", stem, frames=90)
    folder = tmp_path / "S1"
    pose_2d, video = folder / "Poses_D2_Positions" / f"{stem}.cdf", folder / "Videos" / f"{stem}.mp4"

    def read():
        (recording,) = Human36M().recordings(tmp_path, ["S1"])
        frames = recording.load()
        return list(frames.images())

    assert len(read()) == 22
    whole = pose_2d.read_bytes()
    for content in (b"", whole[:30], whole[: len(whole) // 2], b"text"):
        pose_2d.write_bytes(content)
        fails(read, pose_2d, "not a readable CDF file")
    write_cdf(pose_2d, np.zeros((90, 96)))
    fails(read, pose_2d, "shape (1, 90, 96), expected (1, frames, 64)")
    write_cdf(pose_2d, np.full((90, 64), np.nan))
    fails(read, pose_2d, "not finite")
    pose_2d.write_bytes(whole)
    film = video.read_bytes()
    video.write_bytes(film[: len(film) // 2])
    fails(read, video, "not a readable video (truncated?)")
    # The index of a streamable video comes first, and says how long it should be.
    video.write_bytes(_index_first(film)[: len(film) // 2])
    fails(read, video, "of 90 frames can be decoded")
    video.unlink()
    fails(read, video, "video not found")
    (folder / "Poses_D3_Positions_mono" / f"{stem}.cdf").unlink()
    fails(read, "Poses_D3_Positions_mono", "not found")
    fails(lambda: Human36M().recordings(tmp_path, ["S5"]), tmp_path / "S5", "--input_dir")


def _index_first(film):
    """An MP4 with its index (moov) moved before the pictures (mdat), and the offsets in it moved along."""
    atoms, place = {}, 0
    while place < len(film):
        size = int.from_bytes(film[place : place + 4], "big")
        atoms[film[place + 4 : place + 8]] = film[place : place + size]
        place += size
    moov = bytearray(atoms[b"moov"])
    table = moov.index(b"stco") + 8
    for number in range(int.from_bytes(moov[table : table + 4], "big")):
        entry = slice(table + 4 + 4 * number, table + 8 + 4 * number)
        moov[entry] = (int.from_bytes(moov[entry], "big") + len(moov)).to_bytes(4, "big")
    return atoms[b"ftyp"] + bytes(moov) + b"".join(atoms[key] for key in atoms if key not in (b"ftyp", b"moov"))


def test_videos_give_the_frames_that_were_asked_for(tmp_path):
    write_video(tmp_path / "v.mp4", 12)
    everything = list(video_images(tmp_path / "v.mp4", np.arange(12)))
    some = list(video_images(tmp_path / "v.mp4", np.array([3, 7, 11])))
    for image, index in zip(some, (3, 7, 11), strict=True):
        np.testing.assert_array_equal(image, everything[index])


def test_damaged_3dhp_files_are_one_line(tmp_path):
    add_3dhp(tmp_path, "TS1", valid=[1, 1])
    annotations = tmp_path / "TS1" / "annot_data.mat"

    def read():
        (recording,) = ThreeDHP().recordings(tmp_path, ["TS1"])
        return list(recording.load().images())

    assert len(read()) == 2
    (tmp_path / "TS1" / "imageSequence" / "img_000002.jpg").write_bytes(b"\xff\xd8")
    fails(read, "img_000002.jpg: not a readable image")
    whole = annotations.read_bytes()
    annotations.write_bytes(whole[:1000])
    fails(read, annotations, "cannot be read")
    annotations.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(600))
    fails(read, annotations, "cannot be read")
    annotations.write_bytes(whole)
    with h5py.File(annotations, "r+") as file:
        del file["annot2"]
        file["annot2"] = np.zeros((2, 17, 2))
    fails(read, annotations, "'annot2' has shape (2, 17, 2), expected (2, 1, 17, 2)")
    with h5py.File(annotations, "r+") as file:
        del file["annot2"]
    fails(read, annotations, "has no 'annot2'")
    for picture in (tmp_path / "TS1" / "imageSequence").iterdir():
        picture.unlink()
    fails(read, "holds no .jpg files")
    fails(lambda: ThreeDHP().recordings(tmp_path, ["TS1", "TS2"]), tmp_path / "TS2" / "annot_data.mat")


def test_3dpw_crops_leave_out_unseen_joints_and_missing_images_are_named(tmp_path):
    written = add_3dpw(tmp_path, "test", "downtown_cafe_00", seen=[[1, 0, 1]])
    (recording,) = ThreeDPW().recordings(tmp_path, ["te"])
    frames = recording.load()
    assert frames.columns["frame_orig"].tolist() == [0, 2]
    pose = written["poses2d"][0][2].astype(np.float32)
    (box,), _ = joint_boxes(pose[:2, pose[2] > 0].T[None])
    np.testing.assert_array_equal(frames.boxes[1], box)
    (tmp_path / "imageFiles" / "downtown_cafe_00" / "image_00002.jpg").unlink()
    fails(lambda: list(frames.images()), "image_00002.jpg: image not found")
    (tmp_path / "sequenceFiles" / "test" / "downtown_cafe_00.pkl").rename(tmp_path / "sequenceFiles/test/cafe.pkl")
    (tmp_path / "imageFiles" / "downtown_cafe_00").rename(tmp_path / "imageFiles/cafe")
    (recording,) = ThreeDPW().recordings(tmp_path, ["te"])
    fails(recording.load, "cafe.pkl", "unknown sequence name")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/S9/Discussion 2.54138969/4.jpg", ("line 1", "Discussion 2")),
        ("/S9/Jumping.54138969/4.jpg", ("Jumping",)),
        ("\nS9 Directions 4", ("line 2", "/S9/Directions.54138969/160.jpg")),
        ("/S2/Directions.54138969/4.jpg", ("S2",)),
        ("/S9/Directions.54138969/0.jpg", ("0.jpg",)),
        ("", ("empty",)),
    ],
)
def test_odd_hard_lists_are_one_line(tmp_path, text, words):
    (tmp_path / "list").write_text(text)
    fails(lambda: HardList(tmp_path / "list"), tmp_path / "list", *words)
    fails(lambda: HardList(tmp_path / "missing"), "cannot be read", "twehrbein")


def test_hard_lines_mean_what_the_file_calls_them(tmp_path):
    (tmp_path / "list").write_text(f"\ufeff/S9/TakingPhoto 1.{CAM}/160.jpg\nS9/Photo.{CAM}/160.jpg\n")
    listed = HardList(tmp_path / "list")
    assert listed.num_frames == 2
    columns = {"subject": np.array([b"S9"] * 4), "action": np.array([b"Photo"] * 4)}
    columns["cam"] = np.array([CAM.encode()] * 3 + [b"55011271"])
    columns["frame_orig"] = np.array([159, 160, 159, 159])
    columns["subaction"] = np.array([b"1", b"1", b"0", b"1"])
    assert listed.mark(columns).tolist() == [True, False, True, False]


def test_bad_arguments_are_one_line(tmp_path):
    given = ["--input_dir", str(tmp_path), "--output_dir", str(tmp_path / "out")]
    elsewhere = ["--input_dir", str(tmp_path / "no"), *given[2:]]
    fails(lambda: parse_arguments(Human36M(), hrnet, "", [*given, "--subjects", "S2"]), "--subjects S2", "S1, S5")
    fails(lambda: parse_arguments(Human36M(), hrnet, "", [*given, "--limit", "0"]), "--limit")
    fails(
        lambda: run_preprocess(Human36M(), hrnet, "", elsewhere),
        tmp_path / "no",
    )
    missing = [*given, "--weights", str(tmp_path / "w.pt")]
    fails(lambda: run_preprocess(ThreeDHP(), hrnet, "", missing), "w.pt: HRNet weights not found")
    assert not (tmp_path / "out").exists()


def test_images_are_read_as_bgr(tmp_path):
    image = np.zeros((16, 16, 3), np.uint8)
    image[..., 2] = 200
    cv2.imwrite(str(tmp_path / "red.png"), image)
    (read,) = file_images([tmp_path / "red.png"])
    rgb = detector_image(read, np.array([0, 0, 16, 16]))
    np.testing.assert_allclose(rgb[100, 100], [200, 0, 0])
