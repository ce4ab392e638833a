"""Text decoded block by block: the tokens of a block start masked, and each forward pass reveals several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from wla.models.masked_decoding_config import MaskedDecodingConfig
from wla.models.trajectory import Rows
from wla.runtime import upload

NEVER = -1
"""Pass of a token that was not revealed, because its text had ended."""


class BlockReader(Protocol):
    """A model that reads finished tokens once and predicts the masked ones of the block after them."""

    def __call__(self, finished: Int64[Tensor, "B T"], block: Int64[Tensor, "B K"]) -> Float[Tensor, "B K vocabulary"]:
        """One forward pass: logits of the block after all finished tokens so far.

        finished: tokens to read before the block and to remember: the prompt at first, then each block once, and none
        in between. block: some of its tokens are masks; it is forgotten.
        """
        ...


@dataclass(frozen=True)
class MaskedText(Rows):
    """Decoded texts, and how each came about.

    tokens: whole blocks; what follows the end of a text is padding. passes: number of the forward pass within its block
    that revealed each token, from 0; `NEVER` where the text had ended. log_prob: of each revealed token in that pass.
    forwards: forward passes of each text. lengths: its tokens, the end included.
    """

    tokens: Int64[Tensor, "B N"]
    passes: Int64[Tensor, "B N"]
    log_prob: Float[Tensor, "B N"]
    forwards: Int64[Tensor, " B"]
    lengths: Int64[Tensor, " B"]

    @property
    def tokens_per_pass(self) -> Float[Tensor, " B"]:
        return self.lengths / self.forwards


@dataclass(frozen=True)
class Snapshots(Rows):
    """The blocks of texts as each forward pass met them; a row has as many as the longest one, the others are empty.

    tokens: with masks. block: number of the block in its text. revealed: tokens that the pass revealed; none where a
    row has fewer passes. finals: the tokens of the finished block.
    """

    tokens: Int64[Tensor, "B S K"]
    block: Int64[Tensor, "B S"]
    revealed: Bool[Tensor, "B S K"]
    finals: Int64[Tensor, "B S K"]

    @classmethod
    def of(cls, text: MaskedText, config: MaskedDecodingConfig) -> Snapshots:
        """Every forward pass of each text, in order: with them a training step computes all log-probabilities again."""
        finals, passes = (each.unflatten(1, (-1, config.block)) for each in (text.tokens, text.passes))
        counts = passes.amax(-1) + 1
        ends = counts.cumsum(1)
        place = torch.arange(max(ends[:, -1].tolist(), default=0), device=ends.device)
        block = (place[:, None] >= ends[:, None]).sum(-1).clamp(max=counts.shape[1] - 1)
        number = (place - (ends - counts).gather(1, block))[..., None]
        index = block[..., None].expand(-1, -1, config.block)
        of_block, when = finals.gather(1, index), passes.gather(1, index)
        masked = (when >= number) | (when == NEVER)
        return cls(of_block.masked_fill(masked, config.mask), block, when == number, of_block)

    def masked(self, mask: int) -> Bool[Tensor, "B S K"]:
        """The tokens that were masked when a pass met them, revealed by it or later."""
        return (self.tokens == mask) & self.revealed.any(-1, keepdim=True)

    def to(self, device: torch.device) -> Snapshots:
        """The same on a device."""
        return self._made([upload(getattr(self, name), device) for name in self._names()])


@torch.no_grad()
def decode_masked(
    read: BlockReader,
    prompts: Int64[Tensor, "B T"],
    config: MaskedDecodingConfig,
    generator: torch.Generator | None = None,
) -> MaskedText:
    """Texts after the prompts.

    In each pass every masked token of a row's block is drawn, and those that are as likely as the threshold are
    revealed, at least the most likely one. A row that is done with its block, or with its text, changes no more.
    generator: of the draws; None for the most likely tokens.
    """
    rows, device = len(prompts), prompts.device
    finished, ended = prompts, torch.zeros(rows, dtype=torch.bool, device=device)
    forwards = torch.zeros(rows, dtype=torch.long, device=device)
    blocks, passes, log_probs = list[Tensor](), list[Tensor](), list[Tensor]()
    for _ in range(config.max_blocks):
        block = torch.full((rows, config.block), config.mask, device=device)
        passed, log_prob = torch.full_like(block, NEVER), torch.zeros(block.shape, device=device)
        for number in range(config.block):
            running = ~ended & ~complete(block, config)
            if not running.any():
                break
            drawn, likely = draw(read(finished, block), config.mask, generator)
            finished = finished[:, :0]
            chosen = reveal(likely, (block == config.mask) & running[:, None], config.threshold)
            block = torch.where(chosen, drawn, block)
            passed, log_prob = passed.masked_fill(chosen, number), torch.where(chosen, likely, log_prob)
            forwards += running
        ended = ended | (block == config.stop).any(1)
        finished = block.masked_fill(block == config.mask, config.pad)
        for found, values in ((blocks, finished), (passes, passed), (log_probs, log_prob)):
            found.append(values)
        if ended.all():
            break
    tokens = torch.cat(blocks, 1)
    return MaskedText(
        tokens, torch.cat(passes, 1), torch.cat(log_probs, 1), forwards, text_lengths(tokens, config.stop)
    )


def draw(
    logits: Float[Tensor, "B K vocabulary"], mask: int, generator: torch.Generator | None
) -> tuple[Int64[Tensor, "B K"], Float[Tensor, "B K"]]:
    """Tokens, none of them a mask, and their log-probabilities; the most likely ones without a generator."""
    log_prob = token_log_prob(logits, mask)
    scores = log_prob
    if generator is not None:
        noise = torch.empty(log_prob.shape).exponential_(generator=generator).to(log_prob.device)
        scores = log_prob - noise.log()
    drawn = scores.argmax(-1)
    return drawn, log_prob.gather(-1, drawn[..., None])[..., 0]


def token_log_prob(logits: Float[Tensor, "*N vocabulary"], mask: int) -> Float[Tensor, "*N vocabulary"]:
    """Log-probabilities of all tokens but the mask, which is never one."""
    logits = logits.float()
    never = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
    never[mask] = True
    return logits.masked_fill(never, float("-inf")).log_softmax(-1)


def reveal(likely: Float[Tensor, "B K"], masked: Bool[Tensor, "B K"], threshold: float) -> Bool[Tensor, "B K"]:
    """The masked tokens with at least this probability, or else the most likely one of each row that has any."""
    ranked = likely.masked_fill(~masked, float("-inf"))
    best = torch.nn.functional.one_hot(ranked.argmax(1), masked.shape[1]).bool()
    return masked & (best | (likely.exp() >= threshold))


def complete(block: Int64[Tensor, "B K"], config: MaskedDecodingConfig) -> Bool[Tensor, " B"]:
    """Whether each block has no masked token, or none before the end of its text."""
    stopped = (block == config.stop).cumsum(1) > 0
    return ((block != config.mask) | stopped).all(1)


def text_lengths(tokens: Int64[Tensor, "B N"], stop: int) -> Int64[Tensor, " B"]:
    """Number of tokens up to the end of each text, the end included; all where it has none."""
    return ((tokens == stop).cumsum(1) - (tokens == stop).long() == 0).sum(1)
