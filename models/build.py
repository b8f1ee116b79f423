"""Model, sampler and trainer of a configuration; and the one place that puts the faster parts of models/fast in."""

from functools import partial

from torch import nn

from models.condition_embedding import CandidateConcatenation, HeatmapEmbedding, PoseCondition
from models.denoiser import Denoiser
from models.diffusion import GaussianDiffusion
from models.fast import InferenceNetwork, StepRecording, use_fast_layers, wants_recording
from models.flip import FlipSampler
from models.flow import Euler, FlowMatching, Heun, Midpoint
from models.heatmap_sampler import HeatmapSampler
from models.samplers import Ancestral, Ddim, DpmSolver, PoseSampler, Sampler
from models.trainer import Trainer
from utils.config import Config
from utils.config.sampling import sampler_name
from utils.distributed import SINGLE, Processes
from utils.errors import DiffPoseError
from utils.precision import usable_precision
from utils.skeleton import skeleton_for


def build_model(config: Config) -> GaussianDiffusion:
    """The diffusion model of a configuration, with fresh weights from torch's global generator."""
    return use_fast_layers(build_plain_model(config))


def build_plain_model(config: Config) -> GaussianDiffusion:
    """The same with PyTorch's own layers: equal names and, from the same state of the generator, equal weights."""
    model = config.model
    skeleton = skeleton_for(config.dataset.dataset)
    condition_emb, heatmap_sampler, sampleable = _condition_parts(config)
    velocity = model.diffusion_objective == "velocity"
    build = partial(FlowMatching, time=model.flow_time) if velocity else GaussianDiffusion
    return build(
        denoise_fn=Denoiser(pose_dim=3 * skeleton.num_predicted, condition_dim=config.condition_width),
        condition_emb=condition_emb,
        heatmap_sampler=heatmap_sampler,
        skeleton=skeleton,
        timesteps=model.timesteps,
        objective=model.diffusion_objective,
        start_deviation=model.start_deviation,
        loss_type=config.loss.loss_type,
        cosine_offset=config.train.cosine_offset,
        pose_scale=config.train.scale_3d_pose,
        noise_scale=model.noise_scale,
        sampleable=sampleable,
    )


def _condition_parts(config: Config) -> tuple[nn.Module, HeatmapSampler | None, bool]:
    """The condition embedding; what draws its candidates, if any are drawn; whether each hypothesis gets its own."""
    kind, extra = config.model.condition_type, config.model.extra
    if kind == "heatmap_sampling_concatenated":
        embedding = CandidateConcatenation(with_likelihood=extra.concat_likelihood)
        return embedding, _heatmap_sampler(config, extra.norm_method), False
    if kind != "embedded_poseformer":
        return PoseCondition(), None, False
    embedding = HeatmapEmbedding(
        condition_dim=config.model.condition_dim,
        pos_emb=extra.pos_emb,
        scale_by_likelihood=not extra.without_posemb_scaling,
        project=extra.proj_pos_emb,
        use_transformer=not extra.without_transformer,
        per_joint_output=extra.old,
        drop_method=extra.drop_method,
        drop_prob=extra.drop_prob,
    )
    if extra.full_heatmap:
        return embedding, None, False
    # The channel centres cover [-1, 1], so this embedding always reads positions over the whole image.
    norm_method = "image" if extra.pos_emb == "channel" else extra.norm_method
    return embedding, _heatmap_sampler(config, norm_method), extra.sampleable


def _heatmap_sampler(config: Config, norm_method: str) -> HeatmapSampler:
    extra = config.model.extra
    return HeatmapSampler(
        num_samples=extra.num_samples,
        norm_method=norm_method,
        with_argmax=not extra.without_argmax,
        replacement=not extra.no_replacement,
        ordered=extra.condition_ordered_samples,
    )


def build_sampler(
    model: GaussianDiffusion,
    config: Config,
    *,
    num_hypotheses: int | None = None,
    precision: str | None = None,
    zero_noise: bool = True,
) -> PoseSampler:
    """The sampler that a configuration's TEST section asks for, with the weights that the model has at this moment.

    ``num_hypotheses`` and ``precision`` take the place of NUM_HYPO and PRECISION; ``zero_noise=False`` leaves the
    zero-noise estimate out. Raises DiffPoseError for TEST.VARIANCE optimal when it was not measured.
    """
    test = config.test
    name = usable_precision(precision or test.precision, model.betas.device)
    return (FlipSampler if test.flip else PoseSampler)(
        model,
        sampler=_sampler(model, config),
        zero_noise_sampler=_zero_noise_sampler(model, config) if zero_noise else None,
        network=InferenceNetwork(model, name),
        num_hypotheses=num_hypotheses or test.num_hypo,
        condition_sets=test.condition_sets,
        chunk=test.chunk,
    )


def _zero_noise_sampler(model: GaussianDiffusion, config: Config) -> Sampler:
    """For diffusion the mean of the published chain, whatever the hypotheses' sampler; for a flow that sampler."""
    if config.model.diffusion_objective == "velocity":
        return _sampler(model, config)
    return Ancestral(model, variance="none")


def _sampler(model: GaussianDiffusion, config: Config) -> Sampler:
    test = config.test
    name = sampler_name(config.model, test)
    flow = {"euler": Euler, "midpoint": Midpoint, "heun": Heun}
    if name in flow:
        return flow[name](model, steps=test.steps)
    if name == "ddim":
        return Ddim(model, steps=test.steps, eta=test.eta)
    if name == "dpm_solver":
        return DpmSolver(model, steps=test.steps)
    if test.variance == "optimal" and model.start_variance is None:
        raise DiffPoseError(
            "TEST.VARIANCE: optimal needs a measurement on validation rows, kept beside the checkpoint: "
            "eval.py --variance optimal makes it"
        )
    return Ancestral(model, steps=test.steps, variance=test.variance, start_variance=model.start_variance)


def build_trainer(model: GaussianDiffusion, config: Config, *, seed: int, processes: Processes = SINGLE) -> Trainer:
    """The trainer of a model, on the model's device; with recorded steps where the configuration asks for them.

    Raises DiffPoseError where steps can't be recorded.
    """
    recorder = StepRecording if wants_recording(config, model.betas.device, processes) else None
    return Trainer(model, config, seed=seed, processes=processes, recorder=recorder)
