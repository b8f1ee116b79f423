"""The table and the picture of experiments/frontier.py."""

import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from utils.errors import DiffPoseError
from utils.files import written_in_one_step

# Heading -> (number, digits, factor).
COLUMNS = {
    "best MPJPE": ("best_mpjpe", 1, 1),
    "best PA": ("best_pa_mpjpe", 1, 1),
    "mean": ("mean_mpjpe", 1, 1),
    "calibration": ("calibration_error", 3, 1),
    "energy score": ("energy_score", 2, 1),
    "truth in 80 %": ("covered_80", 0, 100),
}
# Smaller is better for all of these: what "better" and "worse" are told by.
JUDGED = ("best_mpjpe", "best_pa_mpjpe", "mean_mpjpe", "calibration_error", "energy_score")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8a8a", "#000000", "#8c6d31", "#5254a3")


def table(about: Mapping[str, object], results: Sequence[Mapping]) -> str:
    """Markdown: a row for each setting; + and - mark what its paired 95 % interval calls better or worse."""
    head = ["sampler", "calls", "sets", "noise", *COLUMNS, "hypotheses/s", "speed"]
    lines = [head, ["---"] * len(head)]
    for result in results:
        cells = [result["name"], *(f"{result[key]:g}" for key in ("steps", "condition_sets", "noise_scale"))]
        cells += [_cell(result["numbers"][key], key, digits, factor) for key, digits, factor in COLUMNS.values()]
        lines.append([*cells, f"{result['hypotheses_per_s']:,.0f}", f"{result['speed_ratio']:.2f}x"])
    facts = ", ".join(f"{key} {value}" for key, value in about.items())
    legend = (
        "Lengths in mm. In brackets: the 95 % interval of the paired difference from the first row, with + where it is "
        "better and - where it is worse for sure."
    )
    rows = ["| " + " | ".join(cells) + " |" for cells in lines]
    return "\n".join([*rows, "", wrapped(legend), "", wrapped(f"({facts})")]) + "\n"


def joined_table(contents: Mapping[str, Mapping], *, published: bool = True) -> str:
    """Markdown: every setting of several frontier.json, by name, the lowest energy score first.

    ``published``: with each model's published chain of all its steps, which every file begins with.
    """
    rows = [
        (name, result)
        for name, content in contents.items()
        for result in content["results"]
        if published or result["name"] != "published chain"
    ]
    rows.sort(key=lambda row: row[1]["numbers"]["energy_score"]["value"])
    lines = [["model", "sampler", "calls", *COLUMNS], ["---"] * (3 + len(COLUMNS))]
    for name, result in rows:
        numbers = [f"{factor * result['numbers'][key]['value']:.{digits}f}" for key, digits, factor in COLUMNS.values()]
        lines.append([name, result["name"], str(result["steps"]), *numbers])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def read_frontiers(folder: Path) -> dict[str, Mapping]:
    """Name of the file -> what experiments/frontier.py wrote. Raises DiffPoseError when there is none to read."""
    try:
        found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
        if found and all(content["results"] and all(map(_is_whole, content["results"])) for content in found.values()):
            return found
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    raise DiffPoseError(f"{folder}: its .json files are not those of experiments/frontier.py: name another folder")


def _is_whole(result: Mapping) -> bool:
    """Whether a setting has what the joined table shows."""
    values = [result["numbers"][key]["value"] for key, *_ in COLUMNS.values()]
    named = isinstance(result["name"], str) and isinstance(result["steps"], int)
    return named and all(map(math.isfinite, values))


def wrapped(text: str) -> str:
    """Prose for a document, 120 characters a line."""
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def _cell(number: Mapping, key: str, digits: int, factor: float) -> str:
    value = f"{factor * number['value']:.{digits}f}"
    if number["difference"] == 0:
        return value
    low, high = (factor * bound for bound in number["interval"])
    sign = ""
    if key in JUDGED and (high < 0 or low > 0):
        sign = " +" if high < 0 else " -"
    return f"{value} [{low:+.{digits}f}, {high:+.{digits}f}]{sign}"


def plot_frontier(path: str | Path, results: Sequence[Mapping]) -> Path:
    """Quality against speed: a line for each sampler, its points labelled with the network calls."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.5, 4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    groups: dict[str, list[Mapping]] = {}
    for result in results:
        shared = (
            f", {result['condition_sets']} sets" if result["condition_sets"] != results[0]["condition_sets"] else ""
        )
        scaled = f", noise {result['noise_scale']:g}" if result["noise_scale"] != results[0]["noise_scale"] else ""
        groups.setdefault(result["name"] + shared + scaled, []).append(result)
    keys = {
        "best_mpjpe": "best hypothesis, MPJPE (mm)",
        "calibration_error": "calibration error",
        "energy_score": "energy score (mm)",
    }
    for axes, (key, label) in zip(figure.subplots(1, 3), keys.items(), strict=True):
        for place, (name, entries) in enumerate(groups.items()):
            entries = sorted(entries, key=lambda entry: entry["hypotheses_per_s"])
            x = [entry["hypotheses_per_s"] for entry in entries]
            y = [entry["numbers"][key]["value"] for entry in entries]
            axes.plot(x, y, "o-", color=COLOURS[place % len(COLOURS)], label=name, markersize=4)
            for entry, *point in zip(entries, x, y, strict=True):
                axes.annotate(f"{entry['steps']}", point, fontsize=7, xytext=(3, 3), textcoords="offset points")
        axes.set_xlabel("hypotheses a second")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right", fontsize=8)
    with written_in_one_step(path) as partial:
        figure.savefig(partial, format="png")
    return Path(path)
