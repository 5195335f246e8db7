"""The folder that keeps an embedding: what was written is read, and nothing else passes for it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from s3_servers import S3Server

from ms2img.deepion.embedding_folder import MANIFEST_NAME, Embedding, read_embedding, write_embedding
from ms2img.errors import UsageError
from ms2img.io.dataset.shards import checksum

ARRAYS = ("mz", "presence", "intensity", "vectors", "reduced", "plane")


def embedding(seed: int = 0, n: int = 9, width: int = 16, **facts: Any) -> Embedding:
    random = np.random.default_rng(seed)
    told: dict[str, Any] = {
        "images": "/data/images",
        "images_fingerprint": "0123456789abcdef",
        "model": "models:/deepion-SIMULATED-col@champion",
        "model_version": "fedcba9876543210",
        "mode": "col",
        "preset": "paper",
        "seed": seed,
        "metric": "euclidean",
        "polarity": "positive",
        "is_simulated": True,
    }
    return Embedding(
        mz=np.sort(random.uniform(100, 900, n)),
        presence=random.random(n),
        intensity=random.random(n),
        vectors=random.random((n, width)).astype(np.float32),
        reduced=random.random((n, 20)).astype(np.float32),
        plane=random.random((n, 2)).astype(np.float32),
        **(told | facts),
    )


def same(found: Embedding, expected: Embedding) -> bool:
    arrays = all(np.array_equal(getattr(found, name), getattr(expected, name)) for name in ARRAYS)
    others = [name for name in Embedding.__dataclass_fields__ if name not in (*ARRAYS, "fingerprint")]
    return arrays and all(getattr(found, name) == getattr(expected, name) for name in others)


@pytest.mark.parametrize("facts", [{}, {"mode": "iso", "polarity": None, "is_simulated": False}])
@pytest.mark.parametrize("width", [16, 512])
def test_what_was_written_is_read(tmp_path: Path, facts: dict[str, Any], width: int) -> None:
    written = embedding(width=width, **facts)
    fingerprint = write_embedding(tmp_path / "out", written)
    found = read_embedding(tmp_path / "out")
    assert same(found, written)
    assert found.fingerprint == fingerprint


def test_the_fingerprint_is_of_the_content_and_not_of_the_place(tmp_path: Path) -> None:
    first = write_embedding(tmp_path / "a", embedding())
    assert write_embedding(tmp_path / "b", embedding(images="/elsewhere")) == first
    changed = embedding()
    changed.vectors[3, 2] += 1
    others = (changed, embedding(mode="iso"), embedding(images_fingerprint="other"), embedding(1))
    assert first not in {write_embedding(tmp_path / "c", each) for each in others}


def test_a_folder_that_is_written_again_holds_the_new_one_alone(tmp_path: Path) -> None:
    write_embedding(tmp_path, embedding(0))
    write_embedding(tmp_path, embedding(1))
    assert same(read_embedding(tmp_path), embedding(1))
    assert len(list(tmp_path.iterdir())) == 2


def test_on_s3_as_on_a_disk(s3: S3Server) -> None:
    write_embedding("s3://bucket/out", embedding())
    assert same(read_embedding("s3://bucket/out"), embedding())


def test_what_is_no_embedding_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no embedding; make one with 'ms2img deepion embed MODEL IMAGES OUT'"):
        read_embedding(tmp_path / "missing")
    write_embedding(tmp_path, embedding())
    description = tmp_path / MANIFEST_NAME
    manifest = json.loads(description.read_bytes())
    cases = [
        (b"{", "not the description of an embedding"),
        (b"[1]", "not the description of an embedding"),
        (json.dumps(manifest | {"format": 2}).encode(), "an embedding of format 2; this version reads format 1"),
        (json.dumps(manifest | {"file": "../ions-0.parquet"}).encode(), "expected a name that starts with ions-"),
        (json.dumps(manifest | {"file": "ions-/../x"}).encode(), "expected a name that starts with ions-"),
        (json.dumps(manifest | {"n_ions": "many"}).encode(), "n_ions: Input should be a valid integer"),
    ]
    for content, message in cases:
        description.write_bytes(content)
        with pytest.raises(UsageError, match=message) as refused:
            read_embedding(tmp_path)
        assert str(refused.value).startswith(str(description))
        assert "\n" not in str(refused.value)


def test_a_table_that_is_not_the_one_committed_is_refused(tmp_path: Path) -> None:
    write_embedding(tmp_path, embedding())
    [table] = tmp_path.glob("ions-*.parquet")
    table.write_bytes(table.read_bytes()[:-1] + b"\0")
    with pytest.raises(UsageError, match="was changed since; embed the ion images again"):
        read_embedding(tmp_path)
    table.unlink()
    with pytest.raises(UsageError, match="is missing; embed the ion images again"):
        read_embedding(tmp_path)


def test_a_table_of_something_else_is_refused(tmp_path: Path) -> None:
    write_embedding(tmp_path, embedding())
    manifest = json.loads((tmp_path / MANIFEST_NAME).read_bytes())
    for number, table in enumerate((pa.table({"mz": [1.0]}), pa.table({"mz": [2.0], "vector": ["a"]}))):
        name = f"ions-{number}.parquet"
        pq.write_table(table, tmp_path / name)
        changed = manifest | {"file": name, "checksum": checksum((tmp_path / name).read_bytes())}
        (tmp_path / MANIFEST_NAME).write_text(json.dumps(changed))
        with pytest.raises(UsageError, match=f"{name}: not the table of an embedding"):
            read_embedding(tmp_path)


def test_arrays_that_do_not_fit_together_are_no_embedding(tmp_path: Path) -> None:
    whole = embedding()
    for changed in (
        {"mz": whole.mz[::-1]},
        {"presence": whole.presence[:-1]},
        {"intensity": whole.intensity.astype(np.float32)},
        {"vectors": whole.vectors[1:]},
        {"reduced": whole.reduced[:, 0]},
        {"plane": whole.reduced},
    ):
        with pytest.raises(ValueError, match="expected|ascending"):
            replace(whole, **changed)
    with pytest.raises(ValueError, match="no ions"):
        write_embedding(tmp_path, embedding(n=0))
    with pytest.raises(UsageError, match="mode: Input should be 'col' or 'iso'"):
        write_embedding(tmp_path, embedding(mode="other"))
    assert not list(tmp_path.iterdir())
