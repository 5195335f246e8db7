"""Conversion of many runs: Ray against a bare process pool, two workers against one, and how memory and time grow.

``python -m bench.convert pool|workers|scale`` prints one JSON line a row. The runs are hard links to the 98 real
qemistree files (see `bench.run_files`), each a file of its own; images are 150x140. Start of Ray is told apart where
it is told at all: a cluster has it running.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from bench.memory import PeakMemory
from bench.run_files import linked_sheet
from cluster.connect import connected
from ms2img.io.dataset.compaction import Held, make_shard, plan_shards
from ms2img.io.dataset.shards import shard_count
from ms2img.io.sheet import Sheet
from ms2img.io.storage import folder, statuses
from ms2img.ms2toimg.convert_group import RunGroup, convert_group
from ms2img.ms2toimg.render import STAGE_VERSION
from pipelines.conversion.plan import Planner, tasks
from pipelines.conversion.reader import Limits
from pipelines.conversion.task import Settings, TaskResult, stage_outcomes
from pipelines.convert import ConvertConfig, convert

MAIN = "import sys; from pipelines.cli import main; sys.exit(main(sys.argv[1:]))"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("part", choices=["pool", "workers", "scale"])
    parser.add_argument("--runs", type=int, nargs="+", help="runs of a job; scale takes several")
    parser.add_argument("--repeats", type=int, default=2, help="of pool and workers; the fastest counts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ms2img-bench-") as scratch:
        folder = Path(scratch)
        if options.part == "scale":
            for n_runs in options.runs or [1000, 3000, 10000]:
                _print({"part": "scale", **_whole_job(folder, n_runs)})
            return
        [n_runs] = options.runs or [2000]
        sheet = linked_sheet(folder / "runs", n_runs)
        ways = {"pool": ["pool-2", "ray-2"], "workers": ["ray-1", "ray-2"]}[options.part]
        best = {way: float("inf") for way in ways}
        for repeat in range(options.repeats):
            for way in ways:  # in turn, so that a slower minute of the machine meets both
                seconds = _seconds(way, sheet, folder / f"{way}-{repeat}")
                best[way] = min(best[way], seconds)
                _print({"part": options.part, "way": way, "runs": n_runs, "seconds": round(seconds, 2)})
        first, second = ways
        _print({"part": options.part, "ratio": round(best[first] / best[second], 3), "of": f"{first} / {second}, s"})


def _seconds(way: str, sheet: Path, out: Path) -> float:
    """Seconds of one way to convert the whole sheet, without the start of Ray."""
    kind, workers = way.split("-")
    config = ConvertConfig(samples=str(sheet), out=str(out))
    if kind == "pool":
        return _by_pool(config, int(workers))
    with connected(num_cpus=int(workers)):
        started = time.perf_counter()
        summary = convert(config, quiet=True)
        seconds = time.perf_counter() - started
    if summary.failed:
        raise SystemExit(f"{summary.failed} runs failed: {summary.errors[0]}")
    return seconds


def _by_pool(config: ConvertConfig, workers: int) -> float:
    """The same tasks and shards by the standard library's pool: no Ray, no limits, no lease, and no manifest."""
    started = time.perf_counter()
    runs = Sheet.read(config.samples).runs
    found = statuses(run.path for run in runs)
    groups = Planner(config, found, {}, Held(), {}).plan(runs).groups
    render = config.render_config()
    settings = Settings(config.out, render, shard_count(len(runs), render.height, render.width), Limits(600, 2**31))
    work = tasks(groups, settings, workers)
    height, width = render.height, render.width
    held = Held()
    rows: dict[str, str] = {}
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for result in pool.map(partial(_bare_task, settings=settings), work):
            for staged in result.staged:
                held.add_staged(staged)
                rows |= staged.rows
        _, make = plan_shards(rows, held, None, {}, n_shards=settings.n_shards, image_bytes=height * width)
        shard = partial(make_shard, folder(config.out), height=height, width=width, stage_version=STAGE_VERSION)
        done = sum(made.rows for made in pool.map(shard, make))
    if done != len(runs):
        raise SystemExit(f"the pool did {done} of {len(runs)} runs")
    return time.perf_counter() - started


def _bare_task(groups: Sequence[RunGroup], settings: Settings) -> TaskResult:
    return stage_outcomes((outcome for group in groups for outcome in convert_group(group, settings.render)), settings)


def _whole_job(folder: Path, n_runs: int) -> dict[str, object]:
    """The command as a user types it, in a process of its own: seconds, with Ray's start, and peak memory."""
    sheet = linked_sheet(folder / "runs", n_runs)
    command = [sys.executable, "-c", MAIN, "convert", str(sheet), str(folder / f"out-{n_runs}"), "--json", "--quiet"]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as job, PeakMemory(job.pid) as memory:
        answer, _ = job.communicate()
    seconds = time.perf_counter() - started
    counts = json.loads(answer.splitlines()[-1])
    return {
        "runs": n_runs,
        "converted": counts["converted"],
        "failed": counts["failed"],
        "seconds": round(seconds, 1),
        **{f"{kind}_peak_mb": round(peak) for kind, peak in memory.peaks.items()},
    }


def _print(row: dict[str, object]) -> None:
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
