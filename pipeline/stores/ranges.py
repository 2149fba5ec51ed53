"""Reading an object of a store by ranges, as a file.

Demuxers and the checks of containers read small parts, here and there. An object is therefore fetched in blocks, of
which the latest are kept, and the next block is fetched while the current one is used. A file that fits into the kept
blocks is fetched once, though it is opened several times; of a larger one each pass fetches its blocks again.
"""

import io
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from pipeline.stores.address import Address
from pipeline.stores.connection import reading

if TYPE_CHECKING:
    from pyarrow import NativeFile
    from pyarrow.fs import FileSystem

BLOCK_BYTES = 4 << 20
MAX_BLOCKS = 8  # 32 MiB for each object that is read


class Blocks:
    """The blocks of one version of an object.

    After a request has failed, every later one fails too. Otherwise FFmpeg would go on behind the bytes that it did not
    get, and call the file damaged.

    Args:
        address: The object.
        size: Its size in bytes.

    Attributes:
        failure: Why a request failed; None where none did.
    """

    def __init__(self, address: Address, size: int) -> None:
        self.size = size
        self.failure: OSError | None = None
        self._address = address
        self._lock = threading.Lock()
        self._blocks: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._last = -1
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="ranges")
        self._file: NativeFile | None = None

    def read(self, place: int) -> memoryview:
        """Return the bytes from a place to the end of its block.

        Raises:
            OSError: This request failed, or an earlier one.
        """
        if self.failure:
            raise self.failure
        index, start = divmod(place, BLOCK_BYTES)
        with self._lock:
            block = self._fetched(index)
            if index == self._last + 1 and index and (index + 1) * BLOCK_BYTES < self.size:
                self._fetched(index + 1)
            self._last = index
        try:
            return memoryview(block.result())[start:]
        except OSError as error:
            self.failure = error
            raise

    def _fetched(self, index: int) -> "Future[bytes]":
        """Return a block that is there or on its way, and forget the one that was not used for longest."""
        if index not in self._blocks:
            self._blocks[index] = self._threads.submit(self._fetch, index)
        self._blocks.move_to_end(index)
        if len(self._blocks) > MAX_BLOCKS:
            self._blocks.popitem(last=False)
        return self._blocks[index]

    def _fetch(self, index: int) -> bytes:
        start = index * BLOCK_BYTES
        expected = min(BLOCK_BYTES, self.size - start)

        def read(store: "FileSystem") -> bytes:
            file = self._file = self._file or store.open_input_file(self._address.place)
            content: bytes = file.read_at(expected, start)
            return content

        content = reading(self._address, read)
        if len(content) < expected:
            raise OSError(0, f"it became shorter than {self.size} bytes while it was read", str(self._address))
        return content


class RangeReader(io.RawIOBase):
    """An object of a store as an open file.

    Args:
        blocks: Its blocks, which several readers may share.
        name: The address: FFmpeg looks at the suffix.
    """

    def __init__(self, blocks: Blocks, name: str) -> None:
        self.name = name
        self._blocks, self._place = blocks, 0

    def readable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def seekable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def tell(self) -> int:
        """See `io.RawIOBase`."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.RawIOBase`. A place before the start is the start: FFmpeg asks for the last byte of an empty file."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._blocks.size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def readinto(self, buffer: "bytearray | memoryview", /) -> int:  # type: ignore[override]
        """See `io.RawIOBase`; the bytes are of one block."""
        if self._place >= self._blocks.size:
            return 0
        found = self._blocks.read(self._place)[: len(buffer)]
        buffer[: len(found)] = found
        self._place += len(found)
        return len(found)
