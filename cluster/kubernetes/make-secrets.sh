#!/bin/sh
# Puts the secrets that docker/make-secrets.sh drew into Kubernetes, each where it is needed and nowhere else:
#
#   cluster/kubernetes/make-secrets.sh [FOLDER]
#
# FOLDER (default: docker/secrets). Values go from file to cluster; none stands in a command line. Run again after a change.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-"$here/../../docker/secrets"}
namespace=ms2img

kubectl apply --filename "$here/base/namespace.yaml"

# secret NAME KEY=FILE ...
secret() {
  name=$1
  shift
  files=
  for pair in "$@"; do
    files="$files --from-file=${pair%%=*}=$folder/${pair#*=}"
  done
  # shellcheck disable=SC2086 # one option a file; the names are ours
  kubectl create secret generic "$name" --namespace "$namespace" $files --dry-run=client --output yaml |
    kubectl apply --filename -
}

secret ray-token auth_token=ray_token
secret valkey valkey_password=valkey_password valkey.conf=valkey.conf
secret postgres postgres_password=postgres_password
secret mlflow mlflow_admin_password=mlflow_admin_password mlflow_session_key=mlflow_session_key \
  s3_mlflow_credentials=s3_mlflow_credentials
secret jobs mlflow_credentials=mlflow_credentials s3_jobs_credentials=s3_jobs_credentials
secret objects s3_identities.json=s3_identities.json s3_admin_credentials=s3_admin_credentials
