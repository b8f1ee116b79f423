"""A smooth track of one pose a frame: a Kalman filter forwards, the Rauch-Tung-Striebel smoother backwards.

Each coordinate of each joint moves with a speed that white-noise acceleration changes (Bar-Shalom et al. 2001, section
6.2.2). What is measured is the consensus; its noise is the spread of the hypotheses, so joints that the model guesses
follow their neighbours in time, and joints that it knows follow the measurement.
"""

from dataclasses import dataclass, field

import numpy as np

from demo.output import Row

# Spectral density of the acceleration, mm^2 / s^3, and the measurement's standard deviation as a share of the spread.
ACCELERATION = 4e6
SPREAD_SHARE = 1.0
# What a consensus jitters by even where all hypotheses agree, mm.
_LEAST_STD_MM = 8.0
# A measurement that is further off than this many standard deviations counts less the further it is.
_OUTLIER = 3.0
_SPEED_STD_MM_S = 1500.0
# Over longer gaps nothing is carried on, s.
MAX_GAP_S = 1.0
NOTHING_SMOOTHED = (
    f"note: --smooth changed nothing: no two poses of a person lie within {MAX_GAP_S:g} s of each other: lower "
    "--every, or give keypoints their rate by --fps"
)


def smooth(
    times_s: np.ndarray, poses_mm: np.ndarray, std_mm: np.ndarray, *, acceleration: float = ACCELERATION
) -> np.ndarray:
    """Smoothed poses (T, J, 3), mm, of poses (T, J, 3) at increasing times (T,), s.

    ``std_mm`` (T, J, 3): standard deviation of the hypotheses along each axis; ``acceleration``: see ACCELERATION.
    """
    measured = np.asarray(poses_mm, np.float64).reshape(len(poses_mm), -1)  # (T, N)
    noise = np.asarray(std_mm, np.float64).reshape(len(poses_mm), -1)
    noise = (SPREAD_SHARE * noise) ** 2 + _LEAST_STD_MM**2
    steps = np.diff(np.asarray(times_s, np.float64))
    state = np.stack([measured[0], np.zeros_like(measured[0])], -1)  # (N, 2): place and speed
    covariance = np.zeros((*state.shape, 2))  # (N, 2, 2)
    covariance[:, 0, 0], covariance[:, 1, 1] = noise[0], _SPEED_STD_MM_S**2
    states, covariances, predictions = [state], [covariance], []
    for k, step in enumerate(steps, start=1):
        move = np.array([[1.0, step], [0.0, 1.0]])
        added = acceleration * np.array([[step**3 / 3, step**2 / 2], [step**2 / 2, step]])
        state, covariance = state @ move.T, move @ covariance @ move.T + added
        predictions.append((move, state, covariance))
        innovation = measured[k] - state[:, 0]
        total = covariance[:, 0, 0] + noise[k]
        far = innovation**2 / total / _OUTLIER**2
        total = covariance[:, 0, 0] + noise[k] * np.maximum(far, 1.0)
        gain = covariance[:, :, 0] / total[:, None]  # (N, 2)
        state = state + gain * innovation[:, None]
        covariance = covariance - gain[:, :, None] * covariance[:, None, 0, :]
        states.append(state)
        covariances.append(covariance)
    return _backwards(states, covariances, predictions).reshape(np.shape(poses_mm))


def _backwards(states: list[np.ndarray], covariances: list[np.ndarray], predictions: list[tuple]) -> np.ndarray:
    """Places (T, N) out of the filter's states (N, 2), each with what it predicts of the next frame."""
    later = states[-1]
    places = [later[:, 0]]
    for state, covariance, (move, predicted, predicted_covariance) in zip(
        states[-2::-1], covariances[-2::-1], predictions[::-1], strict=True
    ):
        gain = covariance @ move.T @ np.linalg.inv(predicted_covariance)
        later = state + np.einsum("nij,nj->ni", gain, later - predicted)
        places.append(later[:, 0])
    return np.stack(places[::-1])


def jitter_mm(poses_mm: np.ndarray) -> float:
    """Median size of the second difference of joints (T, J, 3) in consecutive frames, mm per frame squared."""
    return float(np.median(np.linalg.norm(np.diff(poses_mm, 2, axis=0), axis=-1)))


@dataclass
class _Track:
    times_s: list[float] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    poses_mm: list[np.ndarray] = field(default_factory=list)
    std_mm: list[np.ndarray] = field(default_factory=list)


class TrackSmoother:
    """Collects everyone's poses through a video and smooths each person's at the end."""

    def __init__(self):
        self._tracks: dict[int, _Track] = {}
        self.has_smoothed = False  # whether any pose had another of the same person near enough in time

    def add(self, time_s: float, rows: list[Row]) -> None:
        """The people of the frame at ``time_s``."""
        for row in rows:
            track = self._tracks.setdefault(row.number, _Track())
            track.times_s.append(time_s)
            track.frames.append(row.frame)
            track.poses_mm.append(row.consensus_mm)
            track.std_mm.append(row.hypotheses_mm.std(axis=0))

    def result(self) -> dict[tuple[int, int], np.ndarray]:
        """(frame, person) -> smoothed pose (J, 3), mm; a track is cut where it has a gap of more than MAX_GAP_S."""
        poses: dict[tuple[int, int], np.ndarray] = {}
        for number, track in self._tracks.items():
            times = np.array(track.times_s)
            cuts = np.flatnonzero(np.diff(times) > MAX_GAP_S) + 1
            for part in np.split(np.arange(len(times)), cuts):
                part_poses = np.stack([track.poses_mm[k] for k in part])
                self.has_smoothed |= len(part) > 1
                smoothed = smooth(times[part], part_poses, np.stack([track.std_mm[k] for k in part]))
                for k, pose in zip(part, smoothed, strict=True):
                    poses[track.frames[k], number] = pose.astype(np.float32)
        return poses
