"""Hostile mzML and mzXML: entities, arrays that are garbage or lie, documents that are something else."""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path

import pytest
from hostile_runs import SOUND, XML, outcome, read

from fuzz import seeds
from ms2img.errors import RunError


def float_array(*values: float, form: str = "<d") -> bytes:
    return base64.b64encode(struct.pack(f"{form[0]}{len(values)}{form[1]}", *values))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_impossible_numbers_in_arrays(tmp_path: Path, value: float) -> None:
    for format_name, old, new in (
        ("mzml", float_array(110.07, 138.066), float_array(value, 138.066)),
        ("mzml", float_array(12, 999, form="<f"), float_array(12, value, form="<f")),
        ("mzxml", float_array(80.5, 7, form=">f"), float_array(value, 7, form=">f")),
        ("mzxml", float_array(80.5, 7, form=">f"), float_array(80.5, value, form=">f")),
    ):
        assert old in SOUND[format_name]
        assert read(tmp_path, format_name, SOUND[format_name].replace(old, new)) == "bad-value"


@pytest.mark.parametrize("format_name", XML)
class TestXml:
    BOMB = (
        "<!DOCTYPE lolz [<!ENTITY lol0 'lol'>"
        + "".join(f"<!ENTITY lol{n} '{f'&lol{n - 1};' * 10}'>" for n in range(1, 10))
        + "]>"
    )

    def document(self, format_name: str, before: str) -> bytes:
        return seeds.mzml(before=before) if format_name == "mzml" else seeds.mzxml(before=before)

    def test_entity_bomb(self, tmp_path: Path, format_name: str) -> None:
        content = self.document(format_name, self.BOMB).replace(b'num="2"', b'num="&lol9;"')
        assert read(tmp_path, format_name, content.replace(b'id="scan=2"', b'id="&lol9;"')) == "malformed"

    def test_quadratic_entity(self, tmp_path: Path, format_name: str) -> None:
        content = self.document(format_name, f"<!DOCTYPE a [<!ENTITY a '{'a' * 50_000}'>]>")
        assert read(tmp_path, format_name, content.replace(b"</spectrumList>", b"&a;" * 5000)) == "malformed"

    @pytest.mark.parametrize(
        "doctype",
        [
            "<!DOCTYPE a [<!ENTITY secret SYSTEM '{uri}'>]>",
            "<!DOCTYPE a SYSTEM '{uri}'>",
            "<!DOCTYPE a [<!ENTITY % all SYSTEM '{uri}'> %all;]>",
        ],
    )
    def test_external_entity_is_never_read(self, tmp_path: Path, format_name: str, doctype: str) -> None:
        secret = tmp_path / "secret"
        secret.write_text("a secret")
        (tmp_path / "file").mkdir()
        content = self.document(format_name, doctype.format(uri=secret.as_uri()))
        content = content.replace(b'id="scan=2"', b'id="&secret;"').replace(b'num="2"', b'num="&secret;"')
        path = tmp_path / "run"
        path.write_bytes(content)
        result = outcome(path)
        assert isinstance(result, RunError)
        assert result.code == "malformed"
        assert "a secret" not in str(result)

    def test_base64_garbage(self, tmp_path: Path, format_name: str) -> None:
        content = SOUND[format_name]
        array = float_array(110.07, 138.066) if format_name == "mzml" else float_array(80.5, 7, form=">f")
        for garbage in (b"!!!!" * 5, array[:-3], array[:-1] + b"!", b"\xff\xfe" * 8, array + array[:4], b"=" * 20):
            found = read(tmp_path, format_name, content.replace(array, garbage))
            assert found in ("malformed", "bad-encoding"), garbage

    def test_zlib_garbage(self, tmp_path: Path, format_name: str) -> None:
        if format_name == "mzml":
            content = seeds.mzml(is_zlib=True)
            array = base64.b64encode(zlib.compress(struct.pack("<2d", 110.07, 138.066)))
        else:
            content = SOUND["mzxml"].replace(b"precision=", b'compressionType="zlib" precision=')
            array = float_array(80.5, 7, form=">f")
        assert array in content
        bomb = base64.b64encode(zlib.compress(bytes(50_000_000)))  # 50 MB within 65 kB
        for garbage in (b"AAAA" * 4, base64.b64encode(zlib.compress(b"x" * 16)[:-5]), bomb):
            assert read(tmp_path, format_name, content.replace(array, garbage)) == "malformed"

    @pytest.mark.parametrize("length", ["0", "1", "3", "-2", "1000000000", "99999999999999999999", "2.0", "many", ""])
    def test_array_lengths_that_lie(self, tmp_path: Path, format_name: str, length: str) -> None:
        old = b'defaultArrayLength="2"' if format_name == "mzml" else b'peaksCount="1"'
        if format_name == "mzxml":  # where 0 is what some writers say of one empty pair
            length = {"0": "-1", "1": "2"}.get(length, length)
        new = old.partition(b'"')[0] + f'"{length}"'.encode()
        found = read(tmp_path, format_name, SOUND[format_name].replace(old, new))
        assert found in ("malformed", "bad-value", "too-large")

    def test_other_xml(self, tmp_path: Path, format_name: str) -> None:
        for content in (b"<html/>", b"<?xml version='1.0'?>\n<mzData/>", b"<a><mzML/></a>", b"<!-- mzML -->\n<svg/>"):
            assert read(tmp_path, format_name, content, format=format_name) == "unknown-format", content
        for content in (b"<mzML", b"<?xml version='1.0'?>", b"<!-- <mzML>"):
            assert read(tmp_path, format_name, content, format=format_name) == "truncated", content

    def test_deep_nesting(self, tmp_path: Path, format_name: str) -> None:
        root = b"<mzML>" if format_name == "mzml" else b"<mzXML>"
        found = read(tmp_path, format_name, root + b"<scan>" * 1_000_000, format=format_name)
        assert found in ("malformed", "too-large", "truncated")

    def test_encodings_that_do_not_exist(self, tmp_path: Path, format_name: str) -> None:
        for name in ("utf-7", "x-no-such", "utf-32", "big5", "\N{SNOWMAN}"):
            content = f'<?xml version="1.0" encoding="{name}"?><mzML/>'.encode()
            assert read(tmp_path, format_name, content, format=format_name) in ("bad-encoding", "malformed"), name
