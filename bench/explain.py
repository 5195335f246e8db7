"""Are explanations true? Precision at 20 and deletion curves on a SIMULATED study, where the causes are known.

``python -m bench.explain`` simulates a study (or takes ``--study``), draws it, trains on part of the accessions, and
explains the runs of held-out accessions that are active and predicted active. Methods and two controls (the brightest
pairs, pairs at random) are ranked and judged alike; intervals are bootstrapped over accessions.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from bench.explain_truth import StudyTruth
from ms2img.io.read import RunSpectra, read_runs
from ms2img.io.sheet import Run, Sheet
from ms2img.ms2toimg.cnn import PRESETS, TRAINING, build_cnn
from ms2img.ms2toimg.crossvalidate import plan_folds, run_fold
from ms2img.ms2toimg.explain.deletion import probabilities_without
from ms2img.ms2toimg.explain.explanation import Explanation, explain_run
from ms2img.ms2toimg.explain.methods import METHODS, Method
from ms2img.ms2toimg.labels import ACTIVE, LabelConfig, Labels, make_labels
from ms2img.ms2toimg.points import points_from_spectra
from ms2img.ms2toimg.predictor import Predictor
from ms2img.ms2toimg.render import render
from ms2img.ms2toimg.render_config import RenderConfig, parse_size
from ms2img.ms2toimg.simulation import SimulationConfig, write_study
from ms2img.ms2toimg.simulation.config import ASSAYS

TOP = 20
DELETED = (0, 5, 10, 20, 50, 100, 200)  # pairs
RANDOM_DRAWS = 5  # orders of the random control a run
BOOTSTRAPS = 10_000
KINDS = ("causal", "main", "correlated", "inert", "noise", "beside")  # of `PairTruth`
REFERENCE: Method = "integrated-gradients"  # what other methods are compared with, run by run


@dataclass(frozen=True)
class RunScore:
    """One method on one run. Precisions are of the first `TOP` pairs, chances of all drawn pairs.

    `kept`, `rescaled`: probability after `DELETED` pairs, the greys left as they were or rescaled.
    """

    method: str
    sample_id: str
    accession: str
    n_pairs: int
    precision: dict[str, float]
    chance: dict[str, float]
    kept: list[float]
    rescaled: list[float]
    rest: float


def main() -> None:
    """Print a table a size, then everything as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, help="a simulated study; without it one is simulated")
    parser.add_argument("--accessions", type=int, default=120, help="of the study to simulate, one injection each")
    parser.add_argument("--seed", type=int, default=0, help="of the study to simulate, the folds and the training")
    parser.add_argument("--assay", default="dpph", choices=ASSAYS)
    parser.add_argument("--size", nargs="+", default=["75x70"])
    parser.add_argument("--preset", default="small", choices=PRESETS)
    parser.add_argument("--folds", type=int, default=5, help="of the split")
    parser.add_argument("--trained", type=int, default=1, help="how many of the folds are trained and explained")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--runs", type=int, default=40, help="at most so many runs are explained")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        study = given.study or Path(scratch) / "study"
        if given.study is None:
            write_study(study, SimulationConfig(accessions=given.accessions, replicates=1, seed=given.seed))
        truth, sheet = StudyTruth.of_folder(study, given.assay), Sheet.read(study / "samples.csv")
        told = {size: examine(sheet, truth, size, given) for size in given.size}
    if given.out:
        given.out.write_text(json.dumps({size: [asdict(row) for row in rows] for size, rows in told.items()}) + "\n")


def examine(sheet: Sheet, truth: StudyTruth, size: str, given: argparse.Namespace) -> list[RunScore]:
    """Train at one size, explain, print."""
    height, width = parse_size(size)
    config = RenderConfig(height=height, width=width)
    spectra: dict[str, RunSpectra] = {}
    for run, content in read_runs([run for run in sheet.runs if run.kind == "sample"]):
        if isinstance(content, Exception):
            raise content
        spectra[run.sample_id] = content
    labels = make_labels(sheet, LabelConfig(assay=given.assay), spectra)
    runs = {run.sample_id: run for run in sheet.runs}
    rows: list[RunScore] = []
    n_explained = 0
    print(
        f"{size} {given.assay}: SIMULATED, {len(set(labels.accessions))} accessions, preset {given.preset}", flush=True
    )
    for predictor, held_out in trained(labels, spectra, config, given):
        for row in held_out:
            name = labels.sample_ids[row]
            if n_explained >= given.runs or not is_hit(labels, row, spectra[name], predictor):
                continue
            rows += list(judge(runs[name], spectra[name], predictor, truth, given))
            n_explained += 1
    summarise(rows, given.seed)
    return rows


def trained(
    labels: Labels, spectra: dict[str, RunSpectra], config: RenderConfig, given: argparse.Namespace
) -> Iterator[tuple[Predictor, np.ndarray]]:
    """A predictor for each trained fold, and the rows of `labels` that it has not seen."""
    tables = [spectra[name].table for name in labels.sample_ids]
    images = np.stack([render(points_from_spectra(table, config, path=""), config) for table in tables])
    cnn, fit = PRESETS[given.preset], replace(TRAINING[given.preset], seed=given.seed, threads=1)
    tasks = plan_folds(labels, given.folds, cnn, fit, validation=fit.keep != "last")
    for task in tasks[: given.trained]:
        started = time.perf_counter()
        result, weights = run_fold(images, labels.target, task)
        network = build_cnn(cnn, config.height, config.width)
        network.load_state_dict(weights)
        correct = np.mean((result.probability >= 0.5) == labels.target[task.fold.test])
        print(
            f"fold {task.fold.index}: trained on {len(task.fold.train)} runs in {time.perf_counter() - started:.0f} s, "
            f"accuracy {correct:.3f} on {len(task.fold.test)} held out",
            flush=True,
        )
        version = f"fold {task.fold.index}"
        yield Predictor(network=network, render=config, threshold=0.5, model_version=version), task.fold.test


def is_hit(labels: Labels, row: int, spectra: RunSpectra, predictor: Predictor) -> bool:
    """Whether a run is active and predicted active."""
    import pandas as pd

    if labels.target[row] != ACTIVE:
        return False
    image = render(points_from_spectra(spectra.table, predictor.render, path=""), predictor.render)
    return bool(predictor.predict(pd.DataFrame({"image": [image]}))["label"].iloc[0] == "active")


def judge(
    run: Run, spectra: RunSpectra, predictor: Predictor, truth: StudyTruth, given: argparse.Namespace
) -> Iterator[RunScore]:
    """Score every method and both controls on one run."""
    methods: list[Method] = given.methods
    for method in methods:
        found = explain_run(run, spectra, predictor, method=method)
        order = np.arange(len(found.pairs))
        yield score(method, run, found, spectra.table, predictor, truth, [order])
    # `found` of any method knows the pairs; the controls only order them otherwise.
    light = np.bincount(found.pair_of_point, weights=found.cover.brightness(), minlength=len(found.pairs))
    yield score("brightest", run, found, spectra.table, predictor, truth, [np.argsort(-light, kind="stable")])
    random = np.random.default_rng((given.seed, int.from_bytes(run.sample_id.encode(), "big")))
    draws = [random.permutation(len(found.pairs)) for _ in range(RANDOM_DRAWS)]
    yield score("random", run, found, spectra.table, predictor, truth, draws)


def score(
    method: str,
    run: Run,
    found: Explanation,
    spectra: pa.Table,
    predictor: Predictor,
    truth: StudyTruth,
    orders: list[np.ndarray],
) -> RunScore:
    """Judge orders of the pairs of a run, the mean where there are several."""
    told = truth.of_run(found, spectra)
    known: dict[str, np.ndarray] = {name: getattr(told, name) for name in KINDS}
    curves = {
        greys: np.mean(
            [probabilities_without(found, spectra, predictor, order, DELETED, greys=greys) for order in orders], axis=0
        )
        for greys in ("kept", "rescaled")
    }
    return RunScore(
        method=method,
        sample_id=run.sample_id,
        accession=run.accession,
        n_pairs=len(found.pairs),
        precision={
            name: float(np.mean([is_kind[order[:TOP]].mean() for order in orders])) for name, is_kind in known.items()
        },
        chance={name: float(is_kind.mean()) for name, is_kind in known.items()},
        kept=curves["kept"].tolist(),
        rescaled=curves["rescaled"].tolist(),
        rest=found.rest,
    )


def summarise(rows: list[RunScore], seed: int) -> None:
    """Print means over accessions with 95 % intervals."""
    by_method = {
        name: [row for row in rows if row.method == name] for name in dict.fromkeys(row.method for row in rows)
    }
    n_accessions, n_pairs = len({row.accession for row in rows}), np.mean([row.n_pairs for row in rows])
    print(f"{n_accessions} held-out accessions, active and predicted active; {n_pairs:.0f} pairs a run")
    for kind in KINDS:
        for name, of in by_method.items():
            print(f"  {kind:<10} {name:<21} {precision_line(of, kind, seed)}")
    for greys in ("kept", "rescaled"):
        for name, of in by_method.items():
            print(f"  deletion, greys {greys:<8} {name:<21} {deletion_line(of, by_method['random'], greys, seed)}")
    for name, of in by_method.items():
        if REFERENCE in by_method and name != REFERENCE:
            precision = _precision(of, "causal") - _precision(by_method[REFERENCE], "causal")
            areas = area(of, "kept") - area(by_method[REFERENCE], "kept")
            print(f"  {name} less {REFERENCE}: precision {_told(precision, seed)}, deletion area {_told(areas, seed)}")


def precision_line(rows: list[RunScore], kind: str, seed: int) -> str:
    """Precision at `TOP` of one method against chance."""
    precision = _precision(rows, kind)
    chance = per_accession(rows, [row.chance[kind] for row in rows])
    return (
        f"precision at {TOP} {_told(precision, seed)}, chance {chance.mean():.3f}, "
        f"ratio {precision.mean() / chance.mean():.2f}, difference {_told(precision - chance, seed)}"
    )


def deletion_line(rows: list[RunScore], random: list[RunScore], greys: str, seed: int) -> str:
    """How far the score falls when a method's pairs are deleted, against pairs at random."""
    left = [getattr(row, greys)[DELETED.index(TOP)] / getattr(row, greys)[0] for row in rows]
    areas = area(rows, greys)
    return (
        f"area {_told(areas, seed)}, below random by {_told(area(random, greys) - areas, seed)}; "
        f"score left without {TOP}: {np.mean(left):.3f}"
    )


def _precision(rows: list[RunScore], kind: str) -> np.ndarray:
    return per_accession(rows, [row.precision[kind] for row in rows])


def _told(values: np.ndarray, seed: int) -> str:
    low, high = interval(values, seed)
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


def per_accession(rows: list[RunScore], values: list[float]) -> np.ndarray:
    """Means over the runs of each accession, accessions sorted."""
    names = np.array([row.accession for row in rows])
    return np.array([np.mean(np.array(values)[names == name]) for name in np.unique(names)])


def area(rows: list[RunScore], greys: str) -> np.ndarray:
    """Area under the deletion curve as a share of no drop at all, per accession: 1 where deletion changes nothing."""
    curves = [np.array(getattr(row, greys)) for row in rows]
    shares = [float(np.trapezoid(curve / curve[0], DELETED) / DELETED[-1]) for curve in curves]
    return per_accession(rows, shares)


def interval(values: np.ndarray, seed: int) -> tuple[float, float]:
    """95 % percentile interval of the mean by bootstrap over accessions."""
    drawn = np.random.default_rng(seed).integers(0, len(values), (BOOTSTRAPS, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


if __name__ == "__main__":
    main()
