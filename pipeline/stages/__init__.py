"""The stages of dvc.yaml, one module for each, with the name of the stage."""

import sys
from collections.abc import Callable

from pipeline.errors import InputError


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage; bad input ends it with plain sentences and exit code 2 instead of a traceback."""
    try:
        main()
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
