"""Addresses of objects in stores, such as s3://bucket/recordings/a.mp4. Nothing heavy is imported here."""

from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pipeline.errors import InputError

SCHEMES = ("s3", "gs")


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
        InputError: It names no bucket, holds credentials, which would then be in messages and reports, or an empty
            name.
    """
    scheme, _, place = text.partition("://")
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


def check_web_address(text: str) -> None:
    """Check the address of something on a web server.

    Raises:
        InputError: It holds credentials, which would then be in messages and reports.
    """
    if "@" in text.partition("://")[2].partition("/")[0]:
        raise InputError(_without_credentials(text, "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"))


def _without_credentials(text: str, instead: str) -> str:
    """Return the message that refuses an address with credentials."""
    scheme, _, place = text.partition("://")
    return (
        f"{scheme}://...@{place.rpartition('@')[2]}: an address may not hold credentials: leave out what is before"
        f" the @, and set {instead}"
    )


def as_place(text: str) -> Path | Address:
    """Return the address, or the path, that a text names.

    Raises:
        InputError: It is an address that is not valid.
    """
    return parse_address(text) if is_address(text) else Path(text)
