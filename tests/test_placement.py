"""Work lands on the nodes that are meant for it, on a real cluster whose nodes have labels and logical GPUs."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from ray_nodes import RayNodes, ray_nodes

from cluster.placement import HEAD_RESOURCE, driver_placement, for_tasks
from cluster.spilling import file_system

#: Where four kinds of work ran: Ray Data as convert uses it, a study's cells, folds, and a board.
PROGRAM = """
import json, os, ray, sys
import ray.tune
sys.path.insert(0, "tests")
from cluster.connect import connected
from cluster.placement import beside_driver, for_groups
from pipelines.conversion.cluster_work import on_workers
from pipelines.study.work import on_ray
from tune.trainable import SweepTrainable

def where(_=None):
    import ray
    here = ray.get_runtime_context().get_node_id()
    [labels] = [node["Labels"] for node in ray.nodes() if node["NodeID"] == here]
    return labels["ms2img.io/role"]

class Board:
    def where(self): return where()

with connected():
    pages = lambda gpus: SweepTrainable.default_resource_request({"trial": {"cpus": 1, "gpus": gpus, "memory": 0}})
    def group(gpus):
        placed = pages(gpus).to_placement_group()
        ray.get(placed.ready(), timeout=60)
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy as Within
        return ray.get(ray.remote(where).options(num_cpus=1, scheduling_strategy=Within(placed)).remote())
    print(json.dumps({
        "convert": sorted(set(on_workers(range(8), where))),
        "cells": sorted(set(on_ray(where, range(6), cpus=1))),
        "gpu cells": sorted(set(on_ray(where, range(2), cpus=1, gpus=lambda _: 1.0))),
        "trial": group(0), "gpu trial": group(1),
        "board": ray.get(ray.remote(num_cpus=0, **beside_driver())(Board).remote().where.remote()),
        "too large": for_groups(cpus=64),
    }))
"""
SUBMIT = """
import os, sys, time, json
from ray.job_submission import JobSubmissionClient
from cluster.placement import driver_placement
client = JobSubmissionClient(sys.argv[1] if len(sys.argv) > 1 else os.environ["JOBS"])
def ran(placement):
    job = client.submit_job(entrypoint="true", **placement)
    while not client.get_job_status(job).is_terminal(): time.sleep(0.5)
    return client.get_job_info(job).driver_node_id
import ray
ray.init(address=os.environ["RAY_ADDRESS"], logging_level=40, log_to_driver=False)
labels = {node["NodeID"]: node["Labels"] for node in ray.nodes()}
print(json.dumps([labels[ran(driver_placement(cpus))] for cpus in (None, 1, 1)]))
"""


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    with ray_nodes() as running:
        running.add("cpu", "spot", cpus=2)
        running.add("gpu", "on-demand", cpus=2, gpus=1)
        yield running


@pytest.mark.slow  # a minute: three nodes start
def test_each_kind_of_work_runs_on_the_nodes_meant_for_it(nodes: RayNodes) -> None:
    ran = nodes.python(PROGRAM, seconds=400)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1]) == {
        "convert": ["cpu"],
        "cells": ["cpu"],
        "gpu cells": ["gpu"],
        "trial": "cpu",
        "gpu trial": "gpu",
        "board": "head",
        "too large": {},
    }


@pytest.mark.slow
def test_the_driver_of_a_submitted_job_is_never_on_a_spot_node(nodes: RayNodes) -> None:
    ran = nodes.python(SUBMIT, seconds=400, JOBS=f"http://127.0.0.1:{nodes.dashboard}")
    assert ran.returncode == 0, ran.stderr
    head, *others = json.loads(ran.stdout.splitlines()[-1])
    assert head["ms2img.io/role"] == "head"
    assert {labels["ray.io/market-type"] for labels in others} == {"on-demand"}


def test_a_driver_that_asks_for_nothing_is_placed_on_the_head() -> None:
    assert driver_placement()["entrypoint_resources"] == {HEAD_RESOURCE: 0.001}
    assert "entrypoint_resources" not in driver_placement(2)
    for placement in (driver_placement(), driver_placement(memory=2**30)):
        assert placement["entrypoint_label_selector"] == {"ray.io/market-type": "!spot"}


def test_work_without_labelled_nodes_runs_anywhere(ray_session: None) -> None:
    import ray

    from cluster.placement import beside_driver, for_groups

    assert for_groups(cpus=1) == for_tasks() == {}
    assert ray.get(ray.remote(lambda: 1).options(**for_tasks()).remote(), timeout=120) == 1
    assert ray.get(ray.remote(lambda: 1).options(**beside_driver()).remote(), timeout=120) == 1


@pytest.mark.parametrize(("path", "kind"), [("/fast/ray", "tmpfs"), ("/var", "ext4"), ("/fastfoo", "ext4")])
def test_a_path_is_on_the_file_system_mounted_nearest_above_it(path: str, kind: str) -> None:
    mounts = "/dev/sda / ext4 rw 0 0\nnone /fast tmpfs rw 0 0\nproc /proc proc rw 0 0\n"
    assert file_system(path, mounts) == kind
