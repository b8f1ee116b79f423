"""Motion capture (BVH, DeepMimic) -> an HDF5 file like Human3.6M's, with simulated cameras and detector.

python data/preprocessing/mocap.py --input_dir MOTION_FOLDER --output_dir OUT
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

import h5py

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # this project's modules before any others

from data.hdf5.access import text_attribute
from data.preprocessing.motion_capture.build import RIGS, STUDIO, load_takes, write_takes
from data.preprocessing.motion_capture.joint_names import read_mapping
from data.preprocessing.motion_capture.plan import PlannedTake, find_files, plan_takes
from data.preprocessing.motion_capture.recording_list import find_listed, read_recording_list
from data.preprocessing.motion_capture.takes import UNITS_MM, Take, TakeOptions
from data.schema import ACTIONS, MOTION_CAPTURE_SOURCE
from utils.errors import DiffPoseError, finite, run_script

FILE_NAME = "mocap_dataset.h5"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--input_dir", type=Path, required=True, help="folder of motion files; sub-folders are subjects"
    )
    parser.add_argument("--output_dir", type=Path, required=True, help="where the HDF5 file goes")
    parser.add_argument("--file_name", default=FILE_NAME, help="what it is called")
    parser.add_argument("--recordings", type=Path, metavar="LIST", help="use these recordings only, under these names")
    parser.add_argument("--cameras", default=STUDIO, choices=RIGS, help="Human3.6M's four, or cameras of all kinds")
    parser.add_argument("--mapping", type=Path, help="YAML or JSON: 'left_hip: NameInTheFile' for unusual joint names")
    parser.add_argument("--unit", default="auto", choices=("auto", *UNITS_MM), help="of the files; auto: from stature")
    parser.add_argument("--up", choices=("y", "z"), help="the axis that points up (default: y, checked)")
    parser.add_argument("--mirror", action="store_true", help="the files are left-handed: turn x round")
    parser.add_argument(
        "--test_share", type=finite, default=0.2, help="share of the subjects (or takes of one) to test on"
    )
    parser.add_argument(
        "--test_files", nargs="+", default=[], metavar="PATTERN", help="test on these files or subjects"
    )
    parser.add_argument("--every", type=int, default=4, help="keep every so many frames of the 50 Hz video")
    parser.add_argument("--workers", type=int, default=2, help="processes; does not change the result")
    parser.add_argument("--seed", type=int, default=0, help="decides headings, cameras, objects in the way, detector")
    parser.add_argument("--skip_bad", action="store_true", help="leave out files that cannot be used, and say which")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="draw a few poses of up to six takes")
    parser.add_argument("--force", action="store_true", help="replace a file that is there and is something else")
    return parser.parse_args()


def check_target(path: Path, *, force: bool) -> None:
    """DiffPoseError when a file is in the way that this script did not make."""
    if not path.exists() or force:
        return
    try:
        with h5py.File(path, "r", locking=False) as file:
            ours = text_attribute(file["dataset"], "source").startswith(MOTION_CAPTURE_SOURCE)
    except (OSError, KeyError, RuntimeError, ValueError):
        ours = False
    if not ours:
        raise DiffPoseError(f"{path}: is there and not made by this script: move it, or replace it with --force")


def summary(takes: list[tuple[PlannedTake, Take]]) -> list[str]:
    """What was found: a line a subject."""
    lines = []
    for subject in dict.fromkeys(planned.subject for planned, _ in takes):
        own = [(planned, take) for planned, take in takes if planned.subject == subject]
        units = ", ".join(f"{unit} ({count})" for unit, count in Counter(take.unit for _, take in own).items())
        tall = sorted(take.stature_mm / 1000 for _, take in own)
        heights = f"{tall[0]:.2f} m" if tall[-1] - tall[0] < 0.015 else f"{tall[0]:.2f}-{tall[-1]:.2f} m"
        splits = " and ".join(dict.fromkeys(planned.split for planned, _ in own))
        poses = sum(len(take.frames) for _, take in own)
        lines.append(
            f"{subject} = {own[0][0].origin}: {len(own)} files, {poses} poses a camera, unit {units}, {heights}, "
            f"{splits}"
        )
    return lines


def notes(takes: list[tuple[PlannedTake, Take]]) -> list[str]:
    """What the user should know before training."""
    lines = [f"note: {take.path}: {note}" for _, take in takes for note in take.notes]
    people = {split: {p.subject for p, _ in takes if p.split == split} for split in ("trainset", "testset")}
    shared = people["trainset"] & people["testset"]
    if shared:
        lines.append(f"note: {', '.join(sorted(shared))} in both splits: the test is not about unknown people")
    for split in (name for name, found in people.items() if not found):
        lines.append(f"note: no file for the {split}: change --test_share or --test_files")
    actions = {planned.action for planned, _ in takes if planned.split == "testset"}
    if actions and actions < set(ACTIONS):
        lines.append(f"note: evaluate with --actions {' '.join(sorted(actions))}: not all of Human3.6M's are there")
    return lines


def main() -> None:
    arguments = parse_arguments()
    if arguments.every < 1 or arguments.workers < 1 or arguments.seed < 0:
        raise DiffPoseError("--every and --workers must be at least 1, --seed at least 0")
    if arguments.file_name != Path(arguments.file_name).name:
        raise DiffPoseError(f"--file_name {arguments.file_name}: a name is expected, the folder is --output_dir")
    target = arguments.output_dir / arguments.file_name
    check_target(target, force=arguments.force)
    options = TakeOptions(
        unit=arguments.unit,
        up=arguments.up,
        every=arguments.every,
        mirror=arguments.mirror,
        mapping=read_mapping(arguments.mapping) if arguments.mapping else None,
    )
    files = find_files(arguments.input_dir)
    listed = read_recording_list(arguments.recordings) if arguments.recordings else []
    planned = plan_takes(
        arguments.input_dir,
        find_listed(listed, arguments.input_dir, files) if listed else files,
        labels=[recording.name for recording in listed] if listed else None,
        test_share=arguments.test_share,
        test_files=arguments.test_files,
        seed=arguments.seed,
    )
    workers = min(arguments.workers, len(planned))
    takes = load_takes(planned, options, workers=workers, skip_bad=arguments.skip_bad)
    print("\n".join([*summary(takes), *notes(takes)]), flush=True)
    if arguments.picture:
        # Late, so that worker processes, which import this script, need not wait for what drawing needs.
        from data.preprocessing.motion_capture.picture import save_picture

        print(f"saved {save_picture(arguments.picture, [(planned.name, take) for planned, take in takes[:6]])}")
    kept = {name: getattr(arguments, name) for name in ("unit", "up", "mirror", "every", "test_share", "test_files")}
    if arguments.cameras != STUDIO:
        kept["cameras"] = arguments.cameras
    rows = write_takes(
        target,
        takes,
        seed=arguments.seed,
        rig=arguments.cameras,
        listed=listed,
        workers=arguments.workers,
        parameters=kept,
    )
    counts = ", ".join(f"{count} rows in the {split}" for split, count in rows.items())
    print(f"{target}: {counts}; check it with: python data/preprocessing/validate.py {target}")


if __name__ == "__main__":
    run_script(main)
