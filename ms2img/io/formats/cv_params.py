"""Parameters of PSI's XML formats (mzML, imzML): terms of a controlled vocabulary, alone or in groups referred to."""

from __future__ import annotations

from ms2img.errors import Code
from ms2img.io.formats.xml_scans import Attributes, End, ScanReader, Start

MAX_GROUPS = 10_000  # ours: they are kept for the whole file; real files have a few

Params = dict[str, Attributes]  # accession -> the cvParam's attributes


class ParamReader(ScanReader):
    """Base of a format's reader that keeps the parameters it wants of the element that is open.

    A subclass sets `params` where an element begins whose parameters it reads, and to None where it ends. A parameter
    that an element states twice has its first value; its own and its groups' are in the order of the file.
    """

    wanted: frozenset[str] = frozenset()  # accessions

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.params: Params | None = None  # where a cvParam belongs now; None outside of all that is read
        self._groups: dict[str, Params] = {}

    def starts(self) -> dict[str, Start]:
        """See `ScanReader`; a subclass adds its elements."""
        return {
            "cvParam": self._cv_param,
            "referenceableParamGroup": self._group,
            "referenceableParamGroupRef": self._group_ref,
        }

    def ends(self) -> dict[str, End]:
        """See `ScanReader`; a subclass adds its elements."""
        return {"referenceableParamGroup": self.leave}

    def leave(self) -> None:
        """Outside of all that is read."""
        self.params = None

    def _cv_param(self, attributes: Attributes) -> None:
        accession = attributes.get("accession", "")
        if accession in self.wanted and self.params is not None:
            self.params.setdefault(accession, attributes)

    def _group(self, attributes: Attributes) -> None:
        if len(self._groups) >= MAX_GROUPS:
            raise self.refuse(Code.TOO_LARGE, f"more than {MAX_GROUPS} parameter groups")
        self.params = self._groups.setdefault(attributes.get("id", ""), {})

    def _group_ref(self, attributes: Attributes) -> None:
        if self.params is not None:
            for accession, given in self._groups.get(attributes.get("ref", ""), {}).items():
                self.params.setdefault(accession, given)
