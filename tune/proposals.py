"""Optuna as the searcher, or chance: a trial's values follow from seed, number, and the trials that have ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import optuna
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from tune.ledger import Entry
from tune.recorder import Recorder, Unpickled, closing
from tune.settings import Proposing
from tune.space import Space
from tune.trainable import SCORE
from tune.trial import Trial

Propose = Callable[[int, Mapping[str, Any]], Trial]


def propose_values(space: Space, seed: int, number: int, ended: Iterable[Entry]) -> dict[str, Any]:
    """What Optuna's sampler (TPE) tries as trial `number`, knowing the trials that have ended.

    The sampler is made anew each time: nothing of it needs to survive an interruption, and an interrupted search whose
    trials run one at a time goes on exactly as if undisturbed.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    drawn = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
    search = OptunaSearch(OptunaSearch.convert_search_space(space.to_ray()), metric=SCORE, mode="max", seed=drawn)
    for entry in ended:
        score = entry.rungs[-1]["accuracy"] if entry.rungs else 0.0
        search.add_evaluated_point(entry.values, score, error=entry.status == "failed")
    return space.exact(search.suggest(str(number)) or {})


class Proposals(Unpickled, Searcher):
    """Hands Ray Tune one trial after the other, first those that an interruption left unfinished.

    `propose` makes a trial of its number and values. A refused one is recorded as failed, and the next takes its turn.
    """

    def __init__(
        self,
        proposing: Proposing,
        recorder: Recorder,
        propose: Propose,
        describe: Callable[[Trial], dict[str, Any]],
    ) -> None:
        super().__init__(metric=SCORE, mode="max")
        self._proposing = proposing
        self._recorder = recorder
        self._propose = propose
        self._describe = describe
        self._left = recorder.unfinished()

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """See `ray.tune.search.Searcher`."""
        with closing():
            return self._next()

    def _next(self) -> dict[str, Any] | str:
        """What Tune trains next."""
        if self._left:
            entry = self._left.pop(0)
            return {"trial": self._describe(self._propose(entry.number, entry.values))}
        proposing = self._proposing
        while self._recorder.seconds() < proposing.max_seconds:
            number = self._recorder.next_number()
            if number >= proposing.trials:
                break
            trial = self._propose(number, self._values(number))
            if trial.refused is None:
                self._recorder.begin(number, trial.values, trial.n_weights, clear=True)
                return {"trial": self._describe(trial)}
            self._recorder.refuse(trial)
        return str(Searcher.FINISHED)

    def _values(self, number: int) -> dict[str, Any]:
        """Of a trial that is to be begun."""
        space, seed = self._proposing.space, self._proposing.seed
        if self._proposing.random:
            return space.sample(seed, number)
        return propose_values(space, seed, number, self._recorder.ended())

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """See `ray.tune.search.Searcher`; the ledger knows it already."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: what a search goes on from is in the ledger."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing was saved."""
