"""``ms2img models``: what is registered; and the record of a cross-validation, found by its run or its model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ms2img.config import Config
from ms2img.errors import UsageError

if TYPE_CHECKING:
    from ms2img.ms2toimg.record import CvRecord
    from tune.record import SweepRecord

COMPARE, PROMOTE = "compare", "promote"  # the words that are no names of models


class ModelsConfig(Config):
    """Options of ``ms2img models``."""

    name: str | None = Field(
        None,
        description="a registered model (ms2img-dpph), its assay (dpph), library (massformer-massbank) or section "
        "(deepion-kidney-col), default all; or compare, or promote",
    )
    models: tuple[str, ...] = Field(
        (), description="of compare and promote: models:/NAME/VERSION, models:/NAME@ALIAS or run ids"
    )
    reason: str | None = Field(None, max_length=1000, description="with promote: why, kept with the version")


@dataclass(frozen=True)
class FoundRecord:
    """A cross-validation from the store: its record, its run, and the registered version made of it, if any.

    `search`: the search that it is the nested cross-validation of, where it came of a sweep.
    """

    record: CvRecord
    run_id: str
    model: dict[str, Any] | None
    search: SweepRecord | None


def models(config: ModelsConfig) -> list[dict[str, Any]]:
    """Registered versions as JSON-ready rows (see `ms2img.tracking.catalogue.ModelRow`), the newest of a name first.

    Where there is no store yet there are none. Raises `UsageError` for an unknown name.
    """
    from ms2img.tracking.catalogue import list_models
    from ms2img.tracking.store import NoStoreError, open_store

    try:
        store = open_store(create=False)
    except NoStoreError:
        if config.name is None:
            return []
        raise
    return [row.to_dict() for row in list_models(store, config.name)]


def load_record(reference: str) -> FoundRecord:
    """The record of a cross-validation, by run id or by the registered model that came of it.

    Raises `UsageError` when there is none.
    """
    from ms2img.ms2toimg.record import CvRecord
    from ms2img.tracking.catalogue import list_models
    from ms2img.tracking.pull import find
    from ms2img.tracking.runs import artefacts, record_folder
    from ms2img.tracking.store import open_store
    from ms2img.tracking.sweeps import SWEEP_PATH
    from tune.record import SweepRecord

    source = find(reference)
    if source.run_id is None:
        raise UsageError(f"{reference}: has no record of a cross-validation; give the run id or models:/NAME@ALIAS")
    store = open_store()
    with record_folder(store, source.run_id) as folder:
        record = CvRecord.load(folder)
    search = None
    if SWEEP_PATH in artefacts(store, source.run_id):
        with record_folder(store, source.run_id, SWEEP_PATH) as folder:
            search = SweepRecord.load(folder)
    rows = list_models(store, source.name) if source.name is not None else []
    model = next((row.to_dict() for row in rows if row.version == source.version), None)
    return FoundRecord(record=record, run_id=source.run_id, model=model, search=search)
