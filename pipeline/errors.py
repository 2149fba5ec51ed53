"""The error for bad input, as opposed to a defect of the program, and how failures are described to the user."""

import errno
import os
import stat
import time
import traceback
from pathlib import Path

ERROR_LOG = "framescribe_errors.log"  # in the folder that a command writes into
REASONS = {
    errno.ENOENT: "there is no such file or folder",
    errno.EACCES: "you have no permission",
    errno.EPERM: "you have no permission",
    errno.EROFS: "the disk can only be read",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your share of the disk is full",
    errno.EIO: "the disk reports an error",
    errno.EISDIR: "it is a folder",
    errno.ENOTDIR: "a file is in the place of a folder",
    errno.EEXIST: "something else is there",
    errno.ELOOP: "its links lead in a circle",
    errno.ENAMETOOLONG: "its name is too long",
    errno.EMFILE: "too many files are open",
    errno.ENFILE: "too many files are open",
    errno.ESTALE: "the network drive has lost it",
}
MAX_CAUSE = 200  # characters of another library's message


class InputError(ValueError):
    """Bad input from the user.

    The message is one plain sentence, or one per line: the file, the value that was found, the likely cause. The
    command line prints it without a traceback. Any other exception is a defect of the program.
    """


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def describe_reason(error: OSError) -> str:
    """Say in plain words why the system refused a file, as a part of a sentence."""
    return REASONS.get(error.errno or 0) or error.strerror or type(error).__name__


def describe_os_error(error: OSError) -> str:
    """Describe an error of the system for the user: the file and the reason, without Python's error number."""
    path = error.filename2 or error.filename
    reason = describe_reason(error)
    return f"cannot read or write {path} ({reason})" if path else f"cannot read or write ({reason})"


def name_failure(path: object, what: str, error: Exception, log_folder: Path) -> str:
    """Say in one sentence which file failed, and why.

    Args:
        path: The file, whose text names it.
        what: What could not be done with it, such as "could not be labelled".
        error: What was raised. An InputError names its file itself.
        log_folder: See `describe_failure`.
    """
    if isinstance(error, InputError):
        return str(error)
    return f"{path}: {what}: {describe_failure(error, log_folder)}"


def describe_failure(error: Exception, log_folder: Path) -> str:
    """Describe in one sentence why one file failed, whatever was raised.

    Args:
        error: An InputError and an error of the system explain themselves. Of any other error, which may be a defect of
            this program or of a library, the traceback is appended to a log file.
        log_folder: The folder of the log file.

    Returns:
        The cause, without the name of the file that failed unless the error names it.
    """
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError):
        return describe_os_error(error)
    log = log_folder / ERROR_LOG
    lines = str(error).strip().splitlines()
    cause = f"{type(error).__name__}: {lines[0][:MAX_CAUSE]}" if lines else type(error).__name__
    if isinstance(error, MemoryError):
        cause = "there was not enough memory"
    elif isinstance(error, RecursionError):
        cause = "it is nested too deeply"
    try:
        _append(log, f"{time.strftime('%Y-%m-%d %H:%M:%S')}\n{''.join(traceback.format_exception(error))}\n")
    except (OSError, MemoryError):  # a full disk, or a folder in its place: the cause is known without the log
        return cause
    return f"{cause} (the traceback is in {log})"


def _append(path: Path, text: str) -> None:
    """Append to a file, but not through a link, and not to a pipe."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with open(os.open(path, flags, 0o666), "a", encoding="utf-8", errors="backslashreplace") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{path} is not a regular file")
        file.write(text)
