"""An epoch of the paper's network, here and in Keras on TensorFlow, the paper's own stack: seconds and loss curves.

``python -m bench.train_step --keras KERAS_PYTHON`` times both in turn, each time in a new process, on the same real
images (the labelled qemistree runs, repeated to ``--images``), cores, threads and initial weights;
bench/keras/README.md makes that interpreter. ``measures`` times ours with each of the training loop's measures taken
back; ``curves`` compares losses; ``pin`` writes the steps of Keras that tests/test_keras_parity.py holds ours to.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.cohort import qemistree
from bench.train_once import keras_weights
from ms2img.ms2toimg.cnn import PRESETS, TRAINING, CnnConfig, build_cnn

HERE = Path(__file__).resolve().parent
PINNED = HERE.parent / "tests" / "keras_steps.npz"
TARGET = 1.5  # Keras's seconds over ours, at least

#: Name of a row -> stack, precision and what differs.
STACKS: dict[str, dict[str, Any]] = {
    "Keras, float32": {"stack": "keras", "precision": "float32"},
    "Keras, mixed_bfloat16": {"stack": "keras", "precision": "bfloat16"},
    "ms2img, float32": {"precision": "float32"},
    "ms2img, as it trains": {},
}
MEASURES: dict[str, dict[str, Any]] = {
    "as it trains": {},
    "float32": {"precision": "float32"},
    "whole images, no tiles": {"without": ["tiles"]},
    "memory not kept": {"without": ["kept memory"]},
    "4 KiB pages": {"environment": {"THP_MEM_ALLOC_ENABLE": "0"}},
    "spinning threads": {"environment": {"OMP_WAIT_POLICY": "ACTIVE"}},
    "optimiser not fused": {"without": ["fused Adam"]},
    "whole images, not channels-last": {"without": ["tiles", "channels-last"]},
    "whole images, torch.compile": {"without": ["tiles"], "compile": True},
    "none of them, float32": {
        "precision": "float32",
        "without": ["tiles", "kept memory", "fused Adam", "channels-last"],
        "environment": {"THP_MEM_ALLOC_ENABLE": "0"},
    },
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", nargs="?", choices=["time", "measures", "curves", "pin"], default="time")
    parser.add_argument("--keras", help="interpreter with Keras, see bench/keras/README.md")
    parser.add_argument("--preset", choices=PRESETS, default="paper")
    parser.add_argument("--cnn", type=json.loads, default={}, help="JSON: fields of CnnConfig that differ")
    parser.add_argument("--size", default="150x140", help="image HEIGHTxWIDTH, pixels")
    parser.add_argument("--images", type=int, help="default: 440; for curves all that are labelled, once")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, help="after a first one that warms up; default 2, for curves 8")
    parser.add_argument("--rounds", type=int, default=3, help="times that every row is measured, in turn")
    parser.add_argument("--seeds", type=int, default=3, help="for curves")
    parser.add_argument("--rows", nargs="+", help="only these rows of the table")
    options = parser.parse_args()
    if options.keras is None and options.what != "measures":
        parser.error("--keras is needed: the interpreter of bench/keras/README.md")
    {"time": _time, "measures": _time, "curves": _curves, "pin": _pin}[options.what](options)


def _time(options: argparse.Namespace) -> None:
    rows = STACKS if options.what == "time" else MEASURES
    rows = {name: row for name, row in rows.items() if not options.rows or name in options.rows}
    images, target = _images(options.size, options.images or 440)
    base = _settings(options, epochs=1 + (options.epochs or 2))
    spent: dict[str, list[dict[str, float]]] = {name: [] for name in rows}
    with tempfile.TemporaryDirectory() as folder:
        setup = _write(Path(folder) / "setup.npz", images, target, base)
        for _ in range(options.rounds):
            for name, row in rows.items():
                spent[name] += _run(options, setup, base | row)[1:]
    print(
        f"\n{_conditions(options, len(images))}; medians over {options.rounds} rounds of {base['epochs'] - 1} epochs\n"
    )
    first = next(iter(rows))
    ratio = "first row's over these" if options.what == "time" else "over the first row's"
    print(f"| | seconds an epoch | least | CPU seconds | {ratio} | likewise CPU |\n|---|---|---|---|---|---|")
    for name, epochs in spent.items():
        ratios = []
        for clock in ("wall", "cpu"):
            quotient = _median(epochs, clock) / _median(spent[first], clock)
            ratios.append(f"{1 / quotient if options.what == 'time' else quotient:.2f}")
        least = min(epoch["wall"] for epoch in epochs)
        figures = f"{_median(epochs, 'wall'):.2f} | {least:.2f} | {_median(epochs, 'cpu'):.2f}"
        print(f"| {name} | {figures} | {' | '.join(ratios)} |")
    if options.what == "time":
        print(f"\nTarget: at least {TARGET} in the last row.")


def _curves(options: argparse.Namespace) -> None:
    """Losses with dropout over seeds, and without dropout in the same order of images."""
    images, target = _images(options.size, options.images)
    print(f"\n{_conditions(options, len(images))}, float32; training loss of every epoch, same initial weights\n")
    base = _settings(options, epochs=options.epochs or 8) | {"precision": "float32"}
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        setup = _write(Path(folder) / "setup.npz", images, target, base)
        for stack in ("keras", "ms2img"):
            runs = [_run(options, setup, base | {"stack": stack, "seed": seed}) for seed in range(options.seeds)]
            found[stack] = np.array([[epoch["loss"] for epoch in run] for run in runs])
        plain = base | {"cnn": base["cnn"] | {"dropout": 0.0}}
        orders = _orders(len(images), plain["seed"], plain["epochs"])
        setup = _write(Path(folder) / "plain.npz", images, target, plain, orders)
        same = {stack: [epoch["loss"] for epoch in _run(options, setup, plain | {"stack": stack})] for stack in found}
    print(f"| epoch | Keras, dropout, {options.seeds} seeds | ms2img, dropout | apart / sd of seeds | ", end="")
    print("Keras, none | ms2img, none | apart |\n|---|---|---|---|---|---|---|")
    for epoch in range(base["epochs"]):
        keras, ours = (found[stack][:, epoch] for stack in ("keras", "ms2img"))
        apart = abs(keras.mean() - ours.mean()) / np.hypot(keras.std(ddof=1), ours.std(ddof=1))
        one, other = same["keras"][epoch], same["ms2img"][epoch]
        print(f"| {epoch + 1} | {keras.mean():.4f} ± {keras.std(ddof=1):.4f} | ", end="")
        print(f"{ours.mean():.4f} ± {ours.std(ddof=1):.4f} | {apart:.2f} | ", end="")
        print(f"{one:.6f} | {other:.6f} | {abs(one - other):.1e} |")


def _pin(options: argparse.Namespace) -> None:
    """A few steps of a small network in Keras, written for the test."""
    cnn = CnnConfig(filters=4, dense_layers=2, units=8, dropout=0.0)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (20, 14, 13)).astype(np.uint8)
    target = np.arange(20) % 2
    settings = _settings(options, epochs=3) | {
        "cnn": cnn.to_dict(), "batch_size": 8, "learning_rate": 1e-3, "precision": "float32", "threads": 1,
        "stack": "keras",
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        setup = _write(
            Path(folder) / "setup.npz", images, target, settings, _orders(20, settings["seed"], settings["epochs"])
        )
        saved = Path(folder) / "after.npz"
        losses = [epoch["loss"] for epoch in _run(options, setup, settings | {"save": str(saved)})]
        after = {f"after_{i}": value for i, value in enumerate(np.load(saved).values())}
        begun = {name: value for name, value in np.load(setup).items() if not name.startswith("order_")}
    told = json.dumps(settings | {"versions": _versions(options.keras)})
    np.savez_compressed(PINNED, losses=losses, settings=np.array(told), **begun, **after)
    print(f"{PINNED}: {PINNED.stat().st_size} bytes, losses {losses}")


def _settings(options: argparse.Namespace, *, epochs: int) -> dict[str, Any]:
    """What both sides are told."""
    fit = TRAINING[options.preset]
    cnn = PRESETS[options.preset].to_dict() | options.cnn
    return {
        "cnn": cnn,
        "epochs": epochs,
        "batch_size": fit.batch_size,
        "learning_rate": fit.learning_rate,
        "threads": options.threads,
        "precision": "auto",
        "seed": 0,
        "weights_seed": 0,
    }


def _images(size: str, count: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The labelled runs of the task `tomato`, repeated or cut to `count`."""
    labels, images = qemistree("tomato", size)
    used = np.flatnonzero(labels.target >= 0)
    rows = np.resize(used, count or len(used))
    return images[rows], labels.target[rows]


def _write(
    path: Path, images: np.ndarray, target: np.ndarray, settings: dict[str, Any], orders: Sequence[np.ndarray] = ()
) -> Path:
    """The file both sides read."""
    network = build_cnn(CnnConfig.from_dict(settings["cnn"]), *images.shape[1:], seed=settings["weights_seed"])
    arrays: dict[str, Any] = {f"weight_{i}": value for i, value in enumerate(keras_weights(network))}
    arrays |= {f"order_{epoch}": rows for epoch, rows in enumerate(orders, start=1)}
    np.savez(path, images=images, target=target, **arrays)
    return path


def _orders(n: int, seed: int, epochs: int) -> list[np.ndarray]:
    """The order of every epoch as `ms2img.learn.batches.ImageBatches` draws it."""
    return [np.random.default_rng((seed, epoch)).permutation(n) for epoch in range(1, epochs + 1)]


def _run(options: argparse.Namespace, setup: Path, settings: dict[str, Any]) -> list[dict[str, float]]:
    """Train once in a process of its own; what it says of every epoch."""
    if settings.get("stack") == "keras":
        command = [options.keras, str(HERE / "keras" / "train_once.py")]
    else:
        command = [sys.executable, "-m", "bench.train_once"]
    environment = os.environ | settings.get("environment", {})
    done = subprocess.run(
        [*command, str(setup), json.dumps(settings)],
        check=True,
        stdout=subprocess.PIPE,
        env=environment,
        cwd=HERE.parent,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def _versions(python: str) -> str:
    code = "from importlib.metadata import version as v; print('keras', v('keras'), 'tensorflow', v('tensorflow_cpu'))"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def _conditions(options: argparse.Namespace, n: int) -> str:
    load = os.getloadavg()[0]
    changed = "".join(f", {name} {value}" for name, value in options.cnn.items())
    return (
        f"Preset `{options.preset}`{changed}, {n} images of {options.size} (labelled qemistree runs, repeated), batch "
        f"{TRAINING[options.preset].batch_size}, {options.threads} threads, {os.cpu_count()} cores, load {load:.1f}"
    )


def _median(epochs: Sequence[dict[str, float]], what: str) -> float:
    return statistics.median(epoch[what] for epoch in epochs)


if __name__ == "__main__":
    main()
