"""`python -m pipeline.cli`, which is the same as `framescribe`."""

import sys

from pipeline.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
