"""The data sets of a study, made where they do not exist yet: each ends as a sample sheet."""

from __future__ import annotations

from collections.abc import Callable

from ms2img.errors import JobError
from ms2img.io.storage import join
from pipelines.study.config import Source, StudyFile

Notice = Callable[[str], None]


class Sources:
    """The sample sheets of a study's data sets, by name; each is made once, when it is first asked for."""

    def __init__(self, study: StudyFile, out: str, *, quiet: bool, notice: Notice) -> None:
        self._study = study
        self._out = out
        self._quiet = quiet
        self._notice = notice
        self._sheets: dict[str, str] = {}

    def sheet(self, name: str) -> str:
        """Where the data set's sample sheet lies."""
        if name not in self._sheets:
            source = self._study.data[name]
            if source.samples is not None:
                self._sheets[name] = source.samples
            elif source.simulate is not None:
                self._sheets[name] = self._simulated(name, source)
            else:
                self._sheets[name] = self._drifted(name, source)
        return self._sheets[name]

    def allow_outside(self, name: str) -> bool:
        """Whether paths in the sheet may climb above its folder."""
        return self._study.data[name].allow_outside

    def _folder(self, name: str) -> str:
        return join(join(self._out, "data"), name)

    def _simulated(self, name: str, source: Source) -> str:
        from ms2img.ms2toimg.simulation.store import store_study
        from pipelines.progress import Steps

        if source.simulate is None:
            raise ValueError(f"{name} is not simulated")
        with Steps(0, f"simulate {name}", quiet=self._quiet) as progress:

            def advance(done: int, total: int) -> None:
                progress.total = total
                progress.advance(done - progress.done)

            return store_study(self._folder(name), source.simulate, advance).sheet

    def _drifted(self, name: str, source: Source) -> str:
        from pipelines.drift import DriftConfig
        from pipelines.drift_job import drift

        if source.drift is None:
            raise ValueError(f"{name} is not drifted")
        config = DriftConfig(
            samples=self.sheet(source.drift.of),
            out=self._folder(name),
            allow_outside=self.allow_outside(source.drift.of),
            **source.drift.drift().model_dump(),
        )
        summary = drift(config, quiet=self._quiet, notice=self._notice)
        if summary.failed:
            raise JobError(f"{config.out}: {summary.failed} runs could not be drifted: see errors.parquet there")
        return summary.sheet
