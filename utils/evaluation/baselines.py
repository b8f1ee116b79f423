"""Poses made without the image: the training set's mean pose, and poses drawn from the training set at random.

If the best of a method's N hypotheses is no better than that of N such poses, it has learned nothing from the image.
"""

import numpy as np
import torch
from torch import Tensor

from utils.errors import DiffPoseError

# The purpose in the random key, so that these draws are independent of the model's.
DRAW_PURPOSE = 7


class ImageBlindBaseline:
    """Poses that depend only on the training set and the row number.

    Args:
        training_poses_mm: (N, J, 3) root-centred poses in the evaluation frame, mm.
        num_hypotheses: H, the poses drawn for each row.
        seed: draws are keyed by (seed, row), so batch size and order do not matter.
    """

    def __init__(self, training_poses_mm: np.ndarray | Tensor, *, num_hypotheses: int, seed: int):
        poses = torch.as_tensor(training_poses_mm, dtype=torch.float32)
        if poses.ndim != 3 or poses.shape[-1] != 3:
            raise ValueError(f"training poses must be (N, J, 3), got {tuple(poses.shape)}")
        poses = poses[poses.isfinite().all(-1).all(-1)]
        if not len(poses):
            raise DiffPoseError("the training split holds no usable pose: the image-blind rows need at least one")
        self._poses = poses
        self._num_hypotheses = num_hypotheses
        self._seed = seed
        self.mean_pose = poses.mean(0, dtype=torch.float64).float()  # (J, 3)

    @property
    def num_training_poses(self) -> int:
        return len(self._poses)

    def draw(self, rows: np.ndarray) -> Tensor:
        """Poses drawn with replacement (B, H, J, 3), mm, for row numbers (B,)."""
        draws = np.empty((len(rows), self._num_hypotheses), dtype=np.int64)
        for i, row in enumerate(rows):
            generator = np.random.default_rng(np.random.SeedSequence([self._seed, int(row), DRAW_PURPOSE]))
            draws[i] = generator.integers(0, len(self._poses), size=self._num_hypotheses)
        return self._poses[torch.from_numpy(draws)]
