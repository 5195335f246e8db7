"""``ms2img massformer evaluate``: the paper's experiments on a model and the library it was split from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ms2img.config import Config
from ms2img.errors import UsageError
from ms2img.places import MODEL_NAMES, Reads, Writes
from pipelines.command import Output, Result

if TYPE_CHECKING:
    from ms2img.massformer.library.folder import Library
    from pipelines.massformer.evaluate_models import LoadedModel


class EvaluateConfig(Config):
    """Options of ``ms2img massformer evaluate``."""

    model: Annotated[str, Reads(names=MODEL_NAMES)] = Field(
        description="models:/NAME@ALIAS, models:/NAME/VERSION, a run id or the folder of a bundle"
    )
    library: Annotated[str, Reads()] = Field(
        description="the library it was trained on: the OUT folder of ms2img massformer prepare (local or s3://)"
    )
    out: Annotated[str, Writes()] = Field(description="folder for tables, figures and evaluation.html (local or s3://)")
    compare: Annotated[tuple[str, ...], Reads(names=MODEL_NAMES)] = Field(
        (), description="another model, or another seed, trained on the same split; may be given again"
    )
    second: Annotated[str, Reads()] = Field(
        "",
        description="the library that was held out, where it is not a laboratory of LIBRARY, or any other one: what "
        "the model has learnt from is left out of it (local or s3://)",
    )
    ranking: bool = Field(True, description="rank candidates too (section 4.5 of the paper)")


def evaluate_command(config: EvaluateConfig, output: Output) -> Result:
    """Compare a model's predictions with the held-out real spectra, beside two floors: tables, figures and a page."""
    from ms2img.io import storage
    from ms2img.massformer.library.folder import read_library
    from pipelines.massformer.evaluate_models import load_models, selections
    from pipelines.massformer.evaluate_second import second_part
    from pipelines.massformer.evaluate_work import PAGE_NAME, evaluate_models, finished, write_evaluation

    storage.require_access([config.library, config.second, config.out])
    require_folder(config.out)
    library = read_library(config.library)
    second = read_library(config.second) if config.second else None
    models = load_models([config.model, *config.compare])
    selection = selections(models, library, config.library, second)
    settings = models[0].settings
    part = second_part(config.second, second, library, selection, settings) if second is not None else None
    out = storage.folder(config.out)
    made_of = _made_of(config, models, library, second)
    record = finished(out, made_of)
    if record is None:
        found = evaluate_models(
            models,
            library,
            selection,
            part,
            _context(models[0], library, config.second),
            with_ranking=config.ranking,
            quiet=output.quiet,
        )
        write_evaluation(out, found, made_of)
        record = finished(out, made_of) or {}
    else:
        output.say(f"{out.location}: this evaluation is there already")
    _show(record["summary"], output)
    if left_out := record.get("left_out", 0):
        like = ", or from others of their scaffold" if settings.split == "scaffold" else ""
        output.warn(f"{config.second}: {left_out} molecules left out: the model has learnt from them{like}")
    for model, reasons in record["unanswered"].items():
        output.warn(f"{model}: could not be asked of {sum(reasons.values())} spectra ({', '.join(sorted(reasons))})")
    simulated = "; SIMULATED spectra: this says nothing of a real instrument" if library.is_simulated else ""
    output.say(f"-> {config.out}/{PAGE_NAME}{simulated}")
    return Result(
        {
            "output": out.location,
            "simulated": library.is_simulated,
            "seconds": record["seconds"],
            "summary": record["summary"],
            "unanswered": record["unanswered"],
            "left_out": left_out,
        }
    )


def _made_of(
    config: EvaluateConfig, models: list[LoadedModel], library: Library, second: Library | None
) -> dict[str, Any]:
    """What an evaluation follows from: equal values, equal evaluation."""
    return {
        "models": [f"{each.name}, seed {each.seed}, version {each.predictor.model_version}" for each in models],
        "library": library.fingerprint,
        "second": second.fingerprint if second is not None else "",
        "ranking": config.ranking,
        "simulated": library.is_simulated,
    }


def _context(model: LoadedModel, library: Library, second: str) -> dict[str, Any]:
    """What is said beside every number. `second`: the place of a second library, or ""."""
    from ms2img.io.location import file_name
    from pipelines.massformer.evaluate_second import was_held_out

    settings, spectrum = model.settings, model.predictor.spectrum
    another = second and not was_held_out(settings, library)
    # A library on disk has no name of its own: the model's card keeps the one it was trained under.
    return {
        "library": model.description.card.library,
        "split": settings.split,
        "split_seed": settings.split_seed,
        "cell": settings.cell or "all",
        "adducts": " ".join(settings.adducts) or "all",
        "held_out": file_name(second.rstrip("/")) if another else settings.held_out,
        "bin_width": spectrum.bin_width,
        "transform": spectrum.transform,
    }


def _show(summary: list[dict[str, Any]], output: Output) -> None:
    """Table 2 and Table 3 on the terminal."""
    from rich.table import Table

    from pipelines.massformer.evaluate_tables import TITLES

    cells = {(row["part"], row["source"], row["measure"]): row for row in summary}
    measures = [name for name in TITLES if any(key[2] == name for key in cells)]
    table = Table(box=None, header_style="bold")
    for heading in ("part", "source", *(TITLES[name] for name in measures)):
        table.add_column(heading)
    for part, source in dict.fromkeys(key[:2] for key in cells):
        shown = [cells[part, source, name] for name in measures]
        table.add_row(part, source, *(f"{row['mean']:.3f} ({row['low']:.3f}–{row['high']:.3f})" for row in shown))
    output.show(table)


def require_folder(place: str) -> None:
    """Raises `UsageError` for a place to write to that is a file."""
    from pathlib import Path

    from ms2img.io.location import is_remote

    if not is_remote(place) and Path(place).exists() and not Path(place).is_dir():
        raise UsageError(f"{place}: a file; expected a folder to write to")
