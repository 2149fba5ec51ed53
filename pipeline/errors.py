"""The error for bad input, as opposed to a defect of the program."""


class InputError(ValueError):
    """Bad input from the user.

    The message is one plain sentence, or one per line: the file, the value that was found, the likely cause. The
    command line prints it without a traceback. Any other exception is a defect of the program.
    """


def describe_os_error(error: OSError) -> str:
    """Describe an error of the system for the user: the file and the reason, without Python's error number."""
    path = error.filename2 or error.filename
    reason = error.strerror or type(error).__name__
    return f"cannot read or write {path} ({reason})" if path else f"cannot read or write ({reason})"
