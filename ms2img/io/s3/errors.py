"""What an S3 store's refusal means: try again, a wrong setting, one bad file, or a store that is gone.

Messages are made here of codes alone. A store's own text is never repeated: some quote the request with its key.
"""

from __future__ import annotations

import re

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    HTTPClientError,
    IncompleteReadError,
    ReadTimeoutError,
    SSLError,
)
from botocore.exceptions import ConnectionError as NoConnectionError
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from ms2img.errors import Code, JobError, RunError, UsageError
from ms2img.io.location import SCHEME, bucket_and_key
from ms2img.io.s3.client import Store

NOT_FOUND, NOT_IMPLEMENTED = 404, 501
_ASK_AGAIN = frozenset(
    {"SlowDown", "Throttling", "ThrottlingException", "RequestTimeout", "TooManyRequests", "RequestLimitExceeded",
     "BandwidthLimitExceeded", "InternalError", "ServiceUnavailable", "OperationAborted", "IncompleteBody",
     "ConditionalRequestConflict"}
)  # fmt: skip
_KEYS = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_SETTINGS = {  # wrong for every file of the bucket: code -> what it means and what to do
    "InvalidAccessKeyId": f"does not know the access key; {_KEYS}",
    "SignatureDoesNotMatch": f"does not accept the secret key; {_KEYS}",
    "ExpiredToken": "says that the session has expired; renew AWS_SESSION_TOKEN and its keys",
    "InvalidToken": "does not accept the session token; renew AWS_SESSION_TOKEN and its keys",
    "RequestTimeTooSkewed": "has another time than this machine; set the clock",
    "NoSuchBucket": "has no such bucket; check the name, and that AWS_ENDPOINT_URL is the right store",
    "InvalidBucketName": "has no such bucket: the name is not a bucket's; check it",
    "AccessDenied": f"denies access; {_KEYS}, and what they may do in this bucket",
    "AllAccessDisabled": "denies access to this bucket altogether",
    "PermanentRedirect": "keeps this bucket in another region; set AWS_REGION to the bucket's",
    "AuthorizationHeaderMalformed": "expects another region; set AWS_REGION to the bucket's",
    "IllegalLocationConstraintException": "expects another region; set AWS_REGION to the bucket's",
}
_BY_STATUS = {301: "PermanentRedirect", 403: "AccessDenied"}  # the answer to HEAD has no body, so no code
# pyarrow has one exception for all; these of its words are of refusals that no repetition changes.
_ARROW_FINAL = re.compile(
    r"ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE_DOES_NOT|NO_SUCH_|RESOURCE_NOT_FOUND|HTTP status [34](?!08|29)"
)
_ARROW_ABSENT = re.compile(r"NO_SUCH_KEY|RESOURCE_NOT_FOUND")
# All that boto3 and pyarrow raise for what a store does; a defect of ours is none of them.
FAILURES = (ClientError, BotoCoreError, ResponseParserError, HTTPError, OSError)
_LOST = (NoConnectionError, HTTPClientError, IncompleteReadError, ResponseParserError, HTTPError)


def code_of(error: Exception) -> str:
    """The S3 error code; for an answer without one, made of its HTTP status; empty for anything else."""
    if not isinstance(error, ClientError):
        return ""
    code = str(error.response.get("Error", {}).get("Code", ""))
    return _BY_STATUS.get(status_of(error), code) if code.isdigit() or not code else code


def status_of(error: Exception) -> int:
    """The HTTP status of an answer that was an error, else 0."""
    if not isinstance(error, ClientError):
        return 0
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_passing(error: Exception) -> bool:
    """Whether the same request may succeed in a moment."""
    if isinstance(error, ClientError):
        return code_of(error) in _ASK_AGAIN or (status_of(error) >= 500 and status_of(error) != NOT_IMPLEMENTED)
    if isinstance(error, _LOST):
        return not isinstance(error, SSLError)
    is_arrow = isinstance(error, OSError) and not isinstance(error, BotoCoreError | FileNotFoundError)
    return is_arrow and not _ARROW_FINAL.search(str(error))


def wrong_setting(error: Exception, store: Store, location: str) -> UsageError | None:
    """The error as one of the settings or of the bucket, where it is one."""
    meaning = _SETTINGS.get(code_of(error))
    if meaning is None:
        return None
    return UsageError(f"{SCHEME}{bucket_and_key(location)[0]}: {store.name()} {meaning} [{code_of(error)}]")


def run_error(error: Exception, store: Store, location: str) -> RunError:
    """The error as one of the file at `location`."""
    is_absent = status_of(error) == NOT_FOUND and code_of(error) != "NoSuchBucket"
    if is_absent or isinstance(error, FileNotFoundError) or _ARROW_ABSENT.search(str(error)):
        return RunError(Code.NOT_FOUND, "no such file", path=location)
    meaning = _SETTINGS.get(code_of(error))
    message = f"{store.name()} {meaning}" if meaning else _gone(error, store)
    return RunError(Code.STORAGE, message, path=location)


def job_error(error: Exception, store: Store, location: str) -> JobError | UsageError:
    """The error as one of the folder a job writes: a wrong setting, or the end of the job."""
    return wrong_setting(error, store, location) or JobError(
        f"{location}: {_gone(error, store)}; the same command goes on from here"
    )


def _gone(error: Exception, store: Store) -> str:
    if not is_passing(error):
        return f"{store.name()} cannot be used: {_words(error)}"
    return f"{store.name()} gave no good answer for {store.patience.total:g} s: {_words(error)}"


def _words(error: Exception) -> str:
    """The last failure in a few words."""
    if isinstance(error, ClientError):
        return f"{code_of(error)} (HTTP {status_of(error)})"
    if isinstance(error, ReadTimeoutError | ConnectTimeoutError) or "Timeout" in str(error):
        return "it did not answer"
    if isinstance(error, SSLError):
        return "its certificate is not trusted (AWS_CA_BUNDLE names the authorities)"
    if isinstance(error, NoConnectionError) or "curlCode: 7" in str(error):
        return "no connection"
    if isinstance(error, OSError) and "AWS Error" in str(error):
        return " ".join(str(error).partition("AWS Error ")[2].split(":")[0].split())
    return "the connection broke off"
