import re
from dataclasses import asdict, replace

import numpy as np
import pytest
from fakes import TASK_VARIANT, LineEnv, Walker, spec

from wla.policy.wrapper import PolicyWrapper
from wla.rollout.episode import run_episode
from wla.rollout.recording import Recording
from wla.types import ActionChunk


def run(seed, *, env=None, policy=None, **options):
    return run_episode(
        env or LineEnv(), policy or Walker(), seed, variant=TASK_VARIANT, policy_name="walker", **options
    )


def test_a_success_is_described_in_full():
    result = run(0)
    assert (result.outcome, result.error, result.steps) == ("success", None, 4)
    assert result.instruction == "walk to the goal"
    assert result.subtasks == ((0, "set off"), (3, "arrive"))
    assert result.checkpoint_sha256 is None
    assert {"python", "torch", "numpy"} <= result.versions.keys()


def test_running_into_the_step_limit_is_a_failure():
    result = run(1)
    assert (result.outcome, result.error, result.steps) == ("failure", None, 8)


@pytest.mark.parametrize(("terminated", "success", "outcome"), [(True, False, "failure"), (False, True, "success")])
def test_the_outcome_is_the_environment_s_success_however_the_episode_ends(terminated, success, outcome):
    class Ending(LineEnv):
        def step(self, action):
            observation, *_ = super().step(action)
            return observation, 0.0, terminated, not terminated, {"success": success}

    assert run(0, env=Ending()).outcome == outcome


def test_execute_runs_only_the_start_of_each_chunk():
    recording = Recording(spec())
    result = run(0, replan_steps=1, recorders=[recording])
    assert [step.offset for step in recording.steps] == [0, 0, 0, 0]
    assert result.subtasks == ((0, "set off"), (2, "arrive"))
    with pytest.raises(ValueError, match="at least 1"):
        run(0, replan_steps=0)


def test_a_crash_of_the_simulator_is_an_error_with_one_line_and_the_steps_so_far():
    result = run(7)
    assert (result.outcome, result.steps) == ("error", 2)
    assert result.error.startswith("ZeroDivisionError: the simulation exploded (fakes.py:")


def test_a_crash_of_reset_keeps_the_first_line_only():
    recording = Recording(spec())
    result = run(8, recorders=[recording])
    assert result.outcome == "error"
    assert result.error.startswith("RuntimeError: no such scene (fakes.py:")
    assert recording.last is None


@pytest.mark.parametrize(("asked", "offsets"), [(None, [0, 1, 0, 1]), (1, [0, 0, 0, 0])])
def test_a_chunk_may_say_how_much_of_it_to_run(asked, offsets):
    class Careful(Walker):
        def act(self, observation, state):
            chunk, state = super().act(observation, state)
            return replace(chunk, replan_steps=2), state

    recording = Recording(spec())
    run(0, policy=Careful(), replan_steps=asked, recorders=[recording])
    assert [step.offset for step in recording.steps] == offsets


def test_a_chunk_that_wants_nothing_run_is_an_error():
    class Idle(Walker):
        def act(self, observation, state):
            return ActionChunk(np.zeros((3, 2), np.float32), replan_steps=0), state

    assert "at least 1" in run(0, policy=Idle()).error


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.zeros((0, 2), np.float32), r"shape \(0, 2\)"),
        (np.zeros((3, 5), np.float32), r"shape \(3, 5\)"),
        (np.full((1, 2), np.nan, np.float32), "not all finite"),
    ],
)
def test_actions_that_do_not_fit_are_errors_of_the_policy(actions, message):
    class Bad(Walker):
        def act(self, observation, state):
            return ActionChunk(actions), state

    result = run(0, policy=Bad())
    assert result.outcome == "error"
    assert re.search(message, result.error)


def test_ctrl_c_and_a_full_disk_pass_through():
    class Interrupted(Walker):
        def act(self, observation, state):
            raise KeyboardInterrupt

    class FullDisk(Recording):
        def step(self, *args):
            raise OSError(28, "No space left on device")

    with pytest.raises(KeyboardInterrupt):
        run(0, policy=Interrupted())
    with pytest.raises(OSError, match="No space left"):
        run(0, recorders=[FullDisk(spec())])


def test_a_policy_of_another_robot_is_refused_before_the_first_step():
    with pytest.raises(ValueError, match=r"embodiment is 'swimmer'.*'walker'"):
        run(0, policy=Walker(robot_spec=spec("swimmer")))


def test_a_recording_replays_what_happened():
    first, second = Recording(spec()), Recording(spec())
    run(7, recorders=[first])
    first.replay(second)
    np.testing.assert_equal(asdict(second), asdict(first))
    assert second.outcome == "error"
    assert len(second.steps) == 3  # the action that crashed is there too
    with pytest.raises(ValueError, match="finished"):
        Recording(spec()).replay(second)


class Looking(Walker):
    """Writes down where it was when it acted and when it only watched."""

    def __init__(self):
        super().__init__()
        self.acted, self.watched = [], []

    def act(self, observation, state):
        self.acted.append((state.num_calls, float(observation.state[0])))
        chunk, state = super().act(observation, state)
        return chunk, replace(state, num_calls=state.num_calls + 1)

    def observe(self, observation, state):
        self.watched.append((state.num_calls, float(observation.state[0])))
        return replace(state, num_calls=state.num_calls + 1)


@pytest.mark.parametrize(
    ("seed", "replan_steps", "acted", "watched"),
    [
        (0, None, [(0, 0.0), (3, 0.75)], [(1, 0.25), (2, 0.5)]),
        (0, 2, [(0, 0.0), (2, 0.5)], [(1, 0.25), (3, 0.75)]),
        (0, 1, [(0, 0.0), (1, 0.25), (2, 0.5), (3, 0.75)], []),
    ],
)
def test_a_policy_that_looks_back_sees_every_step_once_and_in_order(seed, replan_steps, acted, watched):
    policy = Looking()
    assert run(seed, policy=policy, replan_steps=replan_steps).outcome == "success"
    assert policy.acted == acted
    assert policy.watched == watched


def test_a_crash_while_watching_is_an_error_of_the_policy():
    class NoCamera(Looking):
        def observe(self, observation, state):
            raise RuntimeError("cannot see")

    result = run(0, policy=NoCamera())
    assert (result.outcome, result.steps) == ("error", 1)
    assert result.error.startswith("RuntimeError: cannot see (test_episode.py:")


class Rendering(LineEnv):
    """Notes at which steps images are asked for, and gives none at the others."""

    def __init__(self) -> None:
        super().__init__()
        self.images_wanted = True
        self.asked: list[bool] = []

    def step(self, action):
        observation, *rest = super().step(action)
        self.asked.append(self.images_wanted)
        return {**observation, "images": observation["images"] if self.images_wanted else {}}, *rest


class EveryStep(Walker):
    """Looks at every step."""

    def observe(self, observation, state):
        assert observation.images
        return state


class NoImages(EveryStep):
    reads_past_images = False

    def observe(self, observation, state):
        return state


class Imageless(Walker):
    reads_images = False


@pytest.mark.parametrize(
    ("policy", "recorded", "asked"),
    [
        (Walker(), False, [False, False, True, False]),  # the episode ends within the second chunk
        (PolicyWrapper(Walker()), False, [False, False, True, False]),
        (NoImages(), False, [False, False, True, False]),
        (Walker(), True, [True] * 4),
        (Imageless(), False, [False] * 4),
        (Imageless(), True, [True] * 4),
        (EveryStep(), False, [True] * 4),
        (PolicyWrapper(EveryStep()), False, [True] * 4),
    ],
)
def test_images_that_nobody_looks_at_are_not_asked_for(policy, recorded, asked):
    env = Rendering()
    for _ in range(2):
        assert run(0, env=env, policy=policy, recorders=[Recording(spec())] if recorded else []).outcome == "success"
    assert env.asked == asked * 2
