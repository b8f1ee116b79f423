"""Evaluate a trained run, or score predictions: ``python eval.py --config <run folder>/config.yaml``.

Samples once, scores every split, and writes report.json, report.txt and pictures into the run folder.
"""

import argparse
import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from data.loader import lost_workers_named, make_loader
from data.pose_dataset import PoseDataset
from data.recordings import recordings_of
from data.splits import SPLITS, evaluation_set, expected_actions, training_set, validation_set
from models import build_sampler
from models.diffusion import GaussianDiffusion
from models.run import add_sampling_flags, load_run, sampling_overrides
from models.start_variance import FILE as START_VARIANCE
from models.start_variance import keep_start_variance, measure_start_variance, read_start_variance
from utils.config import Config, change_config, flatten_config, load_config
from utils.distributed import Processes
from utils.errors import DiffPoseError, run_script, seed_number
from utils.evaluation import BY_ACTION, BY_FRAME, SplitInfo, SplitResult, evaluate
from utils.evaluation.baselines import ImageBlindBaseline
from utils.evaluation.consensus import RULES
from utils.evaluation.inference import predict
from utils.evaluation.plotting import PictureSample, plot_best_of_n, plot_calibration, plot_hypotheses, plot_spread
from utils.evaluation.predictions import PredictionFile, PredictionWriter
from utils.evaluation.report import EASY_FRAMES, HARD_FRAMES, write_report
from utils.memory import keep_freed_memory
from utils.precision import usable_precision
from utils.skeleton import ALL_JOINTS, JOINT_SETS, joint_set_for, skeleton_for
from utils.tracking import Tracker

PICTURES_PER_SPLIT = 4
BLIND_POSES = 50_000
# What a predictions file takes of a batch.
PREDICTED = ("row", "hypotheses_mm", "z0_mm", "gt_mm", "valid")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--config", required=True, help="config.yaml of a run folder; its model-final.pt stands beside it"
    )
    parser.add_argument("--checkpoint", help="another model-*.pt than the one beside the configuration")
    parser.add_argument(
        "--predictions", help="score this predictions.h5 (ours or another method's); nothing is sampled"
    )
    parser.add_argument("--save_predictions", action="store_true", help="keep the poses in predictions_<split>.h5")
    parser.add_argument("--split", choices=SPLITS, help="only this split (default: full, and hard if it has rows)")
    parser.add_argument("--num_hypotheses", type=int, help="hypotheses a frame (TEST.NUM_HYPO)")
    parser.add_argument("--stride", type=int, help="every how many test rows make the full split (TEST.STRIDE)")
    parser.add_argument("--actions", nargs="+", help="only these actions (TEST.ACTIONS)")
    parser.add_argument(
        "--joints", choices=JOINT_SETS, default=ALL_JOINTS, help="all joints, or the 13 that all skeletons share"
    )
    parser.add_argument("--weights", choices=("raw", "ema"), help="trained or averaged weights (TEST.WEIGHTS)")
    parser.add_argument("--precision", help="float32, tf32, bfloat16 or float16 (TEST.PRECISION)")
    parser.add_argument("--seed", type=seed_number, default=0, help="decides every draw")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--skip_bad", action="store_true", help="leave out and count rows that can't be used")
    parser.add_argument("--no_pictures", action="store_true", help="write the report only")
    parser.add_argument("--output", help="folder of the report (default: the configuration's folder)")
    parser.add_argument("--do_not_use_wandb", action="store_true", help="do not log to Weights & Biases")
    add_sampling_flags(parser)
    args = parser.parse_args()
    for name in ("num_hypotheses", "stride"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise DiffPoseError(f"--{name} {value}: it must be at least 1")
    return args


def overrides(args: argparse.Namespace) -> list[str]:
    """The flags that stand for a configuration key, as overrides."""
    flags = {
        "TEST.NUM_HYPO": args.num_hypotheses,
        "TEST.STRIDE": args.stride,
        "TEST.WEIGHTS": args.weights,
        "TEST.PRECISION": args.precision,
        "TEST.ACTIONS": args.actions and f"[{', '.join(args.actions)}]",
    }
    return sampling_overrides(args) + [f"{key}={value}" for key, value in flags.items() if value is not None]


def evaluation_sets(config: Config, args: argparse.Namespace) -> dict[str, PoseDataset]:
    """Split name -> dataset; without --split the hard one is left out where no row is marked as hard."""
    if args.split:
        return {args.split: evaluation_set(config, args.split, skip_bad=args.skip_bad)}
    sets = {"full": evaluation_set(config, "full", skip_bad=args.skip_bad)}
    try:
        sets["hard"] = evaluation_set(config, "hard", skip_bad=args.skip_bad)
    except DiffPoseError as error:
        if Processes.from_environment().is_main:
            print(f"note: the hard split is left out ({error})")
    return sets


def blind_baseline(config: Config, args: argparse.Namespace) -> ImageBlindBaseline | None:
    """The rows that never see an image, from the training split if it is there."""
    try:
        poses = training_set(config, skip_bad=True).poses_mm(limit=BLIND_POSES)
    except DiffPoseError as error:
        if Processes.from_environment().is_main:
            print(f"note: no image-blind rows ({error})")
        return None
    return ImageBlindBaseline(poses, num_hypotheses=config.test.num_hypo, seed=args.seed)


def by_ambiguity(dataset: PoseDataset) -> dict[str, list[int]]:
    """The rows that are marked as ambiguous, and the others."""
    hard = np.asarray(dataset.meta["hardsubset"], dtype=bool)
    return {EASY_FRAMES: dataset.rows[~hard].tolist(), HARD_FRAMES: dataset.rows[hard].tolist()}


def with_pictures(batches: Iterable[dict], dataset: PoseDataset, samples: list[PictureSample]) -> Iterator[dict]:
    """Pass batches through, and keep a few evenly spread frames to draw."""
    places = np.linspace(0, len(dataset) - 1, min(PICTURES_PER_SPLIT, len(dataset))).round().astype(int)
    titles = {
        int(dataset.rows[i]): f"{dataset.meta['action'][i]}, {dataset.meta['subject'][i]}, row {dataset.rows[i]}"
        for i in places
    }
    for batch in batches:
        for i, row in enumerate(np.asarray(batch["row"]).tolist()):
            if row in titles:
                hypotheses, truth = (
                    np.asarray(batch[key][i].cpu() if hasattr(batch[key], "cpu") else batch[key][i])
                    for key in ("hypotheses_mm", "gt_mm")
                )
                heatmap = batch["heatmap"][i].float().numpy() if "heatmap" in batch else None
                samples.append(PictureSample(titles[row], hypotheses, truth, heatmap))
        yield batch


def with_file(batches: Iterable[dict], writer: PredictionWriter, processes: Processes) -> Iterator[dict]:
    """Pass batches through, and write those of all processes to a predictions file."""

    def needed(batch: dict) -> dict:
        return {key: torch.as_tensor(batch[key]).cpu() for key in PREDICTED if batch.get(key) is not None}

    with writer if processes.is_main else contextlib.nullcontext():
        for own, everyones in processes.rounds(batches, needed):
            for batch in everyones:
                writer.append(batch)
            if own is not None:
                yield own


class Evaluation:
    """What scoring every split needs: where poses come from, and what is written about them."""

    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.processes = Processes.from_environment()
        self.device = self.processes.device(args.device)
        config_path = Path(args.config)
        self.output = Path(args.output) if args.output else config_path.parent
        self.checkpoint = self.sampler = None
        self.notes: tuple[str, ...] = ()
        if args.predictions:
            self.config = load_config(config_path, overrides(args))
        else:
            self.config, model, self.checkpoint = load_run(
                config_path, overrides=overrides(args), checkpoint=args.checkpoint, device=self.device
            )
            if self.config.test.variance == "optimal":
                self.notes += (self.start_variance(model),)
            self.sampler = build_sampler(model, self.config)
        self.skeleton = skeleton_for(self.config.dataset.dataset)
        self.joint_set = joint_set_for(args.joints, self.skeleton)
        self.samples: dict[str, list[PictureSample]] = {}

    def start_variance(self, model: GaussianDiffusion) -> str:
        """What TEST.VARIANCE optimal is taken from, in words; measured and kept beside the checkpoint if need be."""
        path = self.checkpoint.with_name(START_VARIANCE)
        source = read_start_variance(model, path)
        if source is None:
            rows = validation_set(self.config)
            file = self.config.dataset.valfile or self.config.dataset.trainfile
            subjects = ", ".join(self.config.train.validate_subjects) or "all subjects"
            source = f"{len(rows)} validation rows of {file} ({subjects})"
            loader = make_loader(rows, batch_size=self.config.test.batch_size_per_gpu)
            model.start_variance = measure_start_variance(model, loader).to(self.device)
            if self.processes.is_main:
                keep_start_variance(model, path, source=source)
        return f"optimal variance measured on {source}"

    def batches(self, split: str, dataset: PoseDataset) -> tuple[Iterator[dict], np.ndarray]:
        """Batches of a split with hypotheses and truth, sampled or read from --predictions; and rows left out."""
        args, test = self.args, self.config.test
        if args.predictions:
            file = PredictionFile(args.predictions, skeleton=self.skeleton)
            rows, truth = dataset.truth()
            missing = file.missing(rows)
            if args.skip_bad:
                present = np.isin(rows, missing, invert=True)
                rows, truth = rows[present], truth[present]
            elif len(missing):
                raise DiffPoseError(
                    f"{args.predictions}: has no prediction for {len(missing)} of the {len(rows)} rows of split "
                    f"'{split}' (the first is row {missing[0]}): give all of them, choose --split and --stride, or "
                    "leave them out with --skip_bad"
                )
            batches = file.batches(batch_size=test.batch_size_per_gpu, rows=rows, gt_mm=truth)
            return batches, np.setdiff1d(dataset.rows, rows)
        processes = self.processes
        loader = make_loader(
            dataset,
            batch_size=test.batch_size_per_gpu,
            workers=self.config.workers,
            rank=processes.rank,
            world_size=processes.world_size,
        )
        description = split if processes.is_main else ""
        batches = predict(loader, self.sampler, seed=args.seed, device=self.device, description=description)
        if not args.save_predictions:
            return batches, dataset.rows[:0]
        attrs = {
            "dataset_file": str(dataset.path),
            "split": split,
            "seed": args.seed,
            "checkpoint": str(self.checkpoint),
        }
        path = self.output / f"predictions_{split}.h5"
        writer = PredictionWriter(path, skeleton=self.skeleton, attrs=attrs)
        return with_file(batches, writer, processes), dataset.rows[:0]

    def score(self, split: str, dataset: PoseDataset, blind: ImageBlindBaseline | None) -> SplitResult | None:
        """Score one split: the full one by action, the hard one by frame. In process 0; None in the others."""
        config = self.config
        info = SplitInfo(
            split=split,
            dataset=config.dataset.dataset,
            source=dataset.source,
            is_human36m=dataset.is_human36m,
            stride=dataset.stride,
            seed=self.args.seed,
            weights="" if self.args.predictions else config.test.weights,
            checkpoint=str(self.args.predictions or self.checkpoint),
            precision=usable_precision(config.test.precision, self.device),
            notes=(f"heatmaps: {dataset.detector}", *self.notes),
        )
        batches, left_out = self.batches(split, dataset)
        samples: list[PictureSample] = []
        result = evaluate(
            with_pictures(batches, dataset, samples),
            skeleton=self.skeleton,
            info=info,
            groups=dict(zip(dataset.rows.tolist(), dataset.meta["action"].tolist(), strict=True)),
            averaging=BY_ACTION if split == "full" else BY_FRAME,
            expected_groups=expected_actions(config, dataset),
            subsets=by_ambiguity(dataset) if split == "full" else None,
            recordings=recordings_of(dataset),
            joint_set=self.joint_set,
            blind=blind,
            estimators=RULES,
            skipped_rows=left_out.tolist(),
            processes=self.processes,
        )
        self.samples[split] = [sample for part in self.processes.gather(samples) for sample in part]
        return result

    def draw(self, results: list[SplitResult]) -> None:
        """Pictures beside the report."""
        for split, samples in self.samples.items():
            plot_hypotheses(self.output / f"hypotheses_{split}.png", samples, self.skeleton)
        plot_best_of_n(self.output / "best_of_n.png", results)
        plot_calibration(self.output / "calibration.png", results)
        plot_spread(self.output / "spread.png", results[0])


def main() -> int:
    args = parse_arguments()
    keep_freed_memory()
    evaluation = Evaluation(args)
    processes = evaluation.processes
    sets = evaluation_sets(evaluation.config, args)
    if args.predictions:
        if processes.world_size > 1:
            raise DiffPoseError("--predictions: scoring a file is one process's work: start it without torchrun")
        count = PredictionFile(args.predictions, skeleton=evaluation.skeleton).num_hypotheses
        evaluation.config = change_config(evaluation.config, [f"TEST.NUM_HYPO={count}"])
    blind = blind_baseline(evaluation.config, args)
    with processes.joined(evaluation.device), lost_workers_named():
        results = [evaluation.score(split, dataset, blind) for split, dataset in sets.items()]
    if not processes.is_main:
        return 0
    print(write_report(results, evaluation.output))
    if not args.no_pictures:
        evaluation.draw(results)
    print(f"written to {evaluation.output}")
    tracker = Tracker(use_wandb=not args.do_not_use_wandb, config=flatten_config(evaluation.config))
    for result in results:
        numbers = {
            f"{result.info.split}/{row}_{key}": value
            for row, scores in result.rows.items()
            for key, value in scores.items()
        }
        tracker.log(0, **numbers)
    tracker.close()
    return 0


if __name__ == "__main__":
    run_script(main)
