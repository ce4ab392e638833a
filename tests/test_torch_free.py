"""Prompts, memory and normalisation run in a process that cannot import torch, as a client of a policy server may.

So does everything about a recipe but its training: a mistake in one is answered at once.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
HEAVY = ("torch", "transformers", "diffusers")


def run(script: str, *arguments: str, blocked: str | tuple[str, ...]) -> str:
    """Runs a script in a process in which importing `blocked` fails. Returns what it wrote to standard error."""
    names = [blocked] if isinstance(blocked, str) else blocked
    lines = f"import sys\nsys.path.insert(0, {str(SOURCE)!r})\nsys.modules |= dict.fromkeys({names!r})\n"
    command = [sys.executable, "-c", lines + textwrap.dedent(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


def errors(text: str) -> list[str]:
    """The lines of standard error that report a mistake."""
    return [line for line in text.splitlines() if line.startswith("wla: error: ")]


def test_blocking_a_module_makes_its_import_fail() -> None:
    with pytest.raises(AssertionError, match="import of torch halted"):
        run("import wla.batch", blocked="torch")


def test_a_prompt_is_built_without_torch() -> None:
    run(
        """
        import numpy as np
        from importlib import resources
        from pathlib import Path
        from wla.data.memory import MemoryConfig, prune_memory
        from wla.data.prompts.chat import ChatPromptConfig, join_sentences
        from wla.data.prompts.nano import PromptConfig
        from wla.data.prompts.tokenizer import load_tokenizer

        folder = Path(str(resources.files("wla"))) / "bundled/nano-tabletop"
        memory = MemoryConfig(tokens=40)
        tokenizer = load_tokenizer(folder / "tokenizer.json")
        prompter = PromptConfig(memory=memory).build(tokenizer, {"front": 36, "wrist": 9})
        finished = prune_memory(["press the button"], memory, str, prompter.length)
        prompt = prompter.prompt("push the red block", np.zeros(3), memory=finished, current_subtasks=["press confirm"])
        assert prompt.count(prompter.image) == 45
        assert prompter.subtasks(prompter.answer(["press confirm"])) == ("press confirm",)
        assert join_sentences(["press confirm"]) == "press confirm."
        assert ChatPromptConfig().queries == 64
        """,
        blocked="torch",
    )


def test_states_are_normalised_and_memories_updated_without_torch() -> None:
    run(
        """
        import numpy as np
        import wla.config
        import wla.specs
        from wla.data.memory import update_memory
        from wla.data.normalize import Normalizer, VectorStatistics
        from wla.types import ActionChunk, Observation, PolicyState

        seen = Observation({"front": np.zeros((8, 8, 3), np.uint8)}, np.array([0, 5], np.float32))
        statistics = VectorStatistics.of([np.array([[0, 0], [2, 10]], np.float32)])
        normalizer = Normalizer(statistics, name="state", dimensions="ab")
        assert normalizer.normalize(seen.state).tolist() == [-1, 0]
        chunk = ActionChunk(normalizer.denormalize(np.zeros((4, 2), np.float32)), ("lift",))
        state = PolicyState("lift the block", subtasks=("reach", "lift"))
        memory, start = update_memory(state.memory, state.subtasks, state.subtask_start, chunk.subtasks, 8)
        assert ([item.text for item in memory], start) == (["reach"], 8)
        """,
        blocked="torch",
    )


def test_datasets_and_normalisation_import_without_a_video_decoder() -> None:
    run("import wla.data.lerobot.reader, wla.data.normalize", blocked="av")


def test_a_client_of_a_policy_server_needs_neither_torch_nor_a_simulator() -> None:
    script = "from wla.serving import RemotePolicy, RemoteState; import wla.serving.wire"
    run(script, blocked="torch")
    run(script, blocked="mujoco")


def test_the_help_of_every_recipe_needs_no_torch() -> None:
    script = """
        from wla.cli.main import main
        from wla.presets.recipe import bundled_recipes
        assert [name for name in bundled_recipes() if main(["train", name, "--help"])] == []
        """
    run(script, blocked=HEAVY)


def test_mistakes_in_a_bundled_recipe_are_reported_without_torch() -> None:
    script = """
        from wla.cli.main import main
        assert main(["train", "nano_tabletop", "--print-config", "loop.optim.steps=3"]) == 0
        for command, recipe, override in (
            ("train", "nano_tabletop", "loop.optim.stepz=3"),
            ("train", "nano_tabletop", "loop.validation_every=0"),
            ("train", "nano_tabletop", "--ouut=x"),
            ("train", "ablate_world", "episodes=3"),
            ("ablate", "ablate_world", "recipe.loop.optim.stepz=3"),
            ("ablate", "nano_tabletop", "episodes=3"),
            ("estimate", "wla0_rmbench", "loop.batch_size=0"),
            ("estimate", "nano_codec", "loop.batch_size=1"),
        ):
            out = ["--out", "runs"] if command == "ablate" else []
            assert main([command, recipe, override, *out]) == 2
        """
    lines = errors(run(script, blocked=HEAVY))
    expected = (
        "did you mean 'loop.optim.steps'?",
        "loop.validation_every: Input should be greater than or equal to 1",
        "no option --ouut; did you mean --out?",
        "ablate_world is an ablation",
        "did you mean 'recipe.loop.optim.steps'?",
        "nano_tabletop is not an ablation",
        "loop.batch_size: Input should be greater than or equal to 1",
        "nano_codec does not train a policy",
    )
    assert len(lines) == len(expected), lines
    assert [text for text, line in zip(expected, lines, strict=True) if text not in line] == []


def test_mistakes_in_a_recipe_for_a_dataset_are_reported_without_torch(tmp_path: Path) -> None:
    script = """
        import sys
        from pathlib import Path
        from typing import get_args
        from wla.cli.main import main
        from wla.data import Columns
        from wla.presets.dataset_recipe import DatasetDraft, RecipeDraft, recipe_text
        from wla.presets.names import Size
        from wla.robots.libero import libero_robot

        robot, folder = libero_robot(), Path(sys.argv[1])
        robot.save(folder / "robot.json")
        for size in get_args(Size):
            path = folder / f"{size}.py"
            mine = DatasetDraft(
                dataset="mine", columns=Columns(), robot=robot, robot_file="robot.json", episodes=20,
                held_out="18:20", cameras=tuple(robot.observation.cameras),
            )
            draft = RecipeDraft(
                out=path.name, datasets=(mine,), chunk=8, image_fit="pad", relative=True, size=size,
            )
            path.write_text(recipe_text(draft), encoding="utf-8")
            assert main(["train", str(path), "--help"]) == 0
            assert main(["train", str(path), "loop.optim.stepz=3"]) == 2
            assert main(["train", str(path), "loop.validation_every=0"]) == 2
        """
    lines = errors(run(script, str(tmp_path), blocked=HEAVY))
    wrong = [line for line in lines[::2] if "did you mean 'loop.optim.steps'?" not in line]
    wrong += [line for line in lines[1::2] if "loop.validation_every: Input should be greater" not in line]
    assert (len(lines), wrong) == (6, [])
