from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from wla.doctor import machine as doctor
from wla.doctor.finding import Finding


def test_a_healthy_machine_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.run() == 0
    printed = capsys.readouterr().out
    for name in ("wla", "python", "torch", "mujoco", "rendering", "libx264", "memory", "cores", "disk", "gpu"):
        assert name in printed
    assert "missing" not in printed


@pytest.mark.parametrize(("requirement", "found"), [("no-such-package-here>=3", "not installed"), ("pytest<2", None)])
def test_a_missing_or_wrong_package_comes_with_its_command(requirement: str, found: str | None) -> None:
    finding = doctor.package_finding(Requirement(requirement))
    assert finding.ok is False
    assert finding.fix.endswith(f"-m pip install '{requirement}'")
    assert found is None or finding.found == found


def test_extras_are_not_required() -> None:
    names = [finding.name.split()[0] for finding in doctor.package_findings()]
    assert "torch" in names
    assert "ruff" not in names


def test_extras_are_shown_with_what_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = {finding.name: finding for finding in doctor.extra_findings()}
    assert {"optional (lora): peft", "optional (robotwin): h5py"} <= findings.keys()
    assert all(finding.ok is None for finding in findings.values())
    assert not any("pytest" in name for name in findings)
    monkeypatch.setattr(doctor, "package_finding", lambda _: broken())
    absent = next(finding for finding in doctor.extra_findings() if "h5py" in finding.name)
    assert "-m pip install " in absent.found
    assert "h5py" in absent.found.split("install ")[1]


def test_messages_name_packages_and_no_extra_of_an_index() -> None:
    """`wla[extra]` cannot be installed from a clone or a wheel: no index has it."""
    sources = Path(doctor.__file__).parent.rglob("*.py")
    assert [path.name for path in sources if "install 'wla[" in path.read_text("utf-8")] == []


def broken(name: str = "rendering") -> Finding:
    return Finding(name, "nothing", False, "get-a-renderer")


def test_a_missing_requirement_fails_and_prints_its_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "gl_finding", broken)
    assert doctor.run() == 1
    assert "get-a-renderer" in capsys.readouterr().out


def test_fix_installs_where_permitted_and_checks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = [broken(), Finding("rendering", "egl", True)]
    ran: list[list[str]] = []
    monkeypatch.setattr(doctor, "gl_finding", lambda: findings.pop(0))
    monkeypatch.setattr(doctor, "gl_install", lambda: ["sudo", "-n", "apt-get", "install", "libegl1"])
    monkeypatch.setattr(doctor.subprocess, "run", lambda command, **_: ran.append(command))
    assert doctor.run(fix=True) == 0
    assert ran == [["sudo", "-n", "apt-get", "update"], ["sudo", "-n", "apt-get", "install", "libegl1"]]


def test_fix_only_prints_the_command_where_it_is_not_permitted_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "gl_finding", broken)
    monkeypatch.setattr(doctor, "gl_install", lambda: None)
    assert doctor.run(fix=True) == 1


@pytest.mark.parametrize(
    ("returncode", "stderr", "found"),
    [
        (-11, "", "crashed with signal 11"),
        (1, "Traceback\nRuntimeError: no GL", "RuntimeError: no GL"),
        (1, "", "failed"),
    ],
)
def test_a_renderer_that_fails_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, returncode: int, stderr: str, found: str
) -> None:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, returncode, "", stderr)

    monkeypatch.delenv("MUJOCO_GL")
    monkeypatch.setattr(doctor.subprocess, "run", run)
    finding = doctor.gl_finding()
    assert (finding.ok, finding.found) == (False, found)
    assert "libegl1" in finding.fix or "Mesa" in finding.fix


def test_a_renderer_that_hangs_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], timeout: float, **_: Any) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(doctor.subprocess, "run", run)
    assert "no frame" in doctor.gl_finding().found


def test_a_renderer_chosen_by_the_user_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    assert doctor.gl_install() is None
    assert doctor._gl_fix() == "unset MUJOCO_GL"
