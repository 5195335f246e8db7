"""Coverage-guided fuzzing of every reader: ``python -m fuzz.readers --runs 100000 [--reader mzml ...] [--seed 1]``.

Each reader runs in a process of its own under libFuzzer (atheris), which keeps inputs that reach new code and damages
them further, half the time by `fuzz.mutate`. It ends as failed at the first input that breaks `fuzz.contract`, takes
over `TIME_LIMIT` seconds or over `MEMORY_LIMIT` MB, and keeps that input: put it into ``tests/hostile`` as
``<reader>--<what>``, where `make test` replays it.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fuzz.seeds import SEEDS

TIME_LIMIT = 5  # seconds an input
MEMORY_LIMIT = 1024  # MB, of the whole process with its libraries
MAX_BYTES = 1 << 16  # of an input; what is larger is a case of tests/test_hostile_size.py
REPORT = "report.json"
REGRESSIONS = Path(__file__).resolve().parent.parent / "tests" / "hostile"


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz the readers named, one after the other; a JSON line each. The exit status is 1 if any failed."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.readers", description="Fuzz the readers of ms2img.")
    parser.add_argument("--runs", type=int, default=100_000, help="inputs in all, shared out among the readers")
    parser.add_argument("--reader", action="append", choices=sorted(SEEDS), help="only this one (may be repeated)")
    parser.add_argument("--seed", type=int, default=1, help="of the random damage (default: 1)")
    parser.add_argument("--out", default="fuzz-failures", help="folder for inputs that failed (default: fuzz-failures)")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        _fuzz(options.child, Path(options.out), runs=options.runs, seed=options.seed)
        return 0
    readers = options.reader or sorted(SEEDS)
    reports = [
        _supervise(reader, Path(options.out), runs=-(-options.runs // len(readers)), seed=options.seed)
        for reader in readers
    ]
    total = sum(report["inputs"] for report in reports)
    failed = [report["reader"] for report in reports if report["failure"]]
    print(f"{total} inputs, {len(failed)} readers failed{': ' if failed else ''}{', '.join(failed)}")
    return 1 if failed else 0


def _supervise(reader: str, out: Path, *, runs: int, seed: int) -> dict[str, Any]:
    """Run one reader's process; its report, printed as well."""
    with tempfile.TemporaryDirectory(prefix="ms2img-fuzz-") as name:
        folder = Path(name)
        child = [sys.executable, "-m", "fuzz.readers", "--child", reader]
        child += ["--out", str(folder), "--runs", str(runs), "--seed", str(seed)]
        ended = subprocess.run(  # noqa: S603 (ourselves)
            child, capture_output=True, text=True, errors="replace", check=False, env={**os.environ, "TMPDIR": name}
        )
        written = folder / REPORT
        report = json.loads(written.read_text()) if written.exists() else {"reader": reader, "inputs": 0}
        edges = re.findall(r"cov: (\d+)", ended.stderr)
        report["edges"] = int(edges[-1]) if edges else 0
        report["failure"] = "" if ended.returncode == 0 else f"exit status {ended.returncode}"
        if not report["edges"]:  # ms2img was imported before it could be instrumented
            report["failure"] = report["failure"] or "no coverage"
        for kept in folder.glob("*-*"):
            if kept.is_file() and kept.name.startswith(("crash-", "timeout-", "oom-", "slow-")):
                out.mkdir(parents=True, exist_ok=True)
                target = out / f"{reader}--{kept.name}"
                target.write_bytes(kept.read_bytes())
                report["failure"] = str(target)
        print(json.dumps(report), flush=True)
        if ended.returncode:
            print(ended.stderr[-3000:], file=sys.stderr)
        return report


def _fuzz(reader: str, folder: Path, *, runs: int, seed: int) -> None:
    """The fuzzing process itself: never returns before `runs` inputs or the first failure."""
    import atheris  # type: ignore[import-untyped]

    with atheris.instrument_imports(include=["ms2img.io", "pyteomics"]):
        from fuzz.contract import outcomes
    from fuzz.mutate import mutate

    counts: Counter[str] = Counter()
    slowest = (0.0, 0)
    others = [piece for seeds in SEEDS.values() for piece in seeds]

    def one(content: bytes) -> None:
        nonlocal slowest
        start = time.perf_counter()
        found = outcomes(reader, content, folder)
        slowest = max(slowest, (time.perf_counter() - start, len(content)))
        counts.update(found)
        counts["inputs"] += 1
        if counts["inputs"] % 500 == 0 or counts["inputs"] >= runs:
            report()

    def report() -> None:
        found = {name: count for name, count in sorted(counts.items()) if name != "inputs"}
        slow = {"slowest_s": round(slowest[0], 3), "slowest_bytes": slowest[1]}
        text = json.dumps({"reader": reader, "inputs": counts["inputs"], "outcomes": found, **slow})
        (folder / REPORT).write_text(text)

    def damaged(content: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)  # noqa: S311 (not for secrets)
        if rng.random() < 0.5:
            return bytes(atheris.Mutate(content, max_size))
        # Now and then from a sound file: what the corpus gathers is mostly refused early.
        base = rng.choice(SEEDS[reader]) if rng.random() < 0.5 else content
        return mutate(base, rng, others)[:max_size]

    corpus = folder / "corpus"
    corpus.mkdir()
    known = [path.read_bytes() for path in REGRESSIONS.glob(f"{reader}--*")]
    for number, content in enumerate([*SEEDS[reader], *known]):
        (corpus / f"seed{number}").write_bytes(content)
    # libFuzzer's clock would otherwise strike once more while Python shuts down, and look like a failure.
    atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)
    limits = [f"-timeout={TIME_LIMIT}", f"-rss_limit_mb={MEMORY_LIMIT}", f"-max_len={MAX_BYTES}"]
    chosen = [f"-atheris_runs={runs}", "-mutate_depth=2", f"-seed={seed}", f"-artifact_prefix={folder}/"]
    atheris.Setup(["fuzz", *limits, *chosen, str(corpus)], one, custom_mutator=damaged)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
