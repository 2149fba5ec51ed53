"""`framescribe compare`: the runs of a hyper-parameter search as a table."""

import argparse

from pipeline.cli.console import Commands, add_command

TEXT = """
Compare the runs that have the name of one search, `dvc exp run --queue -S search=NAME ...`: one row for each, with
the settings in which they differ and its scores in percent, the best on the validation split first. The mean and the
standard deviation follow; they are also logged into the search's own run in MLflow.
"""
END = """
example: framescribe compare cross-validation
"""


def add(commands: Commands) -> None:
    """Add the command to the parser of `framescribe`."""
    compare = add_command(commands, "compare", "compare the runs of a hyper-parameter search", TEXT, END)
    compare.add_argument("search", metavar="NAME", help="what the setting `search` was set to")
    compare.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the table of the runs, and return the exit code."""
    from pipeline.tracking.compare import compare

    print(compare(options.search))
    return 0
