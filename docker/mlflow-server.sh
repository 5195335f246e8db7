#!/bin/sh
# Starts the MLflow server. Passwords are read from files and handed on as variables of this one process, so that none
# stands in a command line, in an address or in `docker inspect`.
set -eu

SECRETS=${SECRETS:-/run/secrets}

PGPASSWORD=$(cat "$SECRETS/postgres_password")
MLFLOW_AUTH_ADMIN_PASSWORD=$(cat "$SECRETS/mlflow_admin_password")
MLFLOW_FLASK_SERVER_SECRET_KEY=$(cat "$SECRETS/mlflow_session_key")
export PGPASSWORD MLFLOW_AUTH_ADMIN_PASSWORD MLFLOW_FLASK_SERVER_SECRET_KEY

exec mlflow server \
  --app-name basic-auth \
  --host 0.0.0.0 --port 5000 --workers "${MLFLOW_WORKERS:-2}" \
  --allowed-hosts "${MLFLOW_ALLOWED_HOSTS:-mlflow:5000,localhost:5000,127.0.0.1:5000}" \
  --backend-store-uri postgresql+psycopg://mlflow@postgres:5432/mlflow \
  --serve-artifacts --artifacts-destination "${MLFLOW_ARTIFACTS:-s3://mlflow/artifacts}"
