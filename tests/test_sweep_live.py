"""What a person sees of a running sweep: on a real pseudo-terminal, in a pipe, when quiet; and its arithmetic."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ms2img.learn.fit_config import FitConfig
from ms2img.ms2toimg.cnn import PRESETS
from ms2img.ms2toimg.crossvalidate import FoldResult
from pipelines.sweep_live import SweepView
from pipelines.sweep_tally import Tally
from tune.trial import Trial, TrialResult

REPOSITORY = Path(__file__).resolve().parent.parent
TRIALS, FOLDS, EPOCHS = 12, 2, 3


def trial(number: int) -> Trial:
    values = {"conv_layers": 2, "units": 32 * number, "learning_rate": 1e-5 * (number + 1)}
    return Trial(number, values, PRESETS["paper"], FitConfig(), 1_000_000 + number, 0)


def row(epoch: int, accuracy: float = 0.5) -> dict[str, float]:
    return {"epoch": epoch, "train_loss": 0.6, "validation_loss": 0.7, "validation_accuracy": accuracy}


def result(number: int, accuracy: float = 0.5, status: str = "finished", reason: str | None = None) -> TrialResult:
    folds = [FoldResult(fold, np.zeros(1), [row(1, accuracy)], 1, 1.0, "float32") for fold in range(FOLDS)]
    each = trial(number)
    return TrialResult(number, each.values, status, reason, each.n_weights, folds, 65.0, 0.0, 65.0)  # type: ignore[arg-type]


def play(view: SweepView, pause: float) -> None:
    """Twelve trials, four at a time; trial 3 fails, trial 5 is stopped, trial 7 is the best."""
    for first in range(0, TRIALS, 4):
        batch = range(first, first + 4)
        for number in batch:
            view.started(trial(number), f"node{number % 2}/{number}")
        for fold in range(FOLDS):
            for epoch in range(1, EPOCHS + 1):
                for number in batch:
                    view.epoch(number, fold, row(epoch))
                time.sleep(pause)
        for number in batch:
            if number == 3:
                view.ended(result(number, status="failed", reason="needs 3.1 GB [bold]where[/bold] 2.0 GB are free"))
            elif number == 5:
                view.ended(result(number, status="stopped"))
            else:
                view.ended(result(number, accuracy=0.9 if number == 7 else 0.5 + number / 100))


def main(pause: float) -> None:
    with SweepView(TRIALS, FOLDS, EPOCHS) as view:
        play(view, pause)


# ---- shown


def _screens(written: str, width: int) -> list[str]:
    """What stood on a terminal of endless height each time a picture was complete."""
    lines, at, screens, wiping = [""], 0, [], False
    for part in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", written):
        if part == "\x1b[2K" and not wiping:
            screens.append("\n".join(lines))
        wiping = part == "\x1b[2K" or (wiping and part.endswith("A"))
        if part == "\n":
            at += 1
            lines += [""] * (at + 1 - len(lines))
        elif up := re.fullmatch(r"\x1b\[(\d*)A", part):
            at -= int(up[1] or 1)
            assert at >= 0
        elif part == "\x1b[2K":
            lines[at] = ""
        elif part != "\r" and not part.startswith("\x1b"):
            lines[at] += part
            assert len(lines[at]) <= width
    return [*screens, "\n".join(lines)]


@pytest.fixture(scope="module")
def screens() -> list[str]:
    """The sweep on a pseudo-terminal of 120 columns."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(REPOSITORY)}
    code = "import sys; sys.path.insert(0, 'tests'); import test_sweep_live; test_sweep_live.main(0.15)"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=environment, stderr=slave, stdout=slave
    )
    os.close(slave)
    written = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        written += piece
    os.close(master)
    assert process.wait(timeout=60) == 0, written.decode()
    return _screens(written.decode(), 120)


def test_a_terminal_shows_running_trials_the_best_ones_and_the_counts(screens: list[str]) -> None:
    middle = next(screen for screen in screens if "8/12 trials" in screen and re.search(r"\n +8 +node0/8", screen))
    told = next(line for line in middle.splitlines() if "8/12 trials" in line)
    assert re.fullmatch(
        r" *8/12 trials \(6 finished, 1 stopped, 1 failed\) · \d:\d\d:\d\d · ETA \d:\d\d:\d\d · [0-9.]+ epochs/s *",
        told,
    )
    assert re.search(r"\n +11 +node1/11 +[12]/2 +[123]/3 +0\.700 +0\.500  conv 2, units 352, rate 0\.00012", middle)
    best = middle[middle.index("best so far") :].splitlines()[1:6]
    assert [line.split()[0] for line in best] == ["7", "6", "4", "2", "1"]
    assert best[0].split()[1:6] == ["0.900", "0.700", "1.00", "M", "0:01:05"]


def test_a_failed_trial_is_named_above_the_table_and_stays(screens: list[str]) -> None:
    assert "trial 3 failed: needs 3.1 GB [bold]where[/bold] 2.0 GB are free\n" in screens[-1]
    assert screens[-1].count("trial 3 failed") == 1


def test_the_last_picture_has_no_running_trial(screens: list[str]) -> None:
    assert "12/12 trials (10 finished, 1 stopped, 1 failed)" in screens[-1]
    assert "running" not in screens[-1]


def test_pictures_are_few(screens: list[str]) -> None:
    # 18 epochs of 0.15 s: 11 pictures at four a second, one for the note and one at the end; not one for each of 72
    # epochs.
    assert 5 <= len(screens) <= 22


def test_a_file_or_pipe_gets_sparse_lines(capfd: pytest.CaptureFixture[str]) -> None:
    main(0.0)
    written = capfd.readouterr()
    assert written.out == ""
    failure, last = written.err.splitlines()
    assert failure == "sweep: trial 3 failed: needs 3.1 GB [bold]where[/bold] 2.0 GB are free"
    assert re.fullmatch(r"sweep: 12/12 trials \(10 finished, 1 stopped, 1 failed\) in \d:\d\d:\d\d", last)


def test_a_line_comes_when_it_is_due(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.sweep_live.LINE_EVERY_SECONDS", 0.05)
    with SweepView(TRIALS, FOLDS, EPOCHS) as view:
        play(view, 0.06)
    lines = [line for line in capsys.readouterr().err.splitlines() if " 8/12 " in line]
    assert len(lines) >= 2
    assert re.fullmatch(
        r"sweep: 8/12 trials \(6 finished, 1 stopped, 1 failed\), 4 running, about 0:00:0\d left; "
        r"best is trial 7, inner validation accuracy 0\.900",
        lines[-2],
    )


def test_many_failures_are_not_all_told(capfd: pytest.CaptureFixture[str]) -> None:
    with SweepView(TRIALS, FOLDS, EPOCHS) as view:
        for number in range(9):  # refused before they began
            view.ended(result(number, status="failed", reason=f"reason {number}"))
    *told, last = capfd.readouterr().err.splitlines()
    assert told[:5] == [f"sweep: trial {number} failed: reason {number}" for number in range(5)]
    assert told[5:] == ["sweep: more trials failed; the report has their reasons"]
    assert "9/12 trials (0 finished, 0 stopped, 9 failed)" in last


def test_quiet_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with SweepView(TRIALS, FOLDS, EPOCHS, quiet=True) as view:
        play(view, 0.0)
        view.note("nothing")
    assert capfd.readouterr() == ("", "")


# ---- arithmetic


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_time_left_is_by_this_runs_speed_and_counts_running_trials() -> None:
    clock = Clock()
    tally = Tally(10, 2, 5, clock=clock)
    for number in range(4):  # of an earlier run: no speed of this one
        tally.ended(result(number))
    clock.now += 1000  # the start of workers is no speed either
    tally.started(trial(4), "a")
    assert tally.seconds_left() is None
    for fold in range(2):
        for epoch in range(1, 6):
            clock.now += 3
            tally.epoch(4, fold, row(epoch))
    # One trial's worth of work in 30 s: five trials are left.
    assert tally.done() == pytest.approx(5.0)
    assert tally.seconds_left() == pytest.approx(150.0)
    assert tally.epochs_a_second() == pytest.approx(10 / 27)
    tally.ended(result(4))
    assert tally.done() == pytest.approx(5.0)


def test_an_epoch_that_a_retry_repeats_is_no_progress() -> None:
    tally = Tally(2, 2, 5, clock=Clock())
    tally.started(trial(0), "a")
    for epoch in (1, 2, 3, 2, 3):
        tally.epoch(0, 0, row(epoch))
    assert tally.done() == pytest.approx(3 / 10)


def test_ties_among_the_best_are_broken_as_the_winner_is_chosen() -> None:
    tally = Tally(10, 2, 5)
    for number, weights in ((3, 50), (1, 70), (2, 50), (0, 60)):
        tally.ended(replace(result(number), n_weights=weights))
    assert [each.number for each in tally.best] == [2, 3, 0, 1]


def test_a_thousand_epochs_cost_next_to_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with SweepView(1, 1, 1000) as view:
        view.started(trial(0), "a")
        started = time.perf_counter()
        for epoch in range(1, 1001):
            view.epoch(0, 0, row(epoch))
        assert time.perf_counter() - started < 0.5
