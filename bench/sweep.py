"""``ms2img sweep`` against Keras Tuner's RandomSearch: trainings an hour, same networks, images and cores.

``python -m bench.sweep --keras KERAS_PYTHON`` runs both; bench/keras/README.md makes that interpreter. A training is
one network on one fold: ours trains a trial's folds in turn, Keras Tuner, which knows no folds, is given each (trial,
fold) as a trial of its own, with the fold's training and inner validation rows. Networks, learning rates, batches and
epochs are equal; ours also predicts the outer test part. Ours trains one network a core, Keras Tuner one network on all
cores, as both do unless told otherwise (``--keras-processes`` splits its trials over processes).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from bench.sweeps import HIGH, LOW, SHEET, converted, run_sweep

HERE = Path(__file__).resolve().parent
TARGET = 1.5  # our trainings an hour over Keras Tuner's, at least
SLICES = 10  # of a run, in the table of utilisation


@dataclass
class Utilisation:
    """How busy the machine's cores are, second by second, for the length of the block; other work on them counts."""

    share: list[float] = field(default_factory=list)  # of all cores
    _ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def slices(self) -> list[float]:
        """Means over equal parts of the run."""
        return [float(part.mean()) for part in np.array_split(self.share, SLICES) if len(part)]

    def _watch(self) -> None:
        before = _jiffies()
        while not self._ended.wait(1.0):
            now = _jiffies()
            if now[1] > before[1]:
                self.share.append((now[0] - before[0]) / (now[1] - before[1]))
            before = now


def main() -> None:
    """Run both and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--keras", required=True, help="interpreter with Keras Tuner, see bench/keras/README.md")
    parser.add_argument("--images", type=Path, help="qemistree images of ms2img convert [default: made at 75x70]")
    parser.add_argument("--assay", default="tomato")
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--keras-processes", type=int, default=1)
    parser.add_argument("--chart", type=Path, help="write the utilisation as a picture (.png or .svg)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ms2img-bench-") as scratch:
        images = options.images or converted(Path(scratch) / "images", "75x70")
        trainings = options.trials * options.folds
        with Utilisation() as ours:
            started = time.perf_counter()
            summary = run_sweep(
                images, options.assay, Path(scratch) / "sweep", trials=options.trials, folds=options.folds,
                epochs=options.epochs, concurrent=options.cores, cpus_per_trial=1,
            )  # fmt: skip
            seconds = time.perf_counter() - started
        trials = summary.sweep.trials
        span = float(trials["ended"].max() - trials["started"].min())
        with Utilisation() as theirs:
            started = time.perf_counter()
            searching = _keras(options, images, Path(scratch))
            keras_seconds = time.perf_counter() - started
    name, load = summary.sweep.summary["space"]["name"], os.getloadavg()[0]
    print(
        f"\nTask `{options.assay}`, space `{name}`, {options.trials} trials of {options.folds} folds: {trainings} ",
        end="",
    )
    print(f"trainings of {options.epochs} epochs; {options.cores} cores, load {load:.1f}\n")
    print("| | searching, s | trainings an hour | whole job, s | trainings an hour |\n|---|---|---|---|---|")
    for name, search, whole in (("Keras Tuner", searching, keras_seconds), ("ms2img sweep", span, seconds)):
        each = [f"{spent:.1f} | {trainings / spent * 3600:.0f}" for spent in (search, whole)]
        print(f"| {name} | {each[0]} | {each[1]} |")
    print(f"| ratio (target {TARGET}) | | {searching / span:.2f} | | {keras_seconds / seconds:.2f} |")
    print(
        "\nOur whole job also starts Ray, refits the winner on everything, and writes records and the registered model."
    )
    print("\nCores busy, in tenths of each run, %:\n")
    print("| |" + " |" * SLICES + "\n|---|" + "---|" * SLICES)
    for name, used in (("Keras Tuner", theirs), ("ms2img sweep", ours)):
        print(f"| {name} | " + " | ".join(f"{100 * share:.0f}" for share in used.slices()) + " |")
    if options.chart is not None:
        _chart(options.chart, {"Keras Tuner": theirs.share, "ms2img sweep": ours.share}, options.cores)


def _keras(options: argparse.Namespace, images: Path, scratch: Path) -> float:
    """Search with Keras Tuner; the seconds of its longest process, without imports."""
    from ms2img.ms2toimg.crossvalidate import plan_folds
    from ms2img.ms2toimg.labels import LabelConfig
    from pipelines.cohort import Cohort
    from tune.space import Space

    cohort = Cohort.load(str(images), str(SHEET), LabelConfig(assay=options.assay, low=LOW, high=HIGH))
    space = Space.load("paper")
    trainings: list[dict[str, Any]] = []
    for trial in range(options.trials):
        cnn, fit = space.configure(space.sample(0, trial), epochs=options.epochs)
        for task in plan_folds(cohort.labels, options.folds, cnn, fit):
            rows = {"train": task.fold.train.tolist(), "validation": task.fold.validation.tolist()}
            told = {"cnn": cnn.to_dict(), "learning_rate": fit.learning_rate, "batch_size": fit.batch_size}
            trainings.append(told | rows)
    np.savez(scratch / "data.npz", images=cohort.images, target=cohort.labels.target)
    count = options.keras_processes
    running = []
    for process in range(count):
        job = scratch / f"keras{process}.json"
        part = {
            "threads": max(1, options.cores // count),
            "epochs": options.epochs,
            "trainings": trainings[process::count],
        }
        job.write_text(json.dumps(part))
        command = [options.keras, str(HERE / "keras" / "tune.py"), str(scratch / "data.npz"), str(job)]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    answers = [json.loads(process.communicate()[0].splitlines()[-1]) for process in running]
    if sum(answer["trained"] for answer in answers) != len(trainings):
        raise RuntimeError(f"Keras Tuner finished {[answer['trained'] for answer in answers]} of {len(trainings)}")
    return max(float(answer["seconds"]) for answer in answers)


def _jiffies() -> tuple[int, int]:
    """Busy and all time of all cores since the machine started, in the kernel's unit."""
    times = [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(times) - times[3] - times[4], sum(times)


def _chart(path: Path, shares: dict[str, list[float]], cores: int) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.6), layout="constrained")
    axes = figure.add_subplot()
    for name, share in shares.items():
        axes.plot(np.arange(len(share)) + 1, 100 * np.array(share), label=name, linewidth=1)
    axes.set(xlabel="seconds", ylabel=f"of {cores} cores busy, %", ylim=(0, 102))
    axes.legend(frameon=False, loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
