"""Conversion from a bucket to a bucket: the same data set as on a disk, also when the network is bad."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conversions import FAILURES, conversion, data_set, finish
from fault_proxy import Drop, Refuse, fault_proxy, share

from ms2img.io.dataset.images import load_images
from ms2img.io.dataset.lease import LEASE_NAME


def same_images(local_out: Path, s3, prefix: str) -> None:
    """Every file is the same but those that name paths."""
    expected = data_set(local_out)
    for name in (name for name in expected if name.startswith(("images/", "manifest"))):
        assert s3.get(f"bucket/{prefix}/{name}") == expected[name], name
    names = [key.removeprefix(f"{prefix}/") for key in s3.keys(f"bucket/{prefix}")]
    assert sorted(names) == sorted(expected)


def test_from_bucket_to_bucket_is_the_local_data_set_and_unchanged_the_second_time(undisturbed_conversion, s3):
    sheet, out = undisturbed_conversion
    s3.upload(sheet.parent, "bucket/study")
    with conversion("s3://bucket/study/samples.csv", "s3://bucket/out", **s3.environment) as process:
        status, lines = finish(process)
    assert status == FAILURES, lines
    assert "no conditional writes" in lines[0]
    same_images(out, s3, "out")
    np.testing.assert_array_equal(load_images("s3://bucket/out").images, load_images(out).images)

    again = conversion("s3://bucket/study/samples.csv", "s3://bucket/out", "--json", **s3.environment)
    with again as process:
        text, _ = process.communicate(timeout=60)
    assert '"converted": 0, "failed": 5' in text
    assert "Traceback" not in text


@pytest.mark.slow  # half a minute; tests/test_storage_proxy.py has each fault alone
def test_a_bad_network_costs_time_and_nothing_else(undisturbed_conversion, s3):
    sheet, out = undisturbed_conversion
    s3.upload(sheet.parent, "bucket/study")
    with fault_proxy(s3.endpoint, share(0.1, 3, Refuse(503), Drop())) as proxy:
        variables = s3.through(proxy.url).environment
        with conversion("s3://bucket/study/samples.csv", "s3://bucket/out", **variables) as process:
            status, lines = finish(process)
    assert status == FAILURES, lines
    same_images(out, s3, "out")


@pytest.mark.slow
def test_killed_on_a_store_with_conditional_writes_and_run_again(undisturbed_conversion, s3_conditional):
    sheet, out = undisturbed_conversion
    s3 = s3_conditional
    s3.upload(sheet.parent, "bucket/study")
    arguments = ("s3://bucket/study/samples.csv", "s3://bucket/out")
    with conversion(*arguments, **s3.environment) as process:
        while not any(".staging/" in key for key in s3.keys("bucket/out")):
            assert process.poll() is None, process.stderr.read()
        process.kill()
        process.wait()
    assert f"out/{LEASE_NAME}" in s3.keys("bucket/out")
    with conversion(*arguments, **s3.environment) as process:
        status, lines = finish(process)
    assert status == FAILURES, lines
    assert "took over the lease of process " in lines[0]
    same_images(out, s3, "out")
