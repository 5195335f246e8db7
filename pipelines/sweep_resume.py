"""Whether a sweep may be begun, or gone on with, in a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ms2img.errors import UsageError

if TYPE_CHECKING:
    from pipelines.sweep_asked import Plan, SweepOptions
    from tune.ledger import Ledger


def go_on(config: SweepOptions) -> str:
    """How a person goes on with an interrupted sweep."""
    return f"add --resume to the same command to go on with what is kept in {config.ledger_location()}"


def checked(plan: Plan, ledger: Ledger) -> dict[str, Any] | None:
    """What the ledger says of the sweep it holds, None for an empty one; refuses one that is not to be gone on with."""
    about, place = ledger.about(), ledger.out.location
    if about is None:
        if plan.config.resume:
            ledger.notice(f"{place}: holds no sweep to go on with; one is begun")
        return None
    if not plan.config.resume:
        done = sum(entry.has_ended for entry in ledger.entries(plan.trainings).values())
        asked = about["identity"].get("trials", plan.config.trials)  # of a sweep that may be given more: today's
        raise UsageError(
            f"{place}: holds a sweep of {_of(about['identity'])} with {done} of {asked} trials done; "
            "--resume goes on with it, or give --out another folder"
        )
    was, now = about["identity"], plan.identity()
    for name in now:
        if name in was and was[name] != now[name]:  # an older version may not have written all of them
            raise UsageError(f"{place}: {_difference(name, was[name], now[name])}; give --out another folder")
    return about


def _of(identity: dict[str, Any]) -> str:
    """What a sweep is of, by its own identity."""
    return f"assay '{identity['assay']}'" if "assay" in identity else f"model {identity['model']}"


def _difference(name: str, was: Any, now: Any) -> str:
    """What another start of a sweep would change."""
    if name == "fingerprints":
        changed = [part for part in now if was.get(part) != now[part]]
        what = "the library has" if "library" in changed else "the sheet or the images have"
        return f"{what} changed since the sweep there was started (other {', '.join(changed)})"
    if name == "space":
        return f"the sweep there was started with another search space than '{now['name']}' is now"
    if name == "base":
        changed = [field for part in now for field, value in now[part].items() if was[part].get(field) != value]
        return f"this version of ms2img has another preset than the sweep there was started with ({', '.join(changed)})"
    option = f"--{name.replace('_', '-')}"
    first, then = (f"no {option}" if value is None else f"{option} {value}" for value in (was, now))
    return f"the sweep there was started with {first}, now asked for {then}"
