"""2D: the projection of the 3D truth, the crop, and where heatmaps have their peaks."""

from collections.abc import Callable

import numpy as np

from data.preprocessing.validation.sample import Report, Sample
from data.schema import ROOT_CENTRED
from data.synthetic.occlusion import H36M_17_OF_32
from utils.skeleton import HEATMAP_SIZE, MPII_JOINTS

_PROJECTION_PX, _FITTED_PX = 5.0, 15.0
_SCALED_SHARE = 0.05
_ROW_TOLERANCE = 0.02
_FIT_ROWS = 8
_CROP_TOLERANCE = 0.02
_FAR_CELLS, _SHIFT_CELLS = 4.0, 1.5
_ARGMAX_TOLERANCE = 0.02
_ENOUGH_JOINTS = 48
_HIGHEST_PEAK = 4.0

_SWAP_17 = [0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13]
_SWAP_16 = [MPII_JOINTS.index({"R": "L", "L": "R"}.get(name[0], name[0]) + name[1:]) for name in MPII_JOINTS]


def check_projection(sample: Sample, report: Report) -> None:
    """gt_3d through the stored camera against gt_2d; through a fitted one (without distortion) where none is stored."""
    if sample.camera_mm is None or sample.pixels is None:
        return
    if sample.split.dataset in ROOT_CENTRED:
        _check_scaled(sample, report)
        return
    if sample.intrinsics is not None:
        _check_row_cameras(sample, report)
        return
    cameras = sample.split.cameras()
    problems: dict[str, list[str]] = {}
    errors, fitted = [], 0
    for label, places in sample.groups("subject", "cam"):
        subject, _, cam = label.partition("/")
        points, pixels = sample.camera_mm[places], sample.pixels[places]
        stored = cameras.get((subject, cam))
        if stored is None and len(places) < _FIT_ROWS:
            continue
        fitted += stored is None
        limit = _FITTED_PX if stored is None else _PROJECTION_PX
        intrinsics = fit_intrinsics(points, pixels) if stored is None else stored["K"]
        error = projection_error(points, pixels, intrinsics)
        errors.append(np.median(error))
        if np.mean(error > limit) > _ROW_TOLERANCE:
            problem = _projection_problem(points, pixels, None if stored is None else stored["K"], limit)
            problems.setdefault(f"gt_3d does not project onto gt_2d{problem}", []).append(label)
        elif stored is None and not (intrinsics[0, 0] > 0 and intrinsics[1, 1] > 0):
            problems.setdefault("gt_3d projects onto gt_2d only through a mirror", []).append(label)
    report.find_grouped(sample.split.split, problems)
    if errors:
        how = "cameras fitted, none stored" if fitted else "stored cameras"
        report.say(
            f"  projection of gt_3d on gt_2d: {np.median(errors):.2f} px off (median), worst camera {max(errors):.2f} "
            f"px ({how})"
        )
    else:
        report.say("  projection of gt_3d on gt_2d: not checked (no cameras stored, too few rows to fit them)")


def _check_scaled(sample: Sample, report: Report) -> None:
    """Where nothing says how far away people are: x and y of gt_3d, scaled and moved in each row, against gt_2d."""
    if not sample.usable.any():
        return
    points, pixels = (values[sample.usable] for values in (sample.camera_mm, sample.pixels))
    errors = {
        change: np.median(scaled_error(points[..., :2] * signs, pixels))
        for change, signs in (
            ("", (1, 1)),
            (": it does with y negated", (1, -1)),
            (": it does with x negated", (-1, 1)),
        )
    }
    change = min(errors, key=lambda name: errors[name])
    report.say(f"  gt_3d, scaled and moved, on gt_2d: {errors['']:.3f} of the person's size off (median)")
    if errors[""] > _SCALED_SHARE:
        problem = change if errors[change] <= _SCALED_SHARE else ""
        report.find(f"{sample.split.split}: gt_3d does not project onto gt_2d{problem}")


def scaled_error(points: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """(N,) distance left between (N, J, 2) and pixels (N, J, 2), over their extent: after the best scale and shift."""
    points, pixels = (values - values.mean(axis=1, keepdims=True) for values in (points, pixels))
    scale = (points * pixels).sum((1, 2)) / np.maximum((points**2).sum((1, 2)), 1e-9)
    left = np.linalg.norm(np.maximum(scale, 0.0)[:, None, None] * points - pixels, axis=-1).mean(axis=-1)
    return np.asarray(left / np.maximum(np.ptp(pixels, axis=1).max(axis=1), 1e-9))


def _check_row_cameras(sample: Sample, report: Report) -> None:
    """As :func:`check_projection`, where each row has its own camera."""
    usable = sample.usable
    if not usable.any():
        return
    error = projection_error(sample.camera_mm[usable], sample.pixels[usable], sample.intrinsics[usable])
    if np.mean(error > _PROJECTION_PX) > _ROW_TOLERANCE:
        report.find(
            f"{sample.split.split}: gt_3d does not project onto gt_2d by the rows' own cameras "
            f"({100 * np.mean(error > _PROJECTION_PX):.0f} % of the rows too far)"
        )
    report.say(f"  projection of gt_3d on gt_2d: {np.median(error):.2f} px off (median; each row's own camera)")


def projection_error(points: np.ndarray, pixels: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """(N,) mean distance in px between the projections of (N, J, 3) and (N, J, 2); infinite for points at z <= 0.

    intrinsics: (3, 3), or (N, 3, 3) where each row has its own.
    """
    focal, centre = intrinsics[..., None, [0, 1], [0, 1]], intrinsics[..., None, :2, 2]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        found = points[..., :2] / points[..., 2:] * focal + centre
        error = np.linalg.norm(found - pixels, axis=-1).mean(axis=-1)
    return np.where((points[..., 2] > 0).all(axis=1) & np.isfinite(error), error, np.inf)


def fit_intrinsics(points: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Focal lengths and principal point (3, 3) that best project (N, J, 3) onto (N, J, 2), a few bad rows aside."""
    intrinsics = np.eye(3)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = points[..., :2] / points[..., 2:]
    keep = np.isfinite(ratio).all(axis=(1, 2))
    for _ in range(3):
        if keep.sum() < 2:
            break
        for axis in (0, 1):
            known = ratio[keep, :, axis].ravel()
            system = np.stack([known, np.ones_like(known)], axis=1)
            solution = np.linalg.lstsq(system, pixels[keep, :, axis].ravel(), rcond=None)[0]
            intrinsics[axis, axis], intrinsics[axis, 2] = solution
        error = projection_error(points, pixels, intrinsics)
        keep &= error <= 3 * np.median(error[keep])
    return intrinsics


def _projection_problem(points: np.ndarray, pixels: np.ndarray, intrinsics: np.ndarray | None, limit: float) -> str:
    """What would make it fit, or how far it is off."""
    changes = {
        "y negated": points * (1, -1, 1),
        "x negated": points * (-1, 1, 1),
        "y and z negated": points * (1, -1, -1),
        "left and right joints exchanged": points[:, _SWAP_17],
    }
    for change, changed in changes.items():
        matrix = fit_intrinsics(changed, pixels) if intrinsics is None else intrinsics
        if np.median(projection_error(changed, pixels, matrix)) < limit and matrix[0, 0] > 0 < matrix[1, 1]:
            return f": it does with {change}"
    matrix = fit_intrinsics(points, pixels) if intrinsics is None else intrinsics
    error = projection_error(points, pixels, matrix)
    return (
        f" ({np.median(error):.0f} px off in the median row, {100 * np.mean(error > limit):.0f} % of the rows too far)"
    )


def check_crop(sample: Sample, report: Report) -> None:
    """gt_2d_image_coords within the crop, and the same positions as gt_2d at the scale of crop_size."""
    split, usable = sample.split, sample.usable
    if sample.pixels is not None and usable.any():
        extent = np.ptp(sample.pixels[usable], axis=1).max(axis=1)
        if np.median(extent) < 2:
            report.find(f"{split.split}: gt_2d seems to be shares of the crop instead of px of the picture")
    if not {"gt_2d_image_coords", "crop_size"} <= set(split.columns) or sample.pixels is None or not usable.any():
        return
    rows = sample.rows[usable]
    coords = np.swapaxes(split.read_dense("gt_2d_image_coords", rows), 1, 2).astype(np.float64)
    size = split.read_dense("crop_size", rows).astype(np.float64)
    outside = float(np.mean((coords < -_CROP_TOLERANCE) | (coords > 1 + _CROP_TOLERANCE)))
    if outside > _ROW_TOLERANCE:
        report.find(f"{split.split}: {100 * outside:.0f} % of gt_2d_image_coords lie outside the crop (0 to 1)")
    if (size <= 0).any():
        report.find(f"{split.split}: crop_size is not positive in {int((size <= 0).sum())} of the rows looked at")
    ours, pixels = coords[:, list(H36M_17_OF_32)], sample.pixels[usable]
    gap = (ours - ours[:, :1]) * size[:, None, None] - (pixels - pixels[:, :1])
    off = np.abs(gap).max(axis=(1, 2)) > np.maximum(_CROP_TOLERANCE * size, 2.0)
    if off.mean() > _ROW_TOLERANCE:
        report.find(
            f"{split.split}: gt_2d_image_coords, crop_size and gt_2d disagree in {100 * off.mean():.0f} % of the rows"
        )


def check_heatmaps(sample: Sample, report: Report) -> None:
    """Where heatmaps peak against the true cells, how high, and whether argmax_2d is their argmax."""
    name = sample.split.split
    good = sample.finite & sample.positive
    if not good.any():
        return
    _check_argmax(sample, good, report)
    peaks = sample.peak[good]
    if np.median(peaks) > _HIGHEST_PEAK:
        report.find(f"{name}: heatmaps peak at {np.median(peaks):.3g} (median), about 1 is usual: another scale?")
    text = f"  heatmaps: peaks {np.percentile(peaks, 5):.2f}-{np.percentile(peaks, 95):.2f} (5-95 %)"
    if sample.cells is not None:
        good = good & np.isfinite(sample.cells).all(axis=-1)
        distances = []
        problems: dict[str, list[str]] = {}
        for subject, places in sample.groups("subject"):
            found, true = sample.peak_cell[places].astype(np.float64), sample.cells[places]
            distance = np.linalg.norm(found - true, axis=-1)[good[places]]
            distances.append(distance)
            problem = _heatmap_problem(found, true, good[places])
            if problem:
                problems.setdefault(problem, []).append(subject)
        report.find_grouped(name, problems)
        if any(map(len, distances)):
            distance = np.concatenate(distances)
            text += f", argmax {np.median(distance):.1f} cells from gt_2d (median), "
            text += f"{100 * np.mean(distance > 6):.0f} % over 6"
    report.say(text)


def _heatmap_problem(found: np.ndarray, true: np.ndarray, good: np.ndarray) -> str:
    """What is wrong with peaks (N, 16, 2) against true cells (N, 16, 2), column and row; empty if nothing is."""
    if good.sum() < _ENOUGH_JOINTS:
        return ""

    def distance(place: np.ndarray, truth: np.ndarray = true) -> float:
        return float(np.median(np.linalg.norm(place - truth, axis=-1)[good]))

    plain = distance(found)
    shift = np.median((found - true)[good], axis=0)
    shifted = f"heatmaps are shifted by {shift[0]:+.1f} columns and {shift[1]:+.1f} rows"
    if plain <= _FAR_CELLS:
        return shifted if np.abs(shift).max() > _SHIFT_CELLS and distance(found - shift) < 0.75 * plain else ""
    last = HEATMAP_SIZE - 1
    changes: dict[str, Callable[[], float]] = {
        "heatmaps have rows and columns (x and y) exchanged": lambda: distance(found[..., ::-1]),
        "heatmaps of left and right joints are exchanged": lambda: distance(found, true[:, _SWAP_16]),
        "heatmaps are mirrored": lambda: distance(np.stack([last - found[..., 0], found[..., 1]], axis=-1)),
        "heatmaps are upside down": lambda: distance(np.stack([found[..., 0], last - found[..., 1]], axis=-1)),
        shifted: lambda: distance(found - shift),
    }
    best, value = min(((text, change()) for text, change in changes.items()), key=lambda pair: pair[1])
    if value < max(0.6 * plain, 1.0) and value <= _FAR_CELLS:
        return best
    return (
        f"heatmaps peak {plain:.0f} cells (of {HEATMAP_SIZE}) from gt_2d in the median: another order, crop or person?"
    )


def _check_argmax(sample: Sample, good: np.ndarray, report: Report) -> None:
    wrong = float(np.mean(~sample.argmax_right[good]))
    if wrong <= _ARGMAX_TOLERANCE:
        return
    name = sample.split.split
    if np.mean(sample.argmax_swapped[good]) > 1 - _ARGMAX_TOLERANCE:
        report.find(f"{name}: argmax_2d is stored as (column, row), that is (x, y), instead of (row, column)")
    else:
        report.find(
            f"{name}: argmax_2d is not the heatmaps' highest cell, (row, column) / {HEATMAP_SIZE}, in "
            f"{100 * wrong:.0f} % of the joints"
        )
