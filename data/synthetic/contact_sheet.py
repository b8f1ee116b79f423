"""A picture of the benchmark's actions: one skeleton an action, seen by two cameras."""

from pathlib import Path

import numpy as np

from data.synthetic.actions import ACTIONS, perform
from data.synthetic.bodies import subject_body
from data.synthetic.cameras import CAMERAS
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
