"""Which rows of a motion-capture file belong together: the recordings that it was made from, and their kinds."""

import json

import h5py
import numpy as np

from data.hdf5.access import open_hdf5, text_attribute
from data.pose_dataset import PoseDataset
from data.schema import EPISODE_COLUMN, MOTION_CAPTURE_SOURCE, RECORDINGS_ATTRIBUTE, SPLITS
from utils.errors import DiffPoseError
from utils.evaluation.recordings import Recordings
from utils.hdf5_files import reading


def recordings_of(dataset: PoseDataset) -> Recordings | None:
    """The recordings that the rows belong to, and their kinds; None unless the file is of motion capture.

    A recording is a subject's take of an action; it is called by its action where no other recording has that name.
    Raises DiffPoseError when the file's list of recordings can't be read.
    """
    if not dataset.source.startswith(MOTION_CAPTURE_SOURCE):
        return None
    columns = (dataset.meta[name].tolist() for name in ("action", "subject", "subaction"))
    takes = list(zip(*columns, strict=True))
    actions = [action for action, _, _ in dict.fromkeys(takes)]
    names = {take: take[0] if actions.count(take[0]) == 1 else " ".join(take) for take in dict.fromkeys(takes)}
    try:
        with h5py.File(dataset.path, "r", locking=False) as file:
            kinds = json.loads(text_attribute(file["dataset"], RECORDINGS_ATTRIBUTE, default="{}"))
        kinds = {str(kind): [str(name) for name in members] for kind, members in kinds.items()}
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:100]
        problem = f"attribute '{RECORDINGS_ATTRIBUTE}' is no list of recordings ({reason})"
        raise DiffPoseError(f"{dataset.path}: {problem}: make the file anew") from None
    of_row = dict(zip(dataset.rows.tolist(), (names[take] for take in takes), strict=True))
    return Recordings(of_row=of_row, kinds=kinds)


def motions_of(dataset: PoseDataset, split: str) -> np.ndarray:
    """Which rows show the same motion, (N,) int64: the file's episode if it has one, else subject, action and take.

    ``split``: train or test, as the dataset was opened. What all cameras see of a motion is one. Raises DiffPoseError
    when the file can't be read.
    """
    with open_hdf5(dataset.path, dataset.dataset) as file:
        group = file["dataset"][SPLITS[split]]
        if isinstance(group, h5py.Group) and EPISODE_COLUMN in group:
            with reading(dataset.path, f"'{group.name}/{EPISODE_COLUMN}'"):
                return np.asarray(group[EPISODE_COLUMN][()], np.int64)[dataset.rows]
    takes = list(zip(*(dataset.meta[name].tolist() for name in ("subject", "action", "subaction")), strict=True))
    numbers = {take: number for number, take in enumerate(dict.fromkeys(takes))}
    return np.array([numbers[take] for take in takes], np.int64)
