"""Which rows of a motion-capture file belong together: the recordings that it was made from, and their kinds."""

import json

import h5py

from data.hdf5.access import text_attribute
from data.pose_dataset import PoseDataset
from data.schema import MOTION_CAPTURE_SOURCE, RECORDINGS_ATTRIBUTE
from utils.errors import DiffPoseError
from utils.evaluation.recordings import Recordings


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
