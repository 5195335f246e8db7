"""Records and files that the tests of libraries share."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from massformer_data import records

from ms2img.massformer.library.reading import read_piece
from ms2img.massformer.library.reasons import Rejected
from ms2img.massformer.library.record import LibraryRecord
from ms2img.massformer.library.sources import Piece, find_inputs

GB = 1 << 30


GOOD = LibraryRecord(
    "MSBNK-Lab-X1", "lib", "Lab", "CC0", "CN1C=NC2=C1C(=O)N(C)C(=O)N2C", "Q Exactive", "LC-ESI-QFT",
    "MS2", "POSITIVE", "HCD", "[M+H]+", "30 NCE", "", 195.0877, (138.066, 195.0877), (50.0, 100.0),
)  # fmt: skip


GNPS = """BEGIN IONS
PEPMASS=195.0877 1200
CHARGE=1+
MSLEVEL=2
SOURCE_INSTRUMENT=LC-ESI-Orbitrap
IONMODE=Positive
NAME=Caffeine M+H
ADDUCT=M+H
SMILES=CN1C=NC2=C1C(=O)N(C)C(=O)N2C
FRAGMENTATION_METHOD=HCD
COLLISION_ENERGY=30 NCE
SPECTRUMID=CCMSLIB1
138.066 50
195.0877 100
END IONS
"""


def texts(n: int = 5) -> list[str]:
    return records(laboratories=("Alpha", "Beta"), energies=(15, 60), compounds=n)


def read_all(place: Path, parts: int = 1) -> list[LibraryRecord | Rejected]:
    source = find_inputs([str(place)]).sources
    return [found for index in range(parts) for found in read_piece(Piece(source, index, parts), GB)]


def write_tar(path: Path, members: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w:" + path.suffix.removeprefix(".").replace("tar", "")) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return path
