"""``--export``: the track of each person as motion files, for Blender, OpenSim and notebooks."""

import argparse
import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from demo.bvh import write_bvh
from demo.fixed_skeleton import fit_fixed_skeleton, turn_between
from demo.output import OTHER_OUTPUT, Row
from demo.source import SourceFrame
from demo.tracks import CONSENSUS, Clock, TrackChoice, TrackCollector, TrackPose, above_floor, clock_of, grid_of
from demo.trc import write_trc
from utils.errors import DiffPoseError
from utils.files import written_in_one_step
from utils.skeleton import H36M17, Skeleton

BVH, TABLE = "bvh", "csv"
_NAMED = 6
COLUMNS = ("source", "frame", "time_s", "person", "joint", "x_mm", "y_mm", "z_mm", "spread_mm", "guessed")


def add_export_flags(parser: argparse.ArgumentParser) -> None:
    """--export and what goes with it."""
    parser.add_argument("--export", nargs="+", metavar="FORMAT", help=f"also write motion files: {', '.join(FORMATS)}")
    parser.add_argument(
        "--export_track",
        metavar="TRACK",
        help="consensus (default), hypothesis:N or mode:N; those of different frames are unrelated draws",
    )


def check_export_flags(args: argparse.Namespace) -> None:
    """Raises DiffPoseError for what can't be exported."""
    if args.export_track is not None and not args.export:
        raise DiffPoseError("--export_track: it says how to --export: give that too, or leave it out")
    unknown = [name for name in args.export or [] if name not in FORMATS]
    if unknown:
        raise DiffPoseError(f"--export {unknown[0]}: unknown format: choose from {', '.join(FORMATS)}")
    TrackChoice.parse(args.export_track or CONSENSUS, args.num_hypotheses)


class MotionExport:
    """Collects the chosen track through all frames and writes it at the end.

    ``followed``: people keep their numbers from frame to frame; ``every``: every that many frames are looked at;
    ``rate``: of these a second, None where unknown.
    """

    def __init__(
        self,
        folder: Path,
        formats: Sequence[str],
        track: str,
        *,
        skeleton: Skeleton,
        followed: bool,
        rate: float | None,
        every: int = 1,
    ):
        if BVH in formats and skeleton is not H36M17:
            raise DiffPoseError(
                f"--export {BVH}: it is for Human3.6M's joints, not those of {skeleton.name}: trc or csv"
            )
        self.folder, self.formats, self.skeleton = folder, [name for name in FORMATS if name in formats], skeleton
        self.collector = TrackCollector(TrackChoice.parse(track, 10**9), followed=followed)
        self.rate, self._every, self._first = rate, every, 0
        self._is_smooth = False
        self._written: list[str] = []

    def add(self, frame: SourceFrame, time_s: float | None, rows: Sequence[Row]) -> None:
        """The people of the next frame that is looked at, also where there are none."""
        if not self.collector.steps:
            self._first = frame.number
        step = (frame.number - self._first) // self._every
        if time_s is None and self.rate is not None:
            time_s = step / self.rate
        self.collector.add(rows, step=step, time_s=time_s, name=frame.output)

    def set_smooth(self, poses_mm: dict[tuple[int, int], np.ndarray]) -> None:
        """Take these for the consensus: (frame, person) -> pose (J, 3)."""
        self.collector.set_smooth(poses_mm)
        self._is_smooth = self.collector.choice.kind == CONSENSUS

    def write(self) -> list[str]:
        """Write all files. Returns lines that say what they hold; raises DiffPoseError when that fails."""
        people = self.collector.people()
        clock = clock_of(self.collector.steps, self.collector.times_s, self.rate)
        lines = []
        for name in self.formats:
            lines += FORMATS[name](self, people, clock)
        shown = ", ".join(self._written[:_NAMED])
        more = len(self._written) - _NAMED
        what = "smooth consensus" if self._is_smooth else self.collector.choice
        lines.insert(0, f"exported {what}: {shown}{f' and {more} more' if more > 0 else ''}")
        return lines + self._notes(people, clock)

    def _notes(self, people: dict[str, list[TrackPose]], clock: Clock) -> list[str]:
        """What to know of times and gaps."""
        lines: list[str] = []
        if not self.collector.followed or self.formats == [TABLE]:
            return lines
        if not clock.is_known and len(clock.places) > 1:
            lines.append(f"frame rate: unknown, {clock.rate:g} a second written: give it with --fps")
        if not clock.is_even:
            lines.append(f"frame rate: varies; resampled evenly to {clock.rate:.3f} a second")
        missing = sum(int(grid_of(track, clock).missing.sum()) for track in people.values())
        if missing:
            lines.append(f"gaps: {missing} frames without the person; NaN in TRC, filled in BVH")
        return lines

    def path(self, name: str, ending: str) -> Path:
        """Where a file goes; it is counted as written."""
        self._written.append(f"{name}.{ending}")
        return self.folder / self._written[-1]

    def world_mm(self, track: Sequence[TrackPose]) -> np.ndarray:
        """A track's poses (T, J, 3), y up, with the floor at y = 0."""
        return above_floor(np.stack([one.pose_mm for one in track]), self.skeleton)


def _write_bvhs(export: MotionExport, people: dict[str, list[TrackPose]], clock: Clock) -> list[str]:
    distances = []
    for name, track in people.items():
        grid, poses = grid_of(track, clock), export.world_mm(track)
        fixed = fit_fixed_skeleton(poses)
        distances.append(np.linalg.norm(fixed.joints_mm - poses, axis=-1).ravel())
        rotations = [turn_between(turns, grid.before, grid.after, grid.share) for turns in fixed.rotations]
        write_bvh(
            export.path(name, BVH), fixed.bone_mm, grid.between(fixed.joints_mm[:, 0]), rotations, rate=clock.rate
        )
    middle, far = np.percentile(np.concatenate(distances), (50, 95))
    return [f"bvh: with bones of fixed length joints are {middle:.1f} mm from the track (median; 95 %: {far:.1f} mm)"]


def _write_trcs(export: MotionExport, people: dict[str, list[TrackPose]], clock: Clock) -> list[str]:
    for name, track in people.items():
        grid = grid_of(track, clock)
        positions = grid.between(export.world_mm(track))
        positions[grid.missing] = np.nan
        write_trc(
            export.path(name, "trc"),
            positions,
            joints=export.skeleton.joints,
            rate=clock.rate,
            numbers=grid.numbers,
            start_s=clock.start_s,
        )
    return []


def _write_table(export: MotionExport, people: dict[str, list[TrackPose]], clock: Clock) -> list[str]:
    """All people in one table, a row for each joint: frames as they are, poses as in poses.json."""
    path = export.path(f"poses{export.collector.choice.ending}", TABLE)
    with (
        written_in_one_step(path, way_out=OTHER_OUTPUT) as partial,
        partial.open("w", encoding="utf-8", newline="") as file,
    ):
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for one in export.collector.poses:
            time = "" if one.time_s is None else f"{one.time_s:.6f}"
            for k, joint in enumerate(export.skeleton.joints):
                numbers = (f"{value:.2f}" for value in (*one.pose_mm[k], one.spread_mm[k]))
                table.writerow([one.source, one.frame, time, one.person, joint, *numbers, int(one.guessed[k])])
    return []


FORMATS: dict[str, Callable[[MotionExport, dict[str, list[TrackPose]], Clock], list[str]]] = {
    BVH: _write_bvhs,
    "trc": _write_trcs,
    TABLE: _write_table,
}
"""Name on the command line -> what writes it and says what is to be known of it."""
