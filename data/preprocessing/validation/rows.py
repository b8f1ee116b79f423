"""What names the rows: counts, order of frames, splits, and which rows are hard."""

from collections import Counter

import numpy as np

from data.ambiguity import HARD_SUBSET_RULE
from data.hdf5.access import listed
from data.hdf5.split_file import SplitFile
from data.preprocessing.validation.sample import FileFacts, Report, Sample, bad_rows
from data.schema import ACTIONS, FIELDS, SPLITS, SUBJECTS

_MOST_NAMES = 40
_ENOUGH_ROWS = 1000
_HARD_LIMIT = 0.6
_RULE_TOLERANCE = 0.02


def check_counts(split: SplitFile, report: Report) -> None:
    """Rows of each subject, action and camera."""
    for name, plural in (("subject", "subjects"), ("action", "actions"), ("cam", "cameras")):
        values, counts = np.unique(split.meta[name], return_counts=True)
        shown = [f"{value or '(empty)'} {count}" for value, count in zip(values, counts, strict=True)]
        more = [f"and {len(shown) - _MOST_NAMES} more"] if len(shown) > _MOST_NAMES else []
        report.say(f"  {len(values)} {plural}: {', '.join(shown[:_MOST_NAMES] + more)}")
        if "" in values:
            report.find(f"{split.split}: {counts[values == ''][0]} rows have no {name}")
    wanted = set(SUBJECTS[split.dataset].get(split.split, ()))
    other = {name for key, names in SUBJECTS[split.dataset].items() if key != split.split for name in names} - wanted
    strangers = other & set(split.meta.categories("subject"))
    if strangers:
        report.find(f"{split.split}: subjects {listed(strangers)} belong to the other split by the protocol")
    actions = set(split.meta.categories("action"))
    if split.dataset == "h36m" and split.split == SPLITS["test"] and actions < set(ACTIONS):
        report.notes.append(
            f"{split.split}: no row of {listed(set(ACTIONS) - actions)}: evaluate with --actions, or the average over "
            "actions does not exist"
        )


def check_subjects_apart(splits: list[SplitFile], report: Report) -> None:
    """No subject should be trained and tested on."""
    if len(splits) < 2:
        return
    shared = set(splits[0].meta.categories("subject")) & set(splits[1].meta.categories("subject"))
    named = shared & {name for names in SUBJECTS[splits[0].dataset].values() for name in names}
    if named:
        report.find(f"subjects {listed(named)} are in both splits: the test would be about known people")
    elif shared:
        report.notes.append(f"subjects {listed(shared)} are in both splits: the test is not about unknown people")


def check_order(split: SplitFile, facts: FileFacts, report: Report) -> None:
    """Frames ascend within a sequence, and no sequence is in two places; independent rows have no order."""
    meta, frames = split.meta, split.meta["frame_orig"]
    if (frames < 0).any():
        report.find(f"{split.split}: {int((frames < 0).sum())} rows have a negative frame_orig")
    if facts.independent:
        report.say("  rows are independent, so they have no order")
        return
    names = ("subject", "action", "subaction", "cam")
    new = np.ones(split.num_rows, bool)
    new[1:] = np.any([meta[name][1:] != meta[name][:-1] for name in names], axis=0)
    starts = np.flatnonzero(new)
    keys = Counter(tuple(str(meta[name][row]) for name in names) for row in starts)
    again = [key for key, count in keys.items() if count > 1]
    if again:
        report.find(
            f"{split.split}: {len(again)} sequences lie in several places, first {'/'.join(again[0])}: rows are not in "
            "the order of sequences"
        )
    steps = np.diff(frames.astype(np.int64))
    inside = ~new[1:]
    # 3DPW has several people in one recording, whose frames follow each other.
    wrong = inside & ((steps == 0) if split.dataset == "3dpw" else (steps <= 0))
    if wrong.any():
        row = int(np.argmax(wrong)) + 1
        report.find(
            f"{split.split}: frame_orig does not ascend at {int(wrong.sum())} rows, first row {row} "
            f"(frame {frames[row - 1]}, then {frames[row]})"
        )
    usual = Counter(steps[inside].tolist()).most_common(1)
    step = f", mostly every {usual[0][0]} frames" if usual else ""
    report.say(f"  {len(keys)} sequences (subject, action, subaction, camera){step}")


def check_finite(sample: Sample, report: Report) -> None:
    """NaN and infinite values: all rows of the small columns, the sampled rows' heatmaps."""
    split = sample.split
    for name in split.columns:
        if FIELDS[split.dataset][name].dtype.kind == "f":
            count, first = bad_rows(split, name)
            if count:
                report.find(f"{split.split}: {name} holds NaN or infinite values in {count} rows, first row {first}")
    for flags, what in ((sample.finite, "holds NaN or infinite values"), (sample.positive, "has no positive value")):
        bad = np.flatnonzero(~(flags.all(axis=1) if what.startswith("holds") else (flags | ~sample.finite).all(axis=1)))
        if len(bad):
            report.find(
                f"{split.split}: a heatmap {what} in {len(bad)} of {len(sample.rows)} rows looked at, "
                f"first row {sample.rows[bad[0]]}"
            )


def check_hard(sample: Sample, facts: FileFacts, report: Report) -> None:
    """The share of hard rows, and whether they are those that the stated rule marks."""
    split = sample.split
    hard = split.meta["hardsubset"]
    share, computed = float(hard.mean()), float(sample.ambiguous.mean())
    report.say(
        f"  hard rows: {int(hard.sum())} ({100 * share:.1f} %), rule: {facts.hard_rule}; by the Gaussian rule "
        f"{100 * computed:.1f} % of the rows looked at"
    )
    if facts.hard_rule == HARD_SUBSET_RULE:
        differs = float(np.mean(hard[sample.rows] != sample.ambiguous))
        if differs > _RULE_TOLERANCE:
            report.find(
                f"{split.split}: hardsubset differs from its rule ({facts.hard_rule}) in {100 * differs:.0f} % of the "
                "rows"
            )
    if split.dataset == "h36m" and split.split == SPLITS["test"] and not hard.any() and len(hard) >= _ENOUGH_ROWS:
        report.find(f"{split.split}: no row is marked hard: was the hard subset left out?")
    if share > _HARD_LIMIT:
        report.find(f"{split.split}: {100 * share:.0f} % of the rows are marked hard, a few per cent are usual")
