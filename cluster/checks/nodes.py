"""The nodes of the connected Ray, and a question to each of them by a task that runs there and nowhere else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class Node:
    """A living node. `name`: its address with the start of its id, since one machine may hold several."""

    id: str
    name: str
    resources: Mapping[str, float]
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """What a node answered; `failed`: why there is no answer."""

    value: Any = None
    failed: str | None = None


def alive_nodes() -> list[Node]:
    """The nodes of the cluster that Ray believes to be alive, by name."""
    import ray

    nodes = [
        Node(each["NodeID"], f"{each['NodeManagerAddress']} ({each['NodeID'][:6]})", each["Resources"], each["Labels"])
        for each in ray.nodes()
        if each["Alive"]
    ]
    return sorted(nodes, key=lambda node: node.name)


def on_each(nodes: Sequence[Node], probe: Callable[..., Any], *arguments: Any, seconds: float) -> dict[Node, Answer]:
    """``probe(*arguments)`` on every node at once, by a task without CPUs that is pinned to it.

    What a node has not answered after `seconds` it does not answer at all; its task is given up.
    """
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(_told)
    asked = {
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)).remote(
            probe, *arguments
        ): node
        for node in nodes
    }
    done, late = ray.wait(list(asked), num_returns=len(asked), timeout=seconds) if asked else ([], [])
    answers = dict.fromkeys(nodes, Answer(failed=f"no answer in {seconds:g} s"))
    for reference in done:
        try:
            answers[asked[reference]] = ray.get(reference)
        except RayError as error:
            answers[asked[reference]] = Answer(failed=_last_line(error))
    for reference in late:
        ray.cancel(reference, force=True)
    return answers


def within(seconds: float, function: Callable[[], Value]) -> Value:
    """`function` in a thread that is waited for no longer than this. Raises `TimeoutError`, and what it raises."""
    outcome: list[Value] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            outcome.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="check", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not outcome:
        raise TimeoutError(f"no answer in {seconds:g} s")
    return outcome[0]


def _told(probe: Callable[..., Any], *arguments: Any) -> Answer:
    """On the node: an error as a value, which keeps its own words."""
    try:
        return Answer(probe(*arguments))
    except Exception as error:
        return Answer(failed=_last_line(error))


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
