"""The datasets that a configuration names: for training, validation and evaluation."""

from pathlib import Path

import numpy as np
from torch.utils.data import Subset

from data.pose_dataset import PoseDataset
from data.schema import ACTIONS, dataset_name
from utils.config import Config
from utils.errors import DiffPoseError

# Human3.6M's protocol takes every 16th row; the other sets are evaluated whole.
STRIDED_DATASET = "h36m"
SPLITS = ("full", "hard")


def _path(config: Config, key: str, name: str) -> Path:
    if not name:
        raise DiffPoseError(f"DATASET.{key} is empty: name the HDF5 file there, relative to DATASET.ROOT")
    return Path(config.dataset.root) / name


def training_set(config: Config, **options) -> PoseDataset:
    """The train split of DATASET.TRAINFILE, limited to TRAIN.SUBJECTS if there are any."""
    return PoseDataset(
        _path(config, "TRAINFILE", config.dataset.trainfile),
        dataset=config.dataset.dataset,
        split="train",
        subjects=config.train.subjects or None,
        condition_key=config.model.condition_key,
        **options,
    )


def validation_set(config: Config) -> Subset:
    """TRAIN.VALIDATE_FRAMES rows, evenly spread over the train split of VALFILE (or TRAINFILE).

    Limited to TRAIN.VALIDATE_SUBJECTS if there are any: test subjects are never looked at during training.
    """
    dataset = PoseDataset(
        _path(config, "VALFILE", config.dataset.valfile or config.dataset.trainfile),
        dataset=config.dataset.dataset,
        split="train",
        subjects=config.train.validate_subjects or None,
        condition_key=config.model.condition_key,
    )
    count = min(config.train.validate_frames, len(dataset))
    return Subset(dataset, np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist())


def evaluation_set(config: Config, split: str, *, skip_bad: bool = False) -> PoseDataset:
    """The test split of DATASET.TESTFILE: ``full`` (every TEST.STRIDE-th row) or ``hard`` (every hard row).

    Raises DiffPoseError when an action that should be evaluated has no row in ``full``.
    """
    strided = split == "full" and dataset_name(config.dataset.dataset) == STRIDED_DATASET
    dataset = PoseDataset(
        _path(config, "TESTFILE", config.dataset.testfile),
        dataset=config.dataset.dataset,
        split="test",
        subjects=config.test.subjects or None,
        actions=config.test.actions or None,
        stride=config.test.stride if strided else 1,
        hard_only=split == "hard",
        condition_key=config.model.condition_key,
        skip_bad=skip_bad,
    )
    missing = [action for action in expected_actions(config, dataset) if action not in set(dataset.meta["action"])]
    if missing and split == "full":
        raise DiffPoseError(
            f"{dataset.path}: testset has no row of {', '.join(missing)} among every {dataset.stride}th, so there is no"
            " average over actions: lower TEST.STRIDE, or name the actions to evaluate in TEST.ACTIONS (--actions)"
        )
    return dataset


def expected_actions(config: Config, dataset: PoseDataset) -> tuple[str, ...]:
    """The actions that an average goes over: TEST.ACTIONS, else Human3.6M's 15, else those that the split has."""
    if config.test.actions:
        return config.test.actions
    present = tuple(dict.fromkeys(dataset.meta["action"].tolist()))
    return ACTIONS if dataset.dataset == STRIDED_DATASET and set(present) <= set(ACTIONS) else present
