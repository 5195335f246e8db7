"""Ion images as pictures, some of them read from a folder, the map of all ions, and the isotope network."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.spatial.distance import pdist
from test_deepion_embedding_folder import embedding

from ms2img.deepion.image_folder import Facts, commit, write_part
from ms2img.deepion.image_rows import ImageRows
from ms2img.deepion.images import read_images
from ms2img.deepion.isotopes import isotope_candidates, isotope_groups
from ms2img.errors import UsageError
from ms2img.io.storage import folder
from pipelines.deepion.ion_map import apart, ion_map, spread
from pipelines.deepion.ion_page import gallery
from pipelines.deepion.ion_pictures import LEVELS, colours, data_uri, factor_for, scale_bar, smaller
from pipelines.deepion.isotope_network import LARGEST, parts_of
from pipelines.deepion.isotope_search import Found

few = settings(deadline=None, max_examples=25)  # no test is timed

#: What dichromats see, of linear red, green and blue (Machado et al., 2009, severity 1).
DICHROMATS = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


@pytest.mark.parametrize("eye", [None, *DICHROMATS])
def test_more_signal_is_lighter_to_every_eye(eye: str | None) -> None:
    encoded = colours() / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    seen = linear if eye is None else np.clip(linear @ np.array(DICHROMATS[eye]).T, 0, 1)
    luminance = seen @ [0.2126, 0.7152, 0.0722]
    lightness = np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)
    steps = np.diff(lightness)
    assert steps.min() > 0
    if eye is None:
        assert steps.max() < 2 * np.median(steps)  # even steps
    assert lightness[-1] - lightness[0] > 65


@few
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))
def test_a_smaller_image_is_the_mean_of_what_was_measured(seed: int, height: int, width: int, factor: int) -> None:
    random = np.random.default_rng(seed)
    mask = random.random((height, width)) < 0.6
    images = (random.random((2, height, width)) * mask).astype(np.float32)
    made, kept = smaller(images, mask, factor)
    for y in range(kept.shape[0]):
        for x in range(kept.shape[1]):
            block = (slice(y * factor, (y + 1) * factor), slice(x * factor, (x + 1) * factor))
            assert kept[y, x] == mask[block].any()
            expected = images[:, *block][:, mask[block]].mean(axis=1) if mask[block].any() else 0
            np.testing.assert_allclose(made[:, y, x], expected, atol=1e-6)
    assert kept.shape == (-(-height // factor), -(-width // factor))


def test_a_picture_holds_its_pixels_and_is_clear_where_nothing_was_measured() -> None:
    image = np.linspace(0, 1, LEVELS).reshape(8, -1)
    mask = np.ones(image.shape, bool)
    mask[3, 2] = False
    head, content = data_uri(image, mask).split(",")
    assert head == "data:image/png;base64"
    png = Image.open(io.BytesIO(base64.b64decode(content)))
    shown = np.asarray(png.convert("RGBA"))
    assert np.array_equal(shown[..., 3] == 255, mask)
    assert np.array_equal(shown[mask][:, :3], colours()[mask.ravel()])


@pytest.mark.parametrize(
    ("width", "pixel", "share", "words"),
    [
        (64, 50.0, 500 / 3200, "500 µm"),
        (16, 50.0, 200 / 800, "200 µm"),
        (400, 25.0, 2000 / 10000, "2 mm"),
        (3, 1.5, 1 / 4.5, "1 µm"),
        (64, None, 10 / 64, "10 pixels"),
        (3, None, 1 / 3, "1 pixel"),
    ],
)
def test_a_scale_bar_is_a_round_length(width: int, pixel: float | None, share: float, words: str) -> None:
    found = scale_bar(width, pixel)
    assert found[0] == pytest.approx(share)
    assert found[1] == words


@few
@given(st.integers(1, 700), st.integers(1, 700), st.integers(1, 1000))
def test_pictures_stay_within_their_bytes(height: int, width: int, count: int) -> None:
    factor = factor_for((height, width), count, pixels=1_000_000, side=256)
    sides = -(-height // factor), -(-width // factor)
    assert max(sides) <= 256
    assert sides[0] * sides[1] * count <= 1_000_000 or min(height, width) // (factor + 1) < 8


def stored(place: Path | str, n: int = 150, height: int = 6, width: int = 8) -> np.ndarray:
    """Ion images in three parts, of which one has several row groups."""
    random = np.random.default_rng(0)
    images = random.random((n, height, width)).astype(np.float32)
    mz, share = np.sort(random.uniform(100, 900, n)), np.ones(n)
    out = folder(str(place))
    parts = [
        write_part(out, number, mz[rows], share[rows], share[rows], images[rows], "a.imzML")
        for number, rows in enumerate((slice(0, 10), slice(10, 140), slice(140, n)))
    ]
    commit(out, parts, np.ones((height, width), bool), None, Facts(pixel_size_um=(20.0, 40.0), source="a.imzML"))
    return images


def test_some_rows_are_read_as_all_are(tmp_path: Path) -> None:
    images = stored(tmp_path)
    some, every = ImageRows(tmp_path), read_images(tmp_path)
    assert (some.fingerprint, some.facts.pixel_size_um) == (every.fingerprint, every.pixel_size_um)
    assert np.array_equal(some.mask, every.mask)
    for rows in ([149], [0, 9, 10, 73, 74, 139, 140], [140, 3, 3, 100], [], list(range(150))):
        assert np.array_equal(some.read(rows), images[rows])
    with pytest.raises(ValueError, match="row 150 asked of 150 ion images"):
        some.read([150])
    with pytest.raises(ValueError, match="row -1; expected 0 or more"):
        some.read([3, -1])


def test_a_part_that_is_gone_or_damaged_is_named_when_it_is_needed(tmp_path: Path) -> None:
    stored(tmp_path)
    first, second, _ = sorted((tmp_path / "images").iterdir())
    second.write_bytes(b"PAR1" + bytes(100))
    first.unlink()
    some = ImageRows(tmp_path)
    with pytest.raises(UsageError, match=f"{first.name}: is missing; prepare the ion images again"):
        some.read([3])
    stored(tmp_path)
    second.write_bytes(b"PAR1" + bytes(100))
    assert len(some.read([3])) == 1
    with pytest.raises(UsageError, match=f"{second.name}: was changed since; prepare the ion images again"):
        some.read([12])


def test_a_gallery_has_the_pixels_shape_and_the_scale_of_the_section(tmp_path: Path) -> None:
    stored(tmp_path)
    found = gallery(ImageRows(tmp_path), [1, 80], pixels=10_000, quiet=True)
    assert list(found.uris) == [1, 80]
    assert (found.width, found.height, found.factor) == (8, 12.0, 1)  # pixels of 20 x 40 µm
    assert (found.bar, found.length) == (pytest.approx(20 / 160), "20 µm")


@few
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(1, 12))
def test_each_chosen_ion_is_the_one_farthest_from_those_before(seed: int, n: int, count: int) -> None:
    points = np.random.default_rng(seed).random((n, 2))
    chosen = spread(points, min(count, n), first=[1])
    assert len(set(chosen.tolist())) == max(1, min(count, n))
    assert chosen[0] == 1
    for place in range(1, len(chosen)):
        gaps = np.linalg.norm(points[:, None] - points[chosen[:place]], axis=2).min(axis=1)
        assert gaps[chosen[place]] == pytest.approx(gaps.max())


def test_dots_that_can_be_clicked_do_not_cover_each_other() -> None:
    crowd = np.repeat([[500.0, 500.0], [80.0, 90.0]], 100, axis=0)
    found = apart(crowd, 15)
    assert pdist(found).min() > 14.5
    alone = np.array([[100.0, 100.0], [200.0, 100.0]])
    assert np.abs(apart(alone, 15) - alone).max() < 1


def test_a_large_map_has_a_dot_an_ion_and_as_many_panels_as_its_pictures_allow() -> None:
    many = embedding(n=3000)
    found = ion_map(many, many.reduced, "euclidean", first=[5, 2900], most=200)
    assert len(found.places) == 3000
    assert len(found.pictures) <= 200
    rows = [panel.row for panel in found.panels]
    assert {5, 2900} <= set(rows)
    assert rows == sorted(rows)
    assert {row for panel in found.panels for row in (panel.row, *panel.neighbours)} == set(found.pictures)
    assert 33 <= len(rows) < 200
    assert found.dots().count("M") == 3000 - len(rows)
    x, y, side, _ = map(int, found.view.split())
    assert (found.places.min(axis=0) > [x, y]).all()
    assert (found.places.max(axis=0) < [x + side, y + side]).all()


def network_of(n: int, seed: int) -> tuple[Found, networkx.Graph]:
    """A search in a crowd of ions, a quarter of whose candidates count as accepted."""
    random = np.random.default_rng(seed)
    mz = np.sort(random.uniform(100, 100 + n / 40, n))
    candidates = isotope_candidates(mz, "positive", 300.0)
    accepted = random.random(len(candidates)) < 0.25
    graph = networkx.Graph()
    graph.add_edges_from(zip(candidates.parent[accepted].tolist(), candidates.child[accepted].tolist(), strict=True))
    groups = isotope_groups(mz, candidates, accepted)
    return Found(candidates, accepted, np.zeros(len(candidates)), groups), graph


@pytest.mark.parametrize(("n", "seed"), [(30, 0), (60, 1), (60, 2), (400, 3)])
def test_parts_of_the_network_hang_together(n: int, seed: int) -> None:
    found, graph = network_of(n, seed)
    pieces = [sorted(each) for each in networkx.connected_components(graph)]
    large = [piece for piece in pieces if len(piece) > LARGEST]
    expected = [piece for piece in pieces if len(piece) <= LARGEST]
    knotted = [group for group in found.groups if any(group.parent in piece for piece in large)]
    expected += [sorted([group.parent, *(member.ion for member in group.members)]) for group in knotted]
    assert bool(large) == (n == 400)
    assert parts_of(found) == sorted(expected, key=lambda rows: (-len(rows), rows[0]))
