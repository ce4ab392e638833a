from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wla.envs.gym.env import GymEnv
from wla.envs.gym.mapping import GymMapping
from wla.envs.registry import load_family, make_env
from wla.types import Env, Observation


def edited(mapping: Path, *edits: tuple[str, str]) -> Path:
    text = mapping.read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    mapping.write_text(text)
    return mapping


def with_fault(mapping: Path, fault: str, *edits: tuple[str, str]) -> Path:
    edited(mapping, *edits)
    mapping.write_text(f'{mapping.read_text()}\n[kwargs]\nfault = "{fault}"\n')
    return mapping


def test_a_mapped_environment_is_an_env_with_a_derived_robot(mapping: Path) -> None:
    env = make_env(str(mapping), task="reach")
    assert isinstance(env, Env)
    action, seen = env.robot_spec.action, env.robot_spec.observation
    assert (env.robot_spec.embodiment, action.rate_hz) == ("point", 10)
    assert (action.names, action.kinds) == (("action_0", "action_1"), ("absolute", "absolute"))
    assert (action.low, action.high) == ((-0.5, -0.5), (0.5, 0.5))
    assert (seen.cameras, seen.state_names) == ({"top": (24, 24)}, ("x", "y"))
    raw, info = env.reset(seed=3)
    assert info["instruction"] == "reach the middle"
    observation = Observation(**raw)
    assert observation.state.dtype == np.float32
    assert observation.images["top"][0].min() == 255 > observation.images["top"][-1].max()
    again, _ = env.reset(seed=3)
    assert (again["state"] == raw["state"]).all()
    assert (env.reset(seed=4)[0]["state"] != raw["state"]).any()


def test_success_ends_an_episode_and_so_does_the_limit(mapping: Path) -> None:
    env = make_env(str(mapping), task="reach")
    raw, _ = env.reset(seed=0)
    *_, terminated, truncated, info = env.step(np.float32(-raw["state"]))
    assert (terminated, truncated, info["success"]) == (True, False, True)
    env.reset(seed=1)
    ends = [env.step(np.float32([9, 9]))[2:] for _ in range(9)]  # beyond the limits: clipped
    assert [truncated for _, truncated, _ in ends] == [False] * 8 + [True]
    assert not any(terminated or info["success"] for terminated, _, info in ends)


def test_what_the_mapping_says_of_dimensions_is_what_the_robot_has(mapping: Path) -> None:
    extra = '[action]\nnames = ["dx", "dy"]\nkinds = ["delta", "delta"]\nlow = [-0.1, -0.1]\nframe = "tool"\n'
    mapping.write_text(mapping.read_text() + extra)
    action = make_env(str(mapping), task="reach").robot_spec.action
    assert (action.names, action.kinds, action.frame) == (("dx", "dy"), ("delta", "delta"), "tool")
    assert (action.low, action.high) == ((-0.1, -0.1), (0.5, 0.5))


def test_rendered_images_and_upside_down_ones(mapping: Path) -> None:
    edited(mapping, ('top = "pixels.top"', 'top = "render()"'), ("max_steps", 'upside_down = ["top"]\nmax_steps'))
    env = make_env(str(with_fault(mapping, "rendered")), task="reach")
    image = env.reset(seed=0)[0]["images"]["top"]
    assert image[0].max() == 0 < image[-1].min()


def test_termination_may_be_success_and_the_instruction_of_the_episode(mapping: Path) -> None:
    edits = (('"near"', '"terminated()"'), ('instruction = "reach the middle"', 'instruction_key = "task_description"'))
    env = make_env(str(with_fault(mapping, "ends", *edits)), task="reach")
    raw, info = env.reset(seed=1)
    assert info["instruction"] == "reach the middle"
    assert env.step(np.zeros(2, np.float32))[4]["success"] is False
    *_, terminated, _, info = env.step(np.float32(-raw["state"]))
    assert (terminated, info["success"]) == (True, True)


@pytest.mark.parametrize(
    ("fault", "edits", "message"),
    [
        ("discrete", (), r"actions are Discrete\(4\); only a 1-D Box of floats works"),
        ("matrix actions", (), r"actions are Box\(.*; only a 1-D Box"),
        ("unlimited", (), "actions have no limits; give action.low and action.high, 2 each"),
        ("blind", (), "images.top: the observation has no 'pixels.top'; there it has agent, goal"),
        ("vector", (), r"the observation has no 'pixels.top'; there it has no keys"),
        ("chw", (), r"images.top = 'pixels.top' is uint8 \(3, 24, 24\), not uint8 \(H, W, 3\)"),
        ("float image", (), r"images.top = 'pixels.top' is float64 \(24, 24, 3\), not uint8"),
        ("text state", (), "state.keys: 'agent.pos' is .*, not a vector of numbers"),
        ("", (("agent.pos", "agent.speed"),), "state.keys: the observation has no 'agent.speed'; there it has pos"),
        ("", (('"near"', '"done"'),), "success: info has no 'done'; it has near"),
        ("", (('instruction = "reach the middle"', 'instruction_key = "text"'),), "no 'text'; it has task_description"),
        ("", (('["x", "y"]', '["x"]'),), "state.names has 1 entries for 2 dimensions"),
        ("", (("Reach-v0", "Walk-v0"),), "'outside_sim/Walk-v0' cannot be made: Environment `Walk` doesn't exist"),
        ("", (('"outside_sim"', '"nowhere"'),), "cannot import nowhere .* put its folder on PYTHONPATH"),
    ],
)
def test_an_environment_that_does_not_fit_its_mapping_is_refused_when_it_is_made(
    mapping: Path, fault: str, edits: tuple[tuple[str, str], ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make_env(str(with_fault(mapping, fault, *edits)), task="reach")
    assert "\n" not in str(caught.value)


def test_arguments_that_the_environment_does_not_take_are_refused(mapping: Path) -> None:
    mapping.write_text(mapping.read_text() + "\n[kwargs]\nsize = 3\n")
    with pytest.raises(ValueError, match=r"cannot be made: .*unexpected keyword argument 'size'"):
        make_env(str(mapping), task="reach")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("growing image", r"camera top changed from \(24, 24\) to \(25, 25\)"),
        ("shrinking state", "the state changed from 2 dimensions to 1"),
    ],
)
def test_shapes_that_change_are_errors(mapping: Path, fault: str, message: str) -> None:
    env = make_env(str(with_fault(mapping, fault)), task="reach")
    env.reset(seed=1)
    action = np.float32([0.5, 0.5])
    env.step(action)
    env.step(action)
    with pytest.raises(ValueError, match=message):
        env.step(action)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (('success = "near"', ""), "reach.toml: success: Field required"),
        (('task = "reach"', 'task = "a/b"'), "reach.toml: task: String should match pattern"),
        (('instruction = "reach the middle"', 'instruction = ""'), "give instruction .* or instruction_key"),
        (('top = "pixels.top"', ""), "reach.toml: images: .*at least 1 item"),
        (("rate_hz = 10", 'rate_hz = 10\nupside_down = ["wrist"]'), "upside_down names no camera of images: wrist"),
        (("rate_hz = 10", "rate = 10"), "reach.toml: rate"),
        (('id = "outside_sim', "id = outside_sim"), "reach.toml is not TOML"),
    ],
)
def test_mappings_that_do_not_say_what_they_must_are_refused(
    mapping: Path, edit: tuple[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        GymMapping.read(edited(mapping, edit))
    assert "\n" not in str(caught.value)


def test_a_mapping_file_that_is_missing_can_be_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none.toml: no such mapping file; wla init --env GYM_ID --out .*none.toml"):
        load_family(str(tmp_path / "none.toml"))


def test_images_keep_their_size(mapping: Path) -> None:
    with pytest.raises(ValueError, match=r"images keep their size; .*\[kwargs\]"):
        make_env(str(mapping), task="reach", image_size=32)
    mapping.write_text(mapping.read_text() + "\n[kwargs]\nside = 32\n")
    env = GymEnv(GymMapping.read(mapping))
    assert env.robot_spec.observation.cameras == {"top": (32, 32)}


def test_the_content_of_the_mapping_is_part_of_the_versions(mapping: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(mapping.read_text().replace("rate_hz = 10", "rate_hz = 20"))
    first, second = (load_family(str(path)).versions for path in (mapping, other))
    assert first["gymnasium"] == second["gymnasium"]
    assert first["mapping_sha256"] != second["mapping_sha256"]


def test_a_mapping_may_choose_the_render_mode(mapping: Path) -> None:
    """Some environments draw the images of their observations in that mode only."""
    text = mapping.read_text()
    mapping.write_text(text + '\n[kwargs]\nfault = "needs a mode"\nrender_mode = "rgb_array"\n')
    assert make_env(str(mapping), task="reach").reset(seed=0)[0]["images"]
