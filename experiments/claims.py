"""The paper's claims as orderings between experiments, and by how much each holds on the data of a sweep."""

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.results import Effect, Experiment, effect
from utils.evaluation.report import EASY_FRAMES

MAIN = "diffpose"


@dataclass(frozen=True)
class Claim:
    """``text``: the ordering; ``worse`` should have the larger best-of-N error than ``better``."""

    text: str
    worse: str
    better: str = MAIN


CLAIMS = (
    Claim("heatmap samples beat the argmax alone", "diffpose_argmax_only"),
    Claim("samples with the argmax beat samples without it", "diffpose_no_argmax"),
    Claim("likelihood scaling helps", "diffpose_no_likelihood"),
    Claim("projecting the embedding helps", "diffpose_no_proj"),
    Claim("the transformer helps", "diffpose_no_transformer"),
    Claim("dropping joints in training helps", "diffpose_wo_dropout"),
    Claim("the embedding transformer beats concatenated candidates", "baseline_concat"),
    Claim("the embedding transformer beats the concatenated argmax", "baseline_argmax"),
    Claim("8 candidates beat 1", "diffpose_argmax_only", "diffpose_S8"),
    Claim("32 candidates beat 8", "diffpose_S8"),
    Claim("64 candidates beat 32", MAIN, "diffpose_S64"),
    Claim("25 diffusion steps beat 10", "diffpose_T10"),
    Claim("100 diffusion steps beat 25", MAIN, "diffpose_T100"),
)
OBJECTIVE_CLAIMS = (
    Claim("pred_x0 beats pred_noise", "diffpose_pred_noise"),
    Claim("pred_x0 beats velocity", "diffpose_velocity"),
    Claim("velocity beats pred_noise", "diffpose_pred_noise", "diffpose_velocity"),
)


@dataclass(frozen=True)
class Place:
    """Where errors are compared: a split or a part of it, and which row of its table."""

    split: str
    row: str = "best"
    subset: str = ""


FULL, HARD = Place("full"), Place("hard")
EASY = Place("full", subset=EASY_FRAMES)
HARD_MEAN = Place("hard", row="mean_pose")
# Heading -> where and by which metric.
COLUMNS = {
    "full: MPJPE": (FULL, "mpjpe"),
    "full: PA": (FULL, "pa_mpjpe"),
    "hard: MPJPE": (HARD, "mpjpe"),
    "hard: PA": (HARD, "pa_mpjpe"),
    "hard: mean pose": (HARD_MEAN, "mpjpe"),
}


def compare(claim: Claim, found: dict[str, Experiment], place: Place, metric: str = "mpjpe") -> Effect | None:
    """The claim's effect at a place; None if an experiment is missing."""
    if claim.worse not in found or claim.better not in found:
        return None
    values = [
        found[name].values(place.split, place.row, metric, subset=place.subset) for name in (claim.worse, claim.better)
    ]
    return effect(*values) if all(values) else None


def claims_table(experiments: Sequence[Experiment]) -> str:
    """Markdown: by how many mm each claim's better side is better, and whether that exceeds the spread."""
    found = {experiment.short: experiment for experiment in experiments}
    head = ["claim", *COLUMNS, "holds on full / on hard (MPJPE)"]
    lines = [head, ["---"] * len(head)]
    for claim in CLAIMS:
        compared = [compare(claim, found, *column) for column in COLUMNS.values()]
        effects = [found_effect for found_effect in compared if found_effect is not None]
        if len(effects) == len(COLUMNS):
            lines.append([claim.text, *map(str, effects), f"{effects[0].verdict} / {effects[2].verdict}"])
    lines += _more_on_hard_frames(found) + _best_of_n(found)
    return "\n".join(" | ".join(line).join(("| ", " |")) for line in lines)


def _more_on_hard_frames(found: dict[str, Experiment]) -> list[list[str]]:
    """Whether samples gain more over the argmax on ambiguous frames than on the full split's others."""
    easy, hard = compare(CLAIMS[0], found, EASY), compare(CLAIMS[0], found, HARD)
    if easy is None or hard is None:
        return []
    pooled = None
    if easy.spread is not None and hard.spread is not None:
        pooled = ((easy.spread**2 + hard.spread**2) / 2) ** 0.5
    more = Effect(hard.size - easy.size, pooled)
    text = "samples gain more over the argmax on hard frames than on easy ones"
    return [[text, f"easy frames: {easy}", "", str(hard), "", "", f"{more}: {more.verdict}"]]


def _best_of_n(found: dict[str, Experiment]) -> list[list[str]]:
    """By how much the error falls as N grows; by construction it can't rise."""
    if MAIN not in found:
        return []
    curves = [found[MAIN].curve(split, metric) for split in ("full", "hard") for metric in ("mpjpe", "pa_mpjpe")]
    cells = [f"{curve[0]:.1f} → {curve[-1]:.1f}" for curve in curves]
    falls = [f"{100 * (1 - curve[-1] / curve[0]):.0f} %" for curve in (curves[0], curves[2])]
    return [[f"best of N falls from N = 1 to {len(curves[0])}", *cells, "", f"by {falls[0]} / {falls[1]}"]]
