"""The baselines in the tracking store: a parent run, a child run a model and representation, and the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ms2img.io.location import absolute
from ms2img.tracking.entries import InputData, log_folder, log_params, log_points, single_points
from ms2img.tracking.lifetime import OpenRun, open_run
from ms2img.tracking.store import Store
from pipelines.baselines import BaselineResults
from pipelines.baselines_config import BaselinesConfig
from pipelines.baselines_inputs import BaselineCohort

TABLES_PATH = "baselines"  # artefact folder
OF_A_RUN = ("representation", "method")


@dataclass
class BaselinesRun(OpenRun):
    """The parent run of a comparison."""

    def log_results(self, results: BaselineResults, save: Callable[[Path], Any]) -> None:
        """Log a child run a model and representation, R2X, R2Y and Q2Y in the parent, and what `save` writes."""
        for row in results.summary.to_dict("records"):
            self._log_model({str(name): value for name, value in row.items()})
        with self.reporting():
            for row in results.multivariate.to_dict("records"):
                prefix = " ".join(str(row[name]) for name in OF_A_RUN)
                points = single_points({str(name): value for name, value in row.items()})
                log_points(
                    self.client, self.run_id, [(f"{prefix} {name}", value, epoch) for name, value, epoch in points]
                )
            log_folder(self.store, self.run_id, TABLES_PATH, save)

    def _log_model(self, row: dict[str, Any]) -> None:
        with self.reporting():
            child = self.client.create_run(
                self.experiment_id,
                run_name=f"{row['representation']} {row['model']}",
                tags={"mlflow.parentRunId": self.run_id},
            ).info.run_id
            log_params(self.client, child, {name: row[name] for name in ("representation", "model")})
            log_points(self.client, child, single_points(row))
            self.client.set_terminated(child, "FINISHED")


@contextmanager
def track_baselines(store: Store, config: BaselinesConfig, cohort: BaselineCohort) -> Iterator[BaselinesRun]:
    """Open the parent run for the length of the block; how it ends is `open_run`'s."""
    inputs = [
        InputData("samples", absolute(config.samples), cohort.sheet.digest),
        *(InputData(each.name, absolute(each.source), each.fingerprint) for each in cohort.representations),
    ]
    with open_run(
        BaselinesRun,
        store,
        name=f"{config.assay} baselines",
        config=config.model_dump(mode="json"),
        tags={"assay": config.assay, "simulated": cohort.sheet.is_simulated(), "kind": "baselines"},
        inputs=inputs,
    ) as run:
        yield run
