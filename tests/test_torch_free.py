"""Prompts, memory and normalisation run in a process that cannot import torch, as a client of a policy server may."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"


def run(script: str, *, blocked: str) -> None:
    """Runs a script in a process in which importing `blocked` fails."""
    lines = f"import sys\nsys.path.insert(0, {str(SOURCE)!r})\nsys.modules[{blocked!r}] = None\n"
    done = subprocess.run([sys.executable, "-c", lines + textwrap.dedent(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


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
