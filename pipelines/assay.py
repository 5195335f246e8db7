"""``ms2img assay``: from the optical densities of plates to one assay value an accession."""

from __future__ import annotations

import io
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator

from ms2img.errors import UsageError
from ms2img.io import storage
from ms2img.io.location import absolute, file_name, join, parent, suffix
from ms2img.ms2toimg.assay.options import AssayOptions
from ms2img.places import Reads, Writes
from pipelines.command import Output, Result

if TYPE_CHECKING:
    import pandas as pd

    from ms2img.ms2toimg.assay.join import Joined
    from ms2img.ms2toimg.assay.values import Evaluation

SUFFIXES = (".csv", ".tsv", ".parquet")


class AssayConfig(AssayOptions):
    """Options of ``ms2img assay``."""

    plate: Annotated[str, Reads()] = Field(
        description="optical densities, CSV or TSV: one row a well (well, kind, accession, concentration, od, plate), "
        "or 8 x 12 grids with --layout; here or s3://"
    )
    out: Annotated[str, Writes()] = Field(
        description="table to write, .csv, .tsv or .parquet: one row an accession; beside it NAME.wells and NAME.plates"
    )
    layout: Annotated[str | None, Reads()] = Field(
        default=None, description="what is in the wells of a grid: a CSV or TSV of well, kind, accession, concentration"
    )
    join: Annotated[str | None, Reads("sheet")] = Field(
        default=None, description="sample sheet to join the values to, by accession"
    )
    joined: Annotated[str | None, Writes(unset="joined_location")] = Field(
        default=None, description="the sheet with the values, .csv; unset: SAMPLES-NAME.csv beside the sheet"
    )
    name: str = Field(
        default="scavenging", pattern=r"^\w[\w .%-]*$", description="name of the column in the joined sheet"
    )
    join_value: Literal["scavenging", "equivalents"] = Field(
        default="scavenging", description="what is joined: scavenging, %, or equivalents, in the standards' unit"
    )
    allow_outside: bool = Field(
        default=False, description="let paths in the sheet climb above the sheet's folder by '..'"
    )

    @field_validator("out")
    @classmethod
    def _out_has_a_known_suffix(cls, out: str) -> str:
        if suffix(out) not in SUFFIXES:
            raise ValueError(f"expected a name that ends in {', '.join(SUFFIXES)}")
        return out

    def options(self) -> AssayOptions:
        """The part that decides values."""
        return AssayOptions(**{name: getattr(self, name) for name in AssayOptions.model_fields})

    def joined_location(self) -> str:
        """Where the joined sheet is written."""
        if self.joined is not None or self.join is None:
            return self.joined or ""
        return join(parent(self.join), f"{PurePosixPath(file_name(self.join)).stem}-{self.name}.csv")


def assay(config: AssayConfig, output: Output) -> Result:
    """Compute assay values from plates: scavenging from blanks, a standard curve, replicates; join a sample sheet."""
    from ms2img.ms2toimg.assay.plate_file import read_plates
    from ms2img.ms2toimg.assay.values import evaluate
    from pipelines.assay_tables import facts, show

    _require_apart(config)
    wells, unused = read_plates(config.plate, config.layout)
    found = evaluate(wells, config.options(), path=config.plate)
    joined = _join(config, found)
    for note in unused:
        output.warn(note)
    _write(config.out, {"": found.values, ".wells": found.wells, ".plates": found.plates})
    show(found, output)
    output.say(f"{len(found.values)} accessions from {len(found.wells)} wells -> {config.out}")
    values = facts(found)
    if joined is not None:
        _write_text(config.joined_location(), joined.text)
        _tell_join(config, joined, output)
        values["joined"] = config.joined_location()
        values["without_value"], values["without_run"] = list(joined.without_value), list(joined.without_run)
    return Result({**values, "output": config.out})


def _require_apart(config: AssayConfig) -> None:
    """Refuse to overwrite an input or one output by another, and options of a join that is not asked for."""
    if config.join is None and config.joined is not None:
        raise UsageError("--joined names the joined sheet; give --join SAMPLES.csv as well")
    if config.joined is not None and suffix(config.joined) != ".csv":
        raise UsageError(f"{config.joined}: --joined is a .csv")
    inputs = {absolute(each) for each in (config.plate, config.layout, config.join) if each}
    tables = tuple(_names(config.out).values())
    joined = config.joined_location()
    if joined and absolute(joined) in {absolute(each) for each in tables}:
        raise UsageError(f"{joined}: would be both the joined sheet and a table of OUT; give another OUT, or --joined")
    for written in (*tables, joined):
        if written and absolute(written) in inputs:
            raise UsageError(f"{written}: is one of the inputs; the output must be another file")
        if written and storage.is_folder(written):
            raise UsageError(f"{written}: is a folder; the output must be a file")


def _join(config: AssayConfig, found: Evaluation) -> Joined | None:
    from ms2img.io.sheet import Sheet
    from ms2img.ms2toimg.assay.join import join_values

    if config.join is None:
        return None
    samples = found.values[found.values["kind"] == "sample"]
    column = samples["value" if config.join_value == "scavenging" else "equivalents"]
    values = {name: value for name, value in zip(samples["accession"], column, strict=True) if value == value}
    if not values:
        raise UsageError(f"{config.plate}: no {config.join_value} to join; equivalents need standards on the plate")
    sheet = Sheet.read(config.join, allow_outside=config.allow_outside)
    return join_values(sheet, values, config.name, out=config.joined_location())


def _names(out: str) -> dict[str, str]:
    """OUT and the tables beside it."""
    stem = PurePosixPath(file_name(out)).stem
    return {part: join(parent(out), f"{stem}{part}{suffix(out)}") for part in ("", ".wells", ".plates")}


def _write(out: str, tables: dict[str, pd.DataFrame]) -> None:
    """Write the tables, each at once, OUT last."""
    names = _names(out)
    for part, table in reversed(tables.items()):
        content = io.BytesIO()
        if suffix(out) == ".parquet":
            table.to_parquet(content, index=False)
        else:
            separator = "\t" if suffix(out) == ".tsv" else ","
            table.to_csv(content, index=False, lineterminator="\n", sep=separator, float_format="%.6g")
        storage.folder(parent(names[part])).write(file_name(names[part]), content.getvalue())


def _write_text(location: str, text: str) -> None:
    storage.folder(parent(location)).write(file_name(location), text.encode())


def _tell_join(config: AssayConfig, joined: Joined, output: Output) -> None:
    from ms2img.ms2toimg.assay.join import named

    output.say(f"{joined.n_runs} runs have a value of '{config.name}' -> {config.joined_location()}")
    if joined.without_value:
        output.warn(f"{len(joined.without_value)} accessions of the sheet have no value: {named(joined.without_value)}")
    if joined.without_run:
        output.warn(
            f"{len(joined.without_run)} accessions of the plates are not in the sheet: {named(joined.without_run)}"
        )
    output.say(f"Next: ms2img train IMAGES --samples {config.joined_location()} --assay {config.name}")
