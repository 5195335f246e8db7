"""Every option of the renderer counts, and a bad one is refused before any work."""

from __future__ import annotations

from typing import Any

import pytest
from render_inputs import golden_spectra, table

from ms2img.errors import RunError, UsageError
from ms2img.io.read_config import ReadOptions
from ms2img.ms2toimg.points import points_from_spectra
from ms2img.ms2toimg.render import render
from ms2img.ms2toimg.render_config import RenderConfig, parse_size

#: For each option another value, and the other options it needs to show.
OTHER_VALUE: dict[str, tuple[Any, dict[str, Any]]] = {
    "height": (151, {}),
    "width": (141, {}),
    "renderer": ("matplotlib", {}),
    "resize": ("bilinear", {}),
    "precursor_mz": ((100.0, 1400.0), {}),
    "fragment_mz": ((0.0, 1400.0), {}),
    "fig_height_in": (7.0, {}),
    "fig_width_in": (6.0, {}),
    "dpi": (300, {"resize": "bilinear"}),
    "area_min_pt2": (5.0, {}),
    "area_max_pt2": (70.0, {}),
    "intensity_cut": (0.01, {}),
    "scale": ("minmax", {}),
    "missing_precursor_intensity": ("refuse", {}),
    "keep_above_precursor": (True, {}),
    "precursor_tolerance": (5.0, {}),
}


@pytest.mark.parametrize("name", [name for name in RenderConfig.model_fields if name not in ReadOptions.model_fields])
def test_no_option_is_ignored(name: str) -> None:
    value, needed = OTHER_VALUE[name]
    spectra = golden_spectra()
    if name == "missing_precursor_intensity":
        spectra = table((200.0, None, [(50.0, 1.0)]))

    def outcome(config: RenderConfig) -> str:
        try:
            return render(points_from_spectra(spectra, config, path="run"), config).tobytes().hex()
        except RunError as error:
            return str(error)

    assert outcome(RenderConfig(**needed)) != outcome(RenderConfig(**needed, **{name: value}))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"precursor_mz": (1500, 100)}, "precursor_mz needs"),
        ({"fragment_mz": (0, float("inf"))}, "fragment_mz needs"),
        ({"area_min_pt2": 70}, "exceeds"),
        ({"fig_width_in": 200}, "each side"),
        ({"height": 0}, "height"),
        ({"resise": "area"}, "did you mean 'resize'"),
    ],
)
def test_a_config_that_cannot_be_drawn_is_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        RenderConfig.resolve(options)


def test_size_is_height_by_width() -> None:
    assert parse_size("150x140") == (150, 140)
    assert parse_size(" 75X70 ") == (75, 70)


@pytest.mark.parametrize("text", ["150", "150x", "x140", "150x140x3", "-150x140", "15.0x14", "0x140", "150x99999", ""])
def test_another_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--size"):
        parse_size(text)
