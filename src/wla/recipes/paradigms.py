"""Ways to join world and action, measured alike: the survey's classes (arXiv 2605.12090) on the six short tasks.

Commands (datasets/nano_tabletop: see nano_tabletop):
    wla train nano_vq_codec --out outputs/nano_vq_codec
    wla ablate paradigms --num-envs 2 --out outputs/paradigms

Equal data, steps, samples and training seeds; parameters that act within 5 % (`costs.md` beside the table lists them,
and the FLOPs of training). The first seven start from one backbone with one codec; WorldVLA reads codes, so it starts
from random weights and a codec of its own. The same command resumes; `seeds=[0]` runs one training seed.

Time and score: not measured yet.
"""

from collections.abc import Mapping

from wla.models import LossWeights, PolicyModelConfig, WLAConfig
from wla.presets import (
    PROMPT,
    aligned,
    nano_cascaded_latents,
    nano_cascaded_pixels,
    nano_joint,
    nano_model,
    nano_world_vla,
    plain_vla,
)
from wla.recipes import nano_tabletop
from wla.training import Ablation, FromScratch, PolicyTrainConfig

OURS = "hidden state (WLA)"
TEXT_MATRICES, EXPERT_MATRICES = r"text\.layers\.", r"_expert\.blocks\."


def ours() -> WLAConfig:
    """Our own model."""
    model = nano_model(state_dim=5, action_dim=5, chunk=8)
    # One step of sampling images, as the bundled policies are trained for: a cascade imagines in each call.
    world = model.world_expert.replace(timestep_shift=10.0, flow_steps=1)
    return model.replace(world_expert=world, loss_weights=LossWeights(language=0.1))


def recipe() -> PolicyTrainConfig:
    """Our own way, as the others are compared with it: a quarter of `nano_tabletop`'s samples."""
    before = nano_tabletop.config()
    optim = before.loop.optim.replace(steps=1000, muon=(TEXT_MATRICES, EXPERT_MATRICES))
    return before.replace(
        model=ours(),
        init=before.init.replace(backbone="nano-base", codec="nano-tabletop"),
        action_noise=0.0,
        clip_subgoals=True,  # without a later frame a cascade would learn no actions at an episode's end
        loop=before.loop.replace(optim=optim, batch_size=32),
    )


def variants() -> Mapping[str, tuple[str, ...]]:
    """Name -> overrides of `recipe`."""
    model = ours()
    tokens = nano_world_vla(state_dim=5, action_dim=5, chunk=8).replace(layers=7)
    scratch = FromScratch(prompt=PROMPT.replace(language=False), codec="outputs/nano_vq_codec/checkpoint")
    return {
        OURS: (),
        "none (plain VLA)": (_model(plain_vla(model)),),
        "implicit alignment": (_model(aligned(model)),),
        "cascaded, latents": (_model(nano_cascaded_latents(model)),),
        "cascaded, pixels": (_model(nano_cascaded_pixels(model)),),
        "joint, one stream": (_model(nano_joint(model, streams=1)),),
        "joint, two streams": (_model(nano_joint(model, streams=2)),),
        "autoregressive (WorldVLA)": (
            _model(tokens),
            f"init={scratch.model_dump_json()}",
            r"loop.optim.muon=decoder\.layers\.",
        ),
    }


def _model(config: PolicyModelConfig) -> str:
    return f"model={config.model_dump_json()}"


def config() -> Ablation:
    return Ablation(
        recipe=recipe(),
        variants=dict(variants()),
        seeds=(0, 1),
        tasks=("place", "stack", "push", "press", "drawer", "place_two"),
        episodes=50,
    )
