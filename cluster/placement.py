"""Where work goes on a cluster whose nodes say what they are for; without labels, anywhere.

A node's label `ROLE` is ``head``, ``cpu`` or ``gpu``; `MARKET` is ``spot`` or ``on-demand``. Work without GPUs
belongs on CPU nodes, work with GPUs on GPU nodes, and what a job cannot lose (its driver, and the actors it talks to)
on a node that nobody takes away at short notice.
"""

from __future__ import annotations

from typing import Any

ROLE = "ms2img.io/role"
MARKET = "ray.io/market-type"
NODE = "ray.io/node-id"
HEAD_RESOURCE = "node:__internal_head__"  # Ray's own: the head has 1 of it


def for_tasks(cpus: float = 1.0, gpus: float = 0.0) -> dict[str, Any]:
    """Options of Ray tasks of this size: on nodes of their role, anywhere where none of them has the room.

    Decided once, for Ray's own second choice (``fallback_strategy``) is taken as soon as the first is busy, and CPU
    work would fill the GPU nodes. Needs a Ray connection.
    """
    labels = for_groups(cpus=cpus, gpus=gpus)
    return {"label_selector": labels} if labels else {}


def for_groups(*, cpus: float, gpus: float = 0.0) -> dict[str, str]:
    """The labels to ask of each node of a placement group, which has no second choice: those of the role, or none.

    None where no living node of the role has `cpus` CPUs and `gpus` GPUs. Needs a Ray connection.
    """
    import ray

    selector = {ROLE: role_for(gpus)}
    nodes = [node for node in ray.nodes() if node["Alive"] and has_labels(node, selector)]
    fitting = (node["Resources"] for node in nodes)
    return selector if any(each.get("CPU", 0) >= cpus and each.get("GPU", 0) >= gpus for each in fitting) else {}


def has_labels(node: dict[str, Any], selector: dict[str, str]) -> bool:
    """Whether a node of ``ray.nodes()`` has all these labels."""
    labels = node.get("Labels") or {}
    return all(labels.get(key) == value for key, value in selector.items())


def beside_driver() -> dict[str, Any]:
    """Options of an actor that lives and dies with this driver: on the driver's node, whatever else goes away."""
    import ray

    return {"label_selector": {NODE: ray.get_runtime_context().get_node_id()}}


def driver_placement(
    num_cpus: float | None = None, num_gpus: float | None = None, memory: int | None = None
) -> dict[str, Any]:
    """Arguments for ``JobSubmissionClient.submit_job``: where the driver of a submitted job runs, never on a spot node.

    Where it sets nothing aside on the head, as Ray does by itself, but not on a head that is a spot node (the job
    waits, and fails when Ray's time to start has passed); else on any other node with that much room.
    `memory` in bytes.
    """
    placement: dict[str, Any] = {"entrypoint_label_selector": {MARKET: "!spot"}}
    asked = {"entrypoint_num_cpus": num_cpus, "entrypoint_num_gpus": num_gpus, "entrypoint_memory": memory}
    if any(asked.values()):
        return {**placement, **asked}
    return {**placement, "entrypoint_resources": {HEAD_RESOURCE: 0.001}}


def role_for(gpus: float) -> str:
    """The role of the nodes on which work with so many GPUs belongs."""
    return "gpu" if gpus else "cpu"


def role_of(node: dict[str, Any]) -> str | None:
    """The role of a node of ``ray.nodes()``; None where it says none."""
    role: str | None = (node.get("Labels") or {}).get(ROLE)
    return role
