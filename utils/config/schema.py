"""Every configuration key, once: the YAML key is the field's name in upper case.

The sections are frozen dataclasses; each field carries its kind (type, range, allowed values) and a one-line
description. Values are checked whenever a section is made, so ``dataclasses.replace`` is as strict as a file.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from utils.config.sampling import FLOW_TIMES, SAMPLERS, VARIANCES, sampling_faults
from utils.config.values import (
    BadValueError,
    FlagOr,
    Number,
    Text,
    choice,
    flag,
    integer,
    names,
    number,
    option,
    text,
)
from utils.errors import DiffPoseError
from utils.precision import PRECISIONS
from utils.skeleton import HEATMAP_SIZE, NUM_HEATMAPS


@dataclass(frozen=True, kw_only=True)
class Section:
    """Checks its own fields; ``PREFIX`` is the section's path in the YAML file."""

    PREFIX: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if "kind" not in field.metadata:
                continue
            try:
                value = field.metadata["kind"].parse(getattr(self, field.name))
            except BadValueError as error:
                raise DiffPoseError(f"{self.PREFIX}{field.name.upper()}: {error}") from None
            object.__setattr__(self, field.name, value)


@dataclass(frozen=True, kw_only=True)
class DatasetConfig(Section):
    """Files and joints."""

    PREFIX = "DATASET."
    root: str = text("data/h36m", "folder of the HDF5 files; relative to the working directory")
    dataset: str = choice("h36m", ("h36m", "3DHP", "3dpw", "SkiPose"), "h36m, 3DHP, 3dpw or SkiPose")
    data_format: str = choice("h5", ("h5",), "file format; h5 is the only one")
    trainfile: str = text("", "training file, relative to ROOT", optional=True)
    testfile: str = text("", "test file, relative to ROOT", optional=True)
    valfile: str = text("", "file for validation during training; empty: TRAINFILE", optional=True)
    num_joints: int = integer(16, "predicted joints: 16, or 23 (3dpw)", choices=(16, 23))
    cond_joints: int = integer(NUM_HEATMAPS, "heatmaps an image has", choices=(NUM_HEATMAPS,))


@dataclass(frozen=True, kw_only=True)
class ExtraConfig(Section):
    """Candidates drawn from the heatmaps and their embedding."""

    PREFIX = "MODEL.EXTRA."
    num_samples: int = integer(32, "candidates per joint, the argmax included", minimum=1, maximum=100_000)
    norm_method: str | None = choice(
        None,
        ("image", "image_half", "mean_std", "mean_std_per_sample", "none"),
        "image, image_half, mean_std or mean_std_per_sample; none is image",
        otherwise="image",
        nullable=True,
    )
    drop_method: str = choice(
        "none", ("none", "any", "uncertain"), "joints to drop in training: none, any or uncertain"
    )
    drop_prob: float = number(0.1, "probability that DROP_METHOD drops a joint", maximum=1.0)
    sampleable: bool = flag(False, "draw a new candidate set for every hypothesis")
    pos_emb: str = choice("sin", ("channel", "sin", "linear"), "channel (it implies NORM_METHOD image), sin or linear")
    old: bool = flag(True, "output layer on each joint, then a sum; false: on all joints at once")
    proj_pos_emb: bool = flag(False, "linear projection of each candidate's embedding")
    no_replacement: bool = flag(False, "draw candidates without replacement")
    without_transformer: bool = flag(False, "skip the transformer over joints")
    without_argmax: bool = flag(False, "draw all candidates, without the argmax")
    without_posemb_scaling: bool = flag(False, "do not multiply embeddings by the candidates' likelihood")
    full_heatmap: bool = flag(False, "use all 4096 cells as candidates instead of drawing some")
    condition_ordered_samples: bool = flag(False, "concatenation: sort candidates by likelihood")
    concat_likelihood: bool = flag(False, "concatenation: append each candidate's likelihood")


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Section):
    """Network and diffusion process."""

    PREFIX = "MODEL."
    name: str = text("diffpose", "free text", optional=True)
    denoiser_type: str = choice(
        "base", ("base", "base_concat"), "legacy name, CONDITION_TYPE decides: base, base_concat if concatenated"
    )
    condition_type: str = choice(
        "pose_2d",
        ("embedded_poseformer", "heatmap_sampling_concatenated", "pose_2d", "none"),
        "embedded_poseformer, heatmap_sampling_concatenated, pose_2d or none",
    )
    condition_dim: int = integer(
        32, "width of the condition (embedding: of each joint); -1: concatenated", minimum=1, also=(-1,)
    )
    condition_key: str = choice("p2d_hrnet", ("heatmaps", "p2d_hrnet", "p2d_gt"), "heatmaps, p2d_hrnet or p2d_gt")
    diffusion_objective: str = choice(
        "pred_noise", ("pred_noise", "pred_x0", "velocity"), "pred_noise, pred_x0, or velocity for flow matching"
    )
    start_deviation: float = number(0.0, "pred_x0: how far x_0 lies from the output, to mix x_t in; 0: not")
    flow_time: str = choice("uniform", FLOW_TIMES, "velocity: times drawn in training, uniform or logit_normal")
    noise_scale: float = number(1.0, "factor on all noise of sampling: the start's and the steps'")
    timesteps: int = integer(1000, "diffusion steps", minimum=1, maximum=1_000_000)
    extra: ExtraConfig = dataclasses.field(default_factory=ExtraConfig)


@dataclass(frozen=True, kw_only=True)
class LossConfig(Section):
    """Training loss."""

    PREFIX = "LOSS."
    loss_type: str = choice("l1", ("l1", "l2"), "l1 or l2")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Section):
    """Optimisation, checkpoints and validation."""

    PREFIX = "TRAIN."
    batch_size_per_gpu: int = integer(32, "frames per step and device", minimum=1)
    gradient_accumulate_every: int = integer(2, "batches summed up before the optimiser steps", minimum=1)
    shuffle: bool = flag(True, "new order of the frames in every epoch")
    augment: bool = flag(False, "vary heatmaps as other detectors and crops would")
    on_device: bool = flag(False, "read all rows once and keep them on the device")
    cuda_graph: bool = flag(False, "on CUDA: record a step once, then repeat it; not in float16")
    num_steps: int = integer(70_000, "optimiser steps", minimum=1)
    optimizer: str = choice("adam", ("adam", "adamw"), "adam, or adamw with weight decay 0.01", otherwise="adamw")
    lr: float = number(0.001, "learning rate", above=0.0)
    use_step_lr: bool = flag(False, "multiply the rate by 0.1 after each 2/3 of NUM_STEPS")
    use_exp_decay: bool = flag(False, "multiply the rate by 0.995 every 1,000 steps")
    clip_grad: float | bool = option(
        False,
        FlagOr(Number(above=0.0), when_true=1.0),
        "largest gradient norm; true is 1.0, false is no limit",
    )
    amp: bool = flag(True, "mixed precision")
    amp_dtype: str = choice(
        "auto",
        ("auto", "bfloat16", "float16"),
        "auto is bfloat16 on CPU and float16 on CUDA; float16 scales the loss",
    )
    ema_decay: float = number(0.995, "largest decay of the averaged weights", maximum=1.0)
    scale_3d_pose: float = number(1.0, "factor on poses in metres before noise is added", above=0.0)
    cosine_offset: float = number(0.008, "offset s of the cosine noise schedule")
    resume: bool | str = option(
        False, FlagOr(Text()), "continue a run: true (from CHECKPOINT) or a training state's path"
    )
    checkpoint: str = text("", "what RESUME: true continues from", optional=True)
    start_from: str = text("", "model-*.pt whose raw weights a new run starts from; empty: fresh ones", optional=True)
    save_every: int = integer(10_000, "steps between saved checkpoints; 0: only the final one")
    keep: int = integer(2, "training states kept; older ones are deleted", minimum=1)
    validate_every: int = integer(0, "steps between validations; 0: never")
    validate_frames: int = integer(256, "frames of a validation", minimum=1)
    validate_hypo: int = integer(20, "hypotheses per frame of a validation", minimum=1)
    validate_subjects: tuple[str, ...] = names("subjects to validate on; empty: all of VALFILE's")
    subjects: tuple[str, ...] = names("subjects to train on, such as [S1, S6]; empty: the split's")
    log_every: int = integer(50, "steps between logged losses", minimum=1)

    @property
    def resume_from(self) -> str:
        """Path to continue from, '' for a fresh run.

        Raises DiffPoseError for RESUME: true without CHECKPOINT.
        """
        if self.resume is True and not self.checkpoint:
            raise DiffPoseError("TRAIN.RESUME: true needs the path of a training state in TRAIN.CHECKPOINT")
        return self.checkpoint if self.resume is True else (self.resume or "")


@dataclass(frozen=True, kw_only=True)
class TestConfig(Section):
    """Evaluation."""

    PREFIX = "TEST."
    batch_size_per_gpu: int = integer(64, "frames evaluated at once", minimum=1)
    num_hypo: int = integer(200, "hypotheses per frame", minimum=1)
    stride: int = integer(16, "every how many rows of the full test set one is evaluated", minimum=1)
    subjects: tuple[str, ...] = names("subjects to evaluate, such as [S9]; empty: the split's")
    actions: tuple[str, ...] = names("actions to evaluate, such as [Walking]; empty: all of the dataset's")
    chunk: int = integer(0, "hypotheses denoised at once; 0: automatic")
    sampler: str = choice("auto", SAMPLERS, "ancestral, ddim, dpm_solver; of flows euler, midpoint, heun; auto")
    steps: int = integer(0, "network calls for each hypothesis; 0: TIMESTEPS")
    eta: float = number(0.0, "ddim: share of the ancestral noise, 0 (none) to 1", maximum=1.0)
    variance: str = choice("posterior", VARIANCES, "ancestral: posterior, upper, or optimal (measured on VALFILE)")
    condition_sets: int = integer(0, "candidate sets that a frame's hypotheses share; 0: one for each")
    flip: bool = flag(False, "half of the hypotheses from mirrored heatmaps, and mirrored back")
    precision: str = choice(
        "float32", tuple(PRECISIONS), "the networks' arithmetic: float32, bfloat16, float16 or tf32"
    )
    weights: str = choice("raw", ("raw", "ema"), "raw, or ema for the averaged ones")


@dataclass(frozen=True, kw_only=True)
class Config(Section):
    """The whole configuration. Defaults that depend on other keys are resolved here, and nowhere else."""

    output_dir: str = text("output/diffpose", "run folders are named <OUTPUT_DIR>_<run name>")
    dataset: DatasetConfig = dataclasses.field(default_factory=DatasetConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    test: TestConfig = dataclasses.field(default_factory=TestConfig)
    workers: int = integer(2, "processes that load data; 0: load in the main process", maximum=1024)
    pin_memory: bool = flag(False, "page-locked memory for copies to a GPU")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model.extra.norm_method in (None, "none"):
            extra = dataclasses.replace(self.model.extra, norm_method=_norm_method(self.model))
            object.__setattr__(self, "model", dataclasses.replace(self.model, extra=extra))
        _check_together(self)

    @property
    def condition_width(self) -> int:
        """Numbers in the condition that the denoiser takes: 16 x CONDITION_DIM of the embedding, 16 x S x 2 of
        concatenated candidates (x 3 with their likelihoods), or CONDITION_DIM of a 2D pose."""
        if self.model.condition_type == "embedded_poseformer":
            return NUM_HEATMAPS * self.model.condition_dim
        if self.model.condition_type == "heatmap_sampling_concatenated":
            extra = self.model.extra
            return NUM_HEATMAPS * extra.num_samples * (3 if extra.concat_likelihood else 2)
        return self.model.condition_dim


def _norm_method(model: ModelConfig) -> str:
    if model.extra.norm_method == "none":
        return "image"
    return "image_half" if model.condition_type == "heatmap_sampling_concatenated" else "mean_std"


def _check_together(config: Config) -> None:
    """Refuse keys that do not fit each other. Raises DiffPoseError that names them."""
    data, model, extra = config.dataset, config.model, config.model.extra
    joints = 23 if data.dataset == "3dpw" else 16
    _need(data.num_joints == joints, f"DATASET.NUM_JOINTS: {data.dataset} needs {joints}, got {data.num_joints}")
    _need(
        model.start_deviation == 0 or model.diffusion_objective == "pred_x0",
        f"MODEL.START_DEVIATION: it is for DIFFUSION_OBJECTIVE pred_x0, not {model.diffusion_objective}; set it to 0",
    )
    kind, width = model.condition_type, model.condition_dim
    concatenated = kind == "heatmap_sampling_concatenated"
    from_heatmaps = concatenated or kind == "embedded_poseformer"
    keys = "heatmaps" if from_heatmaps else "p2d_hrnet or p2d_gt"
    _need(
        from_heatmaps == (model.condition_key == "heatmaps"),
        f"MODEL.CONDITION_KEY: CONDITION_TYPE {kind} needs {keys}, got {model.condition_key}",
    )
    _need(
        from_heatmaps or not config.train.augment,
        f"TRAIN.AUGMENT: it varies heatmaps, and CONDITION_TYPE {kind} has none; set it to false",
    )
    for wrong, why in (
        (not from_heatmaps, f"CONDITION_TYPE {kind} has no heatmaps"),
        (config.train.augment, "TRAIN.AUGMENT varies whole heatmaps"),
        (extra.full_heatmap, "FULL_HEATMAP takes whole heatmaps"),
        (extra.no_replacement, "NO_REPLACEMENT draws from whole heatmaps"),
    ):
        _need(not (config.train.on_device and wrong), f"TRAIN.ON_DEVICE: it keeps cells, and {why}; set it to false")
    _need(
        concatenated or model.denoiser_type != "base_concat",
        f"MODEL.DENOISER_TYPE: base_concat needs CONDITION_TYPE heatmap_sampling_concatenated, got {kind}",
    )
    if concatenated:
        full = config.condition_width
        _need(
            width in (-1, full),
            f"MODEL.CONDITION_DIM: CONDITION_TYPE {kind} needs -1 (here the same as {full}), got {width}",
        )
        _need(
            not extra.full_heatmap,
            f"MODEL.EXTRA.FULL_HEATMAP: CONDITION_TYPE {kind} takes drawn candidates only; set it to false",
        )
    elif kind == "embedded_poseformer":
        _need(width > 0, f"MODEL.CONDITION_DIM: CONDITION_TYPE {kind} needs a positive number, got {width}")
    else:
        widths = (32, 36) if data.dataset == "3dpw" else (32,)
        needed = " or ".join(map(str, widths))
        _need(width in widths, f"MODEL.CONDITION_DIM: CONDITION_TYPE {kind} needs {needed}, got {width}")
    for fault in sampling_faults(config.model, config.test):
        raise DiffPoseError(fault)
    drawn = extra.num_samples - (not extra.without_argmax)
    cells = HEATMAP_SIZE**2
    _need(
        not (from_heatmaps and extra.no_replacement and not extra.full_heatmap) or drawn <= cells,
        f"MODEL.EXTRA.NUM_SAMPLES: NO_REPLACEMENT draws at most {cells} cells, got {extra.num_samples}",
    )


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise DiffPoseError(message)


def section_of(field: dataclasses.Field[Any]) -> type[Section]:
    """The class of a field that holds a section: its default factory."""
    return cast(type[Section], field.default_factory)


def leaves(section: type[Section] = Config, prefix: str = "") -> dict[str, dataclasses.Field[Any]]:
    """Full YAML key ('TRAIN.LR') -> dataclass field, in the order of the file."""
    found: dict[str, dataclasses.Field[Any]] = {}
    for field in dataclasses.fields(section):
        key = prefix + field.name.upper()
        found |= {key: field} if "kind" in field.metadata else leaves(section_of(field), key + ".")
    return found


# Keys that shape the model and whose default, kept for published files, is not what the main experiment uses.
PUBLISHED_DEFAULTS = (
    "MODEL.CONDITION_TYPE",
    "MODEL.CONDITION_DIM",
    "MODEL.CONDITION_KEY",
    "MODEL.TIMESTEPS",
    "MODEL.EXTRA.DROP_METHOD",
    "MODEL.EXTRA.SAMPLEABLE",
    "MODEL.EXTRA.POS_EMB",
    "MODEL.EXTRA.OLD",
    "MODEL.EXTRA.PROJ_POS_EMB",
    "LOSS.LOSS_TYPE",
    "TRAIN.SCALE_3D_POSE",
)
