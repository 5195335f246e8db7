"""What Ray's job client raises, told in one line: ours to correct, or a server that is away."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from ms2img.errors import JobError, UsageError


class UnreachableError(JobError):
    """The job server does not answer, now; it may later."""


@contextmanager
def told(address: str) -> Iterator[None]:
    """Turn what Ray's client raises into `UsageError` (ours to correct) or `UnreachableError` (it may pass)."""
    import aiohttp
    import requests
    from ray.exceptions import AuthenticationError

    try:
        yield
    except AuthenticationError as error:
        raise UsageError(_refused(address, "Authentication required" in str(error))) from None
    except aiohttp.WSServerHandshakeError as error:
        if error.status in (401, 403):
            raise UsageError(_refused(address, error.status == 401)) from None
        raise UnreachableError(f"{address}: the job server answers with status {error.status}") from None
    except (requests.exceptions.SSLError, aiohttp.ClientConnectorCertificateError):
        raise UsageError(f"{address}: its certificate is not trusted; see ca_file in docs/submit.md") from None
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema):
        raise UsageError(f"{address}: is no address; expected http://HOST:8265") from None
    except requests.exceptions.JSONDecodeError:
        raise UsageError(f"{address}: answers, but not as a Ray job server; is it the dashboard's address?") from None
    except requests.exceptions.HTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status >= 500:
            raise UnreachableError(f"{address}: the job server answers with status {status}") from None
        raise UsageError(f"{address}: answers, but not as a Ray job server (status {status})") from None
    except (KeyError, TypeError):  # JSON without what Ray's would have
        raise UsageError(f"{address}: answers, but not as a Ray job server; is it the dashboard's address?") from None
    except (OSError, aiohttp.ClientError, TimeoutError) as error:
        if isinstance(error.__context__, requests.exceptions.SSLError):  # Ray's own error hides it
            raise UsageError(f"{address}: its certificate is not trusted; see ca_file in docs/submit.md") from None
        raise UnreachableError(f"{address}: no job server answers there") from None
    except (RuntimeError, ValueError) as error:
        raise _of_status(address, str(error)) from None


def _of_status(address: str, text: str) -> UsageError | JobError:
    """The error for what Ray's client tells as text alone."""
    if "Version check returned 404" in text:
        return UsageError(f"{address}: answers, but not as a Ray job server (status 404)")
    if "already exists" in text:
        taken = re.search(r"submission_id (\S+) already", text)
        return UsageError(f"{address}: there is a job {taken.group(1) if taken else 'with this id'} already")
    missing = re.search(r"Job (\S+) does not exist", text)
    if missing:
        return UsageError(f"{address}: no job {missing.group(1)}; 'ms2img jobs list' shows those that there are")
    status = re.search(r"status code (\d+): (.*)", text, re.DOTALL)
    if status is None:
        return UnreachableError(f"{address}: {text.splitlines()[0] if text else 'the connection was lost'}")
    lines = status.group(2).strip().splitlines() or [""]
    reason = lines[-1].removeprefix("RuntimeError: ").rstrip(".")  # of a traceback
    if int(status.group(1)) >= 500:
        return UnreachableError(f"{address}: the job server answers with status {status.group(1)}: {reason}")
    return UsageError(f"{address}: refused (status {status.group(1)}): {reason}")


def _refused(address: str, is_missing: bool) -> str:
    if is_missing:
        return f"{address}: the cluster asks for a token; set RAY_AUTH_TOKEN_PATH, or token_path in the profile"
    where = "RAY_AUTH_TOKEN" if os.environ.get("RAY_AUTH_TOKEN") else os.environ.get("RAY_AUTH_TOKEN_PATH", "the token")
    return f"{address}: the cluster refuses this token ({where})"
