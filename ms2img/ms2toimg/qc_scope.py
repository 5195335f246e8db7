"""What a quality control could not judge, and what is missing for it: silence must not read as health."""

from __future__ import annotations

from collections.abc import Iterator

from ms2img.ms2toimg.qc import Assessment
from ms2img.ms2toimg.qc_blanks import LEAST_PIXELS, LEAST_REFERENCES
from ms2img.ms2toimg.qc_counts import LEAST_RUNS
from ms2img.ms2toimg.qc_drift import LEAST_RUNS_OF_TREND
from ms2img.ms2toimg.qc_pca import LEAST_SAMPLES

ORDER = "injection_order"


def not_judged(found: Assessment, *, has_order: bool) -> Iterator[str]:
    """One sentence a gap; nothing where all checks could be made. `has_order`: the sheet has `ORDER`."""
    runs = found.table[found.table["status"] == "image"]
    kinds = runs["kind"].value_counts()
    if not has_order:
        yield (
            f"The sheet has no column {ORDER}: its rows were taken for the order of injection. Where they are not, "
            "drift and carry-over mean nothing."
        )
    elif runs[ORDER].isna().any():
        yield f"{int(runs[ORDER].isna().sum())} runs have no {ORDER}: left out of drift and carry-over."
    yield from _about_qc(found, int(kinds.get("qc", 0)))
    blanks = int(kinds.get("blank", 0))
    if not blanks:
        yield "No run of kind blank: background and carry-over cannot be seen."
    else:
        open_ended = runs[(runs["kind"] == "blank") & runs["carry_over_background"].isna()]
        if len(open_ended):
            yield (
                f"Carry-over was not judged for {len(open_ended)} of {blanks} blanks: nothing was injected before, or "
                f"what was has fewer than {LEAST_PIXELS} pixels that most samples lack, or there are fewer than "
                f"{LEAST_REFERENCES} samples."
            )
    if runs["replicate_similarity"].isna().all():
        yield "No accession has two sample runs: replicates cannot be compared. Give replicates one accession each."
    elif runs["stranger_similarity"].isna().all():
        yield "All samples are of one accession: there are no strangers to compare its replicates with."
    if found.pca is None:
        samples = int(kinds.get("sample", 0))
        yield f"No outlier model: it needs {LEAST_SAMPLES} samples that differ, there are {samples}."
    few = [f"{count} {kind}" for kind, count in kinds.items() if 0 < count < LEAST_RUNS]
    if few:
        yield f"Counts were not judged within kinds of fewer than {LEAST_RUNS} runs: {', '.join(few)}."


def _about_qc(found: Assessment, n_qc: int) -> Iterator[str]:
    if n_qc == 0:
        yield (
            "No run of kind qc: drift cannot be told from differences between samples. The trends of the samples are "
            "shown, not judged. Inject one pooled sample every ten runs or so."
        )
    elif not any(trend.judged for trend in found.trends):
        yield (
            f"{n_qc} QC runs, at least {LEAST_RUNS_OF_TREND} a batch are needed to judge drift: of so few, no order "
            "is improbable enough. The trend is shown, not judged."
        )
