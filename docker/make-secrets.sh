#!/bin/sh
# Draws every secret of the stack, once: docker/make-secrets.sh [FOLDER]
#
# FOLDER (default: docker/secrets) is closed to other users of this machine (0700). The files in it are readable (0444),
# because a container sees only its own files, and its user's number is not yours. A secret that exists is kept, so
# running this again changes nothing; to change one, see "Changing a secret" in docs/cluster.md.
set -eu

command -v openssl > /dev/null || {
  echo "make-secrets.sh: openssl is not installed" >&2
  exit 1
}
folder=${1:-"$(dirname "$0")/secrets"}
mkdir -p "$folder"
chmod 0700 "$folder"
umask 0222

draw() { openssl rand -hex "$1"; }

# keep NAME: standard input becomes the secret NAME, unless it is there already
keep() {
  if [ -e "$folder/$1" ]; then
    cat > /dev/null
    echo "kept  $folder/$1"
  else
    cat > "$folder/$1"
    echo "drew  $folder/$1"
  fi
}

# One identity of the S3 server: its key as boto3's credentials file
s3_key() {
  printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$1-$(draw 8)" "$(draw 32)" |
    keep "s3_$1_credentials"
}

value() { sed -n "s/^$2 = //p" "$folder/$1"; }

# The same key as the S3 server wants it, with what it may do
identity() {
  printf '{"name": "%s", "credentials": [{"accessKey": "%s", "secretKey": "%s"}], "actions": [%s]}' "$1" \
    "$(value "s3_$1_credentials" aws_access_key_id)" "$(value "s3_$1_credentials" aws_secret_access_key)" "$2"
}

on_bucket() { printf '"Read:%s", "Write:%s", "List:%s", "Tagging:%s"' "$1" "$1" "$1" "$1"; }

printf '%s' "$(draw 32)" | keep ray_token
printf '%s' "$(draw 32)" | keep valkey_password
printf 'requirepass %s\nappendonly yes\ndir /data\n' "$(cat "$folder/valkey_password")" | keep valkey.conf
printf '%s' "$(draw 32)" | keep postgres_password
printf '%s' "$(draw 32)" | keep mlflow_admin_password
printf '%s' "$(draw 32)" | keep mlflow_session_key
printf '[mlflow]\nmlflow_tracking_username = jobs\nmlflow_tracking_password = %s\n' "$(draw 32)" | keep mlflow_credentials

s3_key admin
s3_key jobs
s3_key mlflow
printf '{"identities": [%s, %s, %s]}\n' \
  "$(identity admin '"Admin", "Read", "Write", "List", "Tagging"')" \
  "$(identity jobs "$(on_bucket ms2img)")" \
  "$(identity mlflow "$(on_bucket mlflow)")" | keep s3_identities.json
