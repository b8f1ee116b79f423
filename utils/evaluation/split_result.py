"""What an evaluation returns for one split."""

from dataclasses import asdict, dataclass

from utils.evaluation.calibration import Calibration

BY_ACTION = "by action"
BY_FRAME = "by frame"


@dataclass(frozen=True, kw_only=True)
class SplitInfo:
    """Where a split's numbers come from: what has to be reported beside them.

    ``source`` is the data file's own statement (the benchmark's begins with 'synthetic'); ``is_human36m`` allows the
    comparison with published numbers; ``stride`` is the step between evaluated rows of the file's test table.
    """

    split: str
    dataset: str
    source: str
    is_human36m: bool = False
    stride: int = 1
    seed: int | None = None
    weights: str = ""
    checkpoint: str = ""
    precision: str = "float32"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class GroupResult:
    """Averages over one action's (or test sequence's) frames: row -> metric -> value."""

    num_frames: int
    rows: dict[str, dict[str, float]]


@dataclass(frozen=True)
class RecordingResult:
    """Averages over a recording's frames, or over several recordings of which each counts alike.

    ``rows``, ``energy_score`` (mm), ``calibration_error`` and the shares ``covered_50`` to ``covered_95`` are those of
    :class:`SplitResult` and :class:`Calibration`; the last four are None for a single hypothesis.
    """

    num_recordings: int
    num_frames: int
    rows: dict[str, dict[str, float]]
    energy_score: float
    calibration_error: float | None
    covered_50: float | None
    covered_80: float | None
    covered_95: float | None


@dataclass(frozen=True)
class SplitResult:
    """Everything measured on one split; lengths in mm, PCK as a share 0..1, CPS 0..299.

    Attributes:
        info: where the numbers come from.
        num_frames, num_hypotheses: frames scored, H.
        averaging: 'by action' (frames, then actions present) or 'by frame'.
        skeleton, joints: the joint set's name and its joints in order.
        rows: row of the table -> metric key -> average.
        groups: action -> its own averages; ``missing_groups`` names the expected ones without a frame.
        recordings: recording -> its own averages; empty where the file does not hold separate recordings.
        recording_averages: kind of recording, and all of them -> averages in which each recording counts alike.
        subsets: name of a part of the frames, such as the easy ones -> averages over its frames.
        best_of_n: 'mpjpe', 'pa_mpjpe' -> H averages: error of the best of the first 1 .. H hypotheses.
        energy_score: how well the hypotheses do as a distribution, mm, averaged as the rows; lower is better.
        calibration: averaged over frames, like the spread; both are None for fewer than two hypotheses.
        spread_mm: (J, 3) standard deviation over hypotheses per joint and axis, mean over frames.
        sharpness_mm: mean over frames and non-root joints of the spread's length, sqrt(sd_x^2 + sd_y^2 + sd_z^2).
        cps_curve: share of frames whose best hypothesis is correct at 1 .. 300 mm.
        skipped_rows: row numbers left out because their data could not be used.
    """

    info: SplitInfo
    num_frames: int
    num_hypotheses: int
    averaging: str
    skeleton: str
    joints: tuple[str, ...]
    rows: dict[str, dict[str, float]]
    groups: dict[str, GroupResult]
    recordings: dict[str, RecordingResult]
    recording_averages: dict[str, RecordingResult]
    subsets: dict[str, GroupResult]
    missing_groups: tuple[str, ...]
    best_of_n: dict[str, tuple[float, ...]]
    energy_score: float
    calibration: Calibration | None
    spread_mm: tuple[tuple[float, ...], ...] | None
    sharpness_mm: float | None
    cps_curve: tuple[float, ...]
    skipped_rows: tuple[int, ...]

    def to_dict(self) -> dict:
        """Plain dicts, lists and numbers; nothing in it is NaN."""
        return asdict(self)
