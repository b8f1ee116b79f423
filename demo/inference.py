"""3D poses from a picture, a folder of pictures or a video: ``python demo/inference.py --input person.jpg``.

Or from any detector's keypoints: ``--keypoints FILE``.

Writes poses.npz, poses.json, viewer.html and PNG pictures into the output folder.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this project's modules before any others

from data.keypoints.layouts import LAYOUTS
from demo.agreement import Agreement
from demo.detectors import DETECTORS, given_square
from demo.embedded import MIN_PERSON_PX
from demo.estimator import SHIPPED_RUN, People, PoseEstimator
from demo.keypoints import KeypointSource
from demo.motion_export import MotionExport, add_export_flags, check_export_flags
from demo.output import SCALE_NOTE, ResultWriter, Row, prepare_folder, rows_of
from demo.people import PersonTracker
from demo.person import NoPersonError, Person
from demo.pictures import draw, save_png
from demo.smoothing import NOTHING_SMOOTHED, TrackSmoother
from demo.source import UNKNOWN_RATE, Source, SourceFrame
from demo.tracks import CONSENSUS
from demo.viewer import ViewerWriter
from models.run import add_sampling_flags, sampling_overrides
from utils.checkpoint import load_file
from utils.errors import DiffPoseError, finite, run_script, seed_number

PICTURES_OF_A_VIDEO = 4


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--input", help="image, folder of images, or video; 'demo': a video that pip fetches")
    source.add_argument(
        "--keypoints", help="2D keypoints: .npy, .npz, COCO's .json, OpenPose's folder, DeepLabCut's .csv"
    )
    parser.add_argument("--layout", help=f"order of the keypoints: {', '.join(LAYOUTS)}; default: by their number")
    parser.add_argument("--config", help="config.yaml of a run folder (default: the weights that ship)")
    parser.add_argument("--checkpoint", help="another model-*.pt than the one beside the configuration")
    parser.add_argument("--detector", choices=DETECTORS, default="auto", help="auto: hrnet if its weights are there")
    parser.add_argument("--num_hypotheses", type=int, default=200, help="3D hypotheses a person")
    parser.add_argument("--output", default="output/demo", help="folder of the results")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--bbox", nargs=4, type=finite, metavar=("X", "Y", "W", "H"), help="box around one person, px")
    place.add_argument("--whole_image", action="store_true", help="the whole image shows one person")
    parser.add_argument("--person", type=int, help="only this person, numbered from 0, the largest first")
    parser.add_argument("--every", type=int, default=1, help="of a video, every K-th frame")
    parser.add_argument(
        "--smooth", action="store_true", help="of a video or a sequence of keypoints, also smooth tracks of the people"
    )
    parser.add_argument("--fps", type=finite, metavar="RATE", help="frames a second of --keypoints")
    parser.add_argument("--height_cm", type=finite, help="the person's height; else poses are an average body's size")
    parser.add_argument("--seed", type=seed_number, default=0, help="decides every draw")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    add_export_flags(parser)
    add_sampling_flags(parser)
    args = parser.parse_args()
    if args.every < 1:
        raise DiffPoseError(f"--every {args.every}: it must be at least 1")
    if args.bbox and min(args.bbox[2:]) < 1:
        raise DiffPoseError(
            f"--bbox {' '.join(f'{v:g}' for v in args.bbox)}: x y width height, the last two at least 1"
        )
    _check_keypoints(args)
    check_export_flags(args)
    return args


def _check_keypoints(args: argparse.Namespace) -> None:
    """Raises DiffPoseError for flags that only go with --keypoints, or only without."""
    if args.keypoints is None and args.layout:
        raise DiffPoseError("--layout: it says what --keypoints are: give these, or leave it out")
    of_pictures = {
        "--bbox": args.bbox,
        "--whole_image": args.whole_image,
        "--detector": args.detector != "auto",
    }
    wrong = [flag for flag, given in of_pictures.items() if given]
    if args.keypoints is not None and wrong:
        raise DiffPoseError(f"{wrong[0]}: it is for pictures or videos, and --keypoints has none: leave it out")
    if args.fps is not None and args.keypoints is None:
        raise DiffPoseError("--fps: it is for --keypoints: videos say it themselves, and pictures have none")
    if args.fps is not None and not 0.1 <= args.fps <= 10_000:
        raise DiffPoseError(f"--fps {args.fps:g}: frames a second, from 0.1 to 10000")


class SpreadPictures:
    """Which frames of a video get a picture: a few, spread evenly, also where nobody knows how long it is.

    With an unknown length pictures are made at an interval that doubles, and those in between are removed again.
    """

    def __init__(self, expected: int | None, count: int = PICTURES_OF_A_VIDEO):
        self.count, self._interval = count, 1
        self._chosen = (
            None if expected is None else set(np.linspace(0, max(expected - 1, 0), count).round().astype(int))
        )
        self._kept: list[tuple[int, Path]] = []

    def wants(self, step: int) -> bool:
        """Whether the frame of this step, counted without gaps, gets one."""
        return step % self._interval == 0 if self._chosen is None else step in self._chosen

    def made(self, step: int, path: Path) -> None:
        """Say that it was written."""
        self._kept.append((step, path))
        if self._chosen is None and len(self._kept) > 2 * self.count:
            self._interval *= 2
            self._remove([k for k, (step, _) in enumerate(self._kept) if step % self._interval])

    def finish(self) -> None:
        """Leave ``count`` of them."""
        if self._chosen is None and len(self._kept) > self.count:
            stay = set(np.linspace(0, len(self._kept) - 1, self.count).round().astype(int))
            self._remove([k for k in range(len(self._kept)) if k not in stay])

    def _remove(self, places: list[int]) -> None:
        for k in reversed(places):
            self._kept.pop(k)[1].unlink(missing_ok=True)


class Demo:
    """Frames in, files out."""

    def __init__(self, args: argparse.Namespace):
        self.args, self.output = args, prepare_folder(args.output)
        self.source: Source | KeypointSource = (
            Source(args.input, args.every)
            if args.keypoints is None
            else KeypointSource(args.keypoints, args.layout, every=args.every, rate=args.fps or UNKNOWN_RATE)
        )
        self.estimator = PoseEstimator.load(
            args.config,
            checkpoint=args.checkpoint,
            num_hypotheses=args.num_hypotheses,
            detector=args.detector,
            device=args.device,
            seed=args.seed,
            height_cm=args.height_cm,
            overrides=sampling_overrides(args),
        )
        skeleton = self.estimator.skeleton
        self.agreement = Agreement(mean_pose_of_training(args.config))
        video = self.source.video
        self.rate: float | None = args.fps if video is None else video.fps
        fps = None if self.rate is None else self.rate / args.every
        if args.smooth and not self.source.is_sequence:
            raise DiffPoseError(
                "--smooth: a smooth track needs frames that follow each other: give a video with --input or a sequence "
                "with --keypoints, or leave it out"
            )
        self.tracker = PersonTracker(rate=fps or 1.0)
        self.smoother = TrackSmoother() if args.smooth else None
        title = f"DiffPose: {self.source.name}"
        self.viewer = ViewerWriter(skeleton=skeleton, expected_frames=self.source.expected, title=title, fps=fps)
        about = {
            "input": self.source.name,
            "model": str(args.config or "shipped with the demo"),
            "seed": args.seed,
            "num_hypotheses": args.num_hypotheses,
            "height_cm": args.height_cm,
            "fps": self.rate,
            "scale": f"{args.height_cm:g} cm tall" if args.height_cm else SCALE_NOTE,
            "detector": self.detector,
        }
        self.writer = ResultWriter(self.output, joints=skeleton.joints, bones=skeleton.bones, about=about)
        self.pictures = SpreadPictures(self.source.expected) if self.source.is_sequence else None
        self.export = self._export(fps) if args.export else None
        self.too_small: list[int] = []

    def _export(self, rate: float | None) -> MotionExport:
        return MotionExport(
            self.output,
            self.args.export,
            self.args.export_track or CONSENSUS,
            skeleton=self.estimator.skeleton,
            followed=self.source.is_sequence,
            rate=rate,
            every=self.args.every,
        )

    @property
    def detector(self) -> str:
        """What the heatmaps come from."""
        return self.source.detector if isinstance(self.source, KeypointSource) else self.estimator.detector.name

    def square(self, image: np.ndarray):
        """The square that the user gives, if any."""
        if self.args.bbox:
            return given_square(*self.args.bbox)
        return given_square(0, 0, image.shape[1], image.shape[0]) if self.args.whole_image else None

    def run(self) -> int:
        """Go through all frames. Returns how many people were lifted."""
        from tqdm import tqdm

        start, frames = time.perf_counter(), 0
        with self.writer:
            bar = tqdm(self.source, total=self.source.expected, unit="frame", disable=self.source.expected == 1)
            for step, frame in enumerate(bar):
                frames += 1
                people = self.look(frame, step)
                numbers = range(len(people.persons)) if people else []
                if people and self.source.is_sequence:
                    image = frame.image if frame.persons is None else None
                    numbers = self.tracker.number(people.persons, frame.number // self.args.every, image)
                rows = []
                if people:
                    rows = rows_of(frame.name, frame.number, list(numbers), people.persons, people.poses)
                self.keep(rows, frame, step)
            if not len(self.writer):
                raise NoPersonError(self.nobody(frames))
            if self.smoother is not None:
                poses = self.smoother.result()
                if not self.smoother.has_smoothed:
                    print(NOTHING_SMOOTHED, file=sys.stderr)
                self.writer.set_smooth(poses)
                self.viewer.set_smooth(poses)
                if self.export is not None:
                    self.export.set_smooth(poses)
        self.viewer.write(self.output / "viewer.html")
        if self.pictures is not None:
            self.pictures.finish()
        seconds = time.perf_counter() - start
        if frames > 1:
            print(f"{frames} frames in {seconds:.1f} s: {frames / seconds:.2f} frames/s")
        return len(self.writer)

    def nobody(self, frames: int) -> str:
        """The error line where no frame holds anybody."""
        note = self.small_note()
        left_out = f" ({note})" if note else ""
        path = self.args.keypoints or self.args.input
        where = f"{path}: no person found in {frames} frame{'s' * (frames != 1)}{left_out}"
        if isinstance(self.source, KeypointSource):
            return f"{where}: check the layout ({self.source.layout.title}) and the confidences"
        return f"{where}: give a box around one with --bbox x y w h, or try --whole_image"

    def look(self, frame: SourceFrame, step: int) -> People | None:
        """Everyone in a frame; None where nobody is found and other frames may have somebody."""
        if frame.persons is not None:
            return self.known(frame, frame.persons)
        near = None if self.source.video is None else self.tracker.near(step)
        square = self.square(frame.image)
        try:
            people = self.estimator(frame.image, square=square, person=self.args.person, near=near, frame=frame.number)
        except NoPersonError as error:
            if self.source.kind == "image":
                raise
            self.name_small(frame, error.too_small)
            return None
        self.name_small(frame, people.too_small)
        return people

    def known(self, frame: SourceFrame, persons: list[Person]) -> People | None:
        """Those whom keypoints give, or the one of them whom --person asks for."""
        number = self.args.person
        if number is not None:
            if not 0 <= number < max(len(persons), 1):
                raise DiffPoseError(f"--person {number}: {frame.name} has {len(persons)}, from 0, the largest first")
            persons = persons[number : number + 1]
        return People(persons, self.estimator.lift(persons, frame=frame.number)) if persons else None

    def name_small(self, frame: SourceFrame, sizes: Sequence[int]) -> None:
        """Say who is left out of a picture for their size; in a video count them."""
        if not sizes:
            return
        self.too_small.append(len(sizes))
        if self.source.video is None:
            text = " and ".join(f"{size} px" for size in sizes)
            print(f"{frame.name}: left out: people of {text}, {MIN_PERSON_PX} px are the least", file=sys.stderr)

    def small_note(self) -> str:
        """Who was left out in all frames; empty when nobody was."""
        if isinstance(self.source, KeypointSource):
            return self.source.note()
        if not self.too_small:
            return ""
        frames = "1 frame" if len(self.too_small) == 1 else f"{len(self.too_small)} frames"
        number = sum(self.too_small)
        return f"{number} too small {'person' if number == 1 else 'people'} left out in {frames}"

    def time_s(self, frame: SourceFrame) -> float | None:
        """When a frame was taken, s; None where nobody knows."""
        return frame.time_s if self.source.is_sequence and self.rate is not None else None

    def keep(self, rows: list[Row], frame: SourceFrame, step: int) -> None:
        """Put a frame's people into every output."""
        self.writer.add(rows)
        time_s = self.time_s(frame)
        label = self.source.label(frame)
        self.viewer.add(label, frame.image, rows, time_s=time_s, number=frame.number)
        if self.smoother is not None:
            self.smoother.add(frame.time_s, rows)
        if self.export is not None:
            self.export.add(frame, time_s, rows)
        for row in rows:
            self.agreement.add(row.consensus_mm, row.person)
        if rows and (self.pictures is None or self.pictures.wants(step)):
            path = self.output / f"{frame.output}_poses.png"
            save_png(path, draw(frame.image, rows, self.estimator.skeleton))
            if self.pictures is not None:
                self.pictures.made(step, path)


def mean_pose_of_training(config: str | None) -> np.ndarray | None:
    """The training set's mean pose (17, 3), which the shipped weights carry; None for other runs."""
    if config is not None:
        return None
    pose = load_file(SHIPPED_RUN.with_name("model-final.pt")).get("mean_pose_mm")
    return None if pose is None else pose.numpy()


def main() -> int:
    args = parse_arguments()
    demo = Demo(args)
    count = demo.run()
    print(f"{count} {'pose' if count == 1 else 'poses'} of {args.num_hypotheses} hypotheses; heatmaps: {demo.detector}")
    if demo.too_small:
        print(f"people: {demo.small_note()} ({MIN_PERSON_PX} px are the least)")
    elif note := demo.small_note():
        print(f"people: {note}")
    if args.smooth and demo.rate is None:
        print(f"smooth tracks: as if of {UNKNOWN_RATE:g} frames a second, for keypoints don't say it: give --fps")
    for line in demo.agreement.lines():
        print(line)
    if args.height_cm is None:
        print(f"scale: {SCALE_NOTE}")
    print(f"written to {demo.output}: poses.npz, poses.json, viewer.html, *_poses.png")
    for line in demo.export.write() if demo.export else []:
        print(line)
    return 0


if __name__ == "__main__":
    run_script(main)
