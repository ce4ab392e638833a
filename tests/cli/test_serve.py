"""`wla serve`: what it refuses before anything is loaded, and a served policy in closed loop."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from toy_robot import robot

from wla.cli import main as cli


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main(["serve", *words]) == 2
    return capsys.readouterr().err


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WLA_TOKEN", raising=False)


def test_other_machines_need_a_token_and_a_certificate(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "put a token into WLA_TOKEN" in refused(capsys, "nano-memory", "--host", "0.0.0.0")
    monkeypatch.setenv("WLA_TOKEN", "secret")
    message = refused(capsys, "nano-memory", "--host", "0.0.0.0")
    assert "--tls-cert and --tls-key, or --unencrypted" in message
    assert "secret" not in message
    assert "go together" in refused(capsys, "nano-memory", "--tls-cert", str(tmp_path / "cert.pem"))
    (tmp_path / "cert.pem").write_text("no certificate")
    pair = ["--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "cert.pem")]
    assert "is no certificate" in refused(capsys, "nano-memory", *pair)


def test_a_key_with_a_password_is_refused_without_asking(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-passout", "pass:abcd", "-subj", "/CN=localhost"]
    files = [tmp_path / "key.pem", tmp_path / "cert.pem"]
    subprocess.run([*command, "-keyout", files[0], "-out", files[1]], check=True, capture_output=True)
    message = refused(capsys, "nano-memory", "--tls-key", str(files[0]), "--tls-cert", str(files[1]))
    assert "key.pem: is encrypted; give it without a password" in message


def test_a_mistyped_policy_and_a_port_in_use_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean 'nano-memory'" in refused(capsys, "nano-memry")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        message = refused(capsys, "nano-tabletop", "--port", str(taken.getsockname()[1]))
    assert "cannot listen on 127.0.0.1" in message
    assert message.count("\n") == 1


def test_a_robot_of_which_something_is_unknown_is_not_driven(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = robot()
    unknown = SimpleNamespace(robot_spec=spec.replace(action=spec.action.replace(gripper="unknown")))
    monkeypatch.setattr("wla.policy.wla_policy.load_policy", lambda *_, **__: unknown)
    assert "action.gripper are unknown, so nothing may be driven" in refused(capsys, "nano-memory")


def test_an_address_without_a_server_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["eval", "ws://127.0.0.1:9", "--tasks", "place", "--out", str(tmp_path / "out")]) == 2
    assert "no policy server answers" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_served_policy_acts_as_it_does_here(tmp_path: Path) -> None:
    wla = [sys.executable, "-m", "wla"]
    options = ["--tasks", "place", "press_count", "--episodes", "2", "--seed", "310000"]
    server = subprocess.Popen([*wla, "serve", "nano-memory", "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split(" on ")[1].split()[0]
        for name, policy in {"remote": address, "local": "nano-memory"}.items():
            command = [*wla, "eval", policy, *options, "--out", str(tmp_path / name)]
            assert subprocess.run(command, check=False, env=os.environ).returncode == 0
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 130
    finally:
        server.kill()
    rows = {
        name: [json.loads(line) for line in (tmp_path / name / "results.jsonl").read_text().splitlines()]
        for name in ("remote", "local")
    }
    same = ("task", "seed", "outcome", "steps", "subtasks", "memory", "checkpoint_sha256")
    assert [[row[key] for key in same] for row in rows["remote"]] == [
        [row[key] for key in same] for row in rows["local"]
    ]
