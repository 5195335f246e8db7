"""Ray by TLS with certificates of our own authority: peers with one are served, all others refused."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import ray
from cryptography import x509
from ray_nodes import ray_nodes

from cluster.tls import make_certificates

ASK = """
import sys
from ray._raylet import GcsClient
GcsClient(address=sys.argv[1] if len(sys.argv) > 1 else __import__("os").environ["RAY_ADDRESS"]).internal_kv_get(
    b"x", b"y", timeout=5)
print("served")
"""
TASK = """
import ray, os
ray.init(address=os.environ["RAY_ADDRESS"], logging_level="ERROR", log_to_driver=False)
print("answer", ray.get(ray.remote(lambda: 6 * 7).remote(), timeout=120))
"""


def test_a_certificate_is_the_hosts_signed_by_the_authority_and_its_key_is_private(tmp_path: Path) -> None:
    set_by_node = make_certificates(tmp_path, ["127.0.0.1", "node-1"])
    other = make_certificates(tmp_path, ["node-2"])
    assert other["RAY_TLS_CA_CERT"] == set_by_node["RAY_TLS_CA_CERT"]
    authority = x509.load_pem_x509_certificate(Path(set_by_node["RAY_TLS_CA_CERT"]).read_bytes())
    for pair in (set_by_node, other):
        node = x509.load_pem_x509_certificate(Path(pair["RAY_TLS_SERVER_CERT"]).read_bytes())
        node.verify_directly_issued_by(authority)
    names = node.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["node-2"]
    for key in tmp_path.glob("*.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


@pytest.mark.slow  # half a minute: a head and a worker start
def test_a_cluster_by_tls_runs_tasks_and_refuses_whoever_has_no_certificate_of_its_authority(tmp_path: Path) -> None:
    hosts = ["127.0.0.1", ray.util.get_node_ip_address()]  # by which Ray's processes call a loopback node
    ours = make_certificates(tmp_path / "ours", hosts)
    theirs = make_certificates(tmp_path / "theirs", hosts)
    with ray_nodes({**ours, "RAY_AUTH_MODE": "disabled"}) as nodes:
        nodes.add("cpu", "on-demand")
        served = nodes.python(TASK)
        assert "answer 42" in served.stdout, served.stderr
        assert "served" in nodes.python(ASK).stdout
        for stranger in ({"RAY_USE_TLS": "0"}, theirs):
            refused = nodes.python(ASK, **stranger)
            assert refused.returncode != 0
            assert "served" not in refused.stdout
