"""Published numbers on Human3.6M, shown beside ours. If the sources of one method disagree, both are listed.

Best of 200 hypotheses, mm; H36M: every 64th video frame averaged over actions; H36MA (ambiguous frames): averaged over
its frames. PCK in percent, CPS in mm.
"""

from dataclasses import dataclass

CQF_HMR = "CQF-HMR (Le et al.), tables 1-2"
RETRAINED = f"{CQF_HMR}, retrained by its authors"


@dataclass(frozen=True)
class PublishedResult:
    """One method's numbers; None if the source gives none. Pairs are (MPJPE, PA-MPJPE)."""

    method: str
    h36m: tuple[float, float] | None
    h36m_zero_noise: tuple[float, float] | None
    hard: tuple[float, float]
    hard_pck: float
    hard_cps: float
    source: str = CQF_HMR


PUBLISHED = (
    PublishedResult("Li & Lee", None, None, (81.1, 66.0), 85.7, 119.9),
    PublishedResult("Sharma et al.", None, None, (78.3, 61.1), 88.5, 136.4),
    PublishedResult("Wehrbein et al. (normalizing flow)", (44.3, 32.4), (61.8, 43.8), (71.0, 54.2), 93.4, 171.0),
    PublishedResult("DiffPose (Holmquist & Wandt)", (44.2, 32.1), (64.5, 45.2), (66.5, 48.5), 94.3, 194.2, RETRAINED),
    PublishedResult("FMPose (Le et al., flow matching)", (41.7, 30.6), (58.9, 41.5), (60.0, 47.5), 96.0, 187.6),
    PublishedResult("CQF-HMR (D)", (39.4, 27.9), (59.0, 40.3), (54.4, 42.5), 96.2, 205.6),
)


@dataclass(frozen=True)
class CheckpointResult:
    """PA-MPJPE of the best of 200, fine-tuned HRNet, of one checkpoint that DiffPose's authors released."""

    seed: int
    h36m_pa_mpjpe: float
    hard_pa_mpjpe: float


RELEASED_CHECKPOINTS = (
    CheckpointResult(42, 30.526, 46.116),
    CheckpointResult(2967, 30.618, 46.661),
    CheckpointResult(6173, 30.745, 46.808),
    CheckpointResult(5478, 30.964, 46.813),
    CheckpointResult(989, 31.028, 47.134),
)
