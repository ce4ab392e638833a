"""The sampling of actions as functions of tensors: everything that does not depend on the noisy actions lies outside of
the loop."""

from __future__ import annotations

from itertools import islice
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wla.models.attention import attend_fused
from wla.models.experts.action_blocks import ExpertAttention, ExpertBlock
from wla.models.experts.action_expert import ActionExpert
from wla.models.inference.layout import Product, fused


class StartSampling(nn.Module):
    """What all steps of sampling have in common: the state's token, and the cross-attention to the query states.

    Scores are linear in the tokens, and outputs in the attention's weights: with query states that stay the same,
    projections and keys are one matrix, values and output layer another, narrower than the model where there are few
    queries.
    """

    def __init__(self, expert: ActionExpert) -> None:
        super().__init__()
        self.state_encoder = expert.state_encoder
        blocks = [cast(ExpertBlock, expert.blocks[index]).attention for index in cross_blocks(expert)]
        self.attentions = nn.ModuleList(blocks)

    def forward(self, state: Float[Tensor, "B S"], *query_hidden: Tensor) -> list[Tensor]:
        """query_hidden: states (B, Q, C) that the cross-attending blocks read, in their order.

        Returns the token (B, 1, D), then for each of these blocks what `StepBlock.cross` takes.
        """
        found = [self.state_encoder(state)[:, None]]
        for block, states in zip(self.attentions, query_hidden, strict=True):
            attention = cast(ExpertAttention, block)
            keys, values = (part.float() for part in attention.keys_values(states))
            width, scale = attention.query.out_features, keys.shape[-1] ** -0.5
            query = attention.query.weight.float().view(attention.heads, -1, width) * scale
            bias = attention.query.bias.float().view(attention.heads, -1, 1) * scale
            out = attention.out.weight.float().view(width, attention.heads, -1).permute(1, 2, 0)
            score = (keys @ query).flatten(1, 2).transpose(1, 2)
            parts = (score, (keys @ bias).flatten(1)[:, None], (values @ out).flatten(1, 2))
            found += [part.to(states.dtype).contiguous() for part in parts]
        return found


class ActionVelocity(nn.Module):
    """The velocity of the Action Expert; every row of a batch is at the same time.

    The linear layers before the first nonlinearity are one, and the time's part of them is a bias (`time_biases`).
    """

    def __init__(self, expert: ActionExpert) -> None:
        super().__init__()
        mixer = cast(nn.Linear, expert.time_mixer[0])
        weight = mixer.weight[:, : expert.config.width].float() @ expert.action_encoder.weight.float()
        self.action_in = Product(weight.to(mixer.weight.dtype).t(), None)
        self.mixer_out = fused([expert.time_mixer[2]])
        self.positions = expert.positions
        self.blocks = nn.ModuleList(StepBlock(cast(ExpertBlock, block)) for block in expert.blocks)
        self.final_norm = expert.final_norm
        self.decoder = nn.ModuleList([fused([expert.decoder[0]]), fused([expert.decoder[2]])])

    def forward(
        self,
        x: Float[Tensor, "R n A"],
        time: Float[Tensor, "*n D"],
        own: Float[Tensor, "R 1 A"],
        state: Float[Tensor, "R 1 D"],
        *condition: Tensor,
    ) -> list[Tensor]:
        """Returns the velocity (R, n, A).

        time: bias of the time of all actions, or of each. own: 0 for dimensions that are padding. state, condition:
        from `StartSampling`.
        """
        mixed = nn.functional.silu(self.action_in(x.to(self.positions.dtype)) + time)
        tokens = torch.cat([state, self.mixer_out(mixed) + self.positions[: x.shape[1]]], dim=1)
        given = iter(condition)
        for part in self.blocks:
            block = cast(StepBlock, part)
            tokens = block(tokens, *islice(given, CONDITIONS if block.project is None else 0))
        hidden = nn.functional.relu(self.decoder[0](self.final_norm(tokens[:, 1:])))
        return [self.decoder[1](hidden) * own]


CONDITIONS = 3
"""Tensors that `StartSampling` makes for each block that attends to query states."""


class StepBlock(nn.Module):
    """An `ExpertBlock` with one product for queries, keys and values, or with a condition that is folded."""

    def __init__(self, block: ExpertBlock) -> None:
        super().__init__()
        attention = block.attention
        self.heads, self.out = attention.heads, fused([attention.out])
        self.project = None
        if not block.is_cross_attention:
            self.project = fused([attention.query, attention.key, attention.value])
        self.mlp_in, self.mlp_out = fused([block.mlp[0]]), fused([block.mlp[2]])

    def forward(self, x: Float[Tensor, "R T D"], *condition: Tensor) -> Float[Tensor, "R T D"]:
        normed = nn.functional.layer_norm(x, x.shape[-1:])
        x = x + (self.cross(normed, *condition) if condition else self.own(normed))
        hidden = self.mlp_in(nn.functional.layer_norm(x, x.shape[-1:]))
        # GELU by tanh, as the logistic function that it is: an exponential is faster than tanh.
        hidden = hidden * torch.sigmoid(1.5957691216057308 * (hidden + 0.044715 * hidden * hidden * hidden))
        return x + self.mlp_out(hidden)

    def own(self, x: Float[Tensor, "R T D"]) -> Float[Tensor, "R T D"]:
        """Attention among the tokens."""
        assert self.project is not None
        heads = self.project(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(attend_fused(*heads.unbind(0)).transpose(1, 2).flatten(2))

    def cross(
        self,
        x: Float[Tensor, "R T D"],
        score: Float[Tensor, "R D hQ"],
        score_bias: Float[Tensor, "R 1 hQ"],
        out: Float[Tensor, "R hQ D"],
    ) -> Float[Tensor, "R T D"]:
        """Attention to query states, as two products with matrices that `StartSampling` made of them."""
        scores = (x @ score + score_bias).unflatten(2, (self.heads, -1))
        return scores.softmax(-1).flatten(2) @ out + self.out.bias


def cross_blocks(expert: ActionExpert) -> list[int]:
    """Numbers of the blocks that attend to query states."""
    return [index for index, block in enumerate(expert.blocks) if cast(ExpertBlock, block).is_cross_attention]


@torch.inference_mode()
def time_biases(expert: ActionExpert, features: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
    """What time features, and the biases before the first nonlinearity, add in front of it."""
    mixer, width = cast(nn.Linear, expert.time_mixer[0]), expert.config.width
    features = features.to(mixer.weight.dtype).float()
    of_actions, of_time = mixer.weight.float().split(width, dim=1)
    constant = of_actions @ expert.action_encoder.bias.float() + mixer.bias.float()
    return (features @ of_time.T + constant).to(mixer.weight.dtype)
