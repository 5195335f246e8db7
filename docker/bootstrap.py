"""What an empty stack lacks: the buckets, and the MLflow user of the jobs. Run it again; what is there stays.

``bootstrap.py buckets BUCKET ...`` asks the store of AWS_ENDPOINT_URL, ``bootstrap.py user CREDENTIALS ADMIN_PASSWORD``
(two files) the server of MLFLOW_TRACKING_URI.
"""

from __future__ import annotations

import configparser
import os
import sys
from pathlib import Path


def make_buckets(names: list[str]) -> None:
    """Create the buckets that do not exist."""
    import boto3
    from botocore.exceptions import ClientError

    client = boto3.client("s3", region_name=os.environ.get("AWS_REGION", "us-east-1"))
    for name in names:
        try:
            client.head_bucket(Bucket=name)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            client.create_bucket(Bucket=name)
            print(f"made bucket {name}")


def make_user(credentials: Path, admin_password: Path) -> None:
    """Create the user of a ``~/.mlflow/credentials`` file, as the server's administrator."""
    from mlflow.exceptions import RestException
    from mlflow.server.auth.client import AuthServiceClient

    parser = configparser.ConfigParser()
    parser.read_string(credentials.read_text(encoding="utf-8"))
    name, password = parser["mlflow"]["mlflow_tracking_username"], parser["mlflow"]["mlflow_tracking_password"]
    os.environ["MLFLOW_TRACKING_USERNAME"] = "admin"
    os.environ["MLFLOW_TRACKING_PASSWORD"] = admin_password.read_text(encoding="utf-8")
    try:
        AuthServiceClient(os.environ["MLFLOW_TRACKING_URI"]).create_user(name, password)
    except RestException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    else:
        print(f"made MLflow user {name}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["buckets", *names] if names:
            make_buckets(names)
        case ["user", credentials, admin_password]:
            make_user(Path(credentials), Path(admin_password))
        case _:
            sys.exit(__doc__)
