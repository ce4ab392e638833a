"""Right texts and tokens per forward pass of toy language models, by the threshold that they decode with.

Command:  python benchmarks/toy_language.py RUN [RUN ..] [--texts 1000] [--seed 0] [--split evaluation]
Appends a line for each model and threshold to benchmarks/toy_language.jsonl. The prompts are those of a split that no
training has seen, the same for all models; the most likely tokens are decoded, on one thread.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from wla.bench.stored import store
from wla.intervals import mean_by_episode, rate_interval
from wla.training.toy_language.checkpoint import load_language_model
from wla.training.toy_language.sums import draw_sums
from wla.training.toy_language.texts import write

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", choices=("validation", "evaluation"), default="evaluation")
    parser.add_argument("--thresholds", nargs="+", type=float, default=THRESHOLDS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for run in arguments.runs:
        language, model = load_language_model(run)
        pairs = draw_sums(arguments.texts, language.digits, arguments.split, np.random.default_rng(arguments.seed))
        for threshold in arguments.thresholds:
            texts = write(model, pairs, language.digits, language.decoding.replace(threshold=threshold))
            rate = rate_interval(int(texts.success.sum()), arguments.texts)
            speed = mean_by_episode(texts.text.tokens_per_pass.double().numpy(), np.ones(arguments.texts))
            assert speed is not None
            row = {"run": run.name, "threshold": threshold, "split": arguments.split, "seed": arguments.seed}
            row |= {"texts": arguments.texts, "success_interval": rate.bounds(), **texts.metrics}
            store("toy_language", row | {"tokens_per_pass_interval": speed.bounds(scale=1, digits=2)})


if __name__ == "__main__":
    main()
