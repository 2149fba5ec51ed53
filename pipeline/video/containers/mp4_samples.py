"""The sample tables of mp4 and mov files: where in the file the last frame ends."""

import struct
from collections.abc import Iterator

import numpy as np

from pipeline.video.containers.errors import BrokenStructure

_FULL_BOX_BYTES = 4  # version and flags, at the start of each table


def end_of_samples(moov: bytes) -> int:
    """Return the end of the last sample of all tracks, in bytes from the start of the file; 0 where there is none.

    A sample is a frame, or a piece of sound or text. Chunks hold consecutive samples of one track (ISO/IEC 14496-12,
    8.7): `stco` or `co64` says where each begins, `stsc` how many samples it has, `stsz` the size of each sample.

    Args:
        moov: The content of the box `moov`.

    Raises:
        BrokenStructure: The times of samples are missing.
        struct.error, ValueError, IndexError: A table is damaged.
    """
    return max((_end_of_track(track) for name, track in _children(moov) if name == b"trak"), default=0)


def _end_of_track(track: bytes) -> int:
    media = dict(_children(_descend(track, b"mdia")))
    tables = dict(_children(_descend(media.get(b"minf", b""), b"stbl")))
    if b"stsz" not in tables or b"stsc" not in tables or not tables.keys() & {b"stco", b"co64"}:
        return 0
    starts = _array(tables[b"co64"], ">u8") if b"co64" in tables else _array(tables[b"stco"], ">u4")
    runs = _array(tables[b"stsc"], ">u4", columns=3)  # first chunk, samples of each chunk, description
    fixed_size, num_samples = struct.unpack_from(">II", tables[b"stsz"], _FULL_BOX_BYTES)
    if not len(starts) or not len(runs) or not num_samples:
        return 0
    if b"mdhd" not in media or b"stts" not in tables:
        raise BrokenStructure("is damaged: a box with the times of its samples (mdhd, stts) is missing")
    num_times = int(_array(tables[b"stts"], ">u4", columns=2)[:, 0].sum(dtype=np.int64))
    if num_times < num_samples:
        raise BrokenStructure(f"is damaged: {num_samples} samples have only {num_times} times")
    lengths = np.diff(runs[:, 0].astype(np.int64), append=len(starts) + 1).clip(min=0)
    stops = np.cumsum(np.repeat(runs[:, 1].astype(np.int64), lengths)[: len(starts)]).clip(max=num_samples)
    if fixed_size:
        ends = stops * fixed_size
    else:
        sizes = np.frombuffer(tables[b"stsz"], ">u4", num_samples, _FULL_BOX_BYTES + 8)
        ends = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])[stops]
    sizes_of_chunks = np.diff(ends, prepend=0)
    used = sizes_of_chunks > 0
    return int((starts[: len(used)][used].astype(np.int64) + sizes_of_chunks[used]).max(initial=0))


def _array(table: bytes, kind: str, *, columns: int = 1) -> np.ndarray:
    """Return the entries of a table, [entries] or [entries, columns]."""
    (num_entries,) = struct.unpack_from(">I", table, _FULL_BOX_BYTES)
    entries = np.frombuffer(table, kind, num_entries * columns, _FULL_BOX_BYTES + 4)
    return entries if columns == 1 else entries.reshape(-1, columns)


def _descend(content: bytes, *names: bytes) -> bytes:
    for name in names:
        content = dict(_children(content)).get(name, b"")
    return content


def _children(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the type and the content of the boxes in a box."""
    start = 0
    while start + 8 <= len(content):
        size, name = struct.unpack_from(">I4s", content, start)
        header = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", content, start + 8)
            header = 16
        end = len(content) if size == 0 else start + size
        if end < start + header:
            return
        yield name, content[start + header : end]
        start = end
