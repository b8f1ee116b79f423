"""From pictures to 3D poses: person finding, 2D detectors, lifting and output; see docs/demo.md."""

from demo.estimator import People, PoseEstimator, Poses

__all__ = ["People", "PoseEstimator", "Poses"]
