"""``ms2img predict --distributed``, step by step: lease, plan, work, commit.

The table is written at once, at the end. Up to then finished parts lie in ``OUT.parts/``: the same command goes on
from them, and no run is scored twice. The table is that of an undisturbed job, and of one without ``--distributed``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ms2img.errors import JobError
from ms2img.io.dataset.lease import Lease
from ms2img.io.storage import Folder, folder
from ms2img.ms2toimg.predict_rows import Answer, rows_of
from pipelines.conversion.reader import Limits
from pipelines.prediction import on_ray, staged
from pipelines.prediction.plan import Part, plan
from pipelines.prediction.work import Settings
from pipelines.progress import Steps

if TYPE_CHECKING:
    import pandas as pd

    from ms2img.ms2toimg.predictor import Predictor
    from pipelines.predict import PredictConfig


def predict_on_ray(
    config: PredictConfig,
    frame: pd.DataFrame,
    predictor: Predictor,
    bundle: Path,
    write: Callable[[pd.DataFrame], None],
    *,
    quiet: bool,
    notice: Callable[[str], None],
) -> pd.DataFrame:
    """Score the rows of `frame` on Ray and hand the table to `write` while the output is ours.

    Raises `UsageError` before any work: another job writes this output, Ray or its GPUs are not there. `JobError` when
    the job cannot go on: the same command goes on later.
    """
    out = folder(config.out + staged.SUFFIX)
    rows = rows_of(frame)
    with Lease(out, notice) as lease:
        made_by = [predictor.model_version, "gpu" if config.num_gpus else "cpu"]
        planned = plan(rows, config.batch_size, made_by)
        finished = staged.read_parts(out, planned.parts)
        answers = dict(planned.answers)
        for part in planned.parts:
            answers |= zip(part.rows, finished.get(part.key, ()), strict=False)
        with Steps(len(rows), "predict", quiet=quiet) as progress:
            progress.advance(len(answers))
            left = [part for part in planned.parts if part.key not in finished]
            _work(config, left, predictor, bundle, out, answers, progress)
        table = predictor.table(rows, answers)
        lease.require()
        write(table)
        staged.clear(out)
    staged.remove_empty(out.location)
    return table


def _work(
    config: PredictConfig,
    parts: Sequence[Part],
    predictor: Predictor,
    bundle: Path,
    out: Folder,
    answers: dict[int, Answer],
    progress: Steps,
) -> None:
    """Score the parts and add their answers. A job without any starts no Ray."""
    from cluster.connect import connected
    from ms2img.tracking.flavor import system_of
    from pipelines.shipped_model import ShippedModel

    if not parts:
        return
    rows_of_part = {part.key: part.rows for part in parts}
    with connected(writes=[out.location]):
        if config.num_gpus:
            on_ray.require_gpus(config.num_gpus, is_private=not os.environ.get("RAY_ADDRESS"))
        model = ShippedModel.of(bundle, predictor.model_version, system_of(bundle).FILE_NAMES)
        limits = Limits(config.time_limit, config.memory_limit * 2**20)
        settings = Settings(out.location, predictor.render, limits, model)
        try:
            for scored in on_ray.score_parts(parts, settings, num_gpus=config.num_gpus):
                answers |= zip(rows_of_part[scored.key], scored.answers, strict=True)
                progress.advance(len(scored.answers))
        except JobError as error:
            raise JobError(f"{error}; the same command goes on from {len(answers)} scored runs") from None
