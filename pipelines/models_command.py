"""``ms2img models`` on the command line: list, compare, promote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from ms2img.errors import UsageError
from pipelines.command import Output, Result, mean_and_sd
from pipelines.models import COMPARE, PROMOTE, ModelsConfig, models

if TYPE_CHECKING:
    from pipelines.models_decision import Compared

USAGE = "see 'ms2img models --help'"
#: System -> heading of the figure that its models are judged by, the figure's key, further columns.
LISTED = {
    "ms2toimg": ("AUC per accession", "auc", ("assay", "preset")),
    "massformer": ("cosine", "cosine", ("library", "kind", "preset")),
    "deepion": ("retrieval", "retrieval", ("section", "mode", "preset")),
}


def models_command(config: ModelsConfig, output: Output) -> Result:
    """List the registered models with the figure that each system's are judged by; or decide between two.

    \b
    ms2img models [NAME]                        list all, or those of a name, assay, library or section
    ms2img models compare MODEL MODEL           on the same data, with a paired test
    ms2img models promote MODEL --reason TEXT   make it what '@champion' gives
    """
    if config.reason is not None and config.name != PROMOTE:
        raise UsageError(f"ms2img models: --reason belongs to promote; {USAGE}")
    if config.name == COMPARE:
        return _compare(config, output)
    if config.name == PROMOTE:
        return _promote(config, output)
    if config.models:
        expected = f"expected {COMPARE} or {PROMOTE} before it"
        raise UsageError(f"ms2img models {config.name} {config.models[0]}: one name is listed at a time; {expected}")
    return _list(config, output)


def _list(config: ModelsConfig, output: Output) -> Result:
    rows = models(config)
    for system, shown in LISTED.items():
        if own := [row for row in rows if row["system"] == system]:
            output.show(_table(own, *shown))
    if not rows:
        output.say("no model is registered yet; 'ms2img train' registers one")
    return Result({"models": rows})


def _table(rows: Sequence[Mapping[str, Any]], measure: str, key: str, shown: Sequence[str]) -> Table:
    """Rows of one system. `measure`: heading of the figure under `key`; `shown`: further columns."""
    table = Table(box=None, header_style="bold")
    for heading in ("model", "version", "alias", measure, *shown, "simulated", "data", "created"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(
            row["name"],
            row["version"],
            " ".join(row["aliases"]),
            mean_and_sd(row[f"{key}_mean"], row[f"{key}_sd"]),
            *(row[name] for name in shown),
            "yes" if row["simulated"] else "no",
            row["samples"],
            row["created"][:16].replace("T", " "),
        )
    return table


def _compare(config: ModelsConfig, output: Output) -> Result:
    from pipelines.models_decision import compare

    if len(config.models) != 2:
        raise UsageError(f"ms2img models {COMPARE}: expected two models, got {len(config.models)}; {USAGE}")
    compared = compare(*config.models)
    output.show(_measures(compared))
    output.say(f"{compared.sentence()} ({compared.test})")
    return Result(compared.to_dict())


def _promote(config: ModelsConfig, output: Output) -> Result:
    from pipelines.models_decision import promote

    if len(config.models) != 1:
        raise UsageError(f"ms2img models {PROMOTE}: expected one model, got {len(config.models)}; {USAGE}")
    if config.reason is None or not config.reason.strip():
        raise UsageError(f"ms2img models {PROMOTE}: --reason is missing; it is kept with the version")
    promotion = promote(config.models[0], config.reason.strip())
    if promotion is None:
        output.say(f"{config.models[0]} is champion already; nothing was changed")
        return Result({"promoted": False})
    before = f"version {promotion.previous}" if promotion.previous else "none"
    output.say(f"champion of {promotion.name} is version {promotion.version} now, before: {before}")
    output.say(_told(promotion.compared))
    facts = {name: getattr(promotion, name) for name in ("name", "version", "previous", "reason", "by", "time")}
    return Result({"promoted": True, **facts, "compared": dict(promotion.compared)})


def _measures(compared: Compared) -> Table:
    table = Table(box=None, header_style="bold")
    for heading in (compared.shown.partition(" ")[2], "A", "B", "A - B", "95 % interval", "p", compared.cases):
        table.add_column(heading)
    for name, found in compared.measures.items():
        has_p = found.p == found.p
        interval = f"{found.low:+.3f} to {found.high:+.3f}" if has_p else "-"
        p = f"{found.p:.3g}" if has_p else "-"
        means = (f"{found.mean_a:.3f}", f"{found.mean_b:.3f}", f"{found.difference:+.3f}")
        table.add_row(name.replace("_", " "), *means, interval, p, str(found.n))
    return table


def _told(compared: Any) -> str:
    """What was recorded beside the reason."""
    from ms2img.tracking.systems import SYSTEMS

    if not compared:
        return "the reason is kept with the version; there was no champion to compare with"
    if not compared["same_folds"]:
        figures = next(system.figures for system in SYSTEMS.values() if system.measure in compared)
        return f"the reason is kept with the version, and that the {figures} do not compare: {compared['why']}"
    return (
        f"the reason is kept with the version, and the comparison: {compared['verdict']}, {compared['shown']} "
        f"{compared['mean_a']:.3f} against {compared['mean_b']:.3f} on the same {compared['n']} {compared['cases']}"
    )
