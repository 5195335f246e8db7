"""``ms2img models compare`` and ``promote``: two models on the same data, and a person's decision."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ms2img.errors import UsageError
from pipelines.models import load_record

if TYPE_CHECKING:
    from ms2img.learn.compare import Comparison
    from ms2img.tracking.promotion import Promotion
    from ms2img.tracking.store import Store

SIGNIFICANT = 0.05  # of p, two-sided
AHEAD, BEHIND, NOISE, UNDEFINED = "ahead", "behind", "noise", "undefined"


@dataclass(frozen=True)
class Compared:
    """Two models on the same data. `measures`: each metric, the one that decides first.

    `shown`: that one in words. `cases`: what the models are paired over; `test`: by which test.
    """

    a: str
    b: str
    measures: dict[str, Comparison]
    shown: str = "AUC per accession"
    cases: str = "folds"
    test: str = "corrected resampled t-test"

    @property
    def deciding(self) -> Comparison:
        """The comparison that decides."""
        return next(iter(self.measures.values()))

    @property
    def verdict(self) -> str:
        """Of `a` against `b`: "ahead", "behind", "noise", or "undefined" where the test has no p."""
        found = self.deciding
        if not math.isfinite(found.p):
            return UNDEFINED
        if found.p >= SIGNIFICANT:
            return NOISE
        return AHEAD if found.difference > 0 else BEHIND

    def sentence(self) -> str:
        """What the comparison says, in one sentence."""
        found = self.deciding
        figures = (
            f"{self.shown} {found.mean_a:.3f} against {found.mean_b:.3f} on the same {found.n} {self.cases}, "
            f"difference {found.difference:+.3f}"
        )
        if self.verdict == UNDEFINED:
            why = f"fewer than two {self.cases} have one" if found.n < 2 else f"it is the same in all {self.cases}"
            return f"nothing can be said of {self.a} and {self.b}: {figures}, and {why}"
        figures += f" [{found.low:+.3f}, {found.high:+.3f}], p = {found.p:.3g}"
        if self.verdict == NOISE:
            return f"{self.a} and {self.b} differ by no more than noise: {figures}"
        return f"{self.a} is {self.verdict}{' of' if self.verdict == AHEAD else ''} {self.b}: {figures}"

    def to_dict(self) -> dict[str, Any]:
        """The comparison as plain JSON types; what the test cannot say is null."""
        measures = {name: _finite(asdict(found)) for name, found in self.measures.items()}
        return {"a": self.a, "b": self.b, "verdict": self.verdict, "measures": measures, "sentence": self.sentence()}


def compare(a: str, b: str) -> Compared:
    """Compare two trainings by their run ids or models: cross-validations per accession, fold by fold, spectrum models
    molecule by molecule, encoders of ion images ion by ion.

    Raises `UsageError` where a reference leads to none, or where they are not of the same data, saying what differs.
    """
    from ms2img.ms2toimg.compare_records import compare_records, differences
    from ms2img.tracking.pull import find
    from pipelines.seeds.compare import compare_seeds, is_of_seeds

    sources = [find(reference) for reference in (a, b)]
    if any(is_of_seeds(source) for source in sources):
        uris = (sources[0].uri, sources[1].uri)
        if sources[0].run_id == sources[1].run_id:
            raise UsageError(f"{a} and {b} are of one training; name two")
        measures, shown, cases = compare_seeds(sources[0], sources[1], uris)
        return Compared(*uris, measures, shown, cases, "paired t-test")
    found = [load_record(reference) for reference in (a, b)]
    names = [_name(each.model, each.run_id) for each in found]
    if found[0].run_id == found[1].run_id:
        raise UsageError(f"{a} and {b} are of one training; name two")
    differing = differences(found[0].record, found[1].record)
    if differing:
        raise UsageError(f"A = {names[0]} and B = {names[1]} cannot be compared: {'; '.join(differing)}")
    return Compared(names[0], names[1], compare_records(found[0].record, found[1].record))


def promote(model: str, reason: str) -> Promotion | None:
    """Make a registered version the champion of its name, and record why; None where it is champion already.

    What is recorded with the reason: who and when, the champion before, and how the two compare on the same folds, or
    why they do not. Raises `UsageError` where `model` leads to no registered version.
    """
    from ms2img.tracking.promotion import champion_of
    from ms2img.tracking.promotion import promote as move
    from ms2img.tracking.pull import find
    from ms2img.tracking.store import open_store

    source = find(model)
    if source.name is None or source.version is None:
        raise UsageError(f"{model}: not a registered version; expected models:/NAME/VERSION or models:/NAME@ALIAS")
    store = open_store(create=False)
    previous = champion_of(store, source.name)
    if previous == source.version:
        return None
    compared = _numbers(store, source.name, source.version, previous) if previous else {}
    return move(store, source.name, source.version, previous=previous, reason=reason, compared=compared)


def _numbers(store: Store, name: str, version: str, previous: str) -> dict[str, Any]:
    """What a promotion is judged by: means, interval and p on the same data; else both means, and why no more."""
    from ms2img.tracking.catalogue import list_models
    from ms2img.tracking.systems import SYSTEMS

    rows = {row.version: row for row in list_models(store, name)}
    measure = SYSTEMS[rows[version].system].measure
    numbers: dict[str, Any] = {
        measure: getattr(rows[version], measure),
        f"{measure}_before": getattr(rows[previous], measure) if previous in rows else None,
    }
    try:
        compared = compare(f"models:/{name}/{version}", f"models:/{name}/{previous}")
    except UsageError as error:
        return {**numbers, "same_folds": False, "why": str(error)}
    said = {"verdict": compared.verdict, "shown": compared.shown, "cases": compared.cases}
    return {**numbers, "same_folds": True, **said, **_finite(asdict(compared.deciding))}


def _name(model: dict[str, Any] | None, run_id: str) -> str:
    return f"models:/{model['name']}/{model['version']}" if model else f"run {run_id}"


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(each, float) and not math.isfinite(each) else each for key, each in values.items()}
