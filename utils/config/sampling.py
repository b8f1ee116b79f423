"""The samplers that a configuration can name, and which of its keys go together with which."""

from collections.abc import Iterator
from typing import Any

DIFFUSION_SAMPLERS = ("ancestral", "ddim", "dpm_solver")
SAMPLERS = ("auto", *DIFFUSION_SAMPLERS)
VARIANCES = ("posterior", "upper", "optimal")


def sampler_name(model: Any, test: Any) -> str:
    """The sampler that the sections MODEL and TEST ask for, auto resolved."""
    return "ancestral" if test.sampler == "auto" else test.sampler


def sampling_faults(model: Any, test: Any) -> Iterator[str]:
    """A line for each pair of keys of the sections MODEL and TEST that can't go together."""
    sampler = sampler_name(model, test)
    if test.eta and sampler != "ddim":
        yield f"TEST.ETA: it is for SAMPLER ddim, got SAMPLER {sampler}: set ETA to 0 or SAMPLER to ddim"
    if test.variance != "posterior" and sampler != "ancestral":
        yield (
            f"TEST.VARIANCE: {test.variance} is for SAMPLER ancestral, got SAMPLER {sampler}: set VARIANCE to posterior"
        )
    if test.steps > model.timesteps:
        yield f"TEST.STEPS: at most MODEL.TIMESTEPS ({model.timesteps}) steps, got {test.steps}"
    if test.condition_sets > 1 and not _draws_sets(model):
        yield (
            f"TEST.CONDITION_SETS: all hypotheses share one condition here, got {test.condition_sets}: set it to 0, "
            "or train with MODEL.EXTRA.SAMPLEABLE"
        )


def _draws_sets(model: Any) -> bool:
    extra = model.extra
    return model.condition_type == "embedded_poseformer" and extra.sampleable and not extra.full_heatmap
