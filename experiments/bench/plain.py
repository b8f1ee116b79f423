"""The plain reference that speed is measured against: the same results, written in the obvious way in float32.

Dense embeddings and a projection for every candidate, the condition concatenated at every reverse step, all hypotheses
at once, one threshold after another. The parameters are those of the model it is given.
"""

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.denoiser import flatten_pose, unflatten_pose
from models.diffusion import GaussianDiffusion
from models.fast.attention import SelfAttention
from models.fast.dropout import CheapDropout
from models.fast.linear import Linear
from utils.geometry import with_root
from utils.skeleton import Skeleton


def plain_layers(module: nn.Module) -> nn.Module:
    """PyTorch's own layers in place of ours, in place."""
    for name, child in module.named_children():
        if isinstance(child, Linear):
            layer = nn.Linear(child.in_features, child.out_features)
            layer.weight, layer.bias = child.weight, child.bias
            setattr(module, name, layer)
        elif isinstance(child, SelfAttention):
            layer = nn.MultiheadAttention(child.embed_dim, child.num_heads, dropout=child.dropout, batch_first=True)
            layer.load_state_dict(child.state_dict())
            setattr(module, name, layer)
        elif isinstance(child, CheapDropout):
            setattr(module, name, nn.Dropout(child.p))
        else:
            plain_layers(child)
    return module


class PlainModel(nn.Module):
    """The main configuration's model with a copy of another one's parameters."""

    def __init__(self, model: GaussianDiffusion):
        super().__init__()
        self.model = plain_layers(copy.deepcopy(model))
        self.num_samples = model.heatmap_sampler.num_samples

    def candidates(self, heatmaps: Tensor, hypotheses: int) -> tuple[Tensor, Tensor]:
        """Positions (B, H, J, S, 2) and likelihoods (B, H, J, S) of freshly drawn candidates."""
        batch, joints = heatmaps.shape[:2]
        flat = heatmaps.float().flatten(2)
        drawn = torch.multinomial(
            flat.clamp(min=0).flatten(0, 1), hypotheses * (self.num_samples - 1), replacement=True
        )  # (B * J, H * (S - 1))
        drawn = drawn.view(batch, joints, hypotheses, -1).transpose(1, 2)
        peak = flat.argmax(-1)[:, None, :, None].expand(-1, hypotheses, -1, 1)
        cells = torch.cat([peak, drawn], dim=-1)
        likelihood = flat[:, None].expand(-1, hypotheses, -1, -1).gather(-1, cells)
        positions = torch.stack([cells % 64, cells // 64], dim=-1).float()
        return 2 * (positions - 32) / 64, likelihood

    def condition(self, positions: Tensor, likelihood: Tensor, keep: Tensor | None = None) -> Tensor:
        """Conditions (B * H, C)."""
        embedding = self.model.condition_emb
        centers = embedding.pos_encoder.centers
        phase = 8 * math.pi * (positions[..., None] - centers)  # (B, H, J, S, 2, 64)
        embedded = torch.where(phase.abs() <= math.pi / 2, phase.cos() ** 2, torch.zeros_like(phase)).flatten(-2)
        if keep is not None:
            embedded = embedded * keep[:, None, :, None, None]
        embedded = embedding.pos_proj(embedded * likelihood[..., None])
        tokens = embedded.sum(3).flatten(0, 1) + embedding.joint_embedding.weight
        return embedding.pos_out(embedding.transformer(tokens).flatten(1))

    def denoise(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """(R, P), (R,), (R, C) -> (R, P)."""
        net = self.model.denoise_fn
        hidden = net.upscale(torch.cat([x, t[:, None].float(), condition], dim=-1))
        return net.pose(net.res_pose2(net.res_pose1(hidden)))

    def loss(self, heatmaps: Tensor, target_m: Tensor) -> Tensor:
        """One batch's training loss, with its own draws."""
        model = self.model
        start = flatten_pose(target_m) * model.pose_scale
        t = torch.randint(model.timesteps, (len(start),), device=start.device)
        noise = torch.randn_like(start)
        positions, likelihood = self.candidates(heatmaps, 1)
        keep = torch.rand(heatmaps.shape[:2], device=start.device) >= model.condition_emb.drop_prob
        output = self.denoise(model.q_sample(start, t, noise), t, self.condition(positions, likelihood, keep))
        return F.mse_loss(output, noise if model.objective == "pred_noise" else start)

    @torch.no_grad()
    def sample(self, heatmaps: Tensor, hypotheses: int) -> Tensor:
        """Hypotheses (B, H, J, 3) in mm."""
        model = self.model
        condition = self.condition(*self.candidates(heatmaps, hypotheses))
        x = torch.randn(len(condition), self.model.denoise_fn.parts[0], device=heatmaps.device)
        for t in reversed(range(model.timesteps)):
            steps = torch.full((len(x),), t, device=x.device)
            x = model.posterior_mean(model.predict_start(x, t, self.denoise(x, steps, condition)), x, t)
            if t > 0:
                x = x + model.posterior_deviation(t) * torch.randn_like(x)
        poses = with_root(unflatten_pose(x) / model.pose_scale, model.skeleton) * 1000
        return poses.view(len(heatmaps), hypotheses, *poses.shape[1:])


class PlainTrainer:
    """A training step as a first version would have it: float32, torch's default Adam, EMA parameter by parameter."""

    def __init__(self, model: GaussianDiffusion, *, rate: float, ema_decay: float):
        self.plain = PlainModel(model.train())
        self.optimizer = torch.optim.Adam(self.plain.model.parameters(), lr=rate)
        self.average = copy.deepcopy(self.plain.model)
        self.decay = ema_decay
        self.steps = 0

    def step(self, heatmaps: Tensor, target_m: Tensor) -> float:
        """One step on a batch; the loss."""
        self.optimizer.zero_grad()
        loss = self.plain.loss(heatmaps, target_m)
        loss.backward()
        self.optimizer.step()
        if self.steps % 10 == 0:
            with torch.no_grad():
                for average, weight in zip(self.average.parameters(), self.plain.model.parameters(), strict=True):
                    average.copy_(self.decay * average + (1 - self.decay) * weight)
        self.steps += 1
        return loss.item()


def align(poses: Tensor, truth: Tensor) -> Tensor:
    """Procrustes alignment by SVD, poses (N, J, 3) onto truths (N, J, 3)."""
    mu_pose, mu_truth = poses.mean(1, keepdim=True), truth.mean(1, keepdim=True)
    a, b = poses - mu_pose, truth - mu_truth
    u, s, vt = torch.linalg.svd(a.transpose(1, 2) @ b)
    sign = torch.sign(torch.linalg.det(u @ vt))
    s = torch.cat([s[:, :2], s[:, 2:] * sign[:, None]], dim=1)
    u = torch.cat([u[:, :, :2], u[:, :, 2:] * sign[:, None, None]], dim=2)
    scale = s.sum(1) / a.square().sum((1, 2))
    return scale[:, None, None] * a @ (u @ vt) + mu_truth


def all_metrics(hypotheses: Tensor, truth: Tensor, skeleton: Skeleton) -> dict[str, Tensor]:
    """Every metric of (B, H, J, 3) hypotheses and (B, J, 3) truths, one after the other, alignment each time anew."""
    batch, count = hypotheses.shape[:2]
    flat, target = hypotheses.flatten(0, 1), truth[:, None].expand_as(hypotheses).flatten(0, 1)
    scores = {
        "mpjpe": (flat - target).norm(dim=-1).mean(-1),
        "pa_mpjpe": (align(flat, target) - target).norm(dim=-1).mean(-1),
    }
    scaled = flat * (target.flatten(1).norm(dim=-1) / flat.flatten(1).norm(dim=-1))[:, None, None]
    scores["mpjpe_sc"] = (scaled - target).norm(dim=-1).mean(-1)
    picked = list(skeleton.pck_joints)
    scores["pck"] = ((flat - target).norm(dim=-1)[:, picked] < 150).float().mean(-1)
    scores["pck_sc"] = ((scaled - target).norm(dim=-1)[:, picked] < 150).float().mean(-1)
    distances = (align(flat, target) - target).norm(dim=-1)[:, list(skeleton.cps_joints)]
    curve = torch.stack([(distances < threshold).all(-1).float() for threshold in range(1, 301)], dim=-1)
    scores["cps"] = torch.trapezoid(curve, dx=1.0, dim=-1)
    lengths = [
        ((flat[:, a] - flat[:, b]).norm(dim=-1) - (flat[:, c] - flat[:, d]).norm(dim=-1)).abs()
        for (a, b), (c, d) in skeleton.symmetric_bones
    ]
    scores["symmetry"] = torch.stack(lengths).mean(0)
    reduced = {}
    for name, values in scores.items():
        values = values.view(batch, count)
        reduced[name] = torch.stack(
            [values.min(1).values, values.median(1).values, values.mean(1), values.max(1).values]
        )
    median = hypotheses.median(dim=1).values
    own = (hypotheses - median[:, None]).norm(dim=-1)
    reduced["truth_quantile"] = (own > (truth - median).norm(dim=-1)[:, None]).float().mean(1)
    reduced["spread"] = hypotheses.std(1)
    return reduced
