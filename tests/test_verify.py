"""``--verify``: a sound data set has no defect, and each kind of damage is named."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_sets import commit

from ms2img.io.dataset import shards
from ms2img.io.dataset.shards import checksum
from ms2img.io.dataset.verify import verify
from ms2img.io.storage import folder
from pipelines import cli

SAMPLES = {f"s{n:02}": n for n in range(30)}


@pytest.fixture
def data_set(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 8 * 30)
    commit(tmp_path, SAMPLES, [SAMPLES])
    return tmp_path


def first(out):
    return sorted((out / "images").iterdir())[0]


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def replace_rows(out, change):
    """Put other rows into a shard and make size, checksum and counts agree: only its meaning is wrong."""
    path = first(out)
    rows = change(pq.read_table(path), pq.read_table(sorted((out / "images").iterdir())[1]))
    pq.write_table(rows, path)
    manifest = json.loads((out / "manifest.json").read_text())
    [entry] = [file for file in manifest["files"] if file["name"].endswith(path.name)]
    entry |= {"rows": len(rows), "bytes": path.stat().st_size, "checksum": checksum(path.read_bytes())}
    (out / "manifest.json").write_text(json.dumps(manifest))


def test_a_sound_data_set_has_no_defect(data_set):
    seen = []
    assert verify(folder(str(data_set)), progress=seen.append) == []
    assert sum(seen) == len(list((data_set / "images").iterdir())) > 2


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda out: flip(first(out)), "its bytes have changed"),
        (lambda out: first(out).unlink(), "missing; convert again"),
        (lambda out: first(out).write_bytes(first(out).read_bytes()[:-9]), "bytes, the manifest says"),
        (lambda out: (out / "images" / "part-00000-copy.parquet").write_bytes(first(out).read_bytes()), "stray"),
        (lambda out: (out / "sources.parquet").unlink(), "sources.parquet: missing"),
        (lambda out: replace_rows(out, lambda a, b: pa.concat_tables([a, b[:1]])), "its name does not follow"),
        (lambda out: replace_rows(out, lambda a, b: a[:-1]), "its name does not follow"),
        (lambda out: replace_rows(out, lambda a, b: pa.concat_tables([a, a[:1]])), "is also in images/part-00000"),
        (lambda out: replace_rows(out, lambda a, b: pa.concat_tables([a, b[:1]])), "belongs to shard"),
        (lambda out: replace_rows(out, lambda a, b: a.take(pa.array(range(len(a) - 1, -1, -1)))), "not sorted"),
        (lambda out: replace_rows(out, lambda a, b: a[:-1]), "30 images in the manifest, 29 rows"),
        (lambda out: replace_rows(out, lambda a, b: a.drop_columns("n_spectra")), "its schema is not"),
    ],
)
def test_each_damage_is_named(data_set, damage, message):
    damage(data_set)
    defects = verify(folder(str(data_set)))
    assert any(message in defect for defect in defects), defects
    assert all("\n" not in defect and str(data_set) in defect for defect in defects)


def test_the_command_exits_with_3_and_a_line_a_defect(data_set, capsys):
    arguments = ["convert", "no sheet is read", str(data_set), "--verify", "--quiet"]
    assert cli.main(arguments) == 0
    flip(first(data_set))
    first(data_set).with_name("notes.txt").touch()
    assert cli.main([*arguments, "--json"]) == 3
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert len(lines) == 2
    assert "part-00000" in lines[0]
    assert "notes.txt: stray" in lines[1]
    assert len(json.loads(out)["defects"]) == 2
    assert cli.main(["convert", "x", str(data_set / "images"), "--verify"]) == 2


def test_verify_works_on_s3(s3, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 8 * 30)
    manifest = commit("s3://bucket/set", SAMPLES, [SAMPLES])
    assert verify(folder("s3://bucket/set")) == []
    key = f"bucket/set/{manifest.shards[0]}"
    content = bytearray(s3.get(key))
    content[99] ^= 4
    s3.put(key, bytes(content))
    [defect] = verify(folder("s3://bucket/set"))
    assert defect.startswith(f"s3://{key}: its bytes have changed")
