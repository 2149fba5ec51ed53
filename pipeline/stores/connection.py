"""Connections to stores by pyarrow, and its errors in plain words.

Credentials come from the standard chain of the store's own library: the environment, profiles, the role of the machine.
They are never read here, so that no message can name them.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from pipeline.stores.address import Address

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

MAX_TRIES = 10  # of each request, with pauses that grow: of a store that refuses 5% of requests, none fails
REQUEST_SECONDS = 60.0
MISSING = "No such file or directory"  # in pyarrow's message of Google's store, which is an OSError of no kind
BEGINNING = "function=CreateResumableUpload"  # there, an object that is written: what is missing is the bucket
SHORT_CONTENT = "Failed to flush response stream"  # in pyarrow's message
# What pyarrow's messages contain, and the reason in words.
REASONS = {
    "Could not create a OAuth2": "the store expects credentials, and there are none, or no connection to check them",
    "UNAUTHENTICATED": "the store does not know your credentials",
    "PERMISSION_DENIED": "access is denied: are there credentials, and do they permit it?",
    "(UNAVAILABLE": "the store is not available now",
    "NO_SUCH_BUCKET": "there is no such bucket",
    "NO_SUCH_UPLOAD": "the upload was ended by somebody else",
    "INVALID_ACCESS_KEY_ID": "the store does not know the access key of your credentials",
    "SIGNATURE_DOES_NOT_MATCH": "the secret key of your credentials is wrong",
    "EXPIRED_TOKEN": "your credentials have expired",
    "INVALID_CLIENT_TOKEN_ID": "the store does not know your credentials",
    "MISSING_AUTHENTICATION_TOKEN": "the store expects credentials, and there are none",
    "ACCESS_DENIED": "access is denied: are there credentials, and do they permit it?",
    "NETWORK_CONNECTION": "there is no connection to the store, or it was lost",
    "REQUEST_TIMEOUT": "the store answers too slowly",
    "SLOW_DOWN": "the store asks for fewer requests",
    "SERVICE_UNAVAILABLE": "the store is not available now",
    "INTERNAL_FAILURE": "the store reports a failure of its own",
    "HTTP status 301": "the bucket is in another region: set AWS_REGION",
    "HTTP status 403": "access is denied: are there credentials, and do they permit it?",
    "HTTP status 5": "the store reports a failure of its own",
}

Result = TypeVar("Result")


@lru_cache
def connect(scheme: str, bucket: str) -> "FileSystem":
    """Return the connection to a bucket, which all threads of this process share."""
    from pyarrow import fs  # takes a second

    if scheme == "gs":
        is_emulator = "CLOUD_STORAGE_EMULATOR_ENDPOINT" in os.environ  # which has no credentials to ask for
        return fs.GcsFileSystem(anonymous=is_emulator, retry_time_limit=timedelta(seconds=REQUEST_SECONDS))
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not region and not endpoint:
        region = fs.resolve_s3_region(bucket)
    return fs.S3FileSystem(
        region=region,
        endpoint_override=endpoint,
        allow_delayed_open=True,  # a small object is written by one request
        request_timeout=REQUEST_SECONDS,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=MAX_TRIES),
    )


@contextmanager
def requesting(address: Address) -> Iterator["FileSystem"]:
    """Yield the connection for requests about an address.

    Raises:
        OSError: A request failed. Its reason is in plain words, and its file is the address.
    """
    try:
        yield connect(address.scheme, address.bucket)
    except OSError as error:
        raise describe(error, address) from None  # pyarrow's message has lines about its own requests


def reading(address: Address, read: Callable[["FileSystem"], Result]) -> Result:
    """Return what `read` reads at an address.

    pyarrow writes the text of a refusal, which it would answer by asking again, to where the content belongs, and fails
    where that is shorter. It is asked again here.

    Raises:
        OSError: See `requesting`.
    """
    for num_left in reversed(range(MAX_TRIES)):
        try:
            return read(connect(address.scheme, address.bucket))
        except OSError as error:
            if not num_left or SHORT_CONTENT not in str(error):
                raise describe(error, address) from None
    raise AssertionError("MAX_TRIES is at least 1")


def describe(error: OSError, address: Address) -> OSError:
    """Return an error of pyarrow as one that names the address, with its reason in plain words."""
    if error.filename is not None:
        return error  # is one already
    message = str(error)
    if isinstance(error, FileNotFoundError) or MISSING in message:
        if BEGINNING in message:
            return OSError(0, REASONS["NO_SUCH_BUCKET"], str(address))
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(address))
    reason = next((words for found, words in REASONS.items() if found in message), None)
    if reason is None:
        code = message.partition("AWS Error ")[2].partition(":")[0]
        reason = f"the store reports {code}" if code else "the store reports an error"
    return OSError(0, reason, str(address))
