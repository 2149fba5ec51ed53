"""The claim of one studio on a data set, so that no second one changes the same files."""

import getpass
import json
import os
import socket
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.errors import describe_reason
from pipeline.files import read_bounded, replacing
from pipeline.studio.places import Places

UNWRITABLE = "the data set cannot be written, and edits that are not in the label files yet are not shown"
LOCK, HOLDER = "lock", "open.json"
MAX_HOLDER = 10_000  # bytes


def claim(places: Places, scratch: Path, stack: ExitStack) -> Places:
    """Claim a data set until the stack ends. Where another studio has it, or it cannot be written, nothing is changed.

    Args:
        places: The folders.
        scratch: Where a studio that changes nothing keeps its caches.
        stack: It ends the claim.

    Returns:
        The folders, with the reason where nothing can be changed.
    """
    if places.read_only:
        return places
    try:
        places.state.mkdir(exist_ok=True)
        links = [path.name for path in (places.state, *places.state.iterdir()) if path.is_symlink()]
        if links:
            reason = f"{links[0]} in the data set is a link, and what is behind it is not changed: remove the link"
            return replace(places, state=scratch, read_only=reason)
        stack.enter_context(FileLock(places.state / LOCK, timeout=0).acquire())
        with replacing(places.state / HOLDER) as temporary:
            temporary.write_text(json.dumps({"who": _who(), "since": time.time()}) + "\n", encoding="utf-8")
    except Timeout:
        reason = f"{_describe_holder(places.state / HOLDER)} has this data set open in another studio"
        return replace(places, state=scratch, read_only=reason)
    except OSError as error:
        return replace(places, state=scratch, read_only=f"{UNWRITABLE} ({describe_reason(error)})")
    stack.callback((places.state / HOLDER).unlink, missing_ok=True)
    return places


def _who() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container may have no name for its user
        name = f"user {os.getuid()}"
    return f"{name} on {socket.gethostname()}"


def _describe_holder(path: Path) -> str:
    try:
        holder = json.loads(read_bounded(path, max_bytes=MAX_HOLDER))
        since = time.strftime("%H:%M on %d %B", time.localtime(float(holder["since"])))
        return f"{holder['who']} (since {since})"
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return "somebody"
