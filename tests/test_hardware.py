"""What the system says of a processor."""

from __future__ import annotations

from pathlib import Path

import pytest

from wla import hardware

ENTRIES = "processor\t: 0\nvendor_id\t: {vendor}\nmodel name\t: A {vendor} processor\nflags\t\t: fpu {flags}\n\n"


@pytest.fixture
def describe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes this machine one with such a processor."""

    def write(vendor: str, flags: str) -> None:
        (tmp_path / "cpuinfo").write_text(ENTRIES.format(vendor=vendor, flags=flags) * 2)
        monkeypatch.setattr(hardware, "CPU_FILE", tmp_path / "cpuinfo")

    return write


@pytest.mark.parametrize(
    ("vendor", "flags", "half", "amx"),
    [
        ("GenuineIntel", "avx512f avx512_bf16 amx_bf16", True, True),
        ("AuthenticAMD", "avx512f avx512_bf16", True, False),
        ("AuthenticAMD", "avx2", False, False),
    ],
)
def test_a_processor_is_known_by_its_maker_and_its_instructions(describe, vendor, flags, half, amx):
    describe(vendor, flags)
    assert hardware.cpu_vendor() == vendor
    assert hardware.cpu_name() == f"A {vendor} processor"
    assert hardware.instruction_sets() == set(flags.split())
    assert (hardware.multiplies_bfloat16(), hardware.has_amx()) == (half, amx)


def test_a_system_without_such_a_file_has_no_instructions(tmp_path, monkeypatch):
    monkeypatch.setattr(hardware, "CPU_FILE", tmp_path / "none")
    assert hardware.cpu_vendor() == ""
    assert not hardware.instruction_sets()
    assert not hardware.multiplies_bfloat16()
    assert hardware.cpu_name()
