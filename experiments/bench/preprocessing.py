"""Images per second of preprocessing against one image at a time: ``python experiments/bench/preprocessing.py``.

Makes a recording of 1000 x 1000 px in Human3.6M's formats and runs, in turn and each in a process of its own, (a) the
obvious loop in float32: decode every frame, crop and scale the fourth ones, HRNet on one image, append the maps; (b)
the real script's function in float32; (c) the same in bfloat16. All times include loading the weights. Random weights
unless a weight file is given, so the differences between the maps say something about rounding, not about accuracy.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import h5py
import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # this project's modules before any others

from data.preprocessing.conversion.command import preprocess
from data.preprocessing.h36m.names import recording_name
from data.preprocessing.h36m.source import FRAME_STEP, Human36M, load_recording
from models import hrnet
from models.hrnet import IMAGE_MEAN, IMAGE_SIZE, IMAGE_STD, HRNet, load_hrnet
from utils.errors import DiffPoseError, run_script

SIDE = 1000
SUBJECT, STEM = "S9", "Walking.54138969"
VARIANTS = ("plain", "float32", "bfloat16")


def make_recording(folder: Path, images: int) -> None:
    """``images`` x 4 frames of moving texture with annotations, as h36m-fetch would extract them."""
    from cdflib.cdfwrite import CDF

    rng = np.random.default_rng(0)
    frames = FRAME_STEP * images
    for name in ("Videos", "Poses_D2_Positions", "Poses_D3_Positions_mono"):
        (folder / SUBJECT / name).mkdir(parents=True)
    texture = cv2.resize(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8), (2 * SIDE, 2 * SIDE))
    path = folder / SUBJECT / "Videos" / f"{STEM}.mp4"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 50, (SIDE, SIDE))
    for frame in range(frames):
        shift = 3 * frame % SIDE
        image = texture[shift : shift + SIDE, shift // 2 : shift // 2 + SIDE].copy()
        cv2.circle(image, (300 + shift // 3, 500), 120, (30, 90, 200), -1)
        video.write(image)
    video.release()
    poses_2d = rng.uniform(250, 700, (frames, 64))
    poses_3d = rng.uniform(-900, 4000, (frames, 96))
    for name, values in (("Poses_D2_Positions", poses_2d), ("Poses_D3_Positions_mono", poses_3d)):
        spec = {
            "Variable": "Pose",
            "Data_Type": 44,
            "Num_Elements": 1,
            "Rec_Vary": True,
            "Dim_Sizes": list(values.shape),
        }
        with CDF(str(folder / SUBJECT / name / f"{STEM}.cdf"), cdf_spec={"Majority": "row_major"}) as file:
            file.write_var(spec, var_data=values[None].astype(np.float32))


def make_weights(path: Path) -> Path:
    """Random weights whose activations keep their size through the network."""
    torch.manual_seed(0)
    model = HRNet()
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
    torch.save(model.state_dict(), path)
    return path


@torch.inference_mode()
def run_plain(folder: Path, weights: Path, output: Path) -> None:
    """One image after the other: decode, crop, normalise, scale, detect, write."""
    model = load_hrnet(weights)
    stem = folder / SUBJECT
    path_2d, path_3d = (stem / name / f"{STEM}.cdf" for name in ("Poses_D2_Positions", "Poses_D3_Positions_mono"))
    frames = load_recording(recording_name(SUBJECT, STEM, STEM), path_2d, path_3d, stem / "Videos" / f"{STEM}.mp4")
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGE_MEAN, IMAGE_STD))
    video = cv2.VideoCapture(str(stem / "Videos" / f"{STEM}.mp4"))
    with h5py.File(output, "w") as file:
        shape = (16, 64, 64)
        maps = file.create_dataset("heatmap", (0, *shape), "f2", maxshape=(None, *shape), chunks=(1, *shape))
        for row, (left, top, right, bottom) in enumerate(frames.boxes.tolist()):
            for _ in range(FRAME_STEP):
                decoded, image = video.read()
            assert decoded
            image = torch.from_numpy(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)[top:bottom, left:right]).permute(2, 0, 1)
            image = ((image.float() / 255 - mean) / std)[None]
            image = F.interpolate(image, (IMAGE_SIZE, IMAGE_SIZE), mode="bilinear", align_corners=False)
            maps.resize(row + 1, axis=0)
            maps[row] = model(image)[0].half().numpy()


def run_child(arguments: argparse.Namespace) -> None:
    """Run one variant and print its seconds and peak memory as JSON."""
    start = time.perf_counter()
    raw, weights, output = arguments.folder / "raw", arguments.weights, arguments.folder / arguments.child
    if arguments.child == "plain":
        run_plain(raw, weights, output)
    else:
        given = ["--input_dir", raw, "--output_dir", output, "--weights", weights, "--subjects", SUBJECT, "--force"]
        given += ["--precision", arguments.child, "--device", arguments.device]
        preprocess(Human36M(), hrnet, "", [str(value) for value in given])
    seconds = time.perf_counter() - start
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu = usage.ru_utime + usage.ru_stime
    print(json.dumps({"seconds": seconds, "cpu": cpu, "bytes": 1024 * usage.ru_maxrss}))


def heatmaps(folder: Path, variant: str) -> np.ndarray:
    """The maps that a variant wrote: (N, 16, 64, 64) float32."""
    path = folder / variant if variant == "plain" else folder / variant / "H36M_dataset_h36m_hrnet.h5"
    with h5py.File(path, locking=False) as file:
        return file["heatmap" if variant == "plain" else "dataset/testset/heatmap"][()].astype(np.float32)


def report(folder: Path, results: dict[str, list[dict]], images: int) -> None:
    """Print the medians, the ratios and how much the maps differ."""
    truth = heatmaps(folder, "plain")
    spread = truth.max(axis=(2, 3)) - truth.min(axis=(2, 3))  # (N, 16)
    plain = statistics.median(run["seconds"] for run in results["plain"])
    for variant, runs in results.items():
        seconds = statistics.median(run["seconds"] for run in runs)
        cpu = statistics.median(run["cpu"] for run in runs) / images
        peak = max(run["bytes"] for run in runs) / 1e9
        difference = np.abs(heatmaps(folder, variant) - truth).max(axis=(2, 3)) / spread
        print(
            f"{variant:9} {images / seconds:6.2f} images/s  {plain / seconds:5.2f}x  "
            f"{cpu:.3f} CPU s an image  peak {peak:.2f} GB  "
            f"maps differ by {np.median(difference):.1e} (median), {difference.max():.1e} (largest) of their range"
        )


def main() -> None:
    """Run every variant in turn and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--weights", type=Path, help="HRNet weights (default: random ones)")
    parser.add_argument("--device", default="cpu", help="of our variants")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--child", choices=VARIANTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        run_child(arguments)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_recording(folder / "raw", arguments.images)
        weights = arguments.weights or make_weights(folder / "weights.pt")
        results: dict[str, list[dict]] = {variant: [] for variant in VARIANTS}
        for _ in range(arguments.rounds):
            for variant, runs in results.items():
                command = [sys.executable, __file__, "--child", variant, "--folder", folder, "--weights", weights]
                child = subprocess.run(
                    [*map(str, command), "--device", arguments.device], stdout=subprocess.PIPE, text=True, check=False
                )
                if child.returncode:
                    raise DiffPoseError(f"the run of {variant} failed: see above")
                runs.append(json.loads(child.stdout.splitlines()[-1]))
        print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, {arguments.images} images of {SIDE} px")
        report(folder, results, arguments.images)


if __name__ == "__main__":
    run_script(main)
