"""Export a run for other programs: ``python -m models.export --config <run>/config.yaml --format onnx``.

Writes two graphs with any batch size and chain.json, what else a chain needs, into a folder:
condition: cells (R, J, S) int64, likelihood (R, J, S) float32 -> condition (R, C);
denoiser: x (R, P), t (R,), condition (R, C), all float32 -> output (R, P).
Candidates are drawn outside, in numpy: demo/onnx_chain.py shows that and the whole chain.
"""

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor, nn

from models.build import build_plain_model
from models.candidates import Candidates
from models.condition_embedding import HeatmapEmbedding
from models.diffusion import CLAMP_M, GaussianDiffusion
from models.run import add_sampling_flags, load_run, sampling_overrides
from utils.config import Config
from utils.config.sampling import sampler_name
from utils.errors import DiffPoseError, one_line, run_script
from utils.files import written_in_one_step

FORMATS = {"onnx": ".onnx", "torch": ".pt2"}
GRAPHS = ("condition", "denoiser")


class ConditionGraph(nn.Module):
    """Candidates' cells (R, J, S) and likelihoods (R, J, S) -> conditions (R, C), with a fixed normalisation."""

    def __init__(self, model: GaussianDiffusion, center: float, scale: float):
        super().__init__()
        self.embedding = model.condition_emb
        self.register_buffer("center", torch.full((1, 1, 1, 1, 1), center))
        self.register_buffer("scale", torch.full((1, 1, 1, 1, 1), scale))

    def forward(self, cells: Tensor, likelihood: Tensor) -> Tensor:
        center, scale = self.center, self.scale
        return self.embedding(Candidates(cells.unsqueeze(1), likelihood.unsqueeze(1), center, scale, on_grid=True))


def graphs_of(model: GaussianDiffusion, config: Config) -> dict[str, tuple[nn.Module, dict[str, Tensor]]]:
    """Name -> module and example inputs by name. Raises DiffPoseError for a run whose condition can't be exported."""
    sampler, embedding = model.heatmap_sampler, model.condition_emb
    if not isinstance(embedding, HeatmapEmbedding) or sampler is None or "mean_std" in sampler.norm_method:
        raise DiffPoseError(
            "only a condition of drawn candidates in image coordinates is exported: CONDITION_TYPE embedded_poseformer "
            "with POS_EMB channel, or NORM_METHOD image or image_half, and without FULL_HEATMAP"
        )
    half = sampler.norm_method == "image_half"
    condition = ConditionGraph(model, 32.0, 64.0 if half else 32.0)
    pose, _, width = model.denoise_fn.parts
    shape = (3, config.dataset.cond_joints, config.model.extra.num_samples)
    return {
        "condition": (
            condition,
            {"cells": torch.arange(3 * shape[1] * shape[2]).view(shape) % 4096, "likelihood": torch.rand(shape)},
        ),
        "denoiser": (
            model.denoise_fn,
            {"x": torch.randn(3, pose), "t": torch.rand(3), "condition": torch.randn(3, width)},
        ),
    }


def chain_numbers(model: GaussianDiffusion, config: Config) -> dict[str, object]:
    """What a chain outside needs beside the graphs."""
    extra, name = config.model.extra, sampler_name(config.model, config.test)
    if name not in ("ancestral", "ddim", "euler", "heun") or config.test.variance != "posterior":
        raise DiffPoseError(
            f"--sampler {name}, variance {config.test.variance}: chains outside know ancestral with the posterior's "
            "variance, ddim, euler and heun"
        )
    return {
        "objective": model.objective,
        "start_deviation": model.start_deviation,
        "sampler": name,
        "steps": config.test.steps or model.timesteps,
        "timesteps": model.timesteps,
        "alphas_cumprod": model.alphas_cumprod.double().tolist(),
        "one_minus_alphas_cumprod": (model.sqrt_one_minus_alphas_cumprod.double() ** 2).tolist(),
        "noise_scale": model.noise_scale,
        "pose_scale": model.pose_scale,
        "clamp": CLAMP_M * model.pose_scale,
        "pose_numbers": model.pose_dim,
        "candidates": extra.num_samples,
        "with_argmax": not extra.without_argmax,
        "hips": list(model.skeleton.hips) if model.skeleton.root_from_hips else None,
        "eta": {"ancestral": 1.0, "ddim": config.test.eta}.get(name, 0.0),
    }


def export_graph(module: nn.Module, inputs: dict[str, Tensor], path: Path, output: str) -> None:
    """Write one graph, whose first axis may have any length. Raises DiffPoseError when a package is missing."""
    rows = torch.export.Dim("rows", min=1)
    shapes = {name: {0: rows} for name in inputs}
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one fused operator that other programs do not have
    try:
        program = torch.export.export(module.eval(), (), kwargs=inputs, dynamic_shapes=shapes)
        with written_in_one_step(path) as partial:
            if path.suffix == FORMATS["torch"]:
                torch.export.save(program, partial)
            else:
                names = {"input_names": list(inputs), "output_names": [output]}
                torch.onnx.export(program, (), partial, external_data=False, verbose=False, **names)
    except ImportError as error:
        raise DiffPoseError(f"--format onnx: {one_line(error)}: pip install -e '.[onnx]'") from None
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


def export_run(config: Config, model: GaussianDiffusion, folder: Path, *, kind: str) -> list[Path]:
    """Write both graphs and chain.json; returns their paths."""
    plain = build_plain_model(config)
    plain.load_state_dict(model.state_dict())
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with torch.no_grad():
        for name, (module, inputs) in graphs_of(plain.eval(), config).items():
            paths.append(folder / f"{name}{FORMATS[kind]}")
            export_graph(module, inputs, paths[-1], "condition" if name == "condition" else "output")
    paths.append(folder / "chain.json")
    with written_in_one_step(paths[-1]) as partial:
        partial.write_text(json.dumps(chain_numbers(plain, config), indent=1) + "\n", encoding="utf-8")
    return paths


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, help="config.yaml of a run folder")
    parser.add_argument("--checkpoint", help="another model-*.pt than the one beside the configuration")
    parser.add_argument("--format", choices=FORMATS, default="onnx", help="onnx, or torch for torch.export")
    parser.add_argument("--output", help="folder of the graphs (default: export/ in the run folder)")
    add_sampling_flags(parser)
    args = parser.parse_args()
    config, model, _ = load_run(args.config, overrides=sampling_overrides(args), checkpoint=args.checkpoint)
    folder = Path(args.output) if args.output else Path(args.config).parent / "export"
    for path in export_run(config, model, folder, kind=args.format):
        print(f"written {path}: {path.stat().st_size / 2**20:.1f} MB")
    for key, used in {"TEST.FLIP": config.test.flip, "TEST.CONDITION_SETS": config.test.condition_sets}.items():
        if used:
            print(f"note: {key} {str(used).lower()} of the run is not part of the export (docs/usage.md)")
    return 0


if __name__ == "__main__":
    run_script(main)
