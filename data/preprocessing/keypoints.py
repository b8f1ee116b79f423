"""VideoPose3D's pair of npz files -> an HDF5 file of Human3.6M with heatmaps drawn from the 2D keypoints.

python data/preprocessing/keypoints.py --poses_3d data_3d_h36m.npz --poses_2d data_2d_h36m_cpn_ft_h36m_dbb.npz \\
    --output_dir data/h36m
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # this project's modules before any others

from data.hdf5.columnar import ColumnarWriter
from data.preprocessing.h36m.hard_list import HardList
from data.preprocessing.videopose3d.rows import PairRecording, read_pair, rows_of
from data.schema import DRAWN_SOURCE, SUBJECTS
from data.synthetic.simulated_file import write_simulated
from utils.errors import DiffPoseError, run_script

FILE_NAME = "H36M_keypoints_dataset.h5"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--poses_3d", type=Path, required=True, help="data_3d_h36m.npz")
    parser.add_argument("--poses_2d", type=Path, required=True, help="data_2d_h36m_*.npz of any detector, or gt")
    parser.add_argument("--output_dir", type=Path, required=True, help="where the HDF5 file goes")
    parser.add_argument("--file_name", default=FILE_NAME, help="what it is called")
    parser.add_argument("--hard_subset", type=Path, metavar="LIST", help="the published list of hard frames")
    subjects = [name for names in SUBJECTS["h36m"].values() for name in names]
    parser.add_argument("--subjects", nargs="+", choices=subjects, help="only these (default: all in the 3D file)")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    return parser.parse_args()


def main() -> int:
    args = parse_arguments()
    path = args.output_dir / args.file_name
    if path.exists() and not args.force:
        raise DiffPoseError(f"{path}: is there already: choose another --file_name, or replace it with --force")
    hard = HardList(args.hard_subset) if args.hard_subset else None
    layout, recordings = read_pair(args.poses_3d, args.poses_2d, args.subjects)

    def blocks(writer: ColumnarWriter) -> Iterator[tuple[str, dict]]:
        cameras = {(one.name.subject, one.name.cam): one.camera for one in recordings}
        for (subject, name), camera in cameras.items():
            writer.write_camera(
                subject, name, intrinsics=camera.matrix, rotation=camera.rotation, translation=camera.offset_mm
            )
        for recording in recordings:
            for columns in rows_of(recording, layout):
                marked = np.zeros(len(columns["frame_orig"]), bool) if hard is None else hard.mark(columns)
                yield recording.split, {**columns, "hardsubset": marked.astype(np.uint8)}

    counts = write_simulated(
        path,
        blocks,
        source=f"{DRAWN_SOURCE} ({args.poses_3d.name}), every 4th frame",
        attrs={
            "detector": f"drawn from the keypoints of {args.poses_2d.name}",
            "units": "gt_3d in mm, camera frame; gt_2d in px; frame_orig from 0",
            "hard_subset": "none" if hard is None else f"{hard.num_frames} frames of {args.hard_subset.name}",
        },
        total=sum(len(one.frames) for one in recordings),
        extra_fields=(),
        title="drawing",
    )
    for line in summary(recordings, counts):
        print(line)
    print(f"written to {path}")
    return 0


def summary(recordings: list[PairRecording], counts: dict[str, int]) -> list[str]:
    """A line a split, and what is left out."""
    lines = []
    for split, rows in counts.items():
        own = [one for one in recordings if one.split == split]
        subjects = ", ".join(dict.fromkeys(one.name.subject for one in own))
        lines.append(f"{split}: {rows} rows of {len(own)} recordings ({subjects})")
    return lines


if __name__ == "__main__":
    run_script(main)
