"""The model, built from a configuration."""

from models.condition_embedding import CandidateConcatenation, HeatmapEmbedding, PoseCondition
from models.denoiser import Denoiser
from models.diffusion import GaussianDiffusion
from models.heatmap_sampler import HeatmapSampler
from utils.config import Config
from utils.skeleton import NUM_HEATMAPS, skeleton_for


def build_model(config: Config) -> GaussianDiffusion:
    """The diffusion model of a configuration, with fresh weights from torch's global generator."""
    model, extra = config.model, config.model.extra
    skeleton = skeleton_for(config.dataset.dataset)
    sampler = None
    if model.condition_type == "embedded_poseformer":
        condition_emb = HeatmapEmbedding(
            condition_dim=model.condition_dim,
            pos_emb=extra.pos_emb,
            scale_by_likelihood=not extra.without_posemb_scaling,
            project=extra.proj_pos_emb,
            use_transformer=not extra.without_transformer,
            per_joint_output=extra.old,
            drop_method=extra.drop_method,
            drop_prob=extra.drop_prob,
        )
        condition_width = NUM_HEATMAPS * model.condition_dim
        sampleable = extra.sampleable and not extra.full_heatmap
        if not extra.full_heatmap:
            # The channel centres cover [-1, 1], so this embedding always reads positions over the whole image.
            norm_method = "image" if extra.pos_emb == "channel" else extra.norm_method
            sampler = _heatmap_sampler(config, norm_method)
    elif model.condition_type == "heatmap_sampling_concatenated":
        condition_emb = CandidateConcatenation(with_likelihood=extra.concat_likelihood)
        numbers = 3 if extra.concat_likelihood else 2
        condition_width = (
            NUM_HEATMAPS * extra.num_samples * numbers if model.condition_dim == -1 else model.condition_dim
        )
        sampleable = False
        sampler = _heatmap_sampler(config, extra.norm_method)
    else:
        condition_emb = PoseCondition()
        condition_width = model.condition_dim
        sampleable = False
    return GaussianDiffusion(
        denoise_fn=Denoiser(pose_dim=3 * skeleton.num_predicted, condition_dim=condition_width),
        condition_emb=condition_emb,
        heatmap_sampler=sampler,
        skeleton=skeleton,
        timesteps=model.timesteps,
        objective=model.diffusion_objective,
        loss_type=config.loss.loss_type,
        cosine_offset=config.train.cosine_offset,
        pose_scale=config.train.scale_3d_pose,
        noise_scale=model.noise_scale,
        sampleable=sampleable,
    )


def _heatmap_sampler(config: Config, norm_method: str) -> HeatmapSampler:
    extra = config.model.extra
    return HeatmapSampler(
        num_samples=extra.num_samples,
        norm_method=norm_method,
        with_argmax=not extra.without_argmax,
        replacement=not extra.no_replacement,
        ordered=extra.condition_ordered_samples,
    )
