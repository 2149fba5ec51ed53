"""The one error that means: the input is at fault, not the program."""


class InputError(ValueError):
    """Bad input from the user. The message is one plain sentence (or one a line): file, what was got, likely cause.

    The command line prints the message without a traceback; anything else that is raised is a defect of ours.
    """


def describe_os_error(error: OSError) -> str:
    """What the system refused, in words for the user: file and reason, without Python's error number."""
    path = error.filename2 or error.filename
    reason = error.strerror or type(error).__name__
    return f"cannot read or write {path} ({reason})" if path else f"cannot read or write ({reason})"
