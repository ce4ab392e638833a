from __future__ import annotations

import pytest
import variants

from wla.models.parameter_counts import parameter_counts


@pytest.mark.parametrize("kind", variants.CONFIGS)
def test_every_parameter_has_one_use(kind: str) -> None:
    model = variants.config(kind).build()
    assert sum(parameter_counts(model)) == sum(each.numel() for each in model.parameters())


@pytest.mark.parametrize("kind", variants.CONFIGS)
def test_what_acts_is_what_is_built_to_act(kind: str) -> None:
    config = variants.config(kind)
    acting = config.build(imagination=False)
    needed = {name: each.numel() for name, each in acting.named_parameters() if not name.startswith("codec.")}
    extra = sum(size for name, size in needed.items() if name.startswith(acting.training_parts))
    assert parameter_counts(config.build()).acting == sum(needed.values()) - extra
    assert (extra > 0) == (kind == "aligned")


def test_codec_and_world_expert_of_a_wla_are_listed_apart() -> None:
    import tiny

    model = tiny.model_config().build()
    counts = parameter_counts(model)
    assert counts.frozen == sum(each.numel() for each in model.codec.parameters())
    assert counts.dropped == sum(each.numel() for each in model.world_expert.parameters())
