"""The profile file, what a job carries of this machine's settings, and that no secret is among it."""

from __future__ import annotations

import json
import os

import pytest

from cluster.carried import FALLBACKS_VARIABLE, carried, use_fallbacks
from cluster.profile import applied, apply_profile, load_profile
from cluster.secrets import SECRET_VARIABLES, require_no_secret
from ms2img.errors import UsageError

FULL = """dashboard: http://head:8265
token-path: token
tracking_uri: http://mlflow:5000
s3_endpoint: http://store:3900
s3_region: garage
ca_file: /etc/lab/ca.pem
"""


@pytest.fixture
def profile(tmp_path, monkeypatch):
    """Write a profile that ``MS2IMG_PROFILE`` names."""

    def write(text: str) -> None:
        (tmp_path / "profile.yaml").write_text(text)
        monkeypatch.setenv("MS2IMG_PROFILE", str(tmp_path / "profile.yaml"))

    return write


def test_a_profile_stands_for_the_usual_variables(profile, tmp_path):
    profile(FULL)
    assert applied(load_profile(), {}) == {
        "RAY_API_SERVER_ADDRESS": "http://head:8265",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token"),
        "MLFLOW_TRACKING_URI": "http://mlflow:5000",
        "MLFLOW_TRACKING_SERVER_CERT_PATH": "/etc/lab/ca.pem",
        "AWS_ENDPOINT_URL": "http://store:3900",
        "AWS_REGION": "garage",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_CA_BUNDLE": "/etc/lab/ca.pem",
        "REQUESTS_CA_BUNDLE": "/etc/lab/ca.pem",
    }


def test_the_environment_wins_over_the_profile(profile, monkeypatch):
    profile(FULL)
    given = {"MLFLOW_TRACKING_URI": "http://other:5000", "RAY_AUTH_TOKEN": "abc"}
    values = applied(load_profile(), given)
    assert not {"MLFLOW_TRACKING_URI", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"} & set(values)
    for name in applied(load_profile(), {}):
        monkeypatch.setenv(name, "")  # so that what was there before comes back
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_REGION", "mine")
    apply_profile()
    assert applied(load_profile()) == {}


def test_a_profile_in_the_home_folder_is_found_and_none_is_no_error(tmp_path, monkeypatch):
    monkeypatch.delenv("MS2IMG_PROFILE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert applied(load_profile(), {}) == {}
    (tmp_path / ".config/ms2img").mkdir(parents=True)
    (tmp_path / ".config/ms2img/profile.yaml").write_text("dashboard: http://head:8265\n")
    assert applied(load_profile(), {}) == {"RAY_API_SERVER_ADDRESS": "http://head:8265"}
    monkeypatch.setenv("MS2IMG_PROFILE", "")
    assert applied(load_profile(), {}) == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tracking: http://m", "profile.yaml: unknown key 'tracking'; did you mean 'tracking_uri'"),
        ("tracking_uri: http://lab:swordfish@m", "profile.yaml: tracking_uri: an address with a password"),
        ("token: swordfish", "profile.yaml: unknown key 'token'; did you mean 'token_path'"),
        ("dashboard: [a", "profile.yaml, line"),
    ],
)
def test_a_wrong_profile_is_one_line_that_quotes_no_secret(profile, text, told):
    profile(text)
    with pytest.raises(UsageError, match=told) as refusal:
        load_profile()
    assert "swordfish" not in str(refusal.value)


def test_a_profile_that_is_named_and_not_there_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("MS2IMG_PROFILE", str(tmp_path / "gone.yaml"))
    with pytest.raises(UsageError, match=r"gone.yaml: cannot read the config file"):
        load_profile()


def test_a_job_carries_places_and_no_secret():
    given = dict.fromkeys(SECRET_VARIABLES, "swordfish") | {
        "AWS_ACCESS_KEY_ID": "swordfish", "MLFLOW_TRACKING_USERNAME": "swordfish", "HOME": "/root",
        "MLFLOW_TRACKING_URI": "https://mlflow.lab", "AWS_ENDPOINT_URL": "http://store:3900", "AWS_REGION": "garage",
    }  # fmt: skip
    values = carried(given)
    assert "swordfish" not in json.dumps(values)
    places = {name: value for name, value in values.items() if name.startswith(("MLFLOW_", "AWS_"))}
    assert places == {name: given[name] for name in ("MLFLOW_TRACKING_URI", "AWS_ENDPOINT_URL", "AWS_REGION")}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.1.2.3"])
def test_an_address_of_this_machine_alone_counts_only_where_a_node_has_none(monkeypatch, host):
    values = carried({"MLFLOW_TRACKING_URI": "http://mlflow:5000", "AWS_ENDPOINT_URL": f"http://{host}:3900"})
    assert values["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
    assert "AWS_ENDPOINT_URL" not in values
    monkeypatch.setenv(FALLBACKS_VARIABLE, values[FALLBACKS_VARIABLE])
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store:3900")
    use_fallbacks()
    assert os.environ["AWS_ENDPOINT_URL"] == "http://store:3900"
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    use_fallbacks()
    assert os.environ["AWS_ENDPOINT_URL"] == f"http://{host}:3900"


@pytest.mark.parametrize("uri", ["sqlite:////home/me/.ms2img/mlflow.db", "file:///runs", "./mlruns"])
def test_a_tracking_store_of_this_machine_is_not_carried(uri):
    with pytest.raises(UsageError, match="a place of this machine, which no node reaches; name a server"):
        carried({"MLFLOW_TRACKING_URI": uri})


def test_an_address_with_a_password_is_not_carried():
    with pytest.raises(UsageError, match="MLFLOW_TRACKING_URI has a password in it") as refusal:
        carried({"MLFLOW_TRACKING_URI": "http://lab:swordfish@mlflow:5000"})
    assert "swordfish" not in str(refusal.value)


def test_a_secret_in_a_text_is_found_by_its_variable(monkeypatch, tmp_path):
    (tmp_path / "token").write_text("0123456789abcdef\n")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "swordfish")
    require_no_secret([("word 1", "s3://lab/a.csv"), ("word 2", "--size=75x70")])
    for text, name in (("a swordfish", "AWS_SECRET_ACCESS_KEY"), ("x=0123456789abcdef", "RAY_AUTH_TOKEN_PATH")):
        with pytest.raises(UsageError, match=f"here: holds the value of {name}"):
            require_no_secret([("here", text)])
    with pytest.raises(UsageError, match="an address with a password"):
        require_no_secret([("here", "uri: postgresql+psycopg://lab:pw@db/mlflow")])
