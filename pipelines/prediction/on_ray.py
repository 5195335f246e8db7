"""Parts on Ray: read and scored by the same task on CPUs; or read on CPUs and scored by actors that hold GPUs.

Ray Data carries the work, as in `ms2img convert`: it starts the first parts first, holds back the readers when GPUs
are behind, and does again what a lost node was doing. A row of its data set is one whole part, so that it never cuts
one; what is kept of a part is our own file, written before the answers come back.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from ms2img.errors import JobError, UsageError
from pipelines.conversion.cluster_work import on_workers, watched
from pipelines.prediction.plan import Part
from pipelines.prediction.work import Scored, Settings, finish_part, predictor_of, read_part, score_part


def score_parts(parts: Sequence[Part], settings: Settings, *, num_gpus: float) -> Iterator[Scored]:
    """Every part with its answers, as they are finished. `num_gpus`: GPUs of each scoring actor; 0: CPUs score.

    Raises the `JobError` of a worker, or one that says that Ray is gone.
    """
    if not num_gpus:
        yield from on_workers(parts, partial(score_part, settings=settings))
        return
    for row in watched(lambda: _through_gpus(parts, settings, num_gpus)):
        result = pickle.loads(row["result"])  # noqa: S301 (of this job's workers)
        if isinstance(result, JobError):
            raise result
        yield result


def require_gpus(num_gpus: float, *, is_private: bool) -> None:
    """Refuse GPUs on a private Ray that has none; a cluster may start a node that has.

    Raises `UsageError`.
    """
    import ray

    has = float(ray.cluster_resources().get("GPU", 0))
    if is_private and has < num_gpus:
        raise UsageError(f"--num-gpus {num_gpus:g}: this machine has {has:g} GPUs; leave it out to score on CPUs")


def _through_gpus(parts: Iterable[Part], settings: Settings, num_gpus: float) -> Iterable[dict[str, Any]]:
    import ray

    ray.data.DataContext.get_current().enable_progress_bars = False  # ours counts runs, not blocks

    def read(row: dict[str, Any]) -> dict[str, Any]:
        part = pickle.loads(row["part"])  # noqa: S301 (of this job's driver)
        try:
            result: Any = read_part(part, settings)
        except JobError as error:
            result = error
        return {"result": pickle.dumps(result)}

    blocks = [pa.table({"part": [pickle.dumps(part)]}) for part in parts]
    scored = ray.data.from_blocks(blocks).map(read).map(_Scorer, fn_constructor_args=(settings,), num_gpus=num_gpus)
    answers: Iterable[dict[str, Any]] = scored.iter_rows()
    return answers


class _Scorer:
    """An actor with a share of a GPU; where Ray's GPUs are only numbers, it scores on its CPU."""

    def __init__(self, settings: Settings) -> None:
        import torch

        # Float32 means float32, and a batch gives the same digits each time: by default neither holds on a GPU.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.deterministic = True
        self._settings = settings
        self._predictor = predictor_of(settings.model)
        if torch.cuda.is_available():
            self._predictor.network.to("cuda")

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        drawn = pickle.loads(row["result"])  # noqa: S301 (of this job's readers)
        if isinstance(drawn, JobError):
            return row
        try:
            result: Any = finish_part(drawn, self._settings, self._predictor)
        except JobError as error:
            result = error
        return {"result": pickle.dumps(result)}
