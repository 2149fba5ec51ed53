"""Objects of stores are written whole or not at all: an object appears when its last byte has arrived."""

from pathlib import Path

from pipeline.stores.address import Address
from pipeline.stores.connection import requesting


def write_object(address: Address, source: Path) -> None:
    """Copy a file of this machine into a store, and replace what is there.

    Raises:
        OSError: A request failed.
    """
    from pyarrow import memory_map

    content = b""
    if source.stat().st_size:  # an empty file cannot be mapped
        content = memory_map(str(source)).read_buffer()
    put(address, content)


def put(address: Address, content: bytes) -> None:
    """Write an object.

    Raises:
        OSError: A request failed.
    """
    with requesting(address) as store, store.open_output_stream(address.place) as file:
        file.write(content)


def remove_object(address: Address) -> None:
    """Remove an object that is there.

    Raises:
        OSError: A request failed.
    """
    with requesting(address) as store:
        store.delete_file(address.place)
