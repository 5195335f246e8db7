"""One polarity a run: an image that mixed both would show two chemistries in one plane."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from ms2img.errors import Code, RunError
from ms2img.io.read_config import ReadOptions


def one_polarity(spectra: pa.Table, options: ReadOptions, *, path: str) -> pa.Table:
    """The rows of the wanted polarity; a row that states none is kept.

    Raises `RunError` MIXED_POLARITY if there are both and none is chosen, NO_MSMS if the chosen one has no row.
    """
    polarity = spectra["polarity"]
    count = {sign: pc.sum(pc.equal(polarity, sign)).as_py() or 0 for sign in ("positive", "negative")}
    if options.polarity == "single":
        if all(count.values()):
            message = (
                f"{count['positive']} positive and {count['negative']} negative MS/MS spectra in one run; choose one "
                "with the option polarity"
            )
            raise RunError(Code.MIXED_POLARITY, message, path=path)
        return spectra
    other = "negative" if options.polarity == "positive" else "positive"
    if not count[other]:
        return spectra
    kept = spectra.filter(pc.fill_null(pc.not_equal(polarity, other), True))
    if not len(kept):
        message = f"no {options.polarity} MS/MS: all {len(spectra)} spectra are {other}"
        raise RunError(Code.NO_MSMS, message, path=path)
    return kept
