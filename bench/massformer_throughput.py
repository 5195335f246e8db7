"""Molecules and spectra a second of MassFormer, in training and in prediction, against a plain padded implementation.

``python -m bench.massformer_throughput`` runs both in turn in one process, on the same spectra and from the same
weights, after checking that they predict the same: on molecules of a prepared library (``--library``), else on random
graphs of the same sizes. bench/massformer_plain.py is the plain one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bench import massformer_plain as plain
from bench.massformer_task import SPECTRUM, VOCABULARY, Task, library_task, random_task
from ms2img.learn.hardware import torch_threads
from ms2img.massformer.batch import SpectrumBatch
from ms2img.massformer.batching import EVALUATION_BATCH, SpectrumBatches, placed
from ms2img.massformer.model import SpectrumModel, build
from ms2img.massformer.presets import PRESETS

TARGET = 2.0  # ours over plain, at least
SHARED = 8  # one molecule in so many is measured with all its spectra, all with one


class Stack(NamedTuple):
    """An implementation: the batches of an epoch, or of a prediction; and a batch's spectra."""

    train: Callable[[Task, argparse.Namespace], Iterator[SpectrumBatch]]
    predict: Callable[[Task, argparse.Namespace], Iterator[SpectrumBatch]]
    spectra: Callable[[SpectrumModel, SpectrumBatch], Tensor]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--library", help="a prepared library; default: random graphs of the sizes of MassBank's")
    parser.add_argument("--preset", choices=["paper", "small"], default="small")
    parser.add_argument("--molecules", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64, help="spectra of a training batch")
    parser.add_argument("--rounds", type=int, default=3, help="times that both are measured, in turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bfloat16", action="store_true", help="mixed precision")
    options = parser.parse_args()
    task = library_task(options.library, options.molecules) if options.library else random_task(options.molecules)
    many, one = task.first(options.molecules // SHARED), task.one_each()
    with torch_threads(options.threads):
        model = build(PRESETS["massformer", options.preset], SPECTRUM, VOCABULARY).to(options.device)
        _check_equal(model, one, options)
        print(_conditions(options, many, one))
        print("\n| | ours | plain | ours over plain | likewise CPU time |\n|---|---|---|---|---|")
        for what, task in (("spectra", many), ("molecules of one spectrum", one)):
            for how in ("training", "prediction"):
                wall, cpu = _measured(how, model, task, options)
                n = len(task.molecule)
                print(f"| {how}, {what} a second | {n / wall['ours']:.0f} | {n / wall['plain']:.0f} ", end="")
                print(f"| {wall['plain'] / wall['ours']:.1f} | {cpu['plain'] / cpu['ours']:.1f} |", flush=True)
        share = _collating_share(model, many, options)
    print(f"\nTarget: {TARGET:g} or more. Collating takes {share:.1%} of our training step's CPU time.")


def _measured(
    how: str, model: SpectrumModel, task: Task, options: argparse.Namespace
) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds of wall and of CPU time by stack: medians over the rounds of an epoch, or of predicting all spectra."""
    job = _train if how == "training" else _predict
    wall: dict[str, list[float]] = {name: [] for name in STACKS}
    cpu: dict[str, list[float]] = {name: [] for name in STACKS}
    for _ in range(options.rounds):
        for name, stack in STACKS.items():
            batches = (stack.train if how == "training" else stack.predict)(task, options)
            started, started_cpu = time.perf_counter(), time.process_time()
            job(model, stack, batches, options)
            wall[name].append(time.perf_counter() - started)
            cpu[name].append(time.process_time() - started_cpu)
    return tuple({name: statistics.median(times) for name, times in clock.items()} for clock in (wall, cpu))  # type: ignore[return-value]


def _train(model: SpectrumModel, stack: Stack, batches: Iterator[SpectrumBatch], options: argparse.Namespace) -> None:
    optimiser = torch.optim.AdamW(model.train().parameters(), lr=1e-5, fused=True)
    for batch in batches:
        with torch.autocast(options.device, dtype=torch.bfloat16, enabled=options.bfloat16):
            spectra = stack.spectra(model, batch)
        loss = 1 - functional.cosine_similarity(spectra, batch.target).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad()
    _finish(options)


def _predict(model: SpectrumModel, stack: Stack, batches: Iterator[SpectrumBatch], options: argparse.Namespace) -> None:
    model.eval()
    with torch.inference_mode(), torch.autocast(options.device, dtype=torch.bfloat16, enabled=options.bfloat16):
        for batch in batches:
            stack.spectra(model, batch).cpu()
    _finish(options)


def _finish(options: argparse.Namespace) -> None:
    if options.device == "cuda":
        torch.cuda.synchronize()


def _ours(task: Task, options: argparse.Namespace, *, train: bool) -> SpectrumBatches:
    rows, none = np.arange(len(task.molecule)), np.arange(0)
    return SpectrumBatches(
        "massformer", task.features, molecule=task.molecule, conditions=task.conditions,
        precursor_mz=task.precursor_mz, target=task.target, train=rows if train else none,
        validation=none if train else rows, batch_size=options.batch, seed=0, device=torch.device(options.device),
    )  # fmt: skip


def _ours_train(task: Task, options: argparse.Namespace) -> Iterator[SpectrumBatch]:
    """An epoch of many: what is kept of each molecule is there since the first."""
    batches = _ours(task, options, train=True)
    for _ in batches.train(1):
        pass
    return batches.train(2)


def _plain_batches(task: Task, rows: NDArray[np.int64], size: int, device: str) -> Iterator[SpectrumBatch]:
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        molecules = plain.collate([task.features[number] for number in task.molecule[part]])
        columns = (task.conditions[part], task.precursor_mz[part], task.target[part])
        conditions, precursor_mz, target = (torch.from_numpy(column).to(device) for column in columns)
        molecule_rows = torch.arange(len(part), device=device)
        yield SpectrumBatch(
            placed(molecules, torch.device(device)), molecule_rows, conditions, precursor_mz, target, len(part), 1.0,
            torch.from_numpy(part),
        )  # fmt: skip


def _plain_train(task: Task, options: argparse.Namespace) -> Iterator[SpectrumBatch]:
    order = np.random.default_rng(0).permutation(len(task.molecule))
    return _plain_batches(task, order, options.batch, options.device)


STACKS = {
    "ours": Stack(
        _ours_train,
        lambda task, options: _ours(task, options, train=False).validation(),
        lambda model, batch: model(batch),
    ),
    "plain": Stack(
        _plain_train,
        lambda task, options: _plain_batches(task, np.arange(len(task.molecule)), EVALUATION_BATCH, options.device),
        plain.predict,
    ),
}


def _check_equal(model: SpectrumModel, task: Task, options: argparse.Namespace) -> None:
    """Stop where the two implementations differ on any spectrum."""
    model.eval()
    spectra = {name: torch.empty(task.target.shape) for name in STACKS}
    with torch.inference_mode():
        for name, stack in STACKS.items():
            for batch in stack.predict(task, options):
                spectra[name][batch.rows] = stack.spectra(model, batch).cpu()
    torch.testing.assert_close(spectra["ours"], spectra["plain"], rtol=1e-3, atol=1e-4)


def _collating_share(model: SpectrumModel, task: Task, options: argparse.Namespace) -> float:
    """CPU time of making an epoch's batches over that of making and learning them."""
    times = []
    for job in (
        lambda batches: [None for _ in batches],
        lambda batches: _train(model, STACKS["ours"], batches, options),
    ):
        batches = _ours_train(task, options)
        started = time.process_time()
        job(batches)
        times.append(time.process_time() - started)
    return times[0] / times[1]


def _conditions(options: argparse.Namespace, many: Task, one: Task) -> str:
    atoms = np.array([molecule.graph.n_atoms for molecule in one.features])
    source = options.library or "random graphs"
    precision = "bfloat16" if options.bfloat16 else "float32"
    return (
        f"Preset `{options.preset}`; {len(many.molecule)} spectra of {len(many.features)} molecules, and {len(atoms)} "
        f"molecules of one spectrum ({source}; {atoms.mean():.0f} atoms on average, {atoms.max()} at most); batches of "
        f"{options.batch}, {precision}, {options.device}, {options.threads} threads, {os.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.1f}; medians of {options.rounds}"
    )


if __name__ == "__main__":
    main()
