"""The nano tokenizer: byte-level BPE with the chat markers of Qwen, location tokens and meta-queries.

A user's full-size tokenizer comes as a folder; this one is trained in milliseconds on the instructions and subtasks.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from wla.data.prompts.special_tokens import END, PAD, special_tokens
from wla.texts import encodable


def train_tokenizer(texts: Iterable[str], *, queries: int, locations: int, size: int = 768) -> PreTrainedTokenizerFast:
    """Byte-level BPE on `texts`; any other text still encodes, byte by byte in the worst case."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=special_tokens(queries, locations),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token=PAD, eos_token=END)


def extend_tokenizer(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str], *, size: int) -> PreTrainedTokenizerFast:
    """The tokenizer with more merges, learned from `texts`, and up to `size` entries.

    Existing tokens keep their indices. As in training from scratch, the most frequent pair is merged first.
    """
    tree = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary, merges = tree["model"]["vocab"], tree["model"]["merges"]
    split = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str
    words = Counter(word for text in texts for word, _ in split(text))
    parts = {word: [token.value for token in tokenizer.backend_tokenizer.model.tokenize(word)] for word in words}
    while len(vocabulary) < size:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in words.items():
            for pair in pairwise(parts[word]):
                pairs[pair] += count
        if not pairs:
            break
        pair = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(list(pair))
        vocabulary.setdefault("".join(pair), len(vocabulary))
        parts = {word: _merge(tokens, pair) for word, tokens in parts.items()}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(tree)), pad_token=PAD, eos_token=END)


def token_ids(tokenizer: PreTrainedTokenizerFast, names: Sequence[str], hint: str) -> dict[str, int]:
    """Returns the ids of tokens. ValueError, which ends with `hint`, when the tokenizer lacks one."""
    vocabulary = tokenizer.get_vocab()
    missing = [name for name in names if name not in vocabulary]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise ValueError(f"tokenizer: lacks {', '.join(missing[:3])}{more}; {hint}")
    return {name: vocabulary[name] for name in names}


def mark_special(tokenizer: PreTrainedTokenizerFast, names: Iterable[str]) -> None:
    """Marks the tokens that prompts are built from as special where they are not, as `encode_text` needs them."""
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    unmarked = [AddedToken(name, normalized=False, special=True) for name in names if name not in special]
    if unmarked:
        tokenizer.add_tokens(unmarked, special_tokens=True)


def append_tokens(
    tokenizer: PreTrainedTokenizerFast, names: Sequence[str], *, first: int, filler: str, what: str
) -> None:
    """Adds special tokens as vocabulary entries from `first` on, unless it has them already.

    Unused entries before them, for which the model's embedding has rows, are named `filler` and a number. what: the
    first token in messages. ValueError when the tokenizer has more entries, or the tokens elsewhere.
    """
    if names[0] not in tokenizer.get_vocab():
        if len(tokenizer) > first:
            raise ValueError(
                f"tokenizer: has {len(tokenizer)} tokens, the model's {what} is token {first}; give the tokenizer that "
                "belongs to the model"
            )
        unused = [f"<{filler}_{index}>" for index in range(first - len(tokenizer))]
        tokenizer.add_tokens([*unused, *names], special_tokens=True)
    found = tokenizer.convert_tokens_to_ids(list(names))
    if found != list(range(first, first + len(names))):
        raise ValueError(
            f"tokenizer: {names[0]} is token {found[0]}, the model's is {first}; give the tokenizer that belongs to "
            "the model"
        )


def consecutive(ids: Mapping[str, int], names: Iterable[str]) -> list[int]:
    """Returns the ids of tokens that are numbered through. ValueError when these are not."""
    found = {name: ids[name] for name in names}
    first = next(iter(found.values()))
    if list(found.values()) != list(range(first, first + len(found))):
        raise ValueError(f"tokenizer: {next(iter(found))} and those after it are not consecutive vocabulary entries")
    return list(found.values())


def encode_text(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """Returns the tokens of a text, all of them ordinary: the name of a special token is text like any other."""
    return tokenizer.encode(encodable(text), add_special_tokens=False, split_special_tokens=True)


def _merge(tokens: Sequence[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for token in tokens:
        if merged and (merged[-1], token) == pair:
            merged[-1] += token
        else:
            merged.append(token)
    return merged


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, path: Path) -> None:
    path.write_text(tokenizer.backend_tokenizer.to_str(), encoding="utf-8")


def load_tokenizer(path: Path, appended: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """ValueError when the file is missing or is not a tokenizer. appended: special tokens behind its own, in this
    order, of a tokenizer that lacks padding and end: the library would append these two otherwise."""
    if not path.is_file():
        raise ValueError(f"{path}: no tokenizer here; a checkpoint holds config, weights, statistics and tokenizer")
    try:
        core = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises no narrower class
        raise ValueError(f"{path}: damaged or no tokenizer ({error}); copy or train it again") from error
    core.add_special_tokens([AddedToken(name, normalized=False) for name in appended])
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token=PAD, eos_token=END)
