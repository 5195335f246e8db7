"""All checks of a connected Ray, in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from cluster.checks import machines, places
from cluster.checks.finding import Finding, grey, red
from cluster.checks.nodes import alive_nodes, within

#: Of the checks that ask each node in turn, how many times the limit of one question they may take in all (ours).
PATIENCE = 20


@dataclass(frozen=True)
class Asked:
    """What is to be checked. `seconds`: for one node to answer one question."""

    out: str | None
    tracking_uri: str | None
    seconds: float


def checks_inside(asked: Asked) -> Iterator[Finding]:
    """A finding a check, as they come. Needs a Ray connection; a check that fails by itself is red."""
    import ray

    limit = asked.seconds
    finding, living = machines.nodes(seconds=limit)
    yield finding
    node_id = ray.get_runtime_context().get_node_id()
    checks: dict[str, Callable[[], Finding]] = {
        "driver": lambda: machines.driver(alive_nodes(), node_id),
        "versions": partial(machines.versions, living, seconds=limit),
        "clocks": partial(machines.clocks, living, seconds=limit),
        "memory": partial(machines.memory, living, seconds=limit),
        "gpus": partial(machines.gpus, living, seconds=limit),
        "storage": partial(places.storage, living, asked.out, seconds=limit),
        "tracking": partial(places.tracking, living, asked.tracking_uri, seconds=limit),
    }
    for name, check in checks.items():
        if not living:
            yield grey(name, "not asked: no node answers")
            continue
        try:
            yield within(PATIENCE * limit, check)
        except Exception as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            yield red(name, f"the check itself failed: {reason}", "look whether the cluster still runs")
