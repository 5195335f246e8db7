"""Checks of the nodes themselves: that each answers, and what it is made of."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from cluster.checks import probes
from cluster.checks.finding import Finding, first_and_more, green, red, yellow
from cluster.checks.nodes import Node, alive_nodes, on_each
from cluster.placement import MARKET

CLOCK_TRIPS = 3  # the shortest tells most
SKEW_WARN, SKEW_LIMIT = 0.5, 2.0  # seconds
FULL = 0.95  # share of a disk at which Ray no longer spills to it (Ray's default)
GIB = 2**30


def nodes(*, seconds: float) -> tuple[Finding, list[Node]]:
    """Check "nodes": each runs a task; and those that do, of which the other checks ask."""
    alive = alive_nodes()
    answers = on_each(alive, probes.clock, seconds=seconds)
    dead = [f"{node.name}: {answer.failed}" for node, answer in answers.items() if answer.failed]
    living = [node for node, answer in answers.items() if not answer.failed]
    if dead:
        remedy = "look at that machine and at raylet.out in its session folder, or take it out of the cluster"
        return red("nodes", first_and_more(dead), remedy), living
    return green("nodes", f"{_count(len(alive), 'node')} run tasks"), living


def versions(living: Sequence[Node], *, seconds: float) -> Finding:
    """Check "versions": Python and what our jobs stand on are on every node what they are here."""
    here = probes.versions()
    faults = []
    for node, answer in on_each(living, probes.versions, seconds=seconds).items():
        faults += [
            f"{node.name}: {fault}" for fault in ([answer.failed] if answer.failed else different(answer.value, here))
        ]
    if faults:
        return red("versions", first_and_more(faults), "give all nodes one image, or one lock file (constraints.txt)")
    return green("versions", "the same on all nodes: " + ", ".join(f"{name} {found}" for name, found in here.items()))


def different(there: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """What is of another version there, in words."""
    return [f"{name} {there.get(name)}, here {own}" for name, own in here.items() if there.get(name) != own]


def gpus(living: Sequence[Node], *, seconds: float) -> Finding:
    """Check "gpus": Ray gives away as many as torch sees."""
    promised = {node: node.resources.get("GPU", 0.0) for node in living}
    faults, idle = [], []
    for node, answer in on_each(living, probes.devices, seconds=seconds).items():
        if answer.failed:
            faults.append(f"{node.name}: {answer.failed}")
        elif answer.value < promised[node]:
            faults.append(f"{node.name}: Ray promises {promised[node]:g} GPUs, torch sees {answer.value}")
        elif answer.value > promised[node]:
            idle.append(f"{node.name}: torch sees {answer.value} GPUs, Ray gives away {promised[node]:g}")
    if faults:
        return red("gpus", first_and_more(faults), "driver, container runtime or --num-gpus of that node are wrong")
    if idle:
        return yellow("gpus", first_and_more(idle), "start that node with --num-gpus")
    return green("gpus", f"{_count(int(sum(promised.values())), 'GPU')}, all seen by torch")


def clocks(living: Sequence[Node], *, seconds: float) -> Finding:
    """Check "clocks": how far each is from this machine's, as far as the time of a round trip lets one tell."""
    off: dict[Node, float] = {}
    for _ in range(CLOCK_TRIPS):
        for node in living:
            sent = time.time()
            answer = on_each([node], probes.clock, seconds=seconds)[node]
            if answer.failed:
                return red("clocks", f"{node.name}: {answer.failed}", "see the check of the nodes")
            off[node] = min(off.get(node, float("inf")), skew(sent, answer.value, time.time()))
    node, worst = max(off.items(), key=lambda item: item[1])
    if worst > SKEW_WARN:
        say = red if worst > SKEW_LIMIT else yellow
        return say("clocks", f"{node.name}: {worst:.1f} s off", "run chrony or another NTP client there: S3 refuses it")
    return green("clocks", f"less than {SKEW_WARN:g} s apart")


def skew(sent: float, there: float, back: float) -> float:
    """How far a clock is off for sure (seconds), that was read between two looks at ours."""
    return max(0.0, sent - there, there - back)


def memory(living: Sequence[Node], *, seconds: float) -> Finding:
    """Check "memory": the object store fits into shared memory, and what it spills onto a disk."""
    faults, tight = [], []
    for node, answer in on_each(living, probes.room, seconds=seconds).items():
        if answer.failed:
            faults.append(f"{node.name}: {answer.failed}")
            continue
        room, store = answer.value, node.resources.get("object_store_memory", 0.0)
        free, spill = room["free"], room["spill"]
        if room["shared"] < store:
            faults.append(f"{node.name}: an object store of {_size(store)} in a /dev/shm of {_size(room['shared'])}")
        if room["share"] > FULL:
            faults.append(f"{node.name}: {spill} is {room['share']:.0%} full, Ray no longer spills there")
        elif free < store:
            tight.append(f"{node.name}: {_size(free)} free at {spill} for a store of {_size(store)}")
        if room["memory"]:
            tight.append(f"{node.name}: {spill} is memory, not a disk")
    if faults:
        return red("memory", first_and_more(faults), "see 'Memory and spilling' in docs/scaling.md")
    if tight:
        return yellow("memory", first_and_more(tight), "give --temp-dir or --object-spilling-directory a larger disk")
    return green("memory", "object stores fit into /dev/shm, and spilled objects onto disk")


def driver(all_nodes: Sequence[Node], node_id: str) -> Finding:
    """Check "driver": the node that drives the job is not one that is taken away at short notice."""
    found = next((node for node in all_nodes if node.id == node_id), None)
    market = found.labels.get(MARKET) if found else None
    name = found.name if found else node_id[:6]
    if market == "spot":
        remedy = f"give an on-demand node the head, and label nodes by {MARKET}=on-demand or spot"
        return red("driver", f"{name}, which runs this driver, is a spot node", remedy)
    return green("driver", f"{name} drives; {market or 'no label says it is a spot node'}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _size(size: float) -> str:
    return f"{size / GIB:.1f} GiB"
