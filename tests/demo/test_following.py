"""Numbers of people through a video, and smooth tracks."""

import numpy as np
import pytest

from demo.checks import compare_smooth, crossing_frames, follow, numbers_of
from demo.embedded import EmbeddedDetector
from demo.people import PersonTracker, joint_colours
from demo.person import Person
from demo.smoothing import ACCELERATION, SPREAD_SHARE, TrackSmoother, jitter_mm, smooth

WIDTH, HEIGHT = 640, 240


def person_at(x, y=120.0, side=100.0):
    offsets = np.random.default_rng(0).uniform(-0.4, 0.4, (16, 2)) * side
    joints = np.array([x, y]) + offsets
    return Person(np.array([x, y]) - side / 2, side, np.zeros((16, 64, 64)), joints, np.ones(16))


def picture(people):
    """Each (x, colour) as a coloured square; the last one is in front."""
    image = np.full((HEIGHT, WIDTH, 3), 110, np.uint8)
    for x, colour in people:
        left = max(round(x) - 50, 0)
        image[70:170, left : round(x) + 50] = colour
    return image


RED, BLUE = (200, 40, 40), (40, 60, 200)


def track(paths, missing, *, coloured=True, rate=10.0, seed=0):
    """Numbers that two people on these paths (T,) get, as [(of the first, of the second), ..]; None while missing."""
    generator = np.random.default_rng(seed)
    tracker, out = PersonTracker(rate=rate), []
    for step, places in enumerate(zip(*paths, strict=True)):
        there = [k for k in range(2) if (k, step) not in missing]
        generator.shuffle(there)
        people = [person_at(places[k] + generator.normal(0, 2)) for k in there]
        image = picture([(places[k], (RED, BLUE)[k]) for k in sorted(there)]) if coloured else None
        numbers = dict(zip(there, tracker.number(people, step, image), strict=True))
        out.append(tuple(numbers.get(k) for k in range(2)))
    return out


def is_kept(numbers, paths):
    """Whether both keep their numbers in all frames in which they are apart; at one place, who is who has no answer."""
    apart = np.abs(paths[0] - paths[1]) > 30
    apart_numbers = [pair for pair, is_apart in zip(numbers, apart, strict=True) if is_apart]
    return all(len({pair[k] for pair in apart_numbers} - {None}) == 1 for k in range(2)) and len(set(numbers[0])) == 2


@pytest.mark.parametrize("coloured", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_numbers_stay_through_a_crossing(coloured, seed):
    steps = np.arange(40)
    paths = (80 + 12 * steps, 560 - 12 * steps)
    assert is_kept(track(paths, set(), coloured=coloured, seed=seed), paths)


@pytest.mark.parametrize("seed", range(3))
def test_numbers_stay_through_a_crossing_in_a_gap(seed):
    steps = np.arange(40)
    gap = {(0, step) for step in range(14, 24)} | {(1, step) for step in range(16, 26)}
    paths = (80 + 12 * steps, 560 - 12 * steps)
    assert is_kept(track(paths, gap, seed=seed), paths)


@pytest.mark.parametrize("seed", range(3))
def test_one_who_comes_back_where_the_other_is_hidden_gets_the_old_number_when_they_are_apart(seed):
    steps = np.arange(40)
    paths = (80 + 12 * steps, np.where(steps < 12, 494 - 6 * steps, 560 - 12 * steps))
    gap = {(1, step) for step in range(12, 20)} | {(0, step) for step in range(20, 23)}
    numbers = track(paths, gap, coloured=False, seed=seed)
    assert set(numbers[:12]) == {numbers[0]}
    assert set(numbers[24:]) == {numbers[0]}


def test_two_who_meet_and_turn_back_are_told_apart_by_colour():
    steps = np.arange(41)
    apart = 10 * np.abs(steps - 20)
    paths = (320 - apart - 20, 320 + apart + 20)
    gap = {(k, step) for k in range(2) for step in range(18, 23)}
    assert is_kept(track(paths, gap), paths)


def test_somebody_new_gets_a_new_number():
    tracker = PersonTracker(rate=10.0)
    assert tracker.number([person_at(100)], 0) == [0]
    assert tracker.number([person_at(500)], 1) == [1]
    assert tracker.number([person_at(100, side=30.0)], 2) == [2], "a fifth of a person's size within a frame"
    assert tracker.number([person_at(100)], 40) == [3], "forgotten after a second and a half"


def test_people_are_expected_where_they_move():
    tracker = PersonTracker(rate=10.0)
    for step in range(4):
        tracker.number([person_at(100 + 20 * step)], step)
    (square,) = tracker.near(4)
    assert square.middle[0] == pytest.approx(180, abs=1)
    assert tracker.near(5) == []


def test_colours_are_those_around_the_joints():
    image = picture([(100, RED)])
    colours = joint_colours(image, person_at(100))
    np.testing.assert_allclose(np.nanmedian(colours, 0) * 255, RED, atol=2)
    assert np.isnan(joint_colours(image, person_at(-200))).all(), "outside the picture nothing is known"


def dense_solution(times, measured, std):
    """The same model as one least-squares problem over all places and speeds: what the smoother must find."""
    count = len(times)
    rows, wanted = [], []

    def add(coefficients, value, deviation):
        row = np.zeros(2 * count)
        for place, coefficient in coefficients:
            row[place] = coefficient
        rows.append(row / deviation)
        wanted.append(value / deviation)

    noise = np.sqrt((SPREAD_SHARE * std) ** 2 + 8.0**2)
    add([(1, 1.0)], 0.0, 1500.0)
    for k in range(count):
        add([(2 * k, 1.0)], measured[k], noise[k])
    for k, step in enumerate(np.diff(times)):
        covariance = ACCELERATION * np.array([[step**3 / 3, step**2 / 2], [step**2 / 2, step]])
        whiten = np.linalg.inv(np.linalg.cholesky(covariance))
        block = np.zeros((2, 2 * count))
        block[:, 2 * k : 2 * k + 2] = -np.array([[1, step], [0, 1]])
        block[:, 2 * k + 2 : 2 * k + 4] = np.eye(2)
        rows += list(whiten @ block)
        wanted += [0.0, 0.0]
    return np.linalg.lstsq(np.array(rows), np.array(wanted), rcond=None)[0][::2]


def test_the_smoother_solves_the_whole_track_at_once():
    generator = np.random.default_rng(3)
    times = np.cumsum(generator.uniform(0.02, 0.2, 30))
    std = generator.uniform(10, 120, (30, 1, 3))
    measured = 300 * np.sin(times)[:, None, None] + generator.normal(0, 1, (30, 1, 3)) * 5
    smoothed = smooth(times, measured, std)
    for axis in range(3):
        wanted = dense_solution(times, measured[:, 0, axis], std[:, 0, axis])
        np.testing.assert_allclose(smoothed[:, 0, axis], wanted, atol=0.5)


def test_joints_that_are_guessed_follow_their_neighbours_in_time():
    times = np.arange(40) / 25
    truth = np.stack([400 * np.sin(3 * times), 300 * np.cos(2 * times), 100 * times], -1)[:, None].repeat(17, 1)
    std = np.full((40, 17, 3), 30.0)
    std[20] = 300.0
    measured = truth + np.random.default_rng(0).normal(0, 1, truth.shape) * std / 3
    measured[20] += 250
    smoothed = smooth(times, measured, std)
    assert np.abs(smoothed[20] - truth[20]).max() < 60
    assert np.linalg.norm(smoothed - truth, axis=-1).mean() < 0.8 * np.linalg.norm(measured - truth, axis=-1).mean()
    assert jitter_mm(smoothed) < 0.5 * jitter_mm(measured)


def test_tracks_are_smoothed_by_person_and_cut_at_long_gaps():
    smoother = TrackSmoother()
    for frame, time_s in enumerate((0.0, 0.1, 5.0, 5.1)):
        for number in (0, 1):
            pose = np.full((17, 3), 100.0 * frame * (1 - 2 * number))
            row = type("Row", (), {"number": number, "frame": frame, "consensus_mm": pose})()
            row.hypotheses_mm = pose + np.random.default_rng(0).normal(0, 50, (9, 17, 3))
            smoother.add(time_s, [row])
    poses = smoother.result()
    assert set(poses) == {(frame, number) for frame in range(4) for number in range(2)}
    for frame in range(4):
        np.testing.assert_allclose(poses[frame, 0], -poses[frame, 1], atol=1e-3)
    assert 0 <= poses[0, 0].mean() <= 100
    assert 200 <= poses[2, 0].mean() <= 300, "the gap of five seconds pulls nothing"


def test_simulated_motion_gets_smoother_and_no_worse():
    from demo import PoseEstimator

    estimator = PoseEstimator.load(num_hypotheses=20, device="cpu")
    result = compare_smooth(estimator, ("S9",), ("Walking",))
    assert result["jitter_after"] < 0.5 * result["jitter_before"]
    assert result["mpjpe_after"] < result["mpjpe_before"]


def test_real_people_who_cross_keep_their_numbers(fetched):
    """She comes back when the other one is hidden behind her, and is taken for him at first."""
    detector = EmbeddedDetector(threads=1)
    frames = crossing_frames(detector)
    numbers = numbers_of(follow(detector, frames, rate=7.5), frames)
    assert all(len(one) >= 14 for one in numbers.values())
    assert [set(one) - {None} for one in numbers.values()] == [{numbers[0][0]}, {numbers[1][0]}]
    assert numbers[0][0] != numbers[1][0]
    assert sum(number is None for one in numbers.values() for number in one) <= 2
