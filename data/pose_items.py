"""From stored columns to what the model trains on and is judged by; plain functions over a leading row axis.

Files have x right, y down, z away from the camera; everything here gives y and z negated. The operations and their
order are those of the published loader, so that float32 results agree to the last bit.
"""

import numpy as np

from data.schema import dataset_name
from utils.skeleton import H36M_JOINTS

_AXIS_SIGNS = np.array([1, -1, -1], np.float32)[:, None]
_NECK = H36M_JOINTS.index("Neck")
_WITHOUT_NECK = [joint for joint in range(len(H36M_JOINTS)) if joint != _NECK]


def axis_major(truth: np.ndarray, dataset: str) -> np.ndarray:
    """Stored 3D truth of any dataset as (N, 3, J) float32, unit unchanged.

    Human3.6M and Ski-Pose store (3, 17), 3DHP 51 numbers x..y..z.., 3DPW (24, 3).
    """
    truth = np.asarray(truth, np.float32)
    if dataset_name(dataset) == "3dpw":
        return np.ascontiguousarray(truth.swapaxes(1, 2))
    return truth.reshape(len(truth), 3, -1)


def target_m(truth: np.ndarray, dataset: str) -> np.ndarray:
    """The network's target (N, 16, 3), or (N, 24, 3) for 3DPW: metres, each axis minus its mean over those joints."""
    poses = axis_major(truth, dataset)
    if dataset_name(dataset) != "3dpw":
        poses = (poses * np.float32(0.001))[:, :, 1:]
    centred = (poses - poses.mean(-1, keepdims=True)) * _AXIS_SIGNS
    return np.ascontiguousarray(centred.swapaxes(1, 2))


def truth_mm(truth: np.ndarray, dataset: str) -> np.ndarray:
    """The evaluation truth (N, 17, 3), or (N, 24, 3) for 3DPW: millimetres, root at the origin."""
    poses = axis_major(truth, dataset)
    if dataset_name(dataset) == "3dpw":
        poses = poses * np.float32(1000)
    rooted = (poses - poses[:, :, :1]) * _AXIS_SIGNS
    return np.ascontiguousarray(rooted.swapaxes(1, 2))


def detected_pose_2d(argmax_2d: np.ndarray) -> np.ndarray:
    """``p2d_hrnet`` (N, 32): the heatmaps' maxima, all first coordinates, then all second ones, normalised.

    The stored (row, column) is taken as (x, y) and the second axis negated, as the published weights expect.
    """
    points = np.asarray(argmax_2d, np.float32).reshape(len(argmax_2d), 2, -1)
    points = (points - points.mean(-1, keepdims=True)) * np.array([1, -1], np.float32)[:, None]
    return _unit_spread(points).reshape(len(points), -1)


def annotated_pose_2d(gt_2d: np.ndarray, dataset: str) -> np.ndarray:
    """``p2d_gt``: the annotated image positions x0, y0, x1, .., y down, normalised.

    (N, 32) for the 17-joint datasets, whose Neck is left out; (N, 36) for 3DPW's 18 joints.
    """
    points = np.asarray(gt_2d, np.float32)
    if dataset_name(dataset) == "3dpw":
        points = points[:, :2]
    else:
        points = points.reshape(len(points), 2, -1)
        points = np.ascontiguousarray((points - points[:, :, :1])[:, :, _WITHOUT_NECK])
    points = _unit_spread(points - points.mean(-1, keepdims=True))
    return points.swapaxes(1, 2).reshape(len(points), -1)


def _unit_spread(points: np.ndarray) -> np.ndarray:
    """(N, 2, J) over the population standard deviation of its 2J numbers; NaN where all joints coincide."""
    spread = points.reshape(len(points), -1).std(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return points / spread[:, None, None]
