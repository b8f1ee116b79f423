"""How uncertain x_0 is at each step: what the ancestral sampler's optimal variance needs, and its file beside a run.

Var(x_0 | x_t), averaged over x_t and the numbers of a pose, is the mean squared error of the network's x_0 (Bao et al.
2022, Analytic-DPM, theorem 1). Measure it on rows that were not trained on: on memorised ones it comes out too small.
"""

import json
import zlib
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from models.denoiser import flatten_pose
from models.diffusion import GaussianDiffusion
from utils.batch import model_input
from utils.errors import DiffPoseError
from utils.files import written_in_one_step
from utils.randomness import FrameDraws

FILE = "start_variance.json"
SETS = 4


@torch.no_grad()
def measure_start_variance(model: GaussianDiffusion, batches: Iterable[dict[str, Tensor]], *, seed: int = 0) -> Tensor:
    """Mean squared error of the predicted x_0 at each step, (T,), in squared network units.

    ``batches``: dicts with ``row`` (B,), ``target_m`` (B, J', 3) and heatmaps or 2D poses. Each frame is noised with
    4 noises, under 4 candidate sets; the draws are keyed by (seed, row).
    """
    model.eval()
    device, totals, count = model.betas.device, torch.zeros(model.timesteps, dtype=torch.float64), 0
    for batch in batches:
        draws = FrameDraws(seed, batch["row"].tolist(), device=device)
        start = model.pose_scale * flatten_pose(batch["target_m"].to(device)).unsqueeze(1)  # (B, 1, P)
        candidates = model.draw_condition_input(
            model_input(batch).to(device), SETS, draws, purpose="start_variance_candidates"
        )
        conditions = model.condition(candidates).unflatten(0, (len(start), -1))  # (B, 4 or 1, C)
        noise = draws.normal("start_variance_noise", SETS, model.pose_dim)  # (B, 4, P)
        for t in range(model.timesteps):
            x = model.sqrt_alphas_cumprod[t] * start + model.sqrt_one_minus_alphas_cumprod[t] * noise
            predicted = model.predict_start(x, t, model.denoise(x, t, conditions))
            totals[t] += float((predicted - start).square().mean(dim=(1, 2)).sum())
        count += len(start)
    return (totals / count).float()


def keep_start_variance(model: GaussianDiffusion, path: Path, *, source: str) -> None:
    """Write ``model.start_variance`` with a sentence on where it comes from."""
    content = {
        "what": "mean squared error of the predicted x_0 at each step, in squared network units",
        "source": source,
        "weights": _fingerprint(model),
        "start_variance": model.start_variance.tolist(),
    }
    with written_in_one_step(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_start_variance(model: GaussianDiffusion, path: Path) -> str | None:
    """Set ``model.start_variance`` from its file and return the source; None without a file for these very weights.

    Raises DiffPoseError for a damaged file.
    """
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        values = torch.tensor(content["start_variance"], dtype=torch.float32)
        source, weights = str(content["source"]), content["weights"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DiffPoseError(
            f"{path}: not a readable measurement ({type(error).__name__}): delete it; eval.py --variance optimal makes "
            "a new one"
        ) from None
    if weights != _fingerprint(model) or values.shape != model.betas.shape:
        return None
    model.start_variance = values
    return source


def _fingerprint(model: GaussianDiffusion) -> int:
    """A number that tells weights apart."""
    weights = model.denoise_fn.pose.weight.detach().float().cpu().contiguous()
    return zlib.crc32(weights.numpy().tobytes())
