import json
import re
from dataclasses import replace

import pytest
from fakes import TASK_VARIANT, Interrupted, LineEnv, Walker, build, spec
from full_disk import full_disk
from hostile import TEXTS
from test_locks import hold

from wla.evaluation.benchmark import EvalConfig, evaluate, run_benchmark
from wla.evaluation.episode_files import read_episodes
from wla.evaluation.report import write_report
from wla.evaluation.summary import Identity, load_summary
from wla.rollout.configs import EngineConfig
from wla.rollout.results import read_results
from wla.rollout.runner import EpisodeRunner
from wla.types import MemoryItem

IDENTITY = Identity(policy="walker", checkpoint_sha256=None, replan_steps=None)


def go(out, seeds, *, runner=None, identity=IDENTITY, num_envs=1, max_videos=0):
    runner = runner or EpisodeRunner(build, identity.policy, identity.replan_steps)
    episodes = [(TASK_VARIANT, seed) for seed in seeds]
    return evaluate(episodes, runner, identity, out, engine=EngineConfig(num_envs=num_envs), max_videos=max_videos)


def lines(out):
    return [(r.seed, r.outcome) for r in read_results(out / "results.jsonl")]


def test_errors_are_reported_apart_and_the_summary_states_the_rule(tmp_path):
    summary = go(tmp_path, range(9))
    assert (summary.total.n, summary.total.successes, summary.total.errors) == (7, 4, 2)
    saved = json.loads((tmp_path / "summary.json").read_text())
    assert saved["all"]["errors"] == 2
    assert saved["all"]["low"] < saved["all"]["rate"] < saved["all"]["high"]
    assert saved["cases"][0]["task"] == "walk"
    assert "errors are crashes, counted apart" in saved["rule"]
    assert load_summary(tmp_path) == summary


def test_an_interrupted_evaluation_goes_on_where_it_stopped(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        go(
            tmp_path,
            range(6),
            runner=EpisodeRunner(lambda variant, shared: (build(variant)[0], Interrupted(at=3)), "walker"),
        )
    assert lines(tmp_path) == [(0, "success"), (1, "failure"), (2, "success")]
    assert json.loads((tmp_path / "summary.json").read_text())["all"]["n"] == 3
    go(tmp_path, range(6))
    assert [seed for seed, _ in lines(tmp_path)] == list(range(6))


@pytest.mark.parametrize("limit", [10, 400, 1200, 1500, 2000])
@pytest.mark.parametrize("max_videos", [0, 3], ids=["results", "episodes"])
def test_a_full_disk_is_one_line_and_the_same_call_goes_on(tmp_path, limit, max_videos):
    """Whichever file it is that no longer fits: results, a video, an image or episode.json."""
    out = tmp_path / "out"
    with full_disk(limit), pytest.raises(ValueError, match=r"out: cannot write .*free disk space") as caught:
        go(out, range(6), max_videos=max_videos)
    assert "\n" not in str(caught.value)
    if limit == 1500 and not max_videos:
        assert lines(out)[0] == (0, "success")
    assert go(out, range(6), max_videos=max_videos).total.n == 6
    assert [seed for seed, _ in lines(out)] == list(range(6))
    assert len(read_episodes(out / "episodes")) == max_videos
    assert write_report(out).is_file()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"file/out: cannot write .*choose another --out"):
        go(tmp_path / "file" / "out", range(1))


def test_finished_episodes_do_not_run_again_but_crashed_ones_do(tmp_path):
    go(tmp_path, range(6, 9), max_videos=3)
    assert lines(tmp_path) == [(6, "success"), (7, "error"), (8, "error")]

    class Fixed(Walker):
        """No trouble any more: and seed 6 must not run again, or it would now fail."""

        def act(self, observation, state):
            assert state.seed != 6
            return super().act(observation, state)

    class Calm(type(build(TASK_VARIANT)[0])):
        def reset(self, *, seed=None, options=None):
            self.real = seed
            return super().reset(seed=0 if seed in (7, 8) else seed)

    summary = go(
        tmp_path, range(6, 9), runner=EpisodeRunner(lambda variant, shared: (Calm(), Fixed()), "walker"), max_videos=3
    )
    assert lines(tmp_path) == [(6, "success"), (7, "success"), (8, "success")]
    assert summary.total.errors == 0
    assert [shown.outcome for _, shown in read_episodes(tmp_path / "episodes")] == ["success"]


@pytest.mark.parametrize(
    "other",
    [
        Identity(policy="runner", checkpoint_sha256=None, replan_steps=None),
        Identity(policy="walker", checkpoint_sha256="b" * 64, replan_steps=None),
        Identity(policy="walker", checkpoint_sha256=None, replan_steps=1),
    ],
)
def test_results_of_different_runs_never_mix(tmp_path, other):
    go(tmp_path, range(1))
    with pytest.raises(ValueError, match=r"holds results of another run .policy walker, replan_steps unset"):
        go(tmp_path, range(2), identity=other)
    assert lines(tmp_path) == [(0, "success")]


def test_a_refused_run_leaves_nothing_and_claims_no_folder(tmp_path):
    out = tmp_path / "out"
    other_robot = EpisodeRunner(
        lambda variant, shared: (build(variant)[0], Walker(robot_spec=spec("jumper"))), "walker"
    )
    with pytest.raises(ValueError, match="different robots"):
        go(out, range(3), runner=other_robot)
    assert not out.exists()
    other = Identity(policy="runner", checkpoint_sha256=None, replan_steps=None)
    assert go(out, range(3), identity=other).total.n == 3


def test_a_second_process_may_not_evaluate_into_the_folder(tmp_path):
    with hold(tmp_path) as process:
        with pytest.raises(ValueError, match=rf"another process \(pid {process.pid}\) writes here now"):
            go(tmp_path, range(2))
        process.kill()
    assert go(tmp_path, range(2)).total.n == 2


def test_a_folder_of_nothing_but_errors_belongs_to_nobody(tmp_path):
    go(tmp_path, [7, 8])
    other = Identity(policy="runner", checkpoint_sha256=None, replan_steps=None)
    assert go(tmp_path, [0], identity=other).total.n == 1
    assert load_summary(tmp_path).policy == "runner"


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_any_text_of_an_environment_and_a_policy_is_recorded_reported_and_resumed(tmp_path, text):
    class Env(LineEnv):
        def reset(self, *, seed=None, options=None):
            if seed == 1:
                raise RuntimeError(text)
            return super().reset(seed=seed)[0], {"instruction": text, "subtask": text}

    class Policy(Walker):
        def act(self, observation, state, **options):
            chunk, state = super().act(observation, state, **options)
            return replace(chunk, subtasks=(text,)), replace(state, memory=(MemoryItem(text, 0, 1),))

    runner = EpisodeRunner(lambda variant, shared: (Env(), Policy()), "walker", imagine=True)
    go(tmp_path, range(3), runner=runner, max_videos=3)
    assert lines(tmp_path) == [(0, "success"), (1, "error"), (2, "success")]
    assert write_report(tmp_path).read_text(encoding="utf-8")
    summary = go(tmp_path, range(4), runner=runner, max_videos=3)
    assert (summary.total.n, summary.total.errors) == (3, 1)


def test_a_checkpoint_is_known_by_its_content_not_its_path(tmp_path):
    go(tmp_path, range(1), identity=Identity(policy="a", checkpoint_sha256="c" * 64, replan_steps=None))
    go(tmp_path, range(2), identity=Identity(policy="b", checkpoint_sha256="c" * 64, replan_steps=None))
    assert len(lines(tmp_path)) == 2


def test_videos_are_few_and_of_both_kinds(tmp_path):
    go(tmp_path, range(8), max_videos=3)
    shown = [shown for _, shown in read_episodes(tmp_path / "episodes")]
    assert [(s.seed, s.outcome) for s in shown] == [(0, "success"), (1, "failure"), (3, "failure")]
    assert shown[0].subtasks == ((0, "set off"), (3, "arrive"))
    assert len(shown[0].actions) == shown[0].steps == 4


def test_imagined_subgoals_are_kept_beside_the_frames_that_came(tmp_path):
    go(tmp_path, range(1), runner=EpisodeRunner(build, "walker", imagine=True), max_videos=3)
    folder, shown = read_episodes(tmp_path / "episodes")[0]
    assert [(s.predicted_at, s.target_step, s.real) for s in shown.subgoals] == [(0, 3, "real-0003.jpg"), (3, 6, None)]
    assert (folder / "real-0003.jpg").exists()
    assert (folder / shown.subgoals[1].imagined).exists()
    first, second = shown.subgoals[1].scored_candidates
    assert (first.score, first.selected, first.subtask, first.memory_reset) == (0.75, True, "arrive", False)
    assert (second.score, second.selected, second.subtask, second.memory_reset) == (0.5, False, "set off", True)
    assert (folder / second.image).exists()


@pytest.mark.slow
def test_two_processes_give_the_same_file_as_one(tmp_path):
    go(tmp_path / "one", range(12), max_videos=3)
    go(tmp_path / "two", range(12), max_videos=3, num_envs=2)
    one, two = (read_results(tmp_path / name / "results.jsonl") for name in ("one", "two"))
    assert [replace(result, versions={}) for result in one] == [replace(result, versions={}) for result in two]
    names = [sorted(p.name for p in (tmp_path / n / "episodes").iterdir()) for n in ("one", "two")]
    assert names[0] == names[1]


@pytest.mark.parametrize(
    ("seed", "split"), [(5, "evaluation"), (5, "validation"), (50_000, "evaluation"), (19_999, "validation")]
)
def test_seeds_outside_the_split_are_refused(tmp_path, seed, split):
    config = EvalConfig(policy="expert", tasks=("place",), episodes=2, seed=seed, split=split)
    with pytest.raises(ValueError, match="is not for"):
        run_benchmark(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("seeds", "line"),
    [
        ([8, 18], r"every episode is an error, the first: RuntimeError: no such scene .*seed 8, step 0.*wla doctor"),
        ([0, 7, 8], r"2 errors, the first: ZeroDivisionError: the simulation exploded .*seed 7, step 2\)$"),
    ],
)
def test_the_first_cause_is_on_the_terminal(tmp_path, capsys, seeds, line):
    go(tmp_path, seeds)
    assert re.search(line, capsys.readouterr().err.strip().splitlines()[-1])


def test_without_errors_the_terminal_says_nothing_of_them(tmp_path, capsys):
    go(tmp_path, [0, 1])
    assert "error" not in capsys.readouterr().err
