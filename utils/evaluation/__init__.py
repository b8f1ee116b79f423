"""Scoring hypotheses: metrics, calibration, consensus, reports, and predictions on disk."""

from utils.evaluation.scoring import evaluate
from utils.evaluation.split_result import BY_ACTION, BY_FRAME, SplitInfo, SplitResult

__all__ = ["BY_ACTION", "BY_FRAME", "SplitInfo", "SplitResult", "evaluate"]
