import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from full_disk import full_disk

from wla.cli import main as cli
from wla.cli.arguments import help_text
from wla.cli.command import Command
from wla.cli.commands import COMMANDS
from wla.cli.data import DATA
from wla.migrations import RENAMED_COMMANDS, RENAMED_OPTIONS


def wla(*words):
    """Exit code of the command line in this process."""
    return cli.main([str(word) for word in words])


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "tiny.py"
    path.write_text(
        "from wla.rollout.configs import CollectConfig\n"
        "def config():\n    return CollectConfig(episodes=7)\n"
    )  # fmt: skip
    return path


def test_help_teaches_and_is_quick(capsys):
    start = time.perf_counter()
    assert wla("--help") == 0
    assert time.perf_counter() - start < 0.5
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text for name in COMMANDS)
    assert "wla collect --tasks place" in text


def test_old_names_lead_to_present_ones():
    commands = {name: command for name, command in COMMANDS.items() if isinstance(command, Command)}
    commands |= {f"data {name}": command for name, command in DATA.commands.items()}
    assert set(RENAMED_COMMANDS.values()) <= set(commands)
    assert set(RENAMED_COMMANDS).isdisjoint(commands)
    text = " ".join(help_text(command.arguments, command.positional, "wla") for command in commands.values())
    options = set(re.findall(r"--[a-z][a-z-]*", text))
    assert set(RENAMED_OPTIONS.values()) <= options


def test_help_needs_neither_torch_nor_mujoco():
    code = (
        "import sys; from wla.cli.main import main; main(['--help']); "
        "print({'torch', 'mujoco', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_examples_in_its_help(name, capsys):
    assert wla(name, "--help") == 0
    text = capsys.readouterr().out
    assert f"\n  wla {name}" in text.partition("examples:")[2]
    assert "--" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate"], "no command 'evaluate'; did you mean 'eval'?"),
        (["compare", "nano-tabletop"], "command 'compare' is called 'eval-offline' now"),
        (["eval", "expert", "--out", "OUT", "--execute", "4"], "option --execute is called --replan-steps now"),
        (["eval", "expert", "--out", "OUT", "--epsiodes", "4"], "no option --epsiodes; did you mean --episodes?"),
        (["eval", "--out", "OUT"], "POLICY is missing (see wla eval --help)"),
        (["eval", "expert"], "--out is missing (see wla eval --help)"),
        (
            ["eval", "expert", "--out", "OUT", "--episodes", "0"],
            "--episodes: Input should be greater",
        ),
        (["eval", "expert", "--out", "OUT", "--num-envs", "0"], "--num-envs: Input should be greater"),
        (["eval", "expert", "--out", "OUT", "--replan-steps", "-1"], "--replan-steps: Input should be greater"),
        (["eval", "expert", "--out", "OUT", "--seed", "3"], "seed 3 is not for evaluation"),
        (["eval", "expert", "--out", "OUT", "--tasks", "fly"], "'fly'"),
        (["eval", "expert", "--out", "OUT", "--env", "moon"], "'moon'"),
        (["eval", "expert", "--out", "OUT", "--tasks", "place", "--setting", "dark"], "'dark'"),
        (["eval", "expert", "--out", "OUT", "--tasks", "place", "--embodiment", "dog"], "'dog'"),
        (["eval", "expert", "--out", "OUT", "--tasks", "place", "--imagine"], "policy expert cannot imagine"),
        (["eval", "no-such-policy", "--out", "OUT", "--tasks", "place"], "no policy 'no-such-policy'"),
        (["eval", "expert", "--out", "FILE", "--tasks", "place"], "file: cannot write ([Errno 17] File exists"),
        (["collect", "--out", "FILE/data", "--tasks", "place"], "file/data: cannot write ([Errno 20] Not a directory"),
        (["collect", "--out", "OUT", "--seed", "100000"], "seed 100000 is not for training"),
        (["collect", "--out", "OUT", "--tasks", "fly"], "'fly'"),
        (["train", "nowhere.py"], "no recipe 'nowhere.py'"),
        (["train", "RECIPE", "episode=3", "--print-config"], "no field 'episode'"),
        (["train", "RECIPE", "episodes", "--print-config"], "not of the form dotted.path=value"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(words, message, tmp_path, recipe, capsys):
    (tmp_path / "file").touch()
    places = {
        "OUT": tmp_path / "out",
        "FILE": tmp_path / "file",
        "FILE/data": tmp_path / "file" / "data",
        "RECIPE": recipe,
    }
    assert wla(*[places.get(word, word) for word in words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("wla: error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("way", ["flag", "variable"])
def test_the_trace_is_shown_when_asked_for(way, monkeypatch, capsys):
    if way == "variable":
        monkeypatch.setenv("WLA_TRACEBACK", "1")
    assert wla("train", "nowhere.py", *(["--traceback"] if way == "flag" else [])) == 2
    error = capsys.readouterr().err
    assert "Traceback (most recent call last)" in error
    assert error.splitlines()[-1].startswith("wla: error: no recipe 'nowhere.py'")


def test_a_full_disk_is_one_line(tmp_path, capsys):
    with full_disk(300):
        code = wla("eval", "zero", "--tasks", "place", "--episodes", 1, "--max-videos", 0, "--out", tmp_path / "out")
    assert code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"wla: error: {tmp_path / 'out'}: cannot write")
    assert "finished episodes are kept: free disk space" in line


def test_a_bug_is_not_passed_off_as_a_mistake(monkeypatch, tmp_path):
    def broken(*_, **__):
        raise KeyError("a bug")

    monkeypatch.setattr("wla.evaluation.benchmark.run_benchmark", broken)
    with pytest.raises(KeyError):
        cli.main(["eval", "zero", "--out", str(tmp_path)])


def test_print_config_shows_the_overridden_recipe(recipe, capsys):
    assert wla("train", recipe, "episodes=9", 'tasks=["place"]', "--print-config") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["episodes"], shown["tasks"], shown["perturb"]) == (9, ["place"], True)


def test_where_a_run_goes_is_looked_at_before_anything_is_built(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert wla("train", "nano_codec", "--out", tmp_path / "file" / "run") == 2
    assert "cannot write" in capsys.readouterr().err
    assert wla("train", "nano_codec", "--out", tmp_path / "new", "--resume") == 2
    assert "new: nothing to resume here; start without --resume" in capsys.readouterr().err


def test_a_configuration_of_a_different_kind_is_not_trained(recipe, tmp_path, capsys):
    assert wla("train", recipe, "--out", tmp_path / "run") == 2
    assert "config() returns a CollectConfig, which nothing trains" in capsys.readouterr().err
    assert wla("train", "ablate_world") == 2
    assert "run it with `wla ablate ablate_world" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_eval_writes_rates_and_a_report(tmp_path, capsys):
    out = tmp_path / "out"
    words = ("eval", "zero", "--tasks", "place", "--episodes", 2, "--seed", 200_000, "--max-videos", 1, "--out", out)
    assert wla(*words) == 0
    assert "place clean gantry: success rate 0.0 % (0 of 2, exact 95 % interval 0.0 .. 84.2)" in capsys.readouterr().out
    assert (out / "report.html").exists()
    assert wla(*words) == 0  # finished: nothing runs again
    assert len((out / "results.jsonl").read_text().splitlines()) == 2


def test_errors_make_the_exit_code_1(monkeypatch, tmp_path, capsys):
    def crash(*_):
        raise RuntimeError("the simulator is unwell")

    monkeypatch.setattr("wla.envs.tabletop.env.TabletopEnv.step", crash)
    assert wla("eval", "zero", "--tasks", "place", "--episodes", 1, "--out", tmp_path / "out") == 1
    assert "no decided episode, 1 error not counted" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_collection_is_one_line_and_the_dataset_continues(tmp_path, number):
    out = tmp_path / "data"
    command = [sys.executable, "-m", "wla", "collect", "--tasks", "place", "--num-envs", "2", "--out", str(out)]
    process = subprocess.Popen(
        [*command, "--episodes", "2000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    lines = out / "collect.jsonl"
    while not lines.exists() and process.poll() is None:
        time.sleep(0.2)
    os.killpg(process.pid, number)  # as a terminal and a scheduler do: to the environments too
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert f"wla: interrupted: finished episodes are in {out}; the same command continues" in error
    assert "Traceback" not in error
    kept = sum('"success"' in line for line in lines.read_text().splitlines())
    assert json.loads((out / "meta/info.json").read_text())["total_episodes"] == kept > 0
