"""Conversions as processes of their own, with what runs below them, for tests that kill them or cut off their store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from mgf_files import good, slow, spectrum

COMMAND = [sys.executable, "-c", "from pipelines.cli import run; run()"]
FAILURES = 3  # exit status: some runs failed
VICTIMS = ("driver", "worker", "reader", "raylet", "gcs_server", "ray::DashboardAgent")


def study(folder: Path, runs: int, peaks: int = 60) -> Path:
    """A sheet of runs that take some tenths of a second each, every eighth of them bad."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["sample_id,path"]
    for number in range(runs):
        path = folder / f"run{number:03}.mgf"
        if number % 8 == 7:
            path.write_text(spectrum(300, [(120, 3)]).replace("END IONS\n", ""))
        else:
            slow(path, spectra=400 + number, peaks=peaks)
        rows.append(f"run{number:03},{path.name}")
    good(folder / "small.mgf")
    sheet = folder / "samples.csv"
    sheet.write_text("\n".join([*rows, "small,small.mgf", "gone,gone.mgf"]) + "\n")
    return sheet


def conversion(
    sheet: object, out: object, *options: str, **variables: str
) -> AbstractContextManager[subprocess.Popen[str]]:
    """``ms2img convert`` with a Ray of its own; whatever is left of it at the end is killed."""
    return running(["convert", str(sheet), str(out), "--size", "75x70", "--quiet", *options], variables)


@contextmanager
def running(arguments: Sequence[str], variables: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """``ms2img`` with these arguments; whatever is left of it at the end is killed."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        env={**outside_ray(), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_interrupts,
    )
    try:
        yield process
    finally:
        left = below(process.pid)
        if process.poll() is None:
            process.kill()
        process.communicate()
        for pid in left:
            _kill(pid, signal.SIGKILL)


def hear_interrupts() -> None:
    """A child of a background job ignores Ctrl-C from birth."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def outside_ray() -> dict[str, str]:
    """This process's environment, without what would tie a job to this process's Ray."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    return {**kept, "OMP_NUM_THREADS": "1"}


def finish(process: subprocess.Popen[str], seconds: float = 120) -> tuple[int, list[str]]:
    """Exit status and lines of standard error."""
    _, err = process.communicate(timeout=seconds)
    return process.returncode, err.splitlines()


def below(pid: int) -> dict[int, str]:
    """Every process below this one, with what it is."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        parents.setdefault(parent, []).append(int(entry.name))
    found: dict[int, str] = {}
    wanted = [pid]
    while wanted:
        children = parents.get(wanted.pop(), [])
        found |= {child: _kind(child) for child in children}
        wanted += children
    return found


def _kind(pid: int) -> str:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
    if "pipelines.conversion.child" in command:
        return "reader"
    if command.startswith("ray::Map"):
        return "worker"
    return Path(command.split(" ")[0]).name


def strike(process: subprocess.Popen[str], victim: str) -> bool:
    """``kill -9`` of one process of that kind; False where there is none."""
    if victim == "driver":
        process.kill()
        return True
    for pid, kind in below(process.pid).items():
        if kind == victim:
            return _kill(pid, signal.SIGKILL)
    return False


def _kill(pid: int, blow: signal.Signals) -> bool:
    try:
        os.kill(pid, blow)
    except ProcessLookupError:
        return False
    return True


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str], seconds: float = 60) -> None:
    """Wait until something is so; fail when the process ends first."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def staged(out: Path) -> list[Path]:
    return list(out.glob(".staging/[!.]*.parquet"))


def data_set(out: Path) -> Mapping[str, object]:
    """What must not depend on what happened: every file's bytes, and the errors but for their attempts and times."""
    files: dict[str, object] = {
        str(path.relative_to(out)): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.name not in ("errors.parquet", "config.yaml")
    }
    config = (out / "config.yaml").read_text().splitlines()
    files["config.yaml"] = [line for line in config if not line.startswith("out:")]
    errors: pa.Table = pq.read_table(out / "errors.parquet").drop_columns(["attempts", "time"])
    return {**files, "errors.parquet": errors.to_pylist()}
