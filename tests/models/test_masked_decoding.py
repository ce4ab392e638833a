"""Masked block decoding: which tokens a pass reveals, and that a training step finds the same log-probabilities."""

from __future__ import annotations

import pytest
import torch

from wla.models import BlockTextConfig, MaskedDecodingConfig
from wla.models.block_text import BlockText
from wla.models.masked_decoding import NEVER, Snapshots, complete, decode_masked, draw, reveal, text_lengths

STOP, PAD, MASK, VOCABULARY = 9, 10, 11, 12
PROMPT, BLOCK, BLOCKS = 3, 4, 3
DECODING = MaskedDecodingConfig(block=BLOCK, max_blocks=BLOCKS, threshold=0.15, mask=MASK, stop=STOP, pad=PAD)
SERIAL = DECODING.replace(threshold=2.0)


def model() -> BlockText:
    torch.manual_seed(0)
    sizes = BlockTextConfig(vocabulary=VOCABULARY, prompt=PROMPT, block=BLOCK, width=16, layers=2, heads=2, mlp=32)
    found = BlockText(sizes)
    torch.nn.init.normal_(found.text.embed_tokens.weight, std=0.7)  # random weights alone are never sure of a token
    return found.eval()


def prompts(rows: int = 6) -> torch.Tensor:
    return torch.randint(0, STOP, (rows, PROMPT), generator=torch.Generator().manual_seed(1))


def plain(network: BlockText, prompt: torch.Tensor) -> list[int]:
    """The text after one prompt, a token per pass, each from a pass over everything and without a cache."""
    finished = prompt
    for number in range(BLOCKS):
        block = torch.full((BLOCK,), MASK)
        while not complete(block[None], SERIAL).any():
            empty = torch.full(((number + 1) * BLOCK,), PAD)
            whole = torch.cat([finished, empty])[None, : PROMPT + (number + 1) * BLOCK]
            with torch.no_grad():
                logits = network(whole, torch.tensor([0]), torch.tensor([number]), block[None])[0]
            logits[:, MASK] = -torch.inf
            likely, tokens = logits.softmax(-1).max(-1)
            place = int(torch.where(block == MASK, likely, -1.0).argmax())
            block[place] = tokens[place]
        finished = torch.cat([finished, block.masked_fill(block == MASK, PAD)])
        if (block == STOP).any():
            break
    return finished[PROMPT:].tolist()


def test_one_token_per_pass_is_plain_decoding():
    network = model()
    text = decode_masked(network.reader(), prompts(), SERIAL)
    for row, prompt in enumerate(prompts()):
        expected = plain(network, prompt)
        assert text.tokens[row, : len(expected)].tolist() == expected
    assert (text.forwards == (text.passes != NEVER).sum(1)).all()


@pytest.mark.parametrize("drawn", [False, True])
def test_every_token_is_revealed_once_and_each_pass_reveals_some(drawn):
    generator = torch.Generator().manual_seed(2) if drawn else None
    text = decode_masked(model().reader(), prompts(), DECODING, generator)
    forwards = torch.zeros(len(text.tokens), dtype=torch.long)
    for tokens, passes in zip(text.tokens.split(BLOCK, 1), text.passes.split(BLOCK, 1), strict=True):
        assert not (tokens == MASK).any()
        for row, found in enumerate(passes.tolist()):
            numbers = sorted({number for number in found if number != NEVER})
            assert numbers == list(range(len(numbers)))
            forwards[row] += len(numbers)
    assert (forwards == text.forwards).all()
    before_end = torch.arange(text.tokens.shape[1]) < text.lengths[:, None]
    assert (text.passes[before_end] != NEVER).all()
    assert (text.tokens[text.passes == NEVER] == PAD).all()
    assert (text.tokens_per_pass > 1).any()


@pytest.mark.parametrize("config", [DECODING, SERIAL])
def test_log_probabilities_are_those_of_a_training_step(config):
    network = model()
    text = decode_masked(network.reader(), prompts(), config, torch.Generator().manual_seed(3))
    snapshots = Snapshots.of(text, config)
    found = network.log_prob(torch.cat([prompts(), text.tokens], 1), snapshots, MASK)
    assert (snapshots.revealed.sum((1, 2)) == (text.passes != NEVER).sum(1)).all()
    revealed = (found * snapshots.revealed).sum((1, 2))
    torch.testing.assert_close(revealed, text.log_prob.sum(1), atol=1e-4, rtol=1e-4)
    assert found.requires_grad
    masked = snapshots.masked(MASK)
    assert not (snapshots.revealed & ~masked).any()
    assert ((found != 0) == masked).all()


def test_a_block_sees_what_is_finished_before_it_and_itself():
    network, texts = model(), torch.randint(0, STOP, (2, BLOCKS * BLOCK))
    whole, row, number = torch.cat([prompts(2), texts], 1), torch.tensor([0, 0, 1]), torch.tensor([0, 2, 1])
    blocks = torch.full((3, BLOCK), MASK)
    before = network(whole, row, number, blocks)
    whole[0, PROMPT + BLOCK] += 1  # in the first text's second block
    after = network(whole, row, number, blocks)
    assert [torch.equal(after[each], before[each]) for each in range(3)] == [True, False, True]
    blocks[0, 0] = 1
    assert (network(whole, row, number, blocks)[0] != after[0]).any(-1).all()


def test_a_reader_gets_what_is_finished_once():
    calls = []

    def read(finished: torch.Tensor, block: torch.Tensor) -> torch.Tensor:
        calls.append(finished.tolist())
        logits = torch.zeros(*block.shape, VOCABULARY)
        logits[..., 5] = 1 + torch.arange(BLOCK)
        return logits

    text = decode_masked(read, prompts(1), SERIAL)
    first = [prompts(1).tolist(), *[[[]]] * (BLOCK - 1)]
    assert calls == [*first, *[[[5] * BLOCK], *[[[]]] * (BLOCK - 1)] * (BLOCKS - 1)]
    assert text.passes.tolist() == [[3, 2, 1, 0] * BLOCKS]  # the surest first
    assert text.lengths.tolist() == [BLOCK * BLOCKS]


def test_a_text_ends_before_what_is_still_masked_and_costs_nothing_further():
    def read(finished: torch.Tensor, block: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(*block.shape, VOCABULARY)
        logits[0, :, 5], logits[1, :, 5] = 9.0, 9.0
        logits[1, 1, STOP] = 20.0
        logits[1, 2:] = 0.0  # unsure of what follows the end
        return logits

    text = decode_masked(read, prompts(2), DECODING.replace(threshold=0.9))
    assert text.tokens[1].tolist() == [5, STOP, *[PAD] * (BLOCK * BLOCKS - 2)]
    assert text.lengths.tolist() == [BLOCK * BLOCKS, 2]
    assert text.forwards.tolist() == [BLOCKS, 1]


def test_revealed_tokens_are_as_likely_as_the_threshold_or_the_most_likely_one():
    likely = torch.tensor([[0.95, 0.99, 0.5, 0.9], [0.2, 0.3, 0.1, 0.99]]).log()
    masked = torch.tensor([[True, False, True, True], [True, True, True, False]])
    assert reveal(likely, masked, 0.9).tolist() == [[True, False, False, True], [False, True, False, False]]


def test_tokens_are_drawn_by_their_probability_and_never_a_mask():
    logits = torch.tensor([0.2, 0.7, 0.1]).log().expand(1, 20_000, 3)
    tokens, log_prob = draw(
        torch.cat([logits, torch.full((1, 20_000, 1), 9.0)], -1), 3, torch.Generator().manual_seed(0)
    )
    assert (tokens == 1).float().mean() == pytest.approx(0.7, abs=0.02)
    torch.testing.assert_close(log_prob, logits.gather(-1, tokens[..., None])[..., 0])


def test_lengths_include_the_first_end():
    assert text_lengths(torch.tensor([[1, STOP, STOP, 1], [1, 1, 1, 1], [STOP, 1, 1, 1]]), STOP).tolist() == [2, 4, 1]
