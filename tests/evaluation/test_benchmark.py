import json
from dataclasses import replace

import pytest
from fakes import TASK_VARIANT, Interrupted, Walker, build
from full_disk import full_disk

from wla.evaluation.benchmark import EvalConfig, evaluate, run_benchmark
from wla.evaluation.episode_files import read_episodes
from wla.evaluation.summary import Identity, load_summary
from wla.rollout.results import read_results
from wla.rollout.runner import EpisodeRunner

IDENTITY = Identity(policy="walker", checkpoint_sha256=None, replan_steps=None)


def go(out, seeds, *, runner=None, identity=IDENTITY, num_envs=1, max_videos=0):
    runner = runner or EpisodeRunner(build, identity.policy, identity.replan_steps)
    return evaluate([TASK_VARIANT], seeds, runner, identity, out, num_envs=num_envs, max_videos=max_videos)


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


@pytest.mark.parametrize("limit", [10, 1500], ids=["at the start", "on the way"])
def test_a_full_disk_is_one_line_and_the_same_call_goes_on(tmp_path, limit):
    out = tmp_path / "out"
    with full_disk(limit), pytest.raises(ValueError, match=r"out: cannot write .*free disk space") as caught:
        go(out, range(6))
    assert "\n" not in str(caught.value)
    if limit == 1500:
        assert lines(out)[0] == (0, "success")
    assert go(out, range(6)).total.n == 6
    assert [seed for seed, _ in lines(out)] == list(range(6))


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
