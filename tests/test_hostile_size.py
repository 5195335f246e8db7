"""Large hostile inputs: refused by name, or read, within bounds of memory and time that do not depend on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hostile_sizes import CASES

MEMORY_MB = 1000  # of the whole process
# Processor seconds, a bound on hanging and no measure of speed: none takes over 5 alone on a machine.
HANG_SECONDS = 15

EXPECTED = {
    "below/mgf-peak": "table",
    "below/msp-peaks": "table",
    "below/peaklist-cell": "table",
    "below/alignment-of-many-runs": "no-column",
    "below/quant-quote-without-end": "bad-value",
    "bomb/zeros": "bad-encoding",
    "bomb/line-ends": "unknown-format",
    "bomb/msp-peaks": "malformed",
    "bomb/mzml-nesting": "malformed",
    "bomb/mzxml-scans": "dia",
}  # the others are too large, a sheet of any kind a usage error


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What came out of each case, in a process of its own."""
    here = Path(__file__).resolve()
    command = [sys.executable, str(here.with_name("hostile_sizes.py")), str(tmp_path_factory.mktemp("sizes"))]
    environment = {**os.environ, "PYTHONPATH": str(here.parent.parent), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert ended.returncode == 0, f"after {lines[-1:]}: {ended.stderr[-2000:]}"
    return {line["case"]: line for line in lines}


@pytest.mark.parametrize("case", CASES)
def test_size(answers: dict[str, dict[str, Any]], case: str) -> None:
    answer = answers[case]
    expected = EXPECTED.get(case, "usage-error" if case.startswith("sheet/") else "too-large")
    assert set(answer["found"]) == {expected}
    assert answer["mb"] < MEMORY_MB
    assert answer["cpu_s"] < HANG_SECONDS
