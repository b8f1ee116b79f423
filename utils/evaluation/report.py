"""Results as files and as text: ``report.json`` for machines, ``report.txt`` (and the screen) for people.

``report.json`` is one object:

* ``schema`` 'diffpose-report', ``version`` 1;
* ``metrics``: list of {key, label, unit, higher_is_better}; shares (PCK) are stored in 0..1;
* ``results``: one :class:`utils.evaluation.SplitResult` per split, field by field: ``info`` (split, dataset, source,
  is_human36m, stride, seed, weights, checkpoint, precision, notes), ``num_frames``, ``num_hypotheses``, ``averaging``,
  ``skeleton``, ``joints``, ``rows`` {row: {metric: value}}, ``groups`` {action: {num_frames, rows}}, ``subsets``
  {easy frames, hard frames: {num_frames, rows}} averaged by frame, ``recordings`` {recording: {num_recordings,
  num_frames, rows, energy_score, calibration_error, covered_50, covered_80, covered_95}} and ``recording_averages``
  {kind, or all recordings: the same}, in which each recording counts alike, ``missing_groups``, ``best_of_n`` {mpjpe,
  pa_mpjpe: H numbers}, ``energy_score`` (mm), ``calibration`` (or null), ``spread_mm`` (J x 3, or null),
  ``sharpness_mm`` (or null), ``cps_curve`` (300 shares), ``skipped_rows``;
* ``published``: for Human3.6M only, the literature's numbers that the text shows beside ours.

No number in it is NaN or infinite.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from utils.evaluation import BY_ACTION, SplitInfo, SplitResult
from utils.evaluation.consensus import DEFAULT_RULE
from utils.evaluation.metrics import METRICS
from utils.evaluation.published import PUBLISHED, RELEASED_CHECKPOINTS
from utils.files import written_in_one_step

SCHEMA = "diffpose-report"
SCHEMA_VERSION = 1
FULL_SPLIT, HARD_SPLIT = "full", "hard"
# Parts of the full split: rows that are marked as ambiguous, and the others.
EASY_FRAMES, HARD_FRAMES = "easy frames", "hard frames"
PUBLISHED_HYPOTHESES, PUBLISHED_STRIDE = 200, 16
SYNTHETIC_NOTICE = "synthetic benchmark, not comparable with Human3.6M"
FOREIGN_NOTICE = "not Human3.6M, not comparable with it"
DRAWN_NOTICE = "heatmaps drawn from keypoints, not comparable with results on a detector's heatmaps"

# Row -> (label, kind); {n} is the number of hypotheses. Other rows are single poses made without the truth.
KINDS = (
    "oracle: each column's best hypothesis, which only the truth can tell; statistic: of the errors of all hypotheses;",
    "usable: one pose made of the hypotheses without the truth; blind: saw no image",
)
ROW_LABELS = {
    "best": ("best of {n}", "oracle"),
    "median": ("median of {n}", "statistic"),
    "mean": ("mean of {n}", "statistic"),
    "worst": ("worst of {n}", "statistic"),
    "mean_pose": ("mean pose", "usable"),
    "geometric_median": ("consensus: geometric median", "usable"),
    "medoid": ("medoid", "usable"),
    "heatmap_best": ("best scored by heatmaps", "usable"),
    "heatmap_mean": ("mean of best scored by heatmaps", "usable"),
    "zero_noise": ("zero-noise estimate", "usable"),
    "blind_mean_pose": ("training mean pose", "blind"),
    "blind_best": ("best of {n} training poses", "blind"),
}


def comparability_notice(info: SplitInfo) -> str:
    """A warning for data in Human3.6M's schema that is not Human3.6M; '' if none is needed."""
    if info.source.lower().startswith("synthetic"):
        return SYNTHETIC_NOTICE
    if info.source.lower().startswith("heatmaps drawn"):
        return DRAWN_NOTICE
    return FOREIGN_NOTICE if info.dataset == "h36m" and not info.is_human36m else ""


def row_label(row: str, num_hypotheses: int) -> tuple[str, str]:
    """A row's label, and its kind: oracle, statistic, usable or blind, as KINDS explains them."""
    label, kind = ROW_LABELS.get(row, (row.replace("_", " "), "usable"))
    return label.format(n=num_hypotheses), kind


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """Columns padded to their widest cell: the first aligned left, the others right."""
    widths = [max(len(line[i]) for line in (head, *lines)) for i in range(len(head))]

    def row(cells: Sequence[str]) -> str:
        numbers = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
        return "  ".join((cells[0].ljust(widths[0]), *numbers)).rstrip()

    return [row(head), "-" * (sum(widths) + 2 * (len(widths) - 1)), *map(row, lines)]


def _cell(value: float, unit: str) -> str:
    return f"{100 * value:.1f}" if unit == "%" else f"{value:.1f}"


def _main_table(result: SplitResult) -> list[str]:
    order = [row for row in ROW_LABELS if row in result.rows]
    position = order.index("mean_pose") + 1 if "mean_pose" in order else len(order)
    order[position:position] = [row for row in result.rows if row not in ROW_LABELS]
    lines = []
    for row in order:
        label, kind = row_label(row, result.num_hypotheses)
        lines.append([label, kind, *(_cell(result.rows[row][m.key], m.unit) for m in METRICS)])
    head = ["", "kind", *(f"{m.label} {m.unit}" for m in METRICS)]
    return _table(head, lines)


def _count(number: int, noun: str, plural: str = "") -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def _header(result: SplitResult) -> list[str]:
    info = result.info
    title = f"Split '{info.split}' of {info.dataset}"
    if notice := comparability_notice(info):
        title += f": {notice}"
    averaging = result.averaging
    if averaging == BY_ACTION:
        averaging += f" ({_count(len(result.groups), 'group')})"
    facts = [
        _count(result.num_frames, "frame"),
        f"stride {info.stride}",
        _count(result.num_hypotheses, "hypothesis", "hypotheses"),
        f"joints {result.skeleton} ({len(result.joints)})",
        f"averaged {averaging}",
        f"skipped rows {len(result.skipped_rows)}",
    ]
    origin = [
        f"seed {info.seed}" if info.seed is not None else "",
        info.weights and f"weights {info.weights}",
        f"precision {info.precision}",
        info.checkpoint and f"checkpoint {info.checkpoint}",
    ]
    lines = [title, f"source: {info.source}", ", ".join(facts), ", ".join(filter(None, origin)), *info.notes]
    if result.missing_groups:
        lines.append(f"not in the average, no frame of: {', '.join(result.missing_groups)}")
    return lines


def _group_table(result: SplitResult) -> list[str]:
    rows = [row for row in ("best", "mean_pose", "zero_noise") if row in result.rows]
    head = ["", "frames"]
    for row in rows:
        label = row_label(row, result.num_hypotheses)[0]
        head += [f"{label}: MPJPE", "PA"]
    lines = []
    for name, group in (*result.groups.items(), *result.subsets.items()):
        cells = [f"{group.rows[row][key]:.1f}" for row in rows for key in ("mpjpe", "pa_mpjpe")]
        lines.append([name, str(group.num_frames), *cells])
    return _table(head, lines)


def _recording_table(result: SplitResult) -> list[str]:
    """Each recording, then averages in which each counts alike; nothing for a file without separate recordings."""
    if not result.recordings:
        return []
    rows = [row for row in ("best", DEFAULT_RULE, "mean_pose") if row in result.rows]
    head = ["recording", "frames"]
    for row in rows:
        head += [f"{row_label(row, result.num_hypotheses)[0].split(':')[0]}: MPJPE", "PA"]
    head += ["energy", "calibration", "in 50 %", "80 %", "95 %"]
    averages = {
        f"{name}, {_count(average.num_recordings, 'recording')} alike": average
        for name, average in result.recording_averages.items()
    }
    lines = []
    for name, own in (*result.recordings.items(), *averages.items()):
        cells = [f"{own.rows[row][key]:.1f}" for row in rows for key in ("mpjpe", "pa_mpjpe")]
        error = "-" if own.calibration_error is None else f"{own.calibration_error:.3f}"
        shares = ["-" if s is None else f"{100 * s:.0f} %" for s in (own.covered_50, own.covered_80, own.covered_95)]
        lines.append([name, str(own.num_frames), *cells, f"{own.energy_score:.1f}", error, *shares])
    return _table(head, lines)


def _calibration_lines(result: SplitResult) -> list[str]:
    energy = f"energy score {result.energy_score:.1f} mm (of the hypotheses as a distribution; lower is better)"
    calibration = result.calibration
    if calibration is None:
        return ["calibration and spread: not defined for a single hypothesis", energy]
    worst = max(range(len(calibration.joints)), key=lambda j: calibration.error_per_joint[j])
    shares = {50: calibration.covered_50, 80: calibration.covered_80, 95: calibration.covered_95}
    covered = ", ".join(f"{level} %: {100 * share:.1f} %" for level, share in shares.items())
    return [
        f"expected calibration error {calibration.error:.3f} (0 is ideal; worst joint {calibration.joints[worst]} "
        f"{calibration.error_per_joint[worst]:.3f}); truth within the nominal region of {covered}",
        f"truth quantile {calibration.truth_quantile:.3f} (0.5 is ideal; the literature's 'ECE'); "
        f"spread {result.sharpness_mm:.1f} mm (mean over non-root joints)",
        energy,
    ]


def _pair(values: tuple[float, float] | None) -> str:
    return "-" if values is None else f"{values[0]:.1f} / {values[1]:.1f}"


def published_table(results: Sequence[SplitResult]) -> list[str]:
    """The literature's numbers with ours below them; an empty list unless the data is Human3.6M."""
    ours = {result.info.split: result for result in results if result.info.is_human36m}
    full, hard = ours.get(FULL_SPLIT), ours.get(HARD_SPLIT)
    if full is None and hard is None:
        return []

    def errors(result: SplitResult | None, row: str) -> tuple[float, float] | None:
        if result is None or row not in result.rows:
            return None
        return result.rows[row]["mpjpe"], result.rows[row]["pa_mpjpe"]

    lines = [
        [p.method, *map(_pair, (p.h36m, p.h36m_zero_noise, p.hard)), f"{p.hard_pck:.1f}", f"{p.hard_cps:.1f}", p.source]
        for p in PUBLISHED
    ]
    best = hard.rows["best"] if hard else None
    lines.append(
        [
            "ours",
            _pair(errors(full, "best")),
            _pair(errors(full, "zero_noise")),
            _pair(errors(hard, "best")),
            f"{100 * best['pck']:.1f}" if best else "-",
            f"{best['cps']:.1f}" if best else "-",
            "this run",
        ]
    )
    head = ["best of N, MPJPE / PA mm", "H36M", "H36M zero-noise", "H36MA", "PCK %", "CPS mm", "source"]
    text = ["Published results on Human3.6M beside ours", *_table(head, lines)]
    seeds = "; ".join(f"{c.seed}: {c.h36m_pa_mpjpe:.3f} / {c.hard_pa_mpjpe:.3f}" for c in RELEASED_CHECKPOINTS)
    text.append(f"DiffPose's released checkpoints, PA-MPJPE best of 200, H36M / H36MA by seed: {seeds}")
    for result, stride in ((full, PUBLISHED_STRIDE), (hard, 1)):
        if result and (result.num_hypotheses, result.info.stride) != (PUBLISHED_HYPOTHESES, stride):
            text.append(
                f"not the published protocol on '{result.info.split}': {result.num_hypotheses} hypotheses at stride "
                f"{result.info.stride} instead of {PUBLISHED_HYPOTHESES} at {stride}"
            )
    return text


def format_report(results: Sequence[SplitResult]) -> str:
    """The whole report as text: per split a table, its actions and its calibration; published numbers if they apply."""
    blocks = []
    for result in results:
        blocks.append([*_header(result), "", *_main_table(result), *KINDS])
        blocks.append(_calibration_lines(result))
        if len(result.groups) > 1:
            blocks.append(_group_table(result))
        blocks.append(_recording_table(result))
    blocks.append(published_table(results))
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def report_dict(results: Sequence[SplitResult]) -> dict:
    """What ``report.json`` holds."""
    report = {
        "schema": SCHEMA,
        "version": SCHEMA_VERSION,
        "metrics": [asdict(metric) for metric in METRICS],
        "results": [result.to_dict() for result in results],
    }
    if any(result.info.is_human36m for result in results):
        report["published"] = {
            "methods": [asdict(result) for result in PUBLISHED],
            "released_checkpoints": [asdict(result) for result in RELEASED_CHECKPOINTS],
        }
    return report


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all. Raises DiffPoseError if the folder can't be written."""
    with written_in_one_step(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_report(results: Sequence[SplitResult], folder: str | Path) -> str:
    """Write ``report.json`` and ``report.txt`` into ``folder`` and return the text."""
    text = format_report(results)
    write_text(Path(folder) / "report.json", json.dumps(report_dict(results), indent=1, allow_nan=False) + "\n")
    write_text(Path(folder) / "report.txt", text)
    return text
