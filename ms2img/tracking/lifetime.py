"""A parent run for the length of a block: how it starts, starts again, and how it says that it ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from ms2img import __version__
from ms2img.tracking.catalogue import TAG_PREFIX
from ms2img.tracking.entries import InputData, log_inputs, log_params, set_tags, tag_texts
from ms2img.tracking.store import Store, StoreError, first_line, impatient

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

CONFIG_NAME = "config.yaml"
FIGURES_PATH = "figures"  # artefact folder
_ERROR_TAG = f"{TAG_PREFIX}error"


@dataclass
class OpenRun:
    """A parent run that is under way; made by `open_run`. `lost`: why the latest call failed, if it did."""

    store: Store
    run_id: str
    experiment_id: str
    lost: StoreError | None = field(default=None, init=False)

    @property
    def client(self) -> MlflowClient:
        """A client of the run's store."""
        return self.store.client()

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """`Store.reporting` that remembers, so that a run which the caller goes on without is not called finished."""
        try:
            with self.store.reporting():
                yield
        except StoreError as error:
            self.lost = error
            raise
        self.lost = None

    def set_tags(self, values: Mapping[str, Any]) -> None:
        """Set ``ms2img.<key>`` tags of the run."""
        with self.reporting():
            set_tags(self.client, self.run_id, values)

    def log_figure(self, path: str | Path) -> None:
        """Keep a picture or page with the run, below ``figures``."""
        with self.reporting():
            self.client.log_artifact(self.run_id, str(path), FIGURES_PATH)


RunT = TypeVar("RunT", bound=OpenRun)


@contextmanager
def open_run(
    kind: type[RunT],
    store: Store,
    *,
    name: str,
    config: Mapping[str, Any],
    tags: Mapping[str, Any],
    inputs: Sequence[InputData],
    run_id: str | None = None,
) -> Iterator[RunT]:
    """A run that ends with the block: as FINISHED, KILLED when interrupted or terminated, else FAILED with its reason.

    Where the last call for the run was a `StoreError` that the caller went on after, it ends as FAILED too.

    Parameters
    ----------
    config: logged as parameters (nested keys joined by dots) and as ``config.yaml``.
    tags: logged as ``ms2img.<key>``; the version of ms2img is added.
    run_id: a run to go on with; where the store does not have it (any more), a new one is made.
    """
    with store.reporting():
        client = store.client()
        found = None if run_id is None else _find(client, run_id)
        if found is None:
            experiment_id = store.experiment_id()
            created = client.create_run(experiment_id, run_name=name, tags=tag_texts({"version": __version__, **tags}))
            run = kind(store, str(created.info.run_id), experiment_id)
        else:
            run = kind(store, str(found.info.run_id), str(found.info.experiment_id))
            _reopen(client, found)
    try:
        if found is None:
            with run.reporting():
                log_params(client, run.run_id, config)
                client.log_text(run.run_id, yaml.safe_dump(dict(config), sort_keys=False), CONFIG_NAME)
                log_inputs(client, run.run_id, inputs)
        yield run
    except BaseException as error:
        _end_badly(store, run.run_id, error)
        raise
    if run.lost is not None:
        _end_badly(store, run.run_id, run.lost)
        return
    with store.reporting():
        client.set_terminated(run.run_id, "FINISHED")


def _find(client: MlflowClient, run_id: str) -> Run | None:
    """The run, unless the store has none of this id or it is deleted there."""
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return found if found.info.lifecycle_stage == "active" else None


def _reopen(client: MlflowClient, found: Run) -> None:
    run_id = str(found.info.run_id)
    client.update_run(run_id, status="RUNNING")
    if _ERROR_TAG in found.data.tags:
        client.delete_tag(run_id, _ERROR_TAG)
    set_tags(client, run_id, {"version": __version__})


def _end_badly(store: Store, run_id: str, error: BaseException) -> None:
    """Say how the run ended, if the store answers at once: it may be what failed, and the user is waiting."""
    from mlflow.exceptions import MlflowException

    with suppress(MlflowException, OSError), impatient():
        client = store.client()
        if isinstance(error, Exception):
            client.set_tag(run_id, _ERROR_TAG, first_line(error))
            client.set_terminated(run_id, "FAILED")
        else:  # KeyboardInterrupt, SystemExit, a SIGTERM: no Exceptions
            client.set_terminated(run_id, "KILLED")
