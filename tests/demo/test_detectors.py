"""Crops, maps made of other maps, and the embedded detector on a real video frame."""

import numpy as np
import pytest

from data.synthetic.views import crop_box as benchmark_crop_box
from demo.crops import Square, crop_box, cut_out, overlap, square_around
from demo.detectors import choose_detector
from demo.embedded import EmbeddedDetector
from demo.hrnet import HRNetDetector
from demo.landmarks import Landmarks, anchors
from demo.mpii_maps import DIRECT, MADE, crop_points, made_points, mpii_heatmaps
from demo.people import PersonTracker
from demo.person import NoPersonError, Person, peak_cells
from utils.errors import DiffPoseError
from utils.skeleton import MPII_JOINTS

LEFT = [MPII_JOINTS.index(name) for name in ("LHip", "LKnee", "LFoot", "LShoulder", "LElbow", "LWrist")]


def gaussians(cells, std=1.0, height=0.9):
    grid = np.arange(64.0)
    x, y = (np.exp(-0.5 * ((grid - cells[:, axis, None]) / std) ** 2) for axis in (0, 1))
    return (height * y[:, :, None] * x[:, None, :]).astype(np.float32)


REGION = Square(np.zeros(2), 640.0)


@pytest.fixture
def standing():
    """Landmarks of somebody standing in a region of 640 px: 10 px a cell."""
    points = np.zeros((33, 2))
    points[:11] = (320, 120)
    points[7], points[8] = (330, 120), (310, 120)
    arms = {11: (365, 180), 12: (275, 180), 13: (390, 260), 14: (250, 260), 15: (395, 340), 16: (245, 340)}
    legs = {23: (350, 340), 24: (290, 340), 25: (352, 450), 26: (288, 450), 27: (354, 560), 28: (286, 560)}
    for k, place in {**arms, **legs}.items():
        points[k] = place
    for k in (17, 19, 21):
        points[k], points[k + 1] = (395, 360), (245, 360)
    for k, dx in ((29, 0), (31, 8)):
        points[k], points[k + 1] = (354 + dx, 575), (286 - dx, 575)
    return Landmarks(points, np.ones(33), 1.0, gaussians(points / 10), np.zeros((33, 3)), REGION)


def test_the_crop_rule_is_the_benchmarks():
    points = np.random.default_rng(0).uniform(0, 900, (5, 21, 2))
    corners, sides = benchmark_crop_box(points)
    for k in range(5):
        corner, side = crop_box(points[k])
        np.testing.assert_array_equal(corner, corners[k])
        assert side == sides[k]


def test_cutting_out_keeps_places():
    image = np.zeros((400, 600, 3), np.uint8)
    image[150:160, 250:260] = 255
    for size, corner, side in ((64, (100.0, 50.0), 320.0), (256, (200.0, 100.0), 128.0), (100, (-50.0, -80.0), 500.0)):
        crop = cut_out(image, Square(np.array(corner), side), size).astype(float)[..., 0]
        y, x = (np.arange(size) + 0.5 for _ in range(2))
        place = np.array([(crop.sum(0) * x).sum(), (crop.sum(1) * y).sum()]) / crop.sum()
        np.testing.assert_allclose(corner + place / size * side, (255, 155), atol=0.05 * side / size)
        assert crop.sum() == pytest.approx(255 * 100 * (size / side) ** 2, rel=0.05), "nothing is lost in between"


def test_outside_the_image_is_black():
    crop = cut_out(np.full((50, 50, 3), 200, np.uint8), Square(np.array([-50.0, -50.0]), 150.0), 150)
    assert crop[75, 75].tolist() == [200, 200, 200]
    assert crop[:48].max() == 0
    assert cut_out(np.ones((9, 9, 3), np.uint8), Square(np.array([500.0, 500.0]), 30.0), 8).max() == 0


def test_every_joint_comes_from_its_own_side(standing):
    joints = made_points(standing.points)
    assert (joints[LEFT, 0] > 320).all(), "who faces the camera has the left on the picture's right"
    assert set(DIRECT) | set(MADE) == set(MPII_JOINTS)
    order = [joints[MPII_JOINTS.index(name), 1] for name in ("Head", "Thorax", "Spine", "Hip", "LKnee", "LFoot")]
    assert order == sorted(order)
    assert all(sum(weights.values()) == pytest.approx(1) for weights, _ in MADE.values())


def test_maps_peak_at_the_joints_with_a_lifters_width(standing):
    maps = mpii_heatmaps(standing)
    np.testing.assert_allclose(peak_cells(maps), made_points(standing.points) / 10, atol=0.3)
    for name, heatmap in zip(MPII_JOINTS, maps, strict=True):
        area = heatmap.sum() / heatmap.max() / (2 * np.pi)  # product of the two standard deviations
        low, high = (3.2, 4.8) if name in DIRECT else (3.2, 14.0)
        assert low < area < high, name
        assert 0.3 < heatmap.max() <= 1


def test_hidden_joints_get_wider_and_lower_maps(standing):
    standing.visibility[13] = 0.1
    elbow = MPII_JOINTS.index("LElbow")
    hidden = mpii_heatmaps(standing)[elbow]
    standing.visibility[13] = 1.0
    seen = mpii_heatmaps(standing)[elbow]
    assert hidden.max() < seen.max()
    assert hidden.sum() / hidden.max() > 1.3 * seen.sum() / seen.max()


def test_a_map_without_a_peak_can_still_be_drawn_from(standing):
    standing.maps[15] = 0
    assert (mpii_heatmaps(standing).max(axis=(1, 2)) > 0).all()
    assert np.isfinite(mpii_heatmaps(standing)).all()


def test_anchors_cover_the_picture():
    places = anchors()
    assert places.shape == (2254, 2)
    assert places.min() > 0
    assert places.max() < 1
    np.testing.assert_allclose(places.mean(0), 0.5)


def test_overlap():
    a = (np.zeros(2), 10)
    assert overlap(a, a) == 1
    assert overlap(a, (np.array([5.0, 0.0]), 10)) == pytest.approx(1 / 3)
    assert overlap(a, (np.array([50.0, 0.0]), 10)) == 0
    assert square_around(10, 20, 40, 80)[0].tolist() == [-10, 20]


def test_people_keep_their_numbers():
    def at(x):
        return Person(np.array([x, 0.0]), 100.0, np.zeros((16, 64, 64)), np.zeros((16, 2)), np.zeros(16))

    tracker = PersonTracker()
    assert tracker.number([at(0), at(300)], 0) == [0, 1]
    assert tracker.number([at(310), at(5)], 1) == [1, 0]
    assert tracker.number([at(320)], 2) == [1]
    assert tracker.number([at(8), at(900)], 3) == [0, 2], "back after a frame, and somebody new"
    assert len(tracker.near(4)) == 2


def test_detector_names():
    with pytest.raises(DiffPoseError, match="auto, embedded, hrnet"):
        choose_detector("openpose")


def test_hrnet_without_weights_says_what_to_do(monkeypatch, tmp_path):
    import models.hrnet

    monkeypatch.setattr(models.hrnet, "WEIGHTS_FOLDER", tmp_path)
    with pytest.raises(DiffPoseError, match=r"fine_HRNet\.pt") as caught:
        choose_detector("hrnet")
    assert "\n" not in str(caught.value)


def test_hrnet_looks_at_the_crop(monkeypatch, tmp_path):
    import models.hrnet

    seen = []

    class Fake:
        def __init__(self, model, *, device):
            pass

        def __call__(self, images):
            seen.append(images)
            return gaussians(np.full((16, 2), (16.0, 32.0)))[None].astype(np.float16)

    monkeypatch.setattr(models.hrnet, "load_hrnet", lambda path: None)
    monkeypatch.setattr(models.hrnet, "Detector", Fake)
    image = np.zeros((200, 300, 3), np.uint8)
    image[..., 0] = 255
    person = HRNetDetector().person_in(image, (np.array([40.0, 20.0]), 128.0))
    assert seen[0].shape == (1, 255, 255, 3)
    assert seen[0][0, 100, 100].tolist() == [255, 0, 0], "RGB"
    np.testing.assert_allclose(person.joints_px, np.tile((72.0, 84.0), (16, 1)), atol=0.1)


def test_the_walker(walker):
    found = EmbeddedDetector(threads=1).people(walker)
    person = found[0]
    assert len(found) == 1
    joints = dict(zip(MPII_JOINTS, person.joints_px, strict=True))
    # Where a person sees them in the frame, within 2.5 % of the crop's side.
    for name, place in {"LWrist": (948, 695), "Head": (1016, 545), "LFoot": (1125, 892), "RFoot": (960, 898)}.items():
        assert np.linalg.norm(joints[name] - place) < 0.06 * person.side, name
    np.testing.assert_allclose(
        person.cells_to_px(peak_cells(person.heatmaps)), person.joints_px, atol=0.04 * person.side
    )
    landmarks = person.landmarks.world_mm
    assert landmarks[11, 2] > landmarks[12, 2], "her left shoulder is nearer to the camera"
    assert (landmarks[[27, 28], 1] < landmarks[0, 1]).all()


def test_crop_and_points_belong_together(walker):
    detector = EmbeddedDetector(threads=1)
    person = detector.people(walker)[0]
    corner, side = crop_box(crop_points(person.landmarks.points))
    assert np.abs(corner - person.corner).max() < 0.05 * side
    assert abs(side - person.side) < 0.05 * side
    again = detector.person_in(walker, (person.corner - 40, person.side + 80))
    assert np.abs(again.joints_px - person.joints_px).max() < 0.06 * side


def test_tiny_people_and_nobody(walker, fetched):
    import cv2

    detector = EmbeddedDetector(threads=1)
    assert detector.people(np.full((300, 400, 3), 90, np.uint8)) == []
    person = detector.people(walker)[0]
    crop = cut_out(walker, person.square, 256)
    tiny = np.full((200, 200, 3), 120, np.uint8)
    tiny[100:118, 100:118] = cv2.resize(crop, (18, 18), interpolation=cv2.INTER_AREA)
    with pytest.raises(NoPersonError, match="too small"):
        detector.person_in(tiny, (np.array([100.0, 100.0]), 18.0))
