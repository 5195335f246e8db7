"""The comparison of the MassFormer paper (Tables 2 and 3), run by run, resumable.

``python -m bench.massformer_grid bench/massformer_grid.yaml --dry-run``   runs x measured seconds = hours
``python -m bench.massformer_grid bench/massformer_grid.yaml``             what is not done yet, then the tables
``... --only model=fp,split=scaffold,seed=0``                              some of it

Every run leaves ``runs/<name>.json`` in the grid's folder, with the key of all it follows from; one with another key
does not count. A training that is interrupted goes on from its last state.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import pandas as pd

from bench.massformer_cells import GridFile, Run, chosen, runs_of
from bench.massformer_tables import write_tables
from ms2img.errors import Ms2imgError
from ms2img.io.storage import Folder, folder
from ms2img.massformer.dataset import TrainingSet
from ms2img.massformer.library.folder import Library, read_library
from ms2img.massformer.presets import PRESETS
from ms2img.massformer.selection import select
from ms2img.massformer.training import TRAINING
from pipelines.massformer.evaluate_models import load_models
from pipelines.massformer.evaluate_parts import EvaluationParts, evaluation_parts
from pipelines.massformer.evaluate_scores import PartScores, floors, score
from pipelines.massformer.seed_work import SpectrumSeed
from pipelines.massformer.training_inputs import training_set
from pipelines.massformer.training_job import Plan, save_plan
from pipelines.seeds.work import SeedTask, read_result, train_seed
from pipelines.study.ledger import key_of

CHECKPOINT_SECONDS = 60.0
#: Seconds beside the training budget of a run that no run has told of yet: loading, validation, evaluation (ours).
ASSUMED_EXTRA = 60.0


@dataclass(frozen=True)
class Ledger:
    """Finished runs in a folder."""

    out: Folder

    def read(self, name: str, key: str) -> dict[str, Any] | None:
        """The result of a run with this key; None where there is none that counts."""
        content = self.out.read(f"{name}.json")
        if content is None:
            return None
        try:
            told = json.loads(content)
        except ValueError:
            return None
        return told["result"] if isinstance(told, dict) and told.get("key") == key and "result" in told else None

    def write(self, name: str, key: str, result: Mapping[str, Any]) -> None:
        """A run is finished."""
        self.out.write(f"{name}.json", (json.dumps({"key": key, "result": result}, indent=1) + "\n").encode())


class Grid:
    """A grid file with its library and ledger; data are loaded once for the runs that share them."""

    def __init__(self, file: GridFile) -> None:
        self.file = file
        self.library: Library = read_library(file.library)
        self.ledger = Ledger(folder(file.out))
        self.data = lru_cache(maxsize=2)(self._data)
        self.parts = lru_cache(maxsize=2)(self._parts)

    def result(self, run: Run) -> dict[str, Any] | None:
        """What a finished run found; None where it is not done."""
        return self.ledger.read(f"runs/{run.name}", self.key(run))

    def key(self, run: Run) -> str:
        """Of all that a run follows from."""
        fit = self.fit(run)
        return key_of(
            {
                "library": self.library.fingerprint,
                "settings": run.settings(self.file).to_dict(),
                "spectrum": self.file.spectrum().to_dict(),
                "model": PRESETS[run.model, self.file.preset].to_dict(),
                "fit": {name: value for name, value in fit.to_dict().items() if name not in ("threads", "device")},
                "minutes": self.file.minutes,
                "clock": self.file.clock,
                "ranking": self.file.ranking,
            }
        )

    def fit(self, run: Run) -> Any:
        """The preset's training, ended by time."""
        file = self.file
        return replace(
            TRAINING[file.preset],
            epochs=file.epochs,
            patience=None,  # the budget is equal for all: nobody stops early
            seed=run.seed,
            threads=file.threads,
            device=file.device,
        )

    def floors(self, run: Run) -> list[PartScores]:
        """Both floors on the parts of a run's split and cell."""
        whole = replace(run, model="floors", fraction=1.0, seed=0)
        settings = whole.settings(self.file)
        key = key_of(
            {
                "library": self.library.fingerprint,
                "settings": settings.to_dict(),
                "spectrum": self.file.spectrum().to_dict(),
                "ranking": self.file.ranking,
            }
        )
        name = f"floors/{run.split}_{run.cell}"
        told = self.ledger.read(name, key)
        if told is None:
            parts = self.parts(run.split, run.cell)
            scores = [
                score(parts, part, source, with_ranking=self.file.ranking).scores
                for part in parts.held_out
                for source in floors(parts)
            ]
            told = {"scores": [each.to_dict() for each in scores]}
            self.ledger.write(name, key, told)
        return [PartScores.from_dict(each) for each in told["scores"]]

    def perform(self, run: Run) -> dict[str, Any]:
        """Train, keep the model, score it on every part, write the ledger."""
        started = time.monotonic()
        plan = Plan(
            self.data(run.split, run.cell, run.fraction),
            PRESETS[run.model, self.file.preset],
            self.fit(run),
            self.file.preset,
        )
        seconds = 60 * self.file.minutes
        task = SeedTask(
            seed=run.seed,
            fit=plan.fit,
            max_seconds=seconds,
            work=f"{self.file.out}/work",
            name=f"{run.name}-{plan.fingerprint(seconds)}",
            checkpoint_seconds=CHECKPOINT_SECONDS,
            clock=self.file.clock,
        )
        trained = read_result(task, SpectrumSeed)
        if trained is None:
            train_seed(plan.training(), task, lambda row: _tell(run, row))
            trained = read_result(task, SpectrumSeed)
        if trained is None:
            raise RuntimeError(f"{run.name}: the training left no result in {task.work}")
        bundle = f"{self.file.out}/bundles/{run.name}"
        save_plan(bundle, plan, trained, n_seeds=1, metrics={"cosine_mean": trained.cosine})
        [model] = load_models([bundle])
        parts = self.parts(run.split, run.cell)
        scores = [
            score(parts, part, model.source(), seed=run.seed, with_ranking=self.file.ranking).scores
            for part in parts.held_out
        ]
        result = {
            "training": trained.to_dict() | {"molecules": plan.data.n_molecules, "spectra": len(plan.data.train)},
            "parameters": sum(each.numel() for each in model.predictor.model.parameters()),
            "scores": [each.to_dict() for each in scores],
            "seconds": round(time.monotonic() - started, 1),
        }
        self.ledger.write(f"runs/{run.name}", self.key(run), result)
        return result

    def _data(self, split: str, cell: str, fraction: float) -> TrainingSet:
        settings = Run("", split, cell, fraction, 0).settings(self.file)
        return training_set(self.file.library, settings, self.file.spectrum())

    def _parts(self, split: str, cell: str) -> EvaluationParts:
        settings = Run("", split, cell, 1.0, 0).settings(self.file)
        selection = select(self.library.molecules, self.library.spectra, settings)
        return evaluation_parts(self.library.molecules, selection, self.file.spectrum())


def forecast(grid: Grid, runs: Sequence[Run]) -> pd.DataFrame:
    """A row a run: whether it is done, and its seconds: its own, else the mean of its model's, else the budget's."""
    done = {run: result["seconds"] for run in runs_of(grid.file) if (result := grid.result(run)) is not None}
    rows = []
    for run in runs:
        like = [seconds for other, seconds in done.items() if other.model == run.model] or list(done.values())
        expected = statistics.fmean(like) if like else 60 * grid.file.minutes + ASSUMED_EXTRA
        source = "measured" if run in done else "of like runs" if like else "the budget's"
        rows.append({"run": run.name, "done": run in done, "seconds": done.get(run, expected), "from": source})
    return pd.DataFrame(rows)


def main() -> int:
    """Forecast, or run and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("file", help="YAML of the grid")
    parser.add_argument("--only", action="append", default=[], help="such as model=fp,split=scaffold,seed=0")
    parser.add_argument("--dry-run", action="store_true", help="say how long it would take")
    parser.add_argument("--tables", action="store_true", help="write the tables of what is done, run nothing")
    options = parser.parse_args()
    try:
        grid = Grid(GridFile.resolve({}, options.file))
        runs = chosen(runs_of(grid.file), options.only)
        expected = forecast(grid, runs)
        waiting = expected[~expected["done"]]
        if options.dry_run:
            print(expected.to_string(index=False, float_format="%.0f"))
        hours = waiting["seconds"].sum() / 3600
        print(f"{len(runs)} runs, {len(waiting)} to do: {hours:.1f} h of {grid.file.threads} threads")
        if options.dry_run:
            return 0
        for number, name in enumerate(waiting["run"] if not options.tables else [], 1):
            run = next(each for each in runs if each.name == name)
            print(f"{number}/{len(waiting)} {name}", flush=True)
            grid.perform(run)
            write_tables(grid)
        write_tables(grid)
    except Ms2imgError as error:
        print(f"massformer_grid: {error}", file=sys.stderr)
        return 2
    return 0


def _tell(run: Run, row: Mapping[str, float]) -> None:
    cosine = f", validation cosine {row['validation_cosine']:.3f}" if "validation_cosine" in row else ""
    print(f"  {run.name}: epoch {row['epoch']:.0f}, loss {row['train_loss']:.3f}{cosine}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
