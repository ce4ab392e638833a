"""Pages: files beside them or embedded, curves in few bytes, foreign texts."""

from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from wla.html import beside, embedded, template, write_page
from wla.html.curves import MAX_POINTS, pack_columns, pack_curve


def unpacked(curve: dict) -> np.ndarray:
    levels = np.frombuffer(base64.b64decode(curve["data"]), "<u2").astype(float)
    values = curve["low"] + levels / 65534 * (curve["high"] - curve["low"])
    return np.where(levels == 65535, np.nan, values)


def test_a_curve_keeps_its_values_and_leaves_out_what_is_not_finite():
    values = np.array([0.5, np.nan, -3.0, np.inf, 2.25])
    curve = pack_curve("x", values)
    assert (curve["low"], curve["high"], curve["stride"]) == (-3.0, 2.25, 1)
    assert unpacked(curve) == pytest.approx([0.5, np.nan, -3.0, np.nan, 2.25], abs=1e-4, nan_ok=True)


def test_curves_of_nothing_of_constants_and_of_nan_alone():
    constant = pack_curve("x", np.full(3, 7.0))
    assert (constant["low"], constant["high"]) == (7.0, 7.0)
    assert unpacked(constant) == pytest.approx([7.0] * 3)
    assert unpacked(pack_curve("x", np.zeros(0))).size == 0
    nothing = pack_curve("x", np.full(2, np.nan))
    assert (nothing["low"], nothing["high"]) == (0.0, 0.0)
    assert np.isnan(unpacked(nothing)).all()


@pytest.mark.parametrize(("length", "stride"), [(MAX_POINTS, 1), (MAX_POINTS + 1, 2), (10 * MAX_POINTS, 10)])
def test_long_curves_are_thinned(length, stride):
    curve = pack_curve("x", np.arange(length, dtype=float))
    assert curve["stride"] == stride
    assert unpacked(curve) == pytest.approx(np.arange(0, length, stride), abs=length / 6e4)


def test_a_range_beyond_the_largest_number_is_drawn():
    curve = pack_curve("x", np.array([-1e308, 0.0, 1e308]), limits=(-1.5e308, 1.5e308))
    levels = np.frombuffer(base64.b64decode(curve["data"]), "<u2") / 65534
    assert levels == pytest.approx([1 / 6, 1 / 2, 5 / 6], abs=1e-4)


def test_limits_widen_the_range_but_never_cut_a_value():
    outside, within = pack_columns(["a", "b"], np.array([[9.0, 0.0], [0.0, 0.1]]), limits=[(-1.0, 1.0), (-1.0, 1.0)])
    assert (outside["low"], outside["high"]) == (-1, 9.0)
    assert (within["low"], within["high"]) == (-1, 1)


@pytest.mark.parametrize("name", ["a b.mp4", "50 % #1?.mp4", "quote\"'.mp4", "x:y.mp4", "<b>.mp4"])
def test_links_are_relative_and_lead_back_to_the_file(tmp_path, name):
    file = tmp_path / "run" / name
    url = beside(tmp_path / "pages" / "page.html")(file)
    assert not set(url) & set(" \"'<>#?:")
    assert (tmp_path / "pages" / unquote(url)).resolve() == file.resolve()


def test_embedded_files_say_what_they_are(tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"video")
    assert embedded(tmp_path / "v.mp4") == "data:video/mp4;base64," + base64.b64encode(b"video").decode()


def test_a_page_with_half_a_surrogate_pair_is_written(tmp_path):
    write_page(tmp_path / "new" / "p.html", "a \ud800 b")
    assert (tmp_path / "new" / "p.html").read_text("utf-8") == "a ? b"


def test_a_page_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"p\.html: cannot write .*; choose another"):
        write_page(tmp_path / "file" / "p.html", "text", "choose another")


@pytest.mark.parametrize("name", sorted(Path("src/wla").glob("*/*.html")), ids=str)
def test_templates_are_valid(name):
    template("/".join(name.parts[-2:]))
