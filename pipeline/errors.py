"""The one error that means: the input is at fault, not the program."""


class InputError(ValueError):
    """Bad input from the user. The message is one plain sentence (or one a line): file, what was got, likely cause.

    The command line prints the message without a traceback; anything else that is raised is a defect of ours.
    """
