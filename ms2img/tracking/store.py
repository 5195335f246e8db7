"""Where runs and models are kept: ``./.ms2img/mlflow.db`` unless ``MLFLOW_TRACKING_URI`` names a store.

MLflow is imported inside the functions, since that takes seconds and the science works without it.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from ms2img.errors import Ms2imgError, UsageError

if TYPE_CHECKING:
    from mlflow import MlflowClient

STORE_FOLDER = ".ms2img"
DATABASE_NAME = "mlflow.db"
ARTIFACTS_NAME = "artifacts"
EXPERIMENT = "ms2img"

#: Set before MLflow is imported, where the user has not: it calls home, copies a lock file of the working folder into
#: every model, and talks. None of that is wanted of a command-line tool.
_MLFLOW_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5",  # a server that restarts is waited for: a minute, MLflow's 7 take four
}
#: The first and the last question to a server fail fast (ours).
_IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
_CONNECT_SECONDS = 5
_ASIDE = "(raised as a result of "  # SQLAlchemy's first line, the reason is in the second
_LINE_LENGTH = 200  # characters of a foreign error's text


class NoStoreError(UsageError):
    """There is no store yet where one was to be read."""


class StoreError(Ms2imgError):
    """The store stopped answering, or refused, in the middle of the work."""


@dataclass(frozen=True)
class Store:
    """An opened store; make one with `open_store`. ``artifact_root`` is None where the server decides."""

    tracking_uri: str
    registry_uri: str
    artifact_root: str | None

    def client(self) -> MlflowClient:
        """A client bound to this store, whatever MLflow's global settings are."""
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.registry_uri)

    def experiment_id(self) -> str:
        """The id of the experiment that our runs go to (``MLFLOW_EXPERIMENT_NAME``, else "ms2img"), made if absent."""
        from mlflow.exceptions import MlflowException

        client, name = self.client(), os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return str(client.create_experiment(name, artifact_location=self.artifact_root))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                experiment = client.get_experiment_by_name(name)  # another job was faster
        if experiment is None or experiment.lifecycle_stage != "active":
            raise UsageError(
                f"{self.shown()}: the experiment '{name}' is deleted there; restore it, or name another one in "
                f"MLFLOW_EXPERIMENT_NAME"
            )
        return str(experiment.experiment_id)

    def shown(self) -> str:
        """The store for a message: its database file or address, without a password."""
        return without_password(self.tracking_uri.removeprefix("sqlite:///"))

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Turn what MLflow raises inside the block into a one-line `StoreError`."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, OSError) as error:  # files of a local store, and requests' own errors, are OSErrors
            raise StoreError(f"{self.shown()}: {first_line(error)}") from error


def open_store(folder: str | Path = ".", *, create: bool = True) -> Store:
    """Open the store that ``MLFLOW_TRACKING_URI`` names, else the one below `folder`, made on first use.

    A server or database is asked one question first, so that a dead one is known within seconds.

    Raises `UsageError` when MLflow is missing or the store cannot be opened; `NoStoreError`, which is one too, when
    the database file is not there and `create` is False.
    """
    prepare_mlflow()
    named = os.environ.get("MLFLOW_TRACKING_URI")
    uri = named or f"sqlite:///{Path(folder).absolute() / STORE_FOLDER / DATABASE_NAME}"
    place = f"MLFLOW_TRACKING_URI={uri}" if named else uri.removeprefix("sqlite:///")
    registry_uri = os.environ.get("MLFLOW_REGISTRY_URI") or uri
    artifact_root = None
    if uri.startswith("sqlite:///"):
        database = Path(uri.removeprefix("sqlite:///")).absolute()
        artifact_root = (database.parent / ARTIFACTS_NAME).as_uri()
        if not create and not database.exists():
            remedy = "run this in the folder where 'ms2img train' ran, or set MLFLOW_TRACKING_URI"
            raise NoStoreError(f"{place}: no store there yet; {remedy}")
        _create_database(database, artifact_root, place=place)
    store = Store(tracking_uri=uri, registry_uri=registry_uri, artifact_root=artifact_root)
    _probe(store, place)
    return store


def prepare_mlflow() -> None:
    """Import MLflow, quiet. Raises `UsageError` that names the extra where it is not installed."""
    for key, value in _MLFLOW_DEFAULTS.items():
        os.environ.setdefault(key, value)
    try:
        import mlflow  # noqa: F401
    except ImportError:
        raise UsageError("this command needs MLflow: pip install 'ms2img[tracking]'") from None
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _create_database(database: Path, artifact_root: str, *, place: str) -> None:
    """Make an empty store at `database` unless there is one.

    It is built beside its place under a lock and then renamed, since MLflow runs some eighty migrations: jobs that
    start together, or one that is killed, never leave or see a half-made store.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        if not database.exists():
            with FileLock(database.with_name(f"{database.name}.lock")):
                if not database.exists():
                    draft = database.with_name(f".{database.name}.{uuid.uuid4().hex[:8]}.tmp")
                    try:
                        SqlAlchemyStore(f"sqlite:///{draft}", artifact_root).engine.dispose()
                        draft.replace(database)
                    finally:
                        draft.unlink(missing_ok=True)
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True)) as connection:
            connection.execute("PRAGMA schema_version")
    except (OSError, sqlite3.Error) as error:
        raise UsageError(_refusal(place, error)) from None


def _probe(store: Store, place: str) -> None:
    """Ask the store one question without patience. Raises `UsageError` with the reason in one line."""
    from mlflow.exceptions import MlflowException

    try:
        if re.match(r"(postgresql|mysql|mssql)\b", store.tracking_uri):
            _probe_database(store.tracking_uri)
        with impatient():
            store.client().search_experiments(max_results=1)
    except (MlflowException, OSError, ImportError) as error:
        raise UsageError(_refusal(place, error)) from None


@contextmanager
def impatient() -> Iterator[None]:
    """Within the block a server that does not answer is not asked again, unless the user has set how often."""
    before = {key: os.environ.get(key) for key in _IMPATIENT}
    ours = [key for key, value in before.items() if value in (None, _MLFLOW_DEFAULTS.get(key))]
    os.environ.update({key: _IMPATIENT[key] for key in ours})
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def _probe_database(uri: str) -> None:
    """Connect once to a database server; MLflow itself would try ten times over two minutes."""
    import sqlalchemy

    options: dict[str, Any] = {"connect_timeout": _CONNECT_SECONDS} if not uri.startswith("mssql") else {}
    try:
        engine = sqlalchemy.create_engine(uri, connect_args=options)
        with engine.connect():
            pass
        engine.dispose()
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise ConnectionError(first_line(error)) from None


def _refusal(place: str, error: BaseException) -> str:
    """Why the store cannot be opened, told by the system error at the bottom of it where there is one."""
    cause: BaseException | None = error
    reason = error
    while cause is not None:
        reason = cause if isinstance(cause, OSError | sqlite3.Error) else reason
        cause = cause.__cause__ or cause.__context__
    remedy = f"; correct it, or unset it to use ./{STORE_FOLDER}" if place.startswith("MLFLOW_") else ""
    return f"{without_password(place)}: cannot open this MLflow store: {first_line(reason)}{remedy}"


def without_password(text: str) -> str:
    """`text` with the password of every address in it replaced by three dots."""
    return re.sub(r"(://[^/@:\s]*):[^/@\s]*@", r"\1:...@", text)


def first_line(error: BaseException) -> str:
    """The first line of an error's text that gives a reason, shortened and without passwords."""
    lines = [line for line in str(error).strip().splitlines() if not line.startswith(_ASIDE)]
    line = without_password(lines[0] if lines else type(error).__name__)
    return line if len(line) <= _LINE_LENGTH else f"{line[:_LINE_LENGTH]}..."
