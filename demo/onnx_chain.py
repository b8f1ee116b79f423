"""An exported run in numpy, without PyTorch: ``python demo/onnx_chain.py <run>/export maps.npy hypotheses.npy``."""

import itertools
import json
import sys
from pathlib import Path

import numpy as np


def draw_candidates(maps, uniform, with_argmax):
    """Cells and likelihoods (N * H, J, S) from maps (N, J, 64, 64) and uniform numbers (N, H, J, S or S - 1)."""
    flat = maps.astype(np.float32).reshape(*maps.shape[:2], -1)  # (N, J, 4096)
    cumulative = np.maximum(flat, 0).cumsum(-1, dtype=np.float64).astype(np.float32)
    cells = np.empty(uniform.shape, np.int64)
    for n, j in np.ndindex(*maps.shape[:2]):
        level = np.minimum(uniform[n, :, j] * cumulative[n, j, -1], np.nextafter(cumulative[n, j, -1], np.float32(0)))
        cells[n, :, j] = np.searchsorted(cumulative[n, j], level, side="right")
    if with_argmax:
        cells = np.concatenate([np.broadcast_to(flat.argmax(-1)[:, None, :, None], (*cells.shape[:3], 1)), cells], -1)
    return tuple(part.reshape(-1, *part.shape[2:]) for part in (cells, np.take_along_axis(flat[:, None], cells, -1)))


def run_chain(network, chain, noise):
    """From noise to x_0 (R, P); ``network(x, t)`` is the denoiser, ``noise()`` gives (R, P)."""
    calls, times, heun = chain["steps"], chain["timesteps"], chain["sampler"] == "heun"
    x = chain["noise_scale"] * noise()
    if chain["objective"] == "velocity":
        for t, s in itertools.pairwise(np.linspace(1, 0, (-(-calls // 2) if heun else calls) + 1)):
            velocity = network(x, times * t)
            if heun and not (s == 0 and calls % 2):
                velocity = (velocity + network(x + (s - t) * velocity, times * s)) / 2
            x = x + (s - t) * velocity
        return x
    steps = np.round(np.linspace(times - 1, 0, calls)).astype(int)  # of DDIM; with eta 1 it is the ancestral chain
    alpha = np.sqrt([*chain["alphas_cumprod"], 1.0])  # the data itself comes last
    sigma = np.sqrt([*chain["one_minus_alphas_cumprod"], 0.0])
    share = (alpha * chain["start_deviation"]) ** 2
    for t, s in zip(steps, [*steps[1:], -1], strict=True):
        output = network(x, t)
        start = output if chain["objective"] == "pred_x0" else (x - sigma[t] * output) / alpha[t]
        known = share[t] / (share[t] + sigma[t] ** 2)
        start = np.clip(known * x / alpha[t] + (1 - known) * start, -chain["clamp"], chain["clamp"])
        d = chain["eta"] * sigma[s] / sigma[t] * np.sqrt(1 - (alpha[t] / alpha[s]) ** 2)
        x = alpha[s] * start + np.sqrt(sigma[s] ** 2 - d**2) * (x - alpha[t] * start) / sigma[t]
        x = x + chain["noise_scale"] * d * noise() if d else x
    return x


def poses_mm(x, chain):
    """Network units (R, P) -> root-centred poses (R, J, 3) in mm."""
    poses = 1000 * x.reshape(len(x), 3, -1).transpose(0, 2, 1) / chain["pose_scale"]
    if chain["hips"]:  # the root is not predicted: it is the midpoint of the hips
        poses = np.concatenate([poses[:, np.array(chain["hips"]) - 1].mean(1, keepdims=True), poses], axis=1)
    return poses - poses[:, :1]


def open_run(folder):
    """An export's chain.json and two graphs, for any number of calls of ``lift``."""
    from onnxruntime import InferenceSession

    graphs = (InferenceSession(Path(folder) / f"{name}.onnx") for name in ("condition", "denoiser"))
    return json.loads((Path(folder) / "chain.json").read_text()), *graphs


def lift(maps, hypotheses, draws, chain, embed, denoise):
    """Heatmaps (N, 16, 64, 64) -> hypotheses (N, H, J, 3) in mm; ``draws`` has numpy's random() and normal()."""
    uniform = draws.random((len(maps), hypotheses, maps.shape[1], chain["candidates"] - chain["with_argmax"]))
    cells, likelihood = draw_candidates(maps, uniform.astype(np.float32), chain["with_argmax"])
    condition = embed.run(None, {"cells": cells, "likelihood": likelihood})[0]

    def network(x, t):
        return denoise.run(None, {"x": np.float32(x), "t": np.full(len(x), t, np.float32), "condition": condition})[0]

    x = run_chain(network, chain, lambda: draws.normal(size=(len(condition), chain["pose_numbers"])))
    return poses_mm(x, chain).reshape(len(maps), hypotheses, -1, 3)


if __name__ == "__main__":
    np.save(sys.argv[3], lift(np.load(sys.argv[2]), 200, np.random.default_rng(0), *open_run(sys.argv[1])))
