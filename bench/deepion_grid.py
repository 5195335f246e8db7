"""DeepION's benchmark over the difficulty of SIMULATED sections, resumable.

``python -m bench.deepion_grid bench/deepion_grid.yaml --dry-run``     cells x measured seconds = hours
``python -m bench.deepion_grid bench/deepion_grid.yaml``               what is not done yet, then tables and figures
``... --only difficulty=0,difficulty=0.5``                             some of it

The sections are written to ``OUT/sections``; ``OUT/benchmark`` is that of ``ms2img deepion benchmark`` on all of them,
so that cells that either has done count for both.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from ms2img.config import Config
from ms2img.deepion.phantom.config import PhantomConfig
from ms2img.deepion.phantom.write import write_phantom
from ms2img.errors import Ms2imgError, UsageError
from ms2img.io.location import join
from pipelines.command import Output
from pipelines.deepion.benchmark import METHODS, BenchmarkConfig, benchmark_command
from pipelines.deepion.options import height_and_width

#: Options of the command that a grid's file may set under their own names.
SHARED = (
    "methods", "seeds", "preset", "weights", "epochs", "clock", "isotopes", "cpus_per_worker", "gpus_per_worker",
)  # fmt: skip


class GridFile(Config):
    """The file of a grid; what it shares with ``ms2img deepion benchmark`` is explained there."""

    out: str = Field(description="folder of sections, cells, tables and figures")
    difficulties: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    ions: int = Field(600, description="of a section, isotopes and decoys too")
    size: str = Field("64x64", description="HEIGHTxWIDTH in pixels")
    polarity: Literal["positive", "negative"] = "positive"
    phantom_seed: int = Field(0, description="of the atlas and the ions, which are the same at every difficulty")
    methods: tuple[str, ...] = METHODS
    seeds: tuple[int, ...] = (0, 1, 2)
    preset: Literal["small", "paper", "released"] = "small"
    weights: str = ""
    epochs: int | None = Field(None, ge=1, description="a cap, where 'minutes' are given [default: the preset's]")
    minutes: float | None = Field(None, gt=0, description="of each training, the same for every network")
    clock: Literal["wall", "cpu"] = "cpu"
    isotopes: bool = True
    cpus_per_worker: int = Field(1, ge=1)
    gpus_per_worker: float = Field(0.0, ge=0)

    def section(self, difficulty: float) -> PhantomConfig:
        """The settings of a section."""
        height, width = height_and_width(self.size)
        return PhantomConfig(
            height=height,
            width=width,
            ions=self.ions,
            polarity=self.polarity,
            difficulty=difficulty,
            seed=self.phantom_seed,
        )

    def benchmark(self, sections: Sequence[str], *, dry_run: bool) -> BenchmarkConfig:
        """The benchmark of some sections."""
        values: dict[str, Any] = {name: getattr(self, name) for name in SHARED}
        values |= {"labelled": tuple(sections), "out": join(self.out, "benchmark"), "max_minutes": self.minutes}
        return BenchmarkConfig.checked({**values, "dry_run": dry_run}, source="grid")


def main() -> int:
    """Write the sections that are missing, then forecast or run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("file", help="YAML of the grid")
    parser.add_argument("--only", default="", help="some difficulties, such as difficulty=0,difficulty=0.5")
    parser.add_argument("--dry-run", action="store_true", help="say how long it would take")
    options = parser.parse_args()
    try:
        grid = GridFile.resolve({}, options.file)
        sections = []
        for difficulty in chosen(grid.difficulties, options.only):
            place = join(grid.out, "sections", f"d{difficulty:g}")
            write_phantom(place, grid.section(difficulty))
            sections.append(place)
        benchmark_command(grid.benchmark(sections, dry_run=options.dry_run), Output(quiet=False, json=False))
    except Ms2imgError as error:
        print(f"deepion_grid: {error}", file=sys.stderr)
        return 2
    return 0


def chosen(difficulties: Sequence[float], only: str) -> list[float]:
    """The difficulties that ``difficulty=X,difficulty=Y`` asks for, all for an empty text; `UsageError` for others."""
    wanted = [part.strip() for part in only.split(",") if part.strip()]
    known = {f"difficulty={each:g}": each for each in difficulties}
    if unknown := next((part for part in wanted if part not in known), None):
        raise UsageError(f"--only {unknown}: there is no such section; expected one of {', '.join(known)}")
    return [known[part] for part in wanted] if wanted else list(difficulties)


if __name__ == "__main__":
    sys.exit(main())
