"""The trials of a sweep on Ray Tune: which are left, who trains them, and what becomes of each, kept in the ledger.

Tune moves trials about and decides who is stopped. Nothing of what it writes is ever read again: an interrupted sweep
goes on from the ledger alone.
"""

from __future__ import annotations

import os
import queue
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cluster.connect import ray_is_alive
from cluster.placement import beside_driver
from ms2img.errors import JobError, Ms2imgError
from tune.ledger import Ledger
from tune.recorder import Closed, Progress, Recorder
from tune.settings import Listener, Proposing, Search, Spent, described
from tune.trial import Trial

if TYPE_CHECKING:
    from tune.training import Subject

LOOK_SECONDS = 0.1  # between two looks at Ray's processes while nothing happens (ours)
FETCH_SECONDS = 0.25  # between two looks at the board (ours)
BOARD_SECONDS = 60  # for the board to answer before Ray counts as stuck: a crowded machine takes ten (ours)
MAX_FAILURES = 2  # retries of a trial whose worker died (ours)

#: Ray Tune's own settings, read from the environment of the driver: no files, no talk, no handlers of its own.
TUNE_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the new one talks whatever it is told
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that fails has no score
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "86400",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


def run_search(
    trials: Sequence[Trial] | Proposing,
    subject: Subject,
    ledger: Ledger,
    search: Search,
    listener: Listener,
) -> Spent:
    """Run the trials that have not ended on the connected Ray, as many at once as it has room for.

    Parameters
    ----------
    trials: all trials of the sweep, in order; or how they are proposed.
    subject: what they learn from; goes to Ray's shared memory once.

    Whatever ends this call early, the ledger holds what was done, and another call goes on from there. A trial that
    fails is recorded as failed; raises `JobError` when the job cannot go on (Ray is gone, the ledger's disk is full).
    """
    started = time.monotonic()
    for name, value in TUNE_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    run = _Run(trials, subject, ledger, search, listener)
    try:
        run.follow()
    finally:
        run.close()
    return Spent(run.workers, time.monotonic() - started)


class _Run:
    """Ray Tune in a thread of its own: it blocks, and would wait for a dead Ray for ever."""

    def __init__(
        self, trials: Sequence[Trial] | Proposing, subject: Subject, ledger: Ledger, search: Search, listener: Listener
    ) -> None:
        import ray

        from tune.board import Board
        from tune.schedule import rungs
        from tune.trainable import Job

        self._proposing = trials if isinstance(trials, Proposing) else None
        # Proposed trials are added by Tune's thread as they come.
        self._by_number = {} if isinstance(trials, Proposing) else {trial.number: trial for trial in trials}
        self._search, self._ledger, self._listener = search, ledger, listener
        self._folds = subject.trainings
        self._queue: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._recorder = Recorder(ledger, self._folds, self._queue.put)
        self._board = ray.remote(num_cpus=0, **beside_driver())(Board).remote()
        self._job = Job(
            subject=ray.put(subject),
            board=self._board,
            location=ledger.out.location,
            rungs=rungs(search.scheduler, search.epochs),
            checkpoint_seconds=search.checkpoint_seconds,
        )
        self._thread = threading.Thread(target=self._work, name="ray-tune", daemon=True)
        self._fetched = 0.0
        self.workers: list[str] = []

    def follow(self) -> None:
        """Start, and tell the listener what happens until all is done."""
        for entry in self._recorder.ended():
            self._listener.ended(self._ledger.result(entry, self._folds))
        self._thread.start()
        while True:
            try:
                kind, what = self._queue.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                if not ray_is_alive():
                    raise JobError("Ray has stopped") from None
                kind = ""
            if kind == "error":
                self._raise(what)
            if kind or time.monotonic() - self._fetched > FETCH_SECONDS:
                self._read_board()
            if kind == "ended":
                self._listener.ended(self._ledger.result(what, self._folds))
            if kind == "done":
                return

    def close(self) -> None:
        """Let Tune do and record nothing more.

        Its thread is waited for: Ray's core does not bear to be shut down while another thread uses it.
        """
        import ray

        self._recorder.close()
        if ray_is_alive():
            if self._thread.is_alive():
                self._thread.join(timeout=BOARD_SECONDS)
            ray.kill(self._board)

    def _read_board(self) -> None:
        import ray
        from ray.exceptions import RayError

        self._fetched = time.monotonic()
        try:
            posted = ray.get(self._board.fetch.remote(), timeout=BOARD_SECONDS)
        except RayError as error:
            raise JobError(f"Ray has stopped the job: {_first_line(error)}") from None
        for kind, what in posted:
            if kind == "started":
                number, where = what
                self._listener.started(self._by_number[number], where)
            elif kind == "epoch":
                self._listener.epoch(*what)
            elif kind == "loaded":
                self.workers.append(what)
            else:
                self._listener.note(what)

    def _work(self) -> None:
        """In Tune's thread: rounds, since a trial that dies between two others is not tried again by Tune itself."""
        try:
            before = None
            while left := self._left():
                if self._recorder.progress() == before:
                    raise RuntimeError(f"Ray Tune came to an end with {left} trials left")
                before = self._recorder.progress()
                self._round(left)
            self._queue.put(("done", None))
        except Closed as closed:
            self._queue.put(("error", closed.__cause__ or closed))
        except BaseException as error:
            self._queue.put(("error", error))

    def _left(self) -> int:
        """How many trials are to be trained; those that cannot be, or were tried too often, are recorded as failed."""
        if self._proposing is not None:
            for entry in self._recorder.unfinished():
                self._recorder.gave_up(entry.number, MAX_FAILURES)
            if self._recorder.seconds() >= self._proposing.max_seconds:
                return len(self._recorder.unfinished())
            return self._proposing.trials - len(self._recorder.ended())
        return len(self._waiting())

    def _waiting(self) -> list[Trial]:
        """The trials to train, in order, where they are known beforehand."""
        ended = {entry.number for entry in self._recorder.ended()}
        waiting = []
        for trial in self._by_number.values():
            if trial.number in ended:
                continue
            if trial.refused is not None:
                self._recorder.refuse(trial)
            elif not self._recorder.gave_up(trial.number, MAX_FAILURES):
                waiting.append(trial)
        return waiting

    def _round(self, left: int) -> None:
        import ray.tune

        from tune.schedule import make_scheduler
        from tune.trainable import SweepTrainable

        scheduler = make_scheduler(self._search.scheduler, self._search.epochs, self._recorder.entries())
        with tempfile.TemporaryDirectory(prefix="ms2img-tune-", ignore_cleanup_errors=True) as scratch:
            space, settings = self._source(left)
            tuner = ray.tune.Tuner(
                ray.tune.with_parameters(SweepTrainable, job=self._job),
                param_space=space,
                tune_config=ray.tune.TuneConfig(
                    scheduler=scheduler,
                    max_concurrent_trials=self._search.concurrent,
                    reuse_actors=True,
                    **settings,
                ),
                run_config=ray.tune.RunConfig(
                    name="sweep",
                    storage_path=scratch,
                    verbose=0,
                    failure_config=ray.tune.FailureConfig(max_failures=MAX_FAILURES),
                    checkpoint_config=ray.tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                    callbacks=[Progress(self._recorder)],
                ),
            )
            try:
                tuner.fit()
            except Closed:
                if ray_is_alive():
                    scheduler.let_go()
                raise

    def _source(self, left: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Where Tune gets its trials from: a parameter space, and more settings of its own."""
        import ray.tune

        proposing = self._proposing
        if proposing is None:
            waiting = [described(trial, self._search) for trial in self._waiting()]
            return {"trial": ray.tune.grid_search(waiting)}, {}
        from tune.proposals import Proposals

        def propose(number: int, values: Mapping[str, Any]) -> Trial:
            trial = self._by_number[number] = proposing.propose(number, values)
            return trial

        searcher = Proposals(proposing, self._recorder, propose, lambda trial: described(trial, self._search))
        return {}, {"search_alg": searcher, "num_samples": left}

    def _raise(self, error: BaseException) -> None:
        from ray.exceptions import RayError

        if isinstance(error, Ms2imgError):
            raise error
        if isinstance(error, RayError) or not ray_is_alive():
            raise JobError(f"Ray has stopped the job: {_first_line(error)}") from None
        raise error


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
