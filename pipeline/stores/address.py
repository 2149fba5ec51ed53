"""Addresses of objects in stores, such as s3://bucket/recordings/a.mp4. Nothing heavy is imported here."""

import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pipeline.errors import InputError

SCHEMES = ("s3", "gs")
WITH_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # a drive of Windows has one letter


class Address(NamedTuple):
    """The address of an object, or of all objects whose names begin alike, which is called a folder here.

    Attributes:
        scheme: One of SCHEMES.
        place: The bucket, and after a slash the name of the object in it.
    """

    scheme: str
    place: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.place}"

    def __truediv__(self, name: str) -> "Address":
        return self._replace(place=f"{self.folder.place}/{name}")

    @property
    def bucket(self) -> str:
        """The bucket."""
        return self.place.partition("/")[0]

    @property
    def folder(self) -> "Address":
        """The address without slashes at its end."""
        return self._replace(place=self.place.rstrip("/"))

    @property
    def path(self) -> PurePosixPath:
        """The place as a path, for its name, stem and suffix."""
        return PurePosixPath(self.place)


def is_address(text: str) -> bool:
    """Return whether a text is the address of something in a store, and not a path or the address of a stream."""
    return text.startswith(tuple(f"{scheme}://" for scheme in SCHEMES))


def parse_address(text: str) -> Address:
    """Parse an address.

    Raises:
        InputError: It is no valid text, names no bucket or an empty name, or holds credentials, which would then be in
            messages and reports.
    """
    scheme, _, place = text.partition("://")
    _check_is_text(text)
    bucket = place.partition("/")[0]
    if "@" in place and (":" in bucket or "@" in bucket):  # a secret key may have slashes, before the @
        raise InputError(_without_credentials(text, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"))
    if ":" in bucket:  # not shown: it may be a key
        raise InputError(
            f"{scheme}://...: the name of a bucket holds no colon; set the address of a server as AWS_ENDPOINT_URL,"
            " and keys as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if not bucket:
        raise InputError(f"{text}: names no bucket, expected {scheme}://BUCKET/FOLDER")
    if "//" in place.rstrip("/"):
        raise InputError(f"{text}: has two slashes with no name between them, expected one slash")
    return Address(scheme, place)


def check_model_address(text: str) -> None:
    """Check the address of a model that is not a path.

    Raises:
        InputError: It is no valid text, or holds credentials, which would then be in messages and reports.
    """
    _check_is_text(text)
    scheme = text.partition(":")[0].lower()
    if "@" in text and ("://" in text or scheme in ("http", "https")) and scheme != "file":
        raise InputError(_without_credentials(text, "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"))


def _check_is_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{text.encode(errors='replace').decode()}: is not text in UTF-8") from None


def _without_credentials(text: str, instead: str) -> str:
    """Return the message that refuses an address with credentials."""
    return f"{_shown(text)}: an address may not hold credentials: leave out what is before the @, and set {instead}"


def _shown(text: str) -> str:
    """Return an address as it may be shown: without what is before an @, and without what follows a question mark."""
    scheme, _, place = text.partition(":/")
    place = place.removeprefix("/")
    shown, query, _ = place.rpartition("@")[2].partition("?")
    return f"{scheme}://{'...@' if '@' in place else ''}{shown}{'?...' if query else ''}"


def as_place(text: str) -> Path | Address:
    """Return the address, or the path, that a text names.

    Raises:
        InputError: It is an address that is not valid, or of something else than a store.
    """
    if is_address(text):
        return parse_address(text)
    if WITH_SCHEME.match(text):
        expected = " or ".join(f"{scheme}://BUCKET/NAME" for scheme in SCHEMES)
        raise InputError(f"{_shown(text)}: got the address of something else than a store, expected {expected}")
    return Path(text)
