"""Ways to join world and action with fewer actions: 30 % and 10 % of the episodes keep them, the others are videos.

Commands (see paradigms, whose table has the rows with all actions):
    wla ablate paradigms_fewer_actions --num-envs 2 --out outputs/paradigms_fewer_actions

A world objective learns from videos too: here it should help if it helps at all. Subtasks of the videos are learned by
all. The ranges of the actions are those of all episodes.

Time and score: not measured yet.
"""

from wla.recipes import paradigms
from wla.training import Ablation

FRACTIONS = (0.3, 0.1)
NAMES = (paradigms.OURS, "none (plain VLA)", "implicit alignment", "cascaded, latents", "joint, one stream")


def config() -> Ablation:
    every = paradigms.variants()
    variants = {
        f"{name}, {fraction:.0%}": (*every[name], f"datasets.0.action_fraction={fraction}")
        for fraction in FRACTIONS
        for name in NAMES
    }
    return paradigms.config().replace(variants=variants, seeds=(0,))
