"""What is known of a training that was not finished, so that the next start resumes it.

`dvc exp run` begins by restoring what DVC has in its cache, so that it would remove the state from which a training
resumes. `dvc repro` leaves it, and takes params.yaml as it is. So an unfinished training is resumed by `dvc repro`,
where params.yaml is still what `dvc exp run` has made of the same command.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import InputError
from pipeline.files import read_bounded, replacing

UNFINISHED = "training.json"  # in the folder of the studio's state
MAX_BYTES = 1 << 20
RESUMED = ("repro", "evaluate_labeller")  # arguments of dvc


class Unfinished:
    """The note of an unfinished training.

    Args:
        state: The folder of the studio's state.
        params: The params.yaml of the project.
    """

    def __init__(self, state: Path, params: Path) -> None:
        self._path, self._params = state / UNFINISHED, params

    def note(self, command: Sequence[str]) -> None:
        """Remember that a command has begun, whose settings are in params.yaml by now."""
        with replacing(self._path) as temporary:
            temporary.write_text(json.dumps(self._content(command)) + "\n", encoding="utf-8")

    def forget(self) -> None:
        """Remember that there is no unfinished training."""
        self._path.unlink(missing_ok=True)

    def is_of(self, command: Sequence[str]) -> bool:
        """Return whether a command was begun and not finished, and its settings are still those of params.yaml."""
        try:
            content = json.loads(read_bounded(self._path, max_bytes=MAX_BYTES))
        except (OSError, ValueError, InputError):
            return False
        return bool(content == self._content(command))

    def _content(self, command: Sequence[str]) -> dict[str, object]:
        try:
            params = hashlib.sha256(read_bounded(self._params, max_bytes=MAX_BYTES)).hexdigest()
        except (OSError, InputError):
            params = ""
        return {"arguments": list(command[1:]), "params": params}
