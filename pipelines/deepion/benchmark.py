"""``ms2img deepion benchmark``: the paper's Table 1 on ion images whose classes are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from ms2img.errors import UsageError
from ms2img.places import Reads, Writes
from pipelines.command import Output, Result
from pipelines.lists import joined, listed
from pipelines.seeds.options import SeedOptions

if TYPE_CHECKING:
    from pipelines.deepion.benchmark_job import Benchmark

#: In the order of the table; `ms2img.deepion.benchmark.methods` has what they are, and loads what they need.
METHODS = (
    "euclidean", "cosine", "pearson", "r2", "ssim", "metaspace", "pca", "tsne", "umap", "resnet18", "simsiam",
    "deepion",
)  # fmt: skip


class BenchmarkConfig(SeedOptions):
    """Options of ``ms2img deepion benchmark``."""

    labelled: Annotated[tuple[str, ...], Reads()] = Field(
        description="folders of phantoms, or one of ion images with --labels (local or s3://)"
    )
    out: Annotated[str, Writes()] = Field(description="folder for tables, figures and finished cells (local or s3://)")
    labels: Annotated[str, Reads()] = Field(
        "", description="CSV with columns mz and label: the classes of ion images that are no phantom's"
    )
    methods: str = Field(",".join(METHODS), description="what is compared, with commas between")
    seeds: str = Field("0,1,2", description="seeds of all that is random in a method, such as 0,1,2")
    preset: Literal["small", "paper", "released"] = Field(
        "small", description="encoder, views and training of networks"
    )
    weights: Annotated[str, Reads()] = Field(
        "", description="safetensors file of ResNet18 weights with torchvision's names, from which networks start"
    )
    clock: Literal["wall", "cpu"] = Field(
        "wall", description="of --max-minutes; 'cpu' counts the processor's time, so that other work takes nothing away"
    )
    top: int = Field(5, ge=1, description="most similar ions that precision is counted among")
    ppm: float = Field(10.0, gt=0, description="between an ion image and the ion it is of, and of the isotope search")
    isotopes: bool = Field(True, description="search isotope pairs of phantoms too, with DeepION trained in ISO mode")
    dry_run: bool = Field(False, description="tell what is to be done and how long it takes, and do nothing")

    @field_validator("methods", mode="before")
    @classmethod
    def _methods_joined(cls, value: Any) -> Any:
        return joined(value)

    @field_validator("methods")
    @classmethod
    def _methods_are_known(cls, value: str) -> str:
        found = listed(value)
        if not found or len(set(found)) < len(found) or not set(found) <= set(METHODS):
            raise ValueError(f"expected different ones of {', '.join(METHODS)}")
        return value

    @field_validator("seeds")
    @classmethod
    def _umap_takes_the_seeds(cls, value: str) -> str:
        if any(int(each) >= 2**32 for each in listed(value)):
            raise ValueError("expected numbers below 4294967296, which UMAP takes")
        return value

    @field_validator("labelled")
    @classmethod
    def _something_is_labelled(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("expected one folder or more")
        return value

    def method_names(self) -> list[str]:
        """The methods in the order of the table."""
        asked = set(listed(self.methods))
        return [name for name in METHODS if name in asked]


def benchmark_command(config: BenchmarkConfig, output: Output) -> Result:
    """Score similarities and representations of ion images on known classes: Table 1, with intervals and figures."""
    from ms2img.io import storage
    from pipelines.deepion.benchmark_data import read_labelled
    from pipelines.deepion.benchmark_forecast import forecast, show_forecast
    from pipelines.deepion.benchmark_job import RECORD_NAME, benchmark, require_ours

    storage.require_access([*config.labelled, config.labels, config.weights, config.out])
    if config.labels and len(config.labelled) > 1:
        raise UsageError(f"--labels {config.labels}: is of one folder of ion images, not of {len(config.labelled)}")
    require_ours(storage.folder(config.out))
    data = read_labelled(config, quiet=output.quiet)
    if config.dry_run:
        expected = forecast(config, data)
        show_forecast(expected, config, output)
        return Result({"cells": expected.to_dict("records")})
    found = benchmark(config, data, quiet=output.quiet)
    _show(found, output)
    simulated = "; SIMULATED ion images: this says nothing of a real instrument"
    output.say(f"-> {config.out}/{RECORD_NAME}{simulated if any(each.ions.is_simulated for each in data) else ''}")
    return Result({"output": storage.folder(config.out).location, **found.to_dict()})


def _show(found: Benchmark, output: Output) -> None:
    """Table 1 of every data set, and the isotope pairs, on the terminal."""
    from rich.table import Table

    from pipelines.deepion.benchmark_pairs import printed_pairs
    from pipelines.deepion.benchmark_tables import printed_scores

    for heading, rows in (*printed_scores(found.summary).items(), *printed_pairs(found.pairs).items()):
        table = Table(box=None, header_style="bold", title=heading, title_justify="left")
        for name in rows[0]:
            table.add_column(name)
        for row in rows:
            table.add_row(*row.values())
        output.show(table)
    for cell, reason in found.failures.items():
        output.warn(f"{cell}: {reason}")
