import numpy as np
import pytest

from data.schema import ACTIONS, BUILD_COMMANDS, FIELDS, META_COLUMNS, SUBJECTS, TRUTH_COLUMN, dataset_name
from utils.errors import DiffPoseError
from utils.skeleton import skeleton_for


@pytest.mark.parametrize(
    ("text", "name"), [("h36m", "h36m"), ("3DHP", "3dhp"), ("3dpw", "3dpw"), ("SkiPose", "skipose")]
)
def test_dataset_name_takes_any_spelling(text, name):
    assert dataset_name(text) == name


def test_unknown_dataset_is_named():
    with pytest.raises(DiffPoseError, match=r"'coco'.*h36m, 3DHP, 3dpw"):
        dataset_name("coco")


@pytest.mark.parametrize("dataset", FIELDS)
def test_every_dataset_has_what_a_row_needs(dataset):
    fields = FIELDS[dataset]
    assert {*META_COLUMNS, TRUTH_COLUMN[dataset], "heatmap", "argmax_2d", "gt_2d"} <= set(fields)
    assert fields["heatmap"].row_bytes == 128 * 1024
    assert np.prod(fields[TRUTH_COLUMN[dataset]].shape) == 3 * skeleton_for(dataset).num_joints
    widest = max(len(subject) for subjects in SUBJECTS[dataset].values() for subject in subjects)
    assert widest <= fields["subject"].dtype.itemsize
    assert dataset in BUILD_COMMANDS


def test_human36m_actions_fit_their_column():
    assert len(set(ACTIONS)) == 15
    assert max(map(len, ACTIONS)) <= FIELDS["h36m"]["action"].dtype.itemsize
