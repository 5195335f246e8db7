"""What is to be scored, in parts: the unit of work, of a GPU's batch, and of what an interrupted job keeps."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ms2img.errors import RunError
from ms2img.io.dataset.shards import shard_of
from ms2img.io.sheet import Run
from ms2img.io.storage import FileStatus, statuses
from ms2img.ms2toimg.convert_group import RunGroup
from ms2img.ms2toimg.predict_rows import Answer, InputRow, failed
from ms2img.ms2toimg.render import STAGE_VERSION

SHARED_RUNS = 512  # runs of one aligned table a part (ours): each part reads the table again


@dataclass(frozen=True)
class Part:
    """Runs that are read, scored and kept together, in the order of `groups`.

    Their `sample_id` is the number of their row, for names may occur twice. `key` is a hash of all that the answers
    follow from: the model, how images are drawn, and each run with the size and version of its files.
    """

    key: str
    groups: tuple[RunGroup, ...]

    @property
    def rows(self) -> list[int]:
        """The numbers of its rows."""
        return [int(run.sample_id) for group in self.groups for run in group.runs]


@dataclass(frozen=True)
class Plan:
    """`parts`, and the `answers` to rows whose files are known to be missing or unreadable, by number."""

    parts: tuple[Part, ...]
    answers: Mapping[int, Answer]


def plan(rows: Sequence[InputRow], batch_size: int, made_by: Sequence[str]) -> Plan:
    """Part the rows; `made_by`: what beside runs and files decides on the answers, such as the model's version.

    A part has about `batch_size` runs. Which ones follows from their places alone, so that a file that was added since
    an interruption changes one part and not all.
    """
    answers: dict[int, Answer] = {}
    runs: list[Run] = []
    for row in rows:
        try:
            runs.append(replace(row.run(), sample_id=str(row.position)))
        except RunError as error:
            answers[row.position] = failed(error)
    found = statuses(path for run in runs for path in _files(run))
    groups: dict[tuple[str, str | None, str | None], list[Run]] = {}
    for run in runs:
        wrong = [status for path in _files(run) if isinstance(status := found[path], RunError)]
        if wrong:
            answers[int(run.sample_id)] = failed(wrong[0])
        else:
            groups.setdefault((run.path, run.quant_path, run.format), []).append(run)
    made = (_group(members, found) for members in groups.values())
    parts = (Part(_key(part, made_by), tuple(part)) for part in _dealt(list(made), batch_size))
    return Plan(tuple(sorted(parts, key=lambda part: part.key)), answers)


def _dealt(groups: Sequence[RunGroup], batch_size: int) -> Iterator[list[RunGroup]]:
    """Groups of few runs together, by a hash of their files; of many, by themselves."""
    small = [group for group in groups if len(group.runs) <= batch_size]
    n_parts, n_runs = 1, sum(len(group.runs) for group in small)
    while n_runs > n_parts * batch_size:
        n_parts *= 2
    parts: dict[int, list[RunGroup]] = defaultdict(list)
    for group in sorted(small, key=lambda group: [_said(run) for run in group.runs]):
        parts[shard_of("\0".join(group.statuses), n_parts)].append(group)
    yield from parts.values()
    most = max(batch_size, SHARED_RUNS)
    for group in groups:
        if len(group.runs) > batch_size:
            for start in range(0, len(group.runs), most):
                yield [replace(group, runs=group.runs[start : start + most])]


def _group(members: Sequence[Run], found: Mapping[str, FileStatus | RunError]) -> RunGroup:
    """Runs that share their files, in an order that does not depend on the order of rows."""
    of_files = {path: status for path in _files(members[0]) if isinstance(status := found[path], FileStatus)}
    # A hash of the content is what images are kept by. These are not kept, so nothing is read for it.
    unread = {path: f"{status.size}-{status.version}" for path, status in of_files.items()}
    return RunGroup(tuple(sorted(members, key=_said)), of_files, unread)


def _key(groups: Iterable[RunGroup], made_by: Sequence[str]) -> str:
    said = [
        [_said(run), [(status.size, status.version) for status in group.statuses.values()]]
        for group in groups
        for run in group.runs
    ]
    text = json.dumps([*made_by, STAGE_VERSION, said])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _said(run: Run) -> tuple[str, ...]:
    return (run.path, run.quant_path or "", run.column or "", run.format or "")


def _files(run: Run) -> list[str]:
    return [path for path in (run.path, run.quant_path) if path]
