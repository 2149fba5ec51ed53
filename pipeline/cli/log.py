"""`framescribe log`: send what a server of MLflow has missed."""

import argparse

from pipeline.cli.console import Commands, add_command

TEXT = """
Send to MLflow what its server has missed. A training goes on where its server dies, and keeps what the server should
get in the folder mlflow_unsent of the repository. The next training or evaluation sends it too.
"""
END = """
example: MLFLOW_TRACKING_URI=http://tracker:5000 framescribe log
"""


def add(commands: Commands) -> None:
    """Add the command to the parser of `framescribe`."""
    add_command(commands, "log", "send what a server of MLflow has missed", TEXT, END).set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Send what is kept, and return the exit code: 1 where something is still kept."""
    from pipeline.tracking.unsent import send_all

    kept = send_all()
    print("\n".join(kept) or "MLflow has got everything")
    return 1 if kept else 0
