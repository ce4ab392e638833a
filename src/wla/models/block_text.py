"""A small transformer for text in masked blocks: a block sees itself and all that is finished before it."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from wla.models.backbones.base import CACHE
from wla.models.backbones.configs import TextSizes
from wla.models.backbones.nano import text_decoder
from wla.models.masked_decoding import BlockReader, Snapshots, token_log_prob
from wla.models.masked_decoding_config import BlockTextConfig


class BlockCache:
    """Keys and values of the first `tokens` tokens; what transformers' layers add after these is forgotten."""

    def __init__(self) -> None:
        self.tokens = 0
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """All keys and values (B, h, S, d) so far, those of the new tokens included."""
        if layer in self._layers:
            known_keys, known_values = self._layers[layer]
            keys, values = torch.cat([known_keys, keys], 2), torch.cat([known_values, values], 2)
        self._layers[layer] = keys[:, :, : self.tokens], values[:, :, : self.tokens]
        return keys, values

    def rows(self, index: Int64[Tensor, " N"]) -> BlockCache:
        """The same for these rows, copied."""
        found = BlockCache()
        found.tokens = self.tokens
        found._layers = {layer: (keys[index], values[index]) for layer, (keys, values) in self._layers.items()}
        return found


class BlockText(nn.Module):
    """Qwen3 layers that are causal from block to block; the prompt is a block of its own."""

    def __init__(self, config: BlockTextConfig) -> None:
        super().__init__()
        self.config = config
        self.text = text_decoder(
            TextSizes(
                width=config.width,
                mlp=config.mlp,
                layers=config.layers,
                heads=config.heads,
                groups=config.heads,
                head_width=config.width // config.heads,
                vocabulary=config.vocabulary,
            )
        )

    def forward(
        self,
        finished: Int64[Tensor, "B T"],
        row: Int64[Tensor, " N"],
        number: Int64[Tensor, " N"],
        tokens: Int64[Tensor, "N K"],
    ) -> Float[Tensor, "N K vocabulary"]:
        """Logits of partly masked blocks, each after the finished blocks before it.

        finished: prompts and their texts. row, number: which text each block is of, and which block of it. tokens: of
        the blocks.
        """
        size, device = self.config.block, finished.device
        before = finished[:, :-size]  # no block comes after the last one
        places = torch.arange(before.shape[1], device=device)
        of_block = (places - self.config.prompt).div(size, rounding_mode="floor").clamp(min=-1)
        cache = BlockCache()
        cache.tokens = before.shape[1]
        mask = (of_block[:, None] >= of_block).expand(len(before), 1, -1, -1)
        self._states(before, places.expand_as(before), mask, cache)
        seen = torch.cat([of_block < number[:, None], torch.ones_like(tokens, dtype=torch.bool)], 1)
        positions = self.config.prompt + size * number[:, None] + torch.arange(size, device=device)
        mask = seen[:, None, None].expand(-1, 1, size, -1)
        return self._logits(self._states(tokens, positions, mask, cache.rows(row)))

    def log_prob(self, finished: Int64[Tensor, "B T"], snapshots: Snapshots, mask: int) -> Float[Tensor, "B S K"]:
        """Log-probabilities of the final tokens of all that is masked, as each pass met it; 0 for all others."""
        row, place = (index := snapshots.revealed.any(-1)).nonzero(as_tuple=True)
        tokens = snapshots.tokens[index]
        logits = self(finished, row, snapshots.block[index], tokens)
        of_finals = token_log_prob(logits, mask).gather(-1, snapshots.finals[index][..., None])[..., 0]
        found = torch.zeros(snapshots.tokens.shape, device=finished.device)
        return found.index_put((row, place), torch.where(tokens == mask, of_finals, 0.0))

    def reader(self) -> BlockReader:
        """What decoding needs for a batch of prompts: keys and values of what is finished are computed once."""
        cache = BlockCache()

        def read(finished: Int64[Tensor, "B T"], block: Int64[Tensor, "B K"]) -> Float[Tensor, "B K vocabulary"]:
            known, new = cache.tokens, finished.shape[1]
            cache.tokens += new
            total = known + new + block.shape[1]
            places = torch.arange(total, device=block.device)
            # What is finished does not see the block; a block after it sees everything.
            mask = (places[known:, None] >= known + new) | (places < known + new)
            positions = places[known:].expand(len(block), -1)
            states = self._states(torch.cat([finished, block], 1), positions, mask.expand(len(block), 1, -1, -1), cache)
            return self._logits(states[:, new:])

        return read

    def _states(
        self,
        tokens: Int64[Tensor, "B T"],
        positions: Int64[Tensor, "B T"],
        mask: Bool[Tensor, "B 1 T S"],
        cache: BlockCache,
    ) -> Float[Tensor, "B T D"]:
        x = self.text.embed_tokens(tokens)
        rotary = self.text.rotary_emb(x, positions)
        for layer in self.text.layers:
            x = layer(x, attention_mask=mask, position_embeddings=rotary, **{CACHE: cache})
        return self.text.norm(x)

    def _logits(self, states: Float[Tensor, "*N D"]) -> Float[Tensor, "*N vocabulary"]:
        return nn.functional.linear(states, self.text.embed_tokens.weight)
