"""Plain arrays to ion images: the authors' own input, a real archive, and tables that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ms2img.deepion.matrix import from_archive, from_matrix
from ms2img.deepion.prepare_settings import PRESETS
from ms2img.errors import UsageError


def test_a_matrix_and_a_peak_list_as_the_authors_have_them(shared: Path, tmp_path: Path) -> None:
    mz = np.loadtxt(shared / "data/deepion/Pos_brain_data_peak.csv")
    matrix = np.random.default_rng(0).poisson(3, (12, len(mz))).astype(float)  # SIMULATED: the authors' is not public
    matrix[5] = 0
    np.savetxt(tmp_path / "data.txt", matrix)
    ions = from_matrix(
        tmp_path / "data.txt", shared / "data/deepion/Pos_brain_data_peak.csv", (3, 4), PRESETS["released"]
    )
    assert len(ions) == len(mz) == 2263
    assert np.argwhere(~ions.mask).tolist() == [[1, 1]]
    measured = np.delete(matrix, 5, axis=0)
    expected = (measured - measured.min(axis=0)) / np.ptp(measured, axis=0)
    np.testing.assert_allclose(ions.images[:, ions.mask].T, expected, atol=1e-6)
    np.testing.assert_allclose(ions.mz, mz)
    np.testing.assert_allclose(ions.intensity, measured.mean(axis=0))  # the preset leaves pixels as they are
    np.save(tmp_path / "data.npy", matrix)
    np.save(tmp_path / "mz.npy", mz)
    again = from_matrix(tmp_path / "data.npy", tmp_path / "mz.npy", (3, 4), PRESETS["released"])
    np.testing.assert_array_equal(again.images, ions.images)
    np.testing.assert_array_equal(again.mz, ions.mz)


def test_the_real_archive(shared: Path) -> None:
    path = shared / "data/imzml/timstof_maldi_20x20_165_ion_images.npz"
    with np.load(path) as archive:
        raw, npix = archive["images"].astype(float), archive["npix"]
    ions = from_archive(path, PRESETS["paper"])
    assert len(ions) == 165
    np.testing.assert_array_equal(ions.mask, raw.sum(axis=0) > 0)
    np.testing.assert_allclose(ions.presence * ions.mask.sum(), npix)


@pytest.mark.parametrize(
    ("matrix", "peaks", "words"),
    [
        ("1 2\n3 4\n", "100\n200\n", "2 rows; a shape of 1 x 3 needs 3"),
        ("1 2\n3 4\n5 6\n", "100\n", "1 m/z values; "),
        ("1 2\n3 x\n5 6\n", "100\n200\n", "expected a table of numbers"),
        ("1 2\n3\n5 6\n", "100\n200\n", "expected a table of numbers"),
        ("1 2\n3 -1\n5 6\n", "100\n200\n", "an intensity that is not a finite number of 0 or more"),
        ("1,2\n3,\n5,6\n", "100\n200\n", "an intensity that is not a finite number of 0 or more"),
        ("1 2\n3 4\n5 6\n", "100\n0\n", "an m/z that is not a finite number above 0"),
        ("0 0\n0 0\n0 0\n", "100\n200\n", "no ion image is left"),
        ("", "100\n", "empty"),
    ],
)
def test_matrices_that_are_none(tmp_path: Path, matrix: str, peaks: str, words: str) -> None:
    (tmp_path / "m.csv").write_text(matrix)
    (tmp_path / "p.csv").write_text(peaks)
    with pytest.raises(UsageError) as caught:
        from_matrix(tmp_path / "m.csv", tmp_path / "p.csv", (1, 3), PRESETS["released"])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_archives_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, images=np.array([{}], dtype=object), mz=np.ones(1))  # a pickle: never opened
    with pytest.raises(UsageError, match="expected a NumPy archive"):
        from_archive(path, PRESETS["paper"])
    np.savez(path, images=np.ones((2, 3)), mz=np.ones(2))
    with pytest.raises(UsageError, match=r"images \(2, 3\) and mz \(2,\)"):
        from_archive(path, PRESETS["paper"])
    path.write_text("no archive")
    with pytest.raises(UsageError, match="expected a NumPy archive"):
        from_archive(path, PRESETS["paper"])
