"""The paper's claims as orderings between experiments: by how much each holds on the data that a sweep used."""

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.results import Effect, Experiment, effect

MAIN = "diffpose"
FULL, HARD = ("full", ""), ("hard", "")
EASY = ("full", "easy frames")


@dataclass(frozen=True)
class Claim:
    """``text``: the ordering; ``worse`` should have the larger best-of-N error than ``better``."""

    text: str
    worse: str
    better: str = MAIN


COMPONENTS = (
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


def _best(experiment: Experiment, where: tuple[str, str], metric: str) -> list[float]:
    return experiment.values(where[0], "best", metric, subset=where[1])


def compare(claim: Claim, found: dict[str, Experiment], where: tuple[str, str], metric: str = "mpjpe") -> Effect | None:
    """The claim's effect on a split (or a part of one); None where an experiment is missing."""
    if claim.worse not in found or claim.better not in found:
        return None
    values = [_best(found[name], where, metric) for name in (claim.worse, claim.better)]
    return effect(*values) if all(values) else None


def claims_table(experiments: Sequence[Experiment]) -> str:
    """Markdown: by how many mm the best of N is better where the claim says so, and whether that exceeds the spread."""
    found = {experiment.short: experiment for experiment in experiments}
    lines = [
        "| claim | full: MPJPE | full: PA | hard: MPJPE | hard: PA | on the hard split |",
        "|---|---|---|---|---|---|",
    ]
    for claim in COMPONENTS:
        effects = [compare(claim, found, where, metric) for where in (FULL, HARD) for metric in ("mpjpe", "pa_mpjpe")]
        if None not in effects:
            lines.append(f"| {claim.text} | {' | '.join(map(str, effects))} | {effects[2].verdict} |")
    return "\n".join([*lines, *_more_on_hard_frames(found), *_best_of_n(found)])


def _more_on_hard_frames(found: dict[str, Experiment]) -> list[str]:
    """Whether samples gain more over the argmax on ambiguous frames than on the others, seed by seed."""
    claim = COMPONENTS[0]
    easy, hard = compare(claim, found, EASY), compare(claim, found, HARD)
    if easy is None or hard is None:
        return []
    pooled = None if None in (easy.spread, hard.spread) else ((easy.spread**2 + hard.spread**2) / 2) ** 0.5
    more = Effect(hard.size - easy.size, pooled)
    return [f"| samples gain more over the argmax on hard frames than on easy ones | easy: {easy} | | {hard} | | "
            f"{more}: {more.verdict} |"]  # fmt: skip


def _best_of_n(found: dict[str, Experiment]) -> list[str]:
    """By how much the error falls as N grows (that it does not rise is so by construction)."""
    if MAIN not in found:
        return []
    curves = [found[MAIN].curve(split, metric) for split in ("full", "hard") for metric in ("mpjpe", "pa_mpjpe")]
    cells = [f"{curve[0]:.1f} → {curve[-1]:.1f}" for curve in curves]
    fall = 100 * (1 - curves[2][-1] / curves[2][0])
    return [f"| best of N falls from N = 1 to {len(curves[0])} | {' | '.join(cells)} | by {fall:.0f} % |"]
