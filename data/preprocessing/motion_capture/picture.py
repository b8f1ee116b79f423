"""A picture of a take's poses from the front and from the left: left blue, right orange, feet down."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.preprocessing.motion_capture.takes import Take
from utils.evaluation.plotting import LEFT_COLOUR, MIDDLE_COLOUR, RIGHT_COLOUR
from utils.files import written_in_one_step
from utils.skeleton import H36M17


def body_views(pose_mm: np.ndarray) -> dict[str, np.ndarray]:
    """A pose (17, 3), z up, as seen from the front and from the left: (17, 2) each, right and up in mm."""
    left = pose_mm[4, :2] - pose_mm[1, :2]
    left = left / max(float(np.linalg.norm(left)), 1e-9)
    ahead = np.array([left[1], -left[0]])
    ground = pose_mm[:, :2] - pose_mm[0, :2]
    # Facing us, a person's left is on our right; from their left side, they look to our left.
    return {
        "from the front": np.stack([ground @ left, pose_mm[:, 2]], axis=-1),
        "from the left": np.stack([-(ground @ ahead), pose_mm[:, 2]], axis=-1),
    }


def save_picture(path: str | Path, takes: Sequence[tuple[str, Take]], *, poses: int = 4) -> Path:
    """Draw ``poses`` poses, evenly spread, of each (title, take). DiffPoseError when the file cannot be written."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.1 * 2 * poses, 3.2 * len(takes) + 0.6), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(takes), 2 * poses, squeeze=False, sharey=True)
    for axes_row, (title, take) in zip(grid, takes, strict=True):
        rows = np.linspace(0, len(take.joints_mm) - 1, poses).round().astype(int)
        for number, row in enumerate(rows):
            views = body_views(take.joints_mm[row].astype(np.float64))
            for axes, (view, points) in zip(axes_row[2 * number : 2 * number + 2], views.items(), strict=True):
                for start, end in H36M17.bones:
                    colour = (
                        RIGHT_COLOUR if end in H36M17.right else LEFT_COLOUR if end in H36M17.left else MIDDLE_COLOUR
                    )
                    axes.plot(*points[[start, end]].T, color=colour, linewidth=2, solid_capstyle="round")
                axes.set(aspect="equal", xlim=(-950, 950), ylim=(-100, 2150), xticks=[])
                axes.axhline(0, color="0.8", linewidth=1)
                axes.set_title(f"frame {take.frames[row]}\n{view}", fontsize=8)
        axes_row[0].set_ylabel(f"{title}\nheight (mm)", fontsize=8)
    figure.suptitle("left blue, right orange", fontsize=10)
    with written_in_one_step(path) as partial:
        figure.savefig(partial, format="png")
    return Path(path)
