"""3D poses: units, frame of reference, lengths of bones, and left against right."""

import numpy as np

from data.hdf5.access import listed
from data.preprocessing.validation.anatomy import (
    STATURE_RANGE_MM,
    bone_lengths,
    bone_ranges,
    knee_evidence,
    shoulders_agree,
    side_score,
    stretched_stature,
    uprightness,
)
from data.preprocessing.validation.sample import FileFacts, Report, Sample
from data.schema import FIELDS, ROOT_CENTRED, TRUTH_COLUMN

# What a column in mm, or in metres, may be in by mistake, and the factor to put it right.
_INSTEAD = {
    "mm": {"metres": 1000.0, "centimetres": 10.0, "inches": 25.4, "tenths of a millimetre": 0.1},
    "m": {"millimetres": 0.001, "centimetres": 0.01, "inches": 0.0254},
}
_LENGTH_TOLERANCE, _ROW_TOLERANCE = 0.15, 0.05
_ASYMMETRY = 0.15
_FEW_ROWS = 3
_LYING = 0.2
_MANY_BONES = 0.3


def check_poses(sample: Sample, facts: FileFacts, report: Report) -> None:
    """All checks of the 3D truth. A found defect is undone before the next check, so that it is reported once."""
    poses = sample.poses_mm
    if not sample.usable.any():
        return
    poses = _check_units(poses, sample, report)
    poses = _check_frame(poses, sample, report)
    check_bones = _check_row_bones if facts.independent else _check_bones
    if check_bones(poses, sample, report):
        _check_sides(poses, sample, report)


def _check_units(poses: np.ndarray, sample: Sample, report: Report) -> np.ndarray:
    split, skeleton = sample.split, sample.skeleton
    column = TRUTH_COLUMN[split.dataset]
    unit = FIELDS[split.dataset][column].unit
    low, high = STATURE_RANGE_MM
    stature = stretched_stature(poses[sample.usable], skeleton)
    statures = [stretched_stature(poses[places], skeleton) for _, places in sample.groups("subject")]
    report.say(f"  stature from {column} in {unit}: {min(statures) / 1000:.3g}-{max(statures) / 1000:.3g} m by subject")
    if low <= stature <= high:
        return poses
    factors = _INSTEAD["m" if unit == "m" else "mm"]
    fitting = [name for name, factor in factors.items() if low <= stature * factor <= high]
    if fitting:
        report.find(
            f"{split.split}: {column} seems to be in {fitting[0]} instead of {unit}: read as {unit}, people are "
            f"{stature / 1000:.3g} m tall"
        )
        return poses * factors[fitting[0]]
    report.find(f"{split.split}: {column} in {unit} makes people of {stature / 1000:.3g} m: wrong unit or joints")
    return poses


def _check_frame(poses: np.ndarray, sample: Sample, report: Report) -> np.ndarray:
    """The camera's frame: y down, z away. 3DPW's world is not known."""
    if sample.camera_mm is None:
        return poses
    name = sample.split.split
    lean = uprightness(poses[sample.usable], sample.skeleton)
    depth = sample.camera_mm[sample.usable][:, 0, 2]
    has_place = sample.split.dataset not in ROOT_CENTRED
    place = f"median depth {np.median(depth):.0f}" if has_place else "root at the origin"
    report.say(f"  trunk points up in the picture by {-lean[1]:.2f} of its length on average; {place}")
    behind = float(np.mean(depth <= 0)) if has_place else 0.0
    if lean[1] > _LYING:
        if behind > 0.5:
            report.find(
                f"{name}: heads are below hips: in gt_3d y points up and z towards the camera, not down and away"
            )
            return poses * (1, -1, -1)
        report.find(f"{name}: heads are below hips: in gt_3d y points up instead of down")
        return poses * (1, -1, 1)
    if behind > 0.01:
        report.find(
            f"{name}: {100 * behind:.0f} % of the rows are not in front of the camera (z <= 0): gt_3d is in another "
            "frame"
        )
    if lean[1] > -_LYING:
        shares = ", ".join(f"{value:.2f}" for value in lean)
        report.find(f"{name}: nobody stands upright (trunk along x, y, z: {shares}): axes mixed up?")
    return poses


def _check_bones(poses: np.ndarray, sample: Sample, report: Report) -> bool:
    """Lengths; False when so many are impossible that the joints' order must be wrong."""
    skeleton, name = sample.skeleton, sample.split.split
    ranges = bone_ranges(skeleton)
    bones = tuple(ranges)
    limits = np.array(list(ranges.values()))
    pairs = [
        (bones.index(one), bones.index(two)) for one, two in skeleton.symmetric_bones if one in ranges and two in ranges
    ]
    labels = [f"{skeleton.joints[a]}-{skeleton.joints[b]}" for a, b in bones]
    impossible: dict[str, list[str]] = {}
    restless: dict[str, list[str]] = {}
    uneven: dict[str, list[str]] = {}
    widest = 0.0
    for subject, places in sample.groups("subject"):
        lengths = bone_lengths(poses[places], bones)
        median = np.median(lengths, axis=0)
        for number in np.flatnonzero((median < limits[:, 0]) | (median > limits[:, 1])):
            impossible.setdefault(labels[number], []).append(f"{subject} {median[number]:.0f} mm")
        deviation = np.abs(lengths / np.maximum(median, 1e-6) - 1)
        widest = max(widest, float(np.percentile(deviation, 95)))
        loose = np.flatnonzero((deviation > _LENGTH_TOLERANCE).mean(axis=0) > _ROW_TOLERANCE)
        if len(loose):
            restless[subject] = [labels[number] for number in loose]
        for one, two in pairs:
            if abs(median[one] - median[two]) > _ASYMMETRY * max(median[one], median[two], 1e-6):
                example = f"{labels[one]} {median[one]:.0f}, {labels[two]} {median[two]:.0f} mm"
                uneven.setdefault(subject, []).append(example)
    report.say(
        f"  bones: {len(bones) - len(impossible)} of {len(bones)} have human lengths, which vary by "
        f"{100 * widest:.1f} % within a subject"
    )
    if impossible:
        shown = "; ".join(f"{bone}: {', '.join(found[:3])}" for bone, found in list(impossible.items())[:4])
        report.find(f"{name}: {len(impossible)} of {len(bones)} bones are no human's ({shown}): wrong joint order?")
    for problem, found in (
        ("change their length from row to row", restless),
        ("differ between left and right", uneven),
    ):
        if found:
            subject, examples = next(iter(found.items()))
            report.find(f"{name}: bones {problem} in {listed(found)} ({subject}: {', '.join(examples[:3])})")
    return len(impossible) <= _MANY_BONES * len(bones)


def _check_row_bones(poses: np.ndarray, sample: Sample, report: Report) -> bool:
    """As :func:`_check_bones`, where each row is another body."""
    skeleton, name = sample.skeleton, sample.split.split
    ranges = bone_ranges(skeleton)
    bones, limits = tuple(ranges), np.array(list(ranges.values()))
    lengths = bone_lengths(poses[sample.usable], bones)
    wrong = (lengths < limits[:, 0]) | (lengths > limits[:, 1])
    pairs = [(bones.index(one), bones.index(two)) for one, two in skeleton.symmetric_bones if one in ranges]
    first, second = (lengths[:, list(numbers)] for numbers in zip(*pairs, strict=True))
    uneven = (np.abs(first - second) > _ASYMMETRY * np.maximum(first, second)).any(axis=1)
    report.say(f"  bones: {100 * np.mean(~wrong):.1f} % have human lengths; each row is a body of its own")
    for rows, problem in ((wrong.any(axis=1), "are no human's"), (uneven, "differ between left and right")):
        if rows.mean() > _ROW_TOLERANCE:
            report.find(f"{name}: bones {problem} in {100 * rows.mean():.0f} % of the rows")
    return wrong.mean() <= _MANY_BONES


def _check_sides(poses: np.ndarray, sample: Sample, report: Report) -> None:
    skeleton = sample.skeleton
    problems: dict[str, list[str]] = {}
    scores, undecided = [], []
    for subject, places in sample.groups("subject"):
        own = poses[places]
        if shoulders_agree(own, skeleton) < 0:
            problems.setdefault("hips and shoulders disagree about which side is left: joint order?", []).append(
                subject
            )
        elif np.count_nonzero(knee_evidence(own, skeleton)) < _FEW_ROWS:
            undecided.append(subject)
        else:
            scores.append(side_score(own, skeleton))
            if scores[-1] < 0:
                problems.setdefault(
                    "knees bend backwards: left and right are exchanged, or the poses are mirrored", []
                ).append(subject)
    report.find_grouped(sample.split.split, problems)
    if scores:
        report.say(
            f"  left and right: score {min(scores):.2f} (1: knees bend forwards, -1: backwards), the lowest subject's"
        )
    if undecided:
        report.say(f"  left or right not decided for {listed(undecided)}: too few rows with bent knees")
