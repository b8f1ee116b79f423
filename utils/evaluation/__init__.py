"""Scoring hypotheses: metrics, calibration, consensus, reports, and predictions on disk."""

from utils.evaluation.scoring import BY_ACTION, BY_FRAME, SplitInfo, SplitResult, evaluate

__all__ = ["BY_ACTION", "BY_FRAME", "SplitInfo", "SplitResult", "evaluate"]
