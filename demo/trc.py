"""TRC files of marker tracks, as OpenSim and Pose2Sim read and write them: metres, y up, tabs between the columns."""

from pathlib import Path

import numpy as np

from demo.output import OTHER_OUTPUT
from utils.files import written_in_one_step

# Human3.6M's names where the marker sets of OpenSim and Pose2Sim say something else for the same place.
_MARKERS = {"RFoot": "RAnkle", "LFoot": "LAnkle", "Thorax": "Neck", "Neck": "Face"}


def marker_names(joints: tuple[str, ...]) -> list[str]:
    """What a TRC file calls these joints: an ankle is an ankle, and the neck is where the shoulders meet."""
    return [_MARKERS.get(name, name) for name in joints] if "Thorax" in joints else list(joints)


def write_trc(
    path: Path, positions_mm: np.ndarray, *, joints: tuple[str, ...], rate: float, numbers: np.ndarray, start_s: float
) -> None:
    """Write joints (G, J, 3), mm, NaN where there are none, in frames ``numbers`` (G,) at ``rate`` a second.

    Frame 0 is at ``start_s``; the file counts from 1. Raises DiffPoseError when it can't be written.
    """
    names = marker_names(joints)
    speed = f"{rate:.6f}"
    head = [
        f"PathFileType\t4\t(X/Y/Z)\t{path.name.replace(' ', '_')}",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
        f"{speed}\t{speed}\t{len(numbers)}\t{len(names)}\tm\t{speed}\t{numbers[0] + 1}\t{len(numbers)}",
        "Frame#\tTime\t" + "\t\t\t".join(names) + "\t\t",
        "\t\t" + "\t".join(f"{axis}{k}" for k in range(1, len(names) + 1) for axis in "XYZ"),
        "",
    ]
    with written_in_one_step(path, way_out=OTHER_OUTPUT) as partial, partial.open("w", encoding="utf-8") as file:
        file.write("\n".join(head) + "\n")
        for number, pose in zip(numbers, positions_mm / 1000, strict=True):
            # Spelled out: older versions of OpenSim lose count of the columns where cells are empty.
            cells = "\t".join("NaN" if np.isnan(value) else f"{value:.6f}" for value in pose.ravel())
            file.write(f"{number + 1}\t{start_s + number / rate:.6f}\t{cells}\n")
