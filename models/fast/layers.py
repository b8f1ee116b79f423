"""Faster layers in the place of a model's plain ones, for training."""

from torch import nn

from models.diffusion import GaussianDiffusion
from models.fast.attention import SelfAttention
from models.fast.dropout import CheapDropout
from models.fast.linear import Linear


def use_fast_layers(model: GaussianDiffusion) -> GaussianDiffusion:
    """Replace layers of the denoiser and of the embedding's transformer and output; the model itself is returned.

    Parameters are shared, so that their names, their order and their values stay, and no random number is drawn.
    """
    _replace_linear(model.denoise_fn)
    embedding = model.condition_emb
    transformer = getattr(embedding, "transformer", None)
    for layer in transformer.layers if transformer is not None else ():
        layer.self_attn = SelfAttention.around(layer.self_attn)
        layer.linear1, layer.linear2 = Linear.around(layer.linear1), Linear.around(layer.linear2)
        for name in ("dropout", "dropout1", "dropout2"):
            setattr(layer, name, CheapDropout(getattr(layer, name).p))
    if hasattr(embedding, "pos_out"):
        embedding.pos_out = Linear.around(embedding.pos_out)
    return model


def _replace_linear(module: nn.Module) -> None:
    """Every nn.Linear inside, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, Linear.around(child))
        else:
            _replace_linear(child)
