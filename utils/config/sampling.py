"""The samplers that a configuration can name, and which of its keys go together with which."""

from collections.abc import Iterator
from typing import Any

DIFFUSION_SAMPLERS = ("ancestral", "ddim", "dpm_solver")
FLOW_SAMPLERS = ("euler", "midpoint", "heun")
SAMPLERS = ("auto", *DIFFUSION_SAMPLERS, *FLOW_SAMPLERS)
FLOW_TIMES = ("uniform", "logit_normal")
VARIANCES = ("posterior", "upper", "optimal")
PUBLISHED_CHAIN = (
    *("TEST.SAMPLER=auto", "TEST.STEPS=0", "TEST.ETA=0", "TEST.VARIANCE=posterior", "TEST.CONDITION_SETS=0"),
    "TEST.FLIP=false",
)
"""Overrides that take back whatever in a run's configuration differs from the published way to sample."""


def sampler_name(model: Any, test: Any) -> str:
    """The sampler that the sections MODEL and TEST ask for; auto is the published chain, or Heun's for a flow."""
    if test.sampler == "auto":
        return "heun" if model.diffusion_objective == "velocity" else "ancestral"
    return test.sampler


def sampling_faults(model: Any, test: Any) -> Iterator[str]:
    """A line for each pair of keys of the sections MODEL and TEST that can't go together."""
    sampler, flow = sampler_name(model, test), model.diffusion_objective == "velocity"
    own = FLOW_SAMPLERS if flow else DIFFUSION_SAMPLERS
    if sampler not in own:
        yield (
            f"TEST.SAMPLER: MODEL.DIFFUSION_OBJECTIVE {model.diffusion_objective} takes auto, {', '.join(own)}, "
            f"got {sampler}"
        )
    if model.flow_time != "uniform" and not flow:
        yield f"MODEL.FLOW_TIME: {model.flow_time} is for DIFFUSION_OBJECTIVE velocity: set it to uniform"
    if test.eta and sampler != "ddim":
        yield f"TEST.ETA: it is for SAMPLER ddim, got SAMPLER {sampler}: set ETA to 0 or SAMPLER to ddim"
    if test.variance != "posterior" and sampler != "ancestral":
        yield (
            f"TEST.VARIANCE: {test.variance} is for SAMPLER ancestral, got SAMPLER {sampler}: set VARIANCE to posterior"
        )
    if test.steps > model.timesteps and not flow:
        yield f"TEST.STEPS: at most MODEL.TIMESTEPS ({model.timesteps}) steps, got {test.steps}"
    if test.flip and model.condition_key != "heatmaps":
        yield "TEST.FLIP: it mirrors heatmaps, and this model reads none: set it to false"
    if test.condition_sets > 1 and not _draws_sets(model):
        yield (
            f"TEST.CONDITION_SETS: all hypotheses share one condition here, got {test.condition_sets}: set it to 0, "
            "or train with MODEL.EXTRA.SAMPLEABLE"
        )


def _draws_sets(model: Any) -> bool:
    extra = model.extra
    return model.condition_type == "embedded_poseformer" and extra.sampleable and not extra.full_heatmap
