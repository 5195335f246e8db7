"""Options of ``ms2img massformer prepare``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ms2img.massformer.library.filters import LibraryRules
from ms2img.places import Reads, Writes


class PrepareConfig(LibraryRules):
    """Options of ``ms2img massformer prepare``."""

    library: Annotated[list[str], Reads()] = Field(
        min_length=1,
        description="spectral libraries, here or s3://: folders, .tar.xz, .tar.gz or .zip archives of MassBank records "
        "(.txt), MSP or MGF files, or single files of these",
    )
    out: Annotated[str, Writes()] = Field(
        description="output folder, here or s3://: molecules.parquet, spectra.parquet, features.parquet, "
        "refused.parquet, library.json"
    )
    max_unpacked_gb: float = Field(default=64.0, gt=0, description="most that may come out of one archive, GB")

    def rules(self) -> LibraryRules:
        """The part of the options that decides which records are kept and what becomes of them."""
        return LibraryRules(**self.model_dump(include=set(LibraryRules.model_fields)))

    def max_unpacked(self) -> int:
        """The most that may come out of one archive, bytes."""
        return int(self.max_unpacked_gb * 1e9)
