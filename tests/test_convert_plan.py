"""Planning: tasks that keep all cores busy and stage few files, whatever mixture of files a sheet names."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from mgf_files import run

from ms2img.io.dataset.shards import shard_of
from ms2img.io.storage import FileStatus
from ms2img.ms2toimg.convert_group import RunGroup
from ms2img.ms2toimg.render_config import RenderConfig
from pipelines.conversion.plan import TASK_BYTES, TASK_RUNS, tasks
from pipelines.conversion.reader import Limits
from pipelines.conversion.task import Settings

SETTINGS = Settings("out", RenderConfig(), 4, Limits(1, 1))
KB, MB = 10**3, 10**6


def groups(sizes: list[int], runs_a_file: int = 1) -> list[RunGroup]:
    found = []
    for number, size in enumerate(sizes):
        path = Path(f"/runs/{number}.mgf")
        runs = tuple(run(path, f"{number}.{column}", column=str(column)) for column in range(runs_a_file))
        found.append(RunGroup(runs, {str(path): FileStatus(size, "1")}))
    return found


def weights(made) -> list[int]:
    return [sum(group.bytes for group in task) for task in made]


@settings(max_examples=80, deadline=None)
@given(
    sizes=st.lists(st.sampled_from([50 * KB, 900 * KB, 9 * MB, 2000 * MB]), min_size=1, max_size=300),
    runs_a_file=st.sampled_from([1, 2, 30, 200]),
    cores=st.integers(1, 64),
)
def test_every_run_is_in_one_task_and_no_task_of_small_files_is_large(sizes, runs_a_file, cores):
    planned = groups(sizes, runs_a_file)
    made = tasks(planned, SETTINGS, cores)
    assert sorted(run.sample_id for task in made for group in task for run in group.runs) == sorted(
        run.sample_id for group in planned for run in group.runs
    )
    for task in made:
        if len(task) > 1:
            assert sum(group.bytes for group in task) <= TASK_BYTES
            assert sum(len(group.runs) for group in task) <= TASK_RUNS
    assert weights(made) == sorted(weights(made), reverse=True)


def test_thousands_of_small_files_become_tasks_of_one_shard_the_last_of_them_small():
    made = tasks(groups([50 * KB] * 10_000), SETTINGS, cores=2)
    runs = [len(task) for task in made]
    assert runs[0] == TASK_RUNS
    assert min(runs[-4:]) <= 16
    assert len(made) < 100
    shards = [{shard_of(run.sample_id, 4) for group in task for run in group.runs} for task in made]
    # At most where one shard ends and the next begins.
    assert sum(len(of_task) > 1 for of_task in shards) <= SETTINGS.n_shards - 1


def test_a_few_large_files_come_first_and_alone():
    made = tasks(groups([50 * KB] * 2000 + [2000 * MB] * 3), SETTINGS, cores=8)
    assert [len(task) for task in made[:3]] == [1, 1, 1]
    assert weights(made)[:4] == [2000 * MB] * 3 + [weights(made)[3]]
    assert weights(made)[3] <= TASK_BYTES


def test_few_runs_are_spread_over_all_cores():
    made = tasks(groups([50 * KB] * 40), SETTINGS, cores=8)
    assert len(made) >= 32  # four a core, so that they end together
    assert len(tasks(groups([50 * KB] * 3), SETTINGS, cores=8)) == 3


def test_a_table_of_thousands_of_runs_is_parsed_once_a_part_and_every_core_has_one():
    made = tasks(groups([90 * MB], runs_a_file=8000), SETTINGS, cores=4)
    assert 4 <= len(made) <= 8
    few = tasks(groups([90 * MB], runs_a_file=100), SETTINGS, cores=4)
    assert len(few) == 2  # no part below 64 runs: each reads the whole table
