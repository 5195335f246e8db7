"""Pieces of work on Ray's workers, and what becomes of what they raise."""

from __future__ import annotations

import pytest

from ms2img.errors import JobError, Ms2imgError, UsageError
from pipelines.conversion.cluster_work import on_workers

pytestmark = pytest.mark.ray


def test_every_piece_is_done_once(ray_session: None) -> None:
    assert sorted(on_workers(range(7), lambda piece: piece * piece)) == [0, 1, 4, 9, 16, 25, 36]
    assert list(on_workers([], lambda piece: piece)) == []


@pytest.mark.parametrize("kind", [JobError, UsageError])
def test_what_a_worker_says_in_a_line_is_said_by_the_job(ray_session: None, kind: type[Ms2imgError]) -> None:
    def refuse(piece: int) -> int:
        if piece == 2:
            raise kind("s3://lab/out: access is denied")
        return piece

    with pytest.raises(kind, match="^s3://lab/out: access is denied$"):
        list(on_workers(range(4), refuse))
