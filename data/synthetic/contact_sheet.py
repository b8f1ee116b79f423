"""Pictures of the benchmark's actions, one skeleton each from two cameras, and of the wide world's poses."""

from pathlib import Path

import numpy as np

from data.synthetic.actions import ACTIONS, perform
from data.synthetic.bodies import subject_body
from data.synthetic.cameras import CAMERAS, RowCameras
from utils.skeleton import H36M17

COLOURS = {"left": "#1f77b4", "right": "#d62728", "middle": "#444444"}


def draw_skeleton(axes, points_px: np.ndarray) -> None:
    """Draw joints (17, 2) of a picture: right red, left blue."""
    for start, end in H36M17.bones:
        side = "right" if end in H36M17.right else "left" if end in H36M17.left else "middle"
        axes.plot(*points_px[[start, end]].T, color=COLOURS[side], linewidth=2, solid_capstyle="round")
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.set_yticks([])


def save_contact_sheet(path: str | Path, *, subject: str = "S9", seed: int = 0, frames: int = 100) -> Path:
    """Save a picture with every action in both subactions, each from two cameras; returns its path."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    body = subject_body(subject)
    figure, grid = pyplot.subplots(6, 10, figsize=(15, 11.5))
    for number, action in enumerate(ACTIONS):
        for variant in (0, 1):
            generator = np.random.default_rng([seed, number, variant])
            joints = perform(action, variant, body, frames, generator)
            joints -= joints[:, :1] * np.array([1.0, 1.0, 0.0])
            pose = joints[frames // 2]
            for view, camera in enumerate((CAMERAS[0], CAMERAS[1])):
                column = 2 * (number % 5) + view
                axes = grid[2 * (number // 5) + variant, column]
                draw_skeleton(axes, camera.project(camera.to_camera(pose)))
                axes.set_xlim(512 - 230, 512 + 230)
                axes.set_ylim(512 + 260, 512 - 260)
                if view == 0:
                    axes.set_title(f"{action} {variant}", fontsize=10, loc="left")
    figure.suptitle(
        "Embedded benchmark (synthetic): the 15 actions, subactions 0 and 1, two views each; right red, left blue",
        fontsize=11,
    )
    figure.tight_layout()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=70)
    pyplot.close(figure)
    return path


def save_wide_sheet(path: str | Path, *, seed: int = 0, count: int = 60) -> Path:
    """Save a picture of ``count`` poses of the wide world, each before a camera of its own; returns its path."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    from data.synthetic.bodies import random_body
    from data.synthetic.bones import turned
    from data.synthetic.families import FAMILIES, draw_pose
    from data.synthetic.occlusion import add_extremities
    from data.synthetic.wide_cameras import draw_cameras

    rng = np.random.default_rng([seed, 60])
    names = list(FAMILIES)
    parts = []
    for number, name in enumerate(names):
        poses = count * (number + 1) // len(names) - count * number // len(names)
        parts.append(draw_pose(rng, random_body(rng, poses), poses, name)[0])
    joints = turned(np.concatenate(parts), rng.uniform(0, 2 * np.pi, count))
    cameras: RowCameras = draw_cameras(joints, rng)
    pixels = cameras.project(cameras.to_camera(add_extremities(joints)))
    columns = 12
    figure, grid = pyplot.subplots(-(-count // columns), columns, figsize=(15, 1.75 * -(-count // columns)))
    labels = [name for name, part in zip(names, parts, strict=True) for _ in part]
    for axes, points, label in zip(grid.flat, pixels, labels, strict=False):
        draw_skeleton(axes, points[:17])
        for side, joint, tip in (("right", 3, 19), ("left", 6, 20), ("left", 13, 17), ("right", 16, 18)):
            axes.plot(*points[[joint, tip]].T, color=COLOURS[side], linewidth=2, solid_capstyle="round")
        face = pyplot.Circle(
            points[9:11].mean(axis=0), 0.75 * float(np.linalg.norm(points[10] - points[9])), color="#bbbbbb"
        )
        axes.add_patch(face)
        low, high = points.min(axis=0), points.max(axis=0)
        middle, half = (low + high) / 2, 0.6 * (high - low).max()
        axes.set_xlim(middle[0] - half, middle[0] + half)
        axes.set_ylim(middle[1] + half, middle[1] - half)
        axes.set_title(label.replace("_", " "), fontsize=8, pad=2)
    figure.tight_layout(pad=0.4)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=70)
    pyplot.close(figure)
    return path
