"""MEMO words: plain counting as the oracle, and real runs, whose replicates must look alike."""

from __future__ import annotations

from collections import Counter
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ms2img.io.read import read_runs
from ms2img.io.sheet import Sheet
from ms2img.ms2toimg.memo import MemoConfig, memo_matrix, memo_words

Spectrum = tuple[float, list[tuple[float, float]]]  # precursor m/z, (m/z, intensity) pairs


def spectra(of_run: list[Spectrum]) -> pa.Table:
    return pa.table(
        {
            "precursor_mz": pa.array([precursor for precursor, _ in of_run], pa.float64()),
            "mz": pa.array([[mz for mz, _ in peaks] for _, peaks in of_run], pa.list_(pa.float64())),
            "intensity": pa.array([[height for _, height in peaks] for _, peaks in of_run], pa.list_(pa.float32())),
        }
    )


def counted(of_run: list[Spectrum], config: MemoConfig) -> dict[str, int]:
    """One word after another, in decimal arithmetic."""
    words: Counter[str] = Counter()
    step = Decimal(1).scaleb(-config.decimals)
    for precursor, peaks in of_run:
        highest = max((height for _, height in peaks), default=0.0)
        kept = [mz for mz, height in peaks if height > 0 and height >= config.min_relative_intensity * highest]
        if len(kept) < config.min_peaks:
            continue
        for mz in kept:
            words[f"peak@{Decimal(str(mz)).quantize(step, ROUND_HALF_EVEN)}"] += 1
            loss = Decimal(str(precursor)) - Decimal(str(mz))
            if Decimal(str(config.loss_from)) <= loss <= Decimal(str(config.loss_to)):
                words[f"loss@{loss.quantize(step, ROUND_HALF_EVEN)}"] += 1
    return dict(words)


# Values that are no tie and no edge of a range after rounding to 2 decimals: binary and decimal agree on them.
MASS = st.integers(50_000, 900_000).map(lambda number: (number * 10 + 3) / 10_000)
PEAKS = st.lists(st.tuples(MASS, st.integers(0, 1000).map(float)), max_size=12)
RUN = st.lists(st.tuples(st.integers(500_000, 2_000_000).map(lambda number: number / 1000), PEAKS), max_size=6)


@settings(max_examples=100, deadline=None)
@given(
    of_run=RUN,
    config=st.builds(
        MemoConfig,
        min_relative_intensity=st.sampled_from([0.0, 0.0107, 0.503]),
        min_peaks=st.sampled_from([1, 3]),
        loss_from=st.just(10.00005),
        loss_to=st.sampled_from([200.00005, 1500.00005]),
        decimals=st.sampled_from([1, 2]),
    ),
)
def test_words_are_those_of_plain_counting(of_run, config):
    assert memo_words(spectra(of_run), config) == counted(of_run, config)


def test_words_by_hand():
    run = [
        (200.1, [(100.123, 50.0), (100.124, 100.0), (181.99, 0.9), (199.0, 1.0)]),
        (300.0, [(100.12, 10.0), (400.0, 10.0)]),
        (300.0, []),
    ]
    found = memo_words(spectra(run), MemoConfig(min_peaks=1))
    # 181.99 is below 1 % of the highest; the loss to 199.0 is below 10 Da, that to 400.0 negative, 199.88 a word.
    assert found == {
        "peak@100.12": 3,
        "peak@199.00": 1,
        "peak@400.00": 1,
        "loss@99.98": 2,
        "loss@199.88": 1,
    }
    assert memo_words(spectra(run), MemoConfig(min_peaks=3)) == {"peak@100.12": 2, "peak@199.00": 1, "loss@99.98": 2}
    assert memo_words(spectra([]), MemoConfig()) == {}


def test_the_matrix_holds_the_counts_under_sorted_words():
    runs = [{"peak@2.00": 3, "loss@1.00": 1}, {}, {"peak@1.00": 2, "peak@2.00": 5}]
    matrix, words = memo_matrix(iter(runs))
    assert words == ("loss@1.00", "peak@1.00", "peak@2.00")
    np.testing.assert_array_equal(matrix.toarray(), [[1, 0, 3], [0, 0, 0], [0, 2, 5]])
    assert matrix.dtype == np.float64
    other, same = memo_matrix([dict(reversed(run.items())) for run in runs])
    assert same == words
    assert (matrix != other).nnz == 0
    empty, none = memo_matrix([{}, {}])
    assert (empty.shape, none) == ((2, 0), ())


def test_replicates_of_real_runs_are_more_alike_than_strangers(shared: Path):
    """27 mixtures of three runs: cosine of the logarithms of the counts, per run against its replicates and others."""
    sheet = Sheet.read(shared / "data" / "qemistree" / "samples.csv")
    runs = [run for run in sheet.runs if run.kind == "sample"]
    runs = runs[:36]  # of the 81: twelve mixtures
    read = [(run, memo_words(found.table, MemoConfig())) for run, found in read_runs(runs)]
    matrix, words = memo_matrix(counts for _, counts in read)
    assert len(words) > 10_000
    rows = np.log1p(matrix.toarray() / matrix.sum(axis=1).A * 1000)
    rows = rows - rows.mean(axis=0)  # what all runs share says nothing
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    alike = rows @ rows.T
    accession = np.array([run.accession for run, _ in read])
    replicate = (accession[:, None] == accession) & ~np.eye(len(read), dtype=bool)
    stranger = accession[:, None] != accession
    of_own = np.array([alike[row, replicate[row]].mean() for row in range(len(read))])
    of_strangers = np.array([alike[row, stranger[row]].mean() for row in range(len(read))])
    assert np.mean(of_own > of_strangers) > 0.9
    assert of_own.mean() > of_strangers.mean() + 0.2


def test_a_range_the_wrong_way_round_is_refused():
    with pytest.raises(ValidationError, match="exceeds loss_to"):
        MemoConfig(loss_from=300)
