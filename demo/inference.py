"""3D poses from a picture, a folder of pictures or a video: ``python demo/inference.py --input person.jpg``.

Writes poses.npz, poses.json, viewer.html and PNG pictures into the output folder.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from demo.agreement import Agreement
from demo.detectors import DETECTORS, NoPersonError, given_square
from demo.estimator import SHIPPED_RUN, People, PoseEstimator
from demo.fetch import DEMO_VIDEO, fetch
from demo.images import images_in, kind_of, read_image
from demo.output import SCALE_NOTE, ResultWriter, Row, prepare_folder, rows_of
from demo.people import PersonTracker
from demo.pictures import draw, save_png
from demo.video import Video
from demo.viewer import ViewerWriter
from models.run import add_sampling_flags, sampling_overrides
from utils.checkpoint import load_file
from utils.errors import DiffPoseError, run_script

PICTURES_OF_A_VIDEO = 4


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--input", required=True, help="image, folder of images, or video; 'demo': a video that pip fetches"
    )
    parser.add_argument("--config", help="config.yaml of a run folder (default: the weights that ship)")
    parser.add_argument("--checkpoint", help="another model-*.pt than the one beside the configuration")
    parser.add_argument("--detector", choices=DETECTORS, default="auto", help="auto: hrnet if its weights are there")
    parser.add_argument("--num_hypotheses", type=int, default=200, help="3D hypotheses a person")
    parser.add_argument("--output", default="output/demo", help="folder of the results")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--bbox", nargs=4, type=float, metavar=("X", "Y", "W", "H"), help="box around one person, px")
    place.add_argument("--whole_image", action="store_true", help="the whole image shows one person")
    parser.add_argument("--person", type=int, help="only this person, numbered from 0, the largest first")
    parser.add_argument("--every", type=int, default=1, help="of a video, every K-th frame")
    parser.add_argument("--height_cm", type=float, help="the person's height; else poses are an average body's size")
    parser.add_argument("--seed", type=int, default=0, help="decides every draw")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    add_sampling_flags(parser)
    args = parser.parse_args()
    if args.every < 1:
        raise DiffPoseError(f"--every {args.every}: it must be at least 1")
    if args.bbox and min(args.bbox[2:]) < 1:
        raise DiffPoseError(
            f"--bbox {' '.join(f'{v:g}' for v in args.bbox)}: x y width height, the last two at least 1"
        )
    return args


class Source:
    """What the demo looks at: frames with a name, a number and pixels, one at a time."""

    def __init__(self, text: str, every: int):
        path = fetch(DEMO_VIDEO)[0] if text == "demo" else Path(text)
        self.kind, self.name = kind_of(path), path.name or str(path)
        self.video = Video(path, every=every) if self.kind == "video" else None
        self.paths = images_in(path) if self.kind == "folder" else [path]

    def __len__(self) -> int:
        return len(self.video) if self.video else len(self.paths)

    def __iter__(self) -> Iterator[tuple[str, int, np.ndarray]]:
        if self.video:
            yield from ((self.name, number, image) for number, image in self.video)
            return
        for number, path in enumerate(self.paths):
            try:
                yield path.name, number, read_image(path)
            except DiffPoseError as error:
                if self.kind == "image":
                    raise
                print(f"warning: left out: {error}", file=sys.stderr)

    def label(self, name: str, number: int) -> str:
        """What the viewer calls a frame."""
        return f"{number / self.video.fps:.2f} s, frame {number}" if self.video else name


class Demo:
    """Frames in, files out."""

    def __init__(self, args: argparse.Namespace):
        self.args, self.output = args, prepare_folder(args.output)
        self.source = Source(args.input, args.every)
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
        fps = video.fps / args.every if video else None
        title = f"DiffPose: {self.source.name}"
        self.viewer = ViewerWriter(skeleton=skeleton, expected_frames=len(self.source), title=title, fps=fps)
        about = {
            "input": self.source.name,
            "model": str(args.config or "shipped with the demo"),
            "seed": args.seed,
            "num_hypotheses": args.num_hypotheses,
            "height_cm": args.height_cm,
            "fps": video.fps if video else None,
            "scale": f"{args.height_cm:g} cm tall" if args.height_cm else SCALE_NOTE,
            "detector": self.estimator.detector.name,
        }
        self.writer = ResultWriter(self.output, joints=skeleton.joints, bones=skeleton.bones, about=about)
        self.pictured = set(
            np.linspace(0, max(len(self.source) - 1, 0), PICTURES_OF_A_VIDEO).round().astype(int) * args.every
        )

    def square(self, image: np.ndarray):
        """The square that the user gives, if any."""
        if self.args.bbox:
            return given_square(*self.args.bbox)
        return given_square(0, 0, image.shape[1], image.shape[0]) if self.args.whole_image else None

    def run(self) -> int:
        """Go through all frames. Returns how many people were lifted."""
        from tqdm import tqdm

        tracker, start, frames = PersonTracker(), time.perf_counter(), 0
        with self.writer:
            bar = tqdm(self.source, total=len(self.source), unit="frame", disable=len(self.source) < 2)
            for step, (name, number, image) in enumerate(bar):
                frames += 1
                people = self.look(image, number, tracker, step)
                numbers = range(len(people.persons)) if people else []
                if people and self.source.video:
                    numbers = tracker.number(people.persons, step)
                rows = rows_of(name, number, list(numbers), people.persons, people.poses) if people else []
                self.keep(rows, name, number, image)
            if not len(self.writer):
                raise DiffPoseError(
                    f"{self.args.input}: no person found in {frames} frame{'s' * (frames != 1)}: give a box around one "
                    "with --bbox x y w h, or try --whole_image"
                )
        self.viewer.write(self.output / "viewer.html")
        seconds = time.perf_counter() - start
        if frames > 1:
            print(f"{frames} frames in {seconds:.1f} s: {frames / seconds:.2f} frames/s")
        return len(self.writer)

    def look(self, image: np.ndarray, number: int, tracker: PersonTracker, step: int) -> People | None:
        """Everyone in a frame; None where nobody is found and other frames may have somebody."""
        near = tracker.near(step) if self.source.video else None
        try:
            return self.estimator(image, square=self.square(image), person=self.args.person, near=near, frame=number)
        except NoPersonError:
            if self.source.kind == "image":
                raise
            return None

    def keep(self, rows: list[Row], name: str, number: int, image: np.ndarray) -> None:
        """Put a frame's people into every output."""
        self.writer.add(rows)
        self.viewer.add(self.source.label(name, number), image, rows)
        for row in rows:
            self.agreement.add(row.consensus_mm, row.person)
        if rows and (not self.source.video or number in self.pictured):
            stem = f"frame_{number:06d}" if self.source.video else Path(name).stem
            save_png(self.output / f"{stem}_poses.png", draw(image, rows, self.estimator.skeleton))


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
    print(
        f"{count} {'pose' if count == 1 else 'poses'} of {args.num_hypotheses} hypotheses; "
        f"heatmaps: {demo.estimator.detector.name}"
    )
    for line in demo.agreement.lines():
        print(line)
    if args.height_cm is None:
        print(f"scale: {SCALE_NOTE}")
    print(f"written to {demo.output}: poses.npz, poses.json, viewer.html, *_poses.png")
    return 0


if __name__ == "__main__":
    run_script(main)
