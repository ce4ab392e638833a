"""WorldVLA (arXiv 2506.21539): one causal decoder over one vocabulary of text, image and action tokens.

Two kinds of sequences share its weights: an action sample reads images and instruction and writes a chunk of action
tokens; a world sample reads an image and action tokens and writes the next image's tokens.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn
from transformers import DynamicCache

from wla.batch import Batch, left_pad
from wla.models.activation_checkpointing import checkpoint_options
from wla.models.backbones.base import CACHE, causal_mask, token_positions
from wla.models.backbones.chameleon import chameleon_decoder
from wla.models.backbones.nano import text_decoder
from wla.models.image_codec import ImageCodec
from wla.models.losses import masked_mean
from wla.models.model import Imagination, ModelEncoding, ModelInputs, PolicyModel, RecomputedPart, Target
from wla.models.world_vla_config import MARKERS, WorldVLAConfig
from wla.runtime import upload

DECODERS = {"qwen3": text_decoder, "chameleon": chameleon_decoder}
"""Layout -> layers of given sizes with random weights."""


@dataclass(frozen=True)
class WorldVLAEncoding(ModelEncoding):
    """tokens, mask: of the prompts, with the images' codes, left-padded. cache: their keys and values. current: codes
    of the primary camera's image."""

    tokens: Int64[Tensor, "B T"]
    mask: Bool[Tensor, "B T"]
    cache: DynamicCache
    current: Int64[Tensor, "B P"]

    def repeated(self, times: int) -> WorldVLAEncoding:
        """The rows `times` times one behind the other, with a cache of their own."""
        cache = deepcopy(self.cache)
        cache.batch_select_indices(torch.arange(len(self.tokens), device=self.tokens.device).repeat(times))
        tokens, mask, current = (part.repeat(times, 1) for part in (self.tokens, self.mask, self.current))
        return replace(self, tokens=tokens, mask=mask, cache=cache, current=current)


class WorldVLA(PolicyModel[WorldVLAEncoding]):
    """One decoder for actions and images; it generates no text."""

    config: WorldVLAConfig
    loss_targets: ClassVar[Mapping[str, Target]] = {"action": "actions", "world": "subgoal"}
    parts: ClassVar[Mapping[str, str]] = {"decoder": "decoder.", "logits": "lm_head.", "image codec": "codec."}

    def __init__(self, config: WorldVLAConfig) -> None:
        super().__init__()
        self.config = config
        self.codec = ImageCodec(config.codec).requires_grad_(False)
        self.first_code, self.first_action = config.rows.codes, config.rows.actions
        self.markers = {name: config.rows.markers + index for index, name in enumerate(MARKERS)}
        self.decoder = DECODERS[config.layout](config.sizes)
        self.lm_head: nn.Linear | None = None
        if config.layout == "chameleon":
            self.lm_head = nn.Linear(config.width, config.sizes.vocabulary, bias=False)
        self.action_queries: nn.Parameter | None = None
        if config.continuous_head:
            self.action_queries = nn.Parameter(0.02 * torch.randn(config.chunk, config.width))
            self.action_out = nn.Linear(config.width, config.action_dim)

    @property
    def adapted_module(self) -> nn.Module:
        return self.decoder

    def enable_activation_checkpointing(self, parts: Collection[RecomputedPart] | None = None) -> None:
        self.decoder.gradient_checkpointing_enable(checkpoint_options())

    def compute_loss(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Float[Tensor, ""]]:
        """The terms `action` and `world` of a batch."""
        rows = batch.target_rows()
        zero = self.decoder.embed_tokens.weight.new_zeros((), dtype=torch.float32)
        codes = self._codes(batch.images)
        action = self._action_loss(batch, codes, rows.actions) if len(rows.actions) else zero
        chosen = rows.subgoal
        if self.config.max_world_samples is not None:
            order = torch.randperm(len(chosen), generator=generator)[: self.config.max_world_samples]
            chosen = chosen[upload(order, chosen.device)]
        if batch.subgoal is None or len(chosen) == 0:
            return {"action": action, "world": zero}
        current = next(iter(codes.values()))[chosen]
        later = self.codec.codes(batch.subgoal[chosen]).flatten(1)
        prefix = self._world_prefix(current, batch.actions[chosen], batch.action_mask[chosen])
        states = self._read(torch.cat([prefix, self._of_codes(later[:, :-1])], dim=1))
        return {"action": action, "world": self._cross_entropy(states[:, -later.shape[1] :], self._of_codes(later))}

    def encode(self, inputs: ModelInputs) -> WorldVLAEncoding:
        """Reads prompts and given texts."""
        rows = []
        for prompt, text in zip(inputs.prompts, inputs.texts, strict=True):
            drop, suffix = inputs.layout.suffix_after(text)
            read = [*prompt, *text]
            rows.append([*read[: len(read) - drop], *suffix])
        tokens, mask = (upload(part, inputs.proprio.device) for part in left_pad(rows, inputs.layout.pad))
        codes = self._codes(inputs.images)
        tokens, cache = self._fill(tokens, codes), DynamicCache()
        self._read(tokens, mask, cache)
        return WorldVLAEncoding(inputs, inputs.texts, tokens, mask, cache, next(iter(codes.values())))

    def sample_actions(
        self,
        encoding: WorldVLAEncoding,
        *,
        noise: Float[Tensor, "R n A"],
        num_steps: int | None = None,
        prefix: Float[Tensor, "B p A"] | None = None,
        delay: int | None = None,
    ) -> Float[Tensor, "R n A"]:
        """Chunks that the noise decides: the most likely one where it is 0, and else a sample of each token, whose
        fraction of the distribution is that of its number of the noise. With `continuous_head` all of an episode are
        equal. ValueError for a prefix."""
        if prefix is not None:
            raise ValueError("models of kind 'world_vla' do not continue a chunk; act without real-time chunking")
        length, repeats = encoding.tokens.shape[1], len(noise) // len(encoding.tokens)
        if self.config.continuous_head:
            actions = self._regressed(encoding).repeat(repeats, 1, 1)
        elif noise.any():
            actions = self._decoded_actions(encoding.repeated(repeats), noise)
        else:
            actions = self._decoded_actions(encoding, noise[: len(encoding.tokens)]).repeat(repeats, 1, 1)
        encoding.cache.crop(length - encoding.cache.get_seq_length())  # negative: tokens to drop
        return actions.to(noise.dtype)

    @property
    def imagination(self) -> Imagination:
        return Imagination(
            size=self.config.interface.subgoal_size or 0,
            noise_shape=(1,),
            flow_steps=1,
            action_conditioned=True,
            guided=False,
        )

    @property
    def image_codec(self) -> ImageCodec:
        return self.codec

    def predict_images(
        self,
        encoding: WorldVLAEncoding,
        *,
        noise: Float[Tensor, "B K 1"],
        num_steps: int | None = None,
        actions: Float[Tensor, "B K n A"] | None = None,
        unconditional: WorldVLAEncoding | None = None,
    ) -> UInt8[Tensor, "B K _ _ 3"]:
        """The most likely next images, whatever the noise. actions: None for the model's own, most likely chunk."""
        count = noise.shape[1]
        if actions is None:
            own = self.sample_actions(encoding, noise=noise.new_zeros(len(noise), *self._chunk_shape))
            actions = own[:, None].expand(-1, count, -1, -1)
        current = encoding.current.repeat_interleave(count, 0)
        cache, found = DynamicCache(), []
        tokens = self._world_prefix(current, actions.flatten(0, 1))
        for _ in range(current.shape[1]):
            states = self._read(tokens, None, cache)
            codes = self._logits(states[:, -1])[:, self.first_code : self.first_action].argmax(-1)
            found.append(codes)
            tokens = self._of_codes(codes)[:, None]
        side = int(len(found) ** 0.5)
        images = self.codec.decode_codes(torch.stack(found, dim=1).unflatten(1, (side, side)))
        return images.unflatten(0, (-1, count))

    @property
    def _chunk_shape(self) -> tuple[int, int]:
        return self.config.chunk, self.config.action_dim

    def _action_loss(
        self, batch: Batch, codes: Mapping[str, Int64[Tensor, "B P"]], chosen: Int64[Tensor, " N"]
    ) -> Float[Tensor, ""]:
        tokens = self._fill(batch.tokens, codes)[chosen]
        prompt = batch.attention_mask[chosen]
        actions, known = batch.actions[chosen], batch.action_mask[chosen]
        targets = self._bins(actions)
        begin = torch.full_like(targets[:, :, :1], self.markers["action"])
        given = torch.cat([begin, targets[:, :, :-1]], dim=2).flatten(1)
        mask = torch.cat([prompt, torch.ones_like(given, dtype=torch.bool)], dim=1)
        length, new = tokens.shape[1], given.shape[1]
        sees = causal_mask(mask, mask.shape[1])
        if self.config.action_mask:
            sees[:, :, length:, length:] &= self._same_action(new, tokens.device)
        states = self._run(self._embed(torch.cat([tokens, given], dim=1)), mask, sees)
        loss = self._cross_entropy(states[:, length:], targets.flatten(1), known.flatten(1))
        if self.action_queries is None:
            return loss
        queries = self.action_queries.expand(len(tokens), -1, -1)
        regressed = self._regress(self._embed(tokens), queries, prompt, None)
        return loss + masked_mean((regressed.float() - actions).abs(), known)

    def _same_action(self, new: int, device: torch.device) -> Bool[Tensor, "N N"]:
        """True where two of a chunk's tokens are of the same action."""
        action = torch.arange(new, device=device) // self.config.action_dim
        return action[:, None] == action

    def _decoded_actions(self, encoding: WorldVLAEncoding, noise: Float[Tensor, "B n A"]) -> Float[Tensor, "B n A"]:
        """Action tokens, chosen by the noise: of all actions at once where they do not see each other, or one after
        the other."""
        (chunk, dims), batch = self._chunk_shape, len(encoding.tokens)
        together = chunk if self.config.action_mask else 1
        prompt, found = encoding.mask, []
        device = prompt.device
        first = prompt.sum(1, keepdim=True)  # position of the first action token
        places = torch.arange(chunk * dims, device=device).view(chunk, dims)
        read: list[Int64[Tensor, " N"]] = []
        for group in places.split(together):
            tokens = torch.full((batch, together), self.markers["action"], device=device)
            for dim in range(dims):
                read.append(group[:, dim])
                known = torch.cat(read)
                own = known <= group[:, dim, None]
                if self.config.action_mask:
                    own &= known // dims == group[:, dim, None] // dims
                sees = torch.cat(
                    [prompt[:, None, None].expand(-1, 1, together, -1), own.expand(batch, 1, -1, -1)], dim=3
                )
                states = self._layers(self._embed(tokens), first + group[:, dim], sees, encoding.cache)
                logits = self._logits(states)[..., self.first_action : self.first_action + self.config.action_bins]
                found.append(chosen(logits, noise.flatten(1)[:, group[:, dim]]))
                tokens = found[-1] + self.first_action
        bins = torch.stack(found, dim=1).view(batch, chunk // together, dims, together)
        return self._centres(bins.transpose(2, 3).reshape(batch, chunk, dims))

    def _regressed(self, encoding: WorldVLAEncoding) -> Float[Tensor, "B n A"]:
        assert self.action_queries is not None
        queries = self.action_queries.expand(len(encoding.tokens), -1, -1)
        return self._regress(queries[:, :0], queries, encoding.mask, encoding.cache)

    def _regress(
        self,
        before: Float[Tensor, "B T D"],
        queries: Float[Tensor, "B n D"],
        prompt: Bool[Tensor, "B T_all"],
        cache: DynamicCache | None,
    ) -> Float[Tensor, "B n A"]:
        """Actions of queries that see the prompt and each other. before: embeddings of what the cache does not hold."""
        x = torch.cat([before, queries.to(before.dtype)], dim=1)
        mask = torch.cat([prompt, torch.ones_like(queries[..., 0], dtype=torch.bool)], dim=1)
        sees = causal_mask(mask, x.shape[1]).clone()
        sees[:, :, -queries.shape[1] :, -queries.shape[1] :] = True
        states = self._run(x, mask, sees, cache)
        return self.action_out(self.decoder.norm(states[:, -queries.shape[1] :]))

    def _world_prefix(
        self,
        current: Int64[Tensor, "B P"],
        actions: Float[Tensor, "B n A"],
        known: Bool[Tensor, "B n A"] | None = None,
    ) -> Int64[Tensor, "B T"]:
        """Tokens of a world sample up to the next image. known: which actions are."""
        tokens = self._bins(actions)
        if known is not None:
            tokens = torch.where(known, tokens, self.markers["unknown"])
        begin, image = (current.new_full((len(current), 1), self.markers[name]) for name in ("world", "image"))
        return torch.cat([begin, self._of_codes(current), tokens.flatten(1), image], dim=1)

    def _codes(self, images: Mapping[str, UInt8[Tensor, "B _ _ 3"]]) -> dict[str, Int64[Tensor, "B P"]]:
        """Codes of all images that the model reads, the primary camera's first."""
        return {name: self.codec.codes(images[name]).flatten(1) for name in self.config.images}

    def _fill(self, tokens: Int64[Tensor, "B T"], codes: Mapping[str, Int64[Tensor, "B P"]]) -> Int64[Tensor, "B T"]:
        """Prompts whose placeholders are the tokens of the images."""
        return tokens.masked_scatter(
            tokens == self.config.image_token, self._of_codes(torch.cat(list(codes.values()), dim=1))
        )

    def _of_codes(self, codes: Int64[Tensor, "*B"]) -> Int64[Tensor, "*B"]:
        return codes + self.first_code

    def _bins(self, actions: Float[Tensor, "*B A"]) -> Int64[Tensor, "*B A"]:
        """Tokens of normalised actions; values outside of -1 .. 1 are in the first or last bin."""
        bins = ((actions + 1) / 2 * self.config.action_bins).floor().long()
        return bins.clamp(0, self.config.action_bins - 1) + self.first_action

    def _centres(self, bins: Int64[Tensor, "*B A"]) -> Float[Tensor, "*B A"]:
        """Actions in the middle of bins."""
        return (bins + 0.5) / self.config.action_bins * 2 - 1

    def _embed(self, tokens: Int64[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        return self.decoder.embed_tokens(tokens)

    def _read(
        self,
        tokens: Int64[Tensor, "B T"],
        mask: Bool[Tensor, "B T_all"] | None = None,
        cache: DynamicCache | None = None,
    ) -> Float[Tensor, "B T D"]:
        """States of tokens that see those before them. mask: also of what the cache holds (None: nothing is padded)."""
        if mask is None:
            before = 0 if cache is None else cache.get_seq_length()
            mask = torch.ones(len(tokens), before + tokens.shape[1], dtype=torch.bool, device=tokens.device)
        return self._run(self._embed(tokens), mask, causal_mask(mask, tokens.shape[1]), cache)

    def _run(
        self,
        x: Float[Tensor, "B T D"],
        mask: Bool[Tensor, "B T_all"],
        sees: Bool[Tensor, "B 1 T T_all"],
        cache: DynamicCache | None = None,
    ) -> Float[Tensor, "B T D"]:
        return self._layers(x, token_positions(mask, x.shape[1]), sees, cache)

    def _layers(
        self,
        x: Float[Tensor, "B T D"],
        positions: Int64[Tensor, "B T"],
        sees: Bool[Tensor, "B 1 T T_all"],
        cache: DynamicCache | None,
    ) -> Float[Tensor, "B T D"]:
        rotary = self.decoder.rotary_emb(x, positions)
        for layer in self.decoder.layers:
            states = layer(x, attention_mask=sees, position_embeddings=rotary, **{CACHE: cache})
            x = states if isinstance(states, Tensor) else states[0]  # Chameleon's layers return a tuple
        return x

    def _logits(self, states: Float[Tensor, "*N D"]) -> Float[Tensor, "*N V"]:
        head = self.decoder.embed_tokens if self.lm_head is None else self.lm_head
        return nn.functional.linear(self.decoder.norm(states), head.weight)

    def _cross_entropy(
        self,
        states: Float[Tensor, "B T D"],
        targets: Int64[Tensor, "B T"],
        known: Bool[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, ""]:
        """Cross entropy with z-loss, the mean over known targets (None: all)."""
        logits = self._logits(states).float()
        normaliser = logits.logsumexp(-1)
        loss = normaliser - logits.gather(-1, targets[..., None])[..., 0] + self.config.z_loss * normaliser.square()
        return loss.mean() if known is None else masked_mean(loss, known)


def chosen(logits: Float[Tensor, "*B N"], noise: Float[Tensor, "*B"]) -> Int64[Tensor, "*B"]:
    """One of N tokens: the most likely where the noise, of a standard normal distribution, is 0; elsewhere the one at
    the noise's quantile, which is a sample."""
    quantile = torch.special.ndtr(noise.float())[..., None]
    sampled = (logits.float().softmax(-1).cumsum(-1) < quantile).sum(-1).clamp(max=logits.shape[-1] - 1)
    return torch.where(noise == 0, logits.argmax(-1), sampled)
