from __future__ import annotations

import numpy as np
import pytest
import torch
from micro_batch import micro_batch_losses
from test_initialization import recipe, root  # noqa: F401  (the fixture)
from tiny import write_dataset

from wla.data.dataset_config import DatasetConfig
from wla.training.sampling import numpy_rng, sample_batch
from wla.training.step import micro_batch_seed

COUNT = 4


@pytest.fixture(scope="module")
def task(root, tmp_path_factory):  # noqa: F811
    """Episodes with actions and videos without, one or two samples to a micro-batch."""
    videos = write_dataset(tmp_path_factory.mktemp("videos") / "data", with_actions=False)
    mixed = recipe(
        root,
        language=True,
        datasets=(DatasetConfig(path=str(root / "data")), DatasetConfig(path=str(videos), actions=False)),
    )
    return mixed.override([f"loop.micro_batches={COUNT}", "loop.batch_size=8"]).build()


def generators(task, step: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(micro_batch_seed(task.config.loop, step, number)) for number in range(COUNT)]


def test_a_batch_without_images_is_the_same_but_for_them(task):
    whole, rest = (
        task.policy_loss.sampler.sample_batch(6, numpy_rng(torch.Generator().manual_seed(1)), images=images)
        for images in (True, False)
    )
    assert (rest.images, rest.subgoal) == ({}, None)
    assert rest.ids == whole.ids
    for name in ("tokens", "labels", "state", "actions", "action_mask", "subgoal_mask"):
        assert torch.equal(getattr(rest, name), getattr(whole, name))


def test_a_step_is_the_mean_over_all_its_samples(task):
    for step in range(3):
        shares, counts, values = [], [], []
        for number, generator in enumerate(generators(task, step)):
            batch = sample_batch(task.policy_loss.sampler, 2, generator)
            counts.append(task.model.loss_counts(batch))
            shares.append(task.policy_loss.normalizer(step, batch))
            values.append({name: 1.0 + number + len(name) for name in counts[-1]})
        assert len({tuple(count.values()) for count in counts}) > 1
        for name in ("action", "world", "language"):
            total = sum(count[name] for count in counts)
            means = sum(v[name] * share[name] for v, share in zip(values, shares, strict=True)) / COUNT
            wanted = sum(v[name] * count[name] for v, count in zip(values, counts, strict=True)) / max(total, 1)
            assert means == pytest.approx(wanted)


def test_losses_are_weighted(task):
    with torch.no_grad():
        for generator, again in zip(generators(task, 0), generators(task, 0), strict=True):
            batch = sample_batch(task.policy_loss.sampler, 2, again)
            terms, ids = micro_batch_losses(task, 0, 2, generator)
            assert ids == batch.ids
            share = task.policy_loss.normalizer(0, batch)
            if share["action"]:
                plain = task.model.compute_loss(batch, again)["action"]
                assert float(terms["action"]) == pytest.approx(share["action"] * float(plain), rel=1e-5)
            else:
                assert float(terms["action"]) == 0


def test_a_single_micro_batch_counts_as_it_is(root):  # noqa: F811
    task = recipe(root).build()
    batch = task.policy_loss.sampler.sample_batch(4, np.random.default_rng(0))
    assert set(task.policy_loss.normalizer(0, batch).values()) == {1.0}
