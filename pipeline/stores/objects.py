"""Objects of stores as files that are read, and the objects of a folder."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple, cast

from pipeline.errors import InputError
from pipeline.files import InputFile
from pipeline.stores.address import Address
from pipeline.stores.connection import reading, requesting
from pipeline.stores.ranges import Blocks, RangeReader

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, FileSystem


class ObjectStatus(NamedTuple):
    """The size and the time of the last change of an object. Stores agree with themselves on whole seconds only."""

    st_size: int
    st_mtime_ns: int

    @classmethod
    def of(cls, found: "FileInfo") -> "ObjectStatus":
        """Make it from pyarrow's answer."""
        return cls(found.size, (found.mtime_ns or 0) // 10**9 * 10**9)


class StoredFile(NamedTuple):
    """An object of a store, which is an `InputFile`.

    Attributes:
        address: Its address.
        listed: What the listing of its folder said of it; None where its folder was not listed.
    """

    address: Address
    listed: ObjectStatus | None = None

    def __str__(self) -> str:
        return str(self.address)

    @property
    def name(self) -> str:
        """See `InputFile`."""
        return self.address.path.name

    @property
    def stem(self) -> str:
        """See `InputFile`."""
        return self.address.path.stem

    @property
    def suffix(self) -> str:
        """See `InputFile`."""
        return self.address.path.suffix

    def stat(self) -> ObjectStatus:
        """Ask the store for the size and the time of the last change.

        Raises:
            OSError: There is no such object, or the request failed.
        """
        with requesting(self.address) as store:
            (found,) = store.get_file_info([self.address.place])
            if not found.is_file:
                raise FileNotFoundError
            return ObjectStatus.of(found)

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        """See `InputFile`."""
        return PinnedFile(self, self.stat()).open(mode)

    def exists(self) -> bool:
        """See `InputFile`."""
        return self.is_file()

    def is_file(self) -> bool:
        """See `InputFile`."""
        try:
            return self.stat() is not None
        except FileNotFoundError:
            return False

    def is_dir(self) -> bool:
        """See `InputFile`: a folder of a store has no object of its own."""
        return False


class PinnedFile:
    """One version of an object, while it is read; an `InputFile` too.

    All that is opened of it shares the blocks that are kept. It may be sent to another process, which fetches its own.

    Args:
        file: The object.
        status: The version.
    """

    def __init__(self, file: StoredFile, status: ObjectStatus) -> None:
        self._file, self._status = file, status
        self._blocks = Blocks(file.address, status.st_size)
        self.name, self.stem, self.suffix = file.name, file.stem, file.suffix

    def __reduce__(self) -> tuple[Any, ...]:
        return PinnedFile, (self._file, self._status)

    def __str__(self) -> str:
        return str(self._file)

    @property
    def failure(self) -> OSError | None:
        """Why a part of it could not be fetched; None where all of them could."""
        return self._blocks.failure

    def stat(self) -> ObjectStatus:
        """See `InputFile`: that of this version, without a request."""
        return self._status

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        """See `InputFile`."""
        reader = io.BufferedReader(RangeReader(self._blocks, str(self)))
        return cast(BinaryIO, reader)

    def exists(self) -> bool:
        """See `InputFile`."""
        return True

    def is_file(self) -> bool:
        """See `InputFile`."""
        return True

    def is_dir(self) -> bool:
        """See `InputFile`."""
        return False


@contextmanager
def pinned(file: InputFile) -> Iterator[InputFile]:
    """Keep one version of a file while it is read: of an object of a store; a file of this machine is as it is.

    At the end of the block it is known whether all of it that was read is there. It may be read further afterwards.

    Raises:
        OSError: A part of the object could not be fetched. What was concluded without that part is worth nothing, such
            as that the file is damaged.
    """
    if not isinstance(file, StoredFile):
        yield file
        return
    found = PinnedFile(file, file.stat())
    try:
        yield found
    except InputError as error:
        raise found.failure or error from None
    if found.failure:
        raise found.failure


def list_folder(folder: Address) -> dict[str, ObjectStatus]:
    """Return the objects directly in a folder by their names; none of a folder that is not there.

    This takes a request for each thousand objects.

    Raises:
        OSError: There is no such bucket, or a request failed.
    """
    return {info.base_name: ObjectStatus.of(info) for info in _listing(folder) if info.is_file}


def list_names(folder: Address) -> set[str]:
    """Return the names of the objects directly in a folder, as `list_folder` does, which takes less memory."""
    return {info.base_name for info in _listing(folder) if info.is_file}


def _listing(folder: Address) -> "list[FileInfo]":
    from pyarrow.fs import FileSelector  # takes a second

    try:
        with requesting(folder) as store:
            found: list[FileInfo] = store.get_file_info(FileSelector(folder.folder.place))
    except FileNotFoundError:
        return []
    return found


def read_object(address: Address) -> bytes:
    """Return the content of a small object.

    Raises:
        OSError: There is no such object, or a request failed.
    """

    def read(store: "FileSystem") -> bytes:
        with store.open_input_stream(address.place) as file:
            content: bytes = file.read()
        return content

    return reading(address, read)
