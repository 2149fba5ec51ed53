"""Reading and writing of a checkpoint folder: its JSON description and its weights.

`checkpoint.json` describes the model and names the run that made it. `weights.safetensors` contains its tensors and
nothing else.
"""

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import nn

from pipeline.config.section import Section
from pipeline.errors import InputError
from pipeline.files import check_is_regular, read_bounded, replacing

KINDS = ("labeller", "captioner")
SPEC, ENCODER_SPEC, WEIGHTS = "checkpoint.json", "encoder.json", "weights.safetensors"
MAX_SPEC_BYTES = 1 << 24  # a vocabulary of 100,000 words takes 2 MB
MAX_WEIGHTS_BYTES = 1 << 33  # the largest network of torchvision takes 2.6 GB
SpecType = TypeVar("SpecType", bound=Section)


class Lineage(Section):
    """The origin of a model.

    Attributes:
        run_id: The MLflow run that made it.
        git_commit: The commit of the code.
        data_fingerprint: The digest of the data that it was trained on.
        dvc_experiment: The name of the DVC experiment; None outside of one.
    """

    run_id: str
    git_commit: str
    data_fingerprint: str
    dvc_experiment: str | None


def save_spec(folder: Path, spec: Section) -> None:
    """Write checkpoint.json, completely or not at all."""
    with replacing(folder / SPEC) as path:
        path.write_text(spec.model_dump_json(indent=1) + "\n")


def read_spec(folder: Path, spec: type[SpecType], *, kind: str) -> SpecType:
    """Read the checkpoint.json of a model.

    Args:
        folder: The checkpoint.
        spec: The class that describes such a checkpoint.
        kind: The kind of the model, "labeller" or "captioner".

    Raises:
        InputError: There is no checkpoint.json, or it is broken, or its model is of another kind.
    """
    text = _read_spec_text(folder)
    found = _kind(text)
    if found not in (None, kind):
        raise InputError(f"{folder}: holds a {found}, expected a {kind}: was another model meant?")
    return parse_spec(spec, text, folder / SPEC)


def read_kind(folder: Path) -> str:
    """Return the kind of the model in a checkpoint, "labeller" or "captioner".

    A broken checkpoint counts as a labeller: loading it reports what is wrong with it.

    Raises:
        InputError: The folder is not a checkpoint.
    """
    return _kind(_read_spec_text(folder)) or "labeller"


def _read_spec_text(folder: Path) -> str:
    missing = f"{folder}: is not a checkpoint, it has no {SPEC}: train one with `dvc repro`"
    return read_text(folder / SPEC, missing=missing if folder.exists() else f"{folder}: no such folder")


def _kind(text: str) -> str | None:
    """Return the kind of the model that a checkpoint.json describes, one of KINDS; None where it is broken.

    A description without a kind is older than captioners, and describes a labeller.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):  # also a number of too many digits, or brackets within brackets
        return None
    kind = fields.get("kind", KINDS[0]) if isinstance(fields, dict) else None
    return kind if kind in KINDS else None


def read_text(path: Path, *, missing: str) -> str:
    """Read a text file in UTF-8.

    Args:
        path: The file.
        missing: The message of the error where the file is missing.

    Raises:
        InputError: The file is missing, is not text, or is not a file that a checkpoint can have.
    """
    try:
        return read_bounded(path, max_bytes=MAX_SPEC_BYTES).decode()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(missing) from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not text: was it overwritten, or cut short?") from None


def parse_spec(kind: type[SpecType], text: str, path: Path) -> SpecType:
    """Parse the JSON description of a model or an encoder.

    Args:
        kind: The class of the description.
        text: The JSON.
        path: The file that it was read from, for messages.

    Raises:
        InputError: The description does not have the fields of `kind`; the message lists the first three problems.
    """
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc']))} {e['msg']}".strip() for e in error.errors()]
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise InputError(f"{path}: is not of this version, or was changed: {'; '.join(problems[:3])}{more}") from None


def save_weights(folder: Path, modules: dict[str, nn.Module]) -> None:
    """Write the tensors of several modules into one file.

    Args:
        folder: The checkpoint.
        modules: The modules by name. Each tensor's name is prefixed with that of its module.
    """
    _write_tensors(folder, _named_tensors(modules))


def add_weights(folder: Path, modules: dict[str, nn.Module]) -> None:
    """Add the tensors of modules to a file that `save_weights` wrote, and replace those of the same modules.

    Raises:
        InputError: The file is missing or broken.
    """
    with _reading(folder / WEIGHTS):
        tensors = load_file(folder / WEIGHTS)
    kept = {name: tensor for name, tensor in tensors.items() if name.split(".")[0] not in modules}
    _write_tensors(folder, kept | _named_tensors(modules))


def _named_tensors(modules: dict[str, nn.Module]) -> dict[str, torch.Tensor]:
    """Return the tensors of modules, each with the name of its module before its own."""
    return {
        f"{prefix}.{name}": tensor.detach().cpu().contiguous()
        for prefix, module in modules.items()
        for name, tensor in module.state_dict().items()
    }


def _write_tensors(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    with replacing(folder / WEIGHTS) as path:
        path.write_bytes(save(tensors))  # the save_file of safetensors makes files that only their owner can read


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what reading a file of weights raises into an InputError, and refuse what is not such a file."""
    try:
        check_is_regular(path, max_bytes=MAX_WEIGHTS_BYTES)
        yield
    except FileNotFoundError:
        raise InputError(f"{path}: is missing: the checkpoint is not whole") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, expected a file of weights") from None
    except SafetensorError as error:
        raise InputError(f"{path}: cannot be read ({error}): was it cut short?") from None


def count_weights(folder: Path, module: str) -> int:
    """Return how many numbers the file of weights has for a module. None of them is read.

    Args:
        folder: The checkpoint.
        module: The name of the module, see `save_weights`.

    Raises:
        InputError: The file is missing or broken.
    """
    with _reading(folder / WEIGHTS), safe_open(folder / WEIGHTS, framework="pt") as file:
        names = [name for name in file.keys() if name.startswith(f"{module}.")]  # noqa: SIM118  it is not a mapping
        return sum(math.prod(file.get_slice(name).get_shape()) for name in names)


def check_num_weights(folder: Path, module: str, described: int) -> None:
    """Check, before a module is built, that its file of weights is as large as its description says.

    A description that somebody changed could otherwise ask for more memory than there is.

    Args:
        folder: The checkpoint.
        module: The name of the module, see `save_weights`.
        described: How many numbers a module of this description has at least.

    Raises:
        InputError: The file has fewer numbers, or is missing or broken.
    """
    stored = count_weights(folder, module)
    if described > stored:
        raise InputError(
            f"{folder / WEIGHTS}: does not fit the model that is described beside it: it has {stored} weights of the"
            f" {module}, expected at least {described}: was {SPEC} changed?"
        )


def _are_zero(prefix: str, names: Iterable[str], tensors: dict[str, torch.Tensor]) -> bool:
    """Tell whether a module has tensors and none of them has another number than 0."""
    own = [tensors[name] for name in names if name.startswith(f"{prefix}.") and name in tensors]
    return bool(own) and not any(bool((tensor != 0).any()) for tensor in own)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def load_weights(folder: Path, modules: dict[str, nn.Module]) -> None:
    """Load the tensors that `save_weights` wrote, strictly.

    Numbers of another precision, such as float16 and float64, are converted. No other kind of numbers is.

    Args:
        folder: The checkpoint.
        modules: The modules by name. Tensors of other modules in the file are ignored.

    Raises:
        InputError: The file is missing or broken, or does not fit the modules.
    """
    path = folder / WEIGHTS
    with _reading(path):
        tensors = load_file(path)
    expected = _named_tensors(modules)
    problems = [f"{name} is missing" for name in expected if name not in tensors]
    strays = [name for name in tensors if name not in expected and name.split(".")[0] in modules]
    problems += [f"{name} is not part of the model" for name in strays]
    for name in expected.keys() & tensors.keys():
        if tensors[name].shape != expected[name].shape:
            problems.append(f"{name} has shape {list(tensors[name].shape)}, expected {list(expected[name].shape)}")
        elif (found := tensors[name].dtype) != (dtype := expected[name].dtype) and not (
            found.is_floating_point and dtype.is_floating_point
        ):
            problems.append(f"{name} holds {_name(found)}, expected {_name(dtype)}")
        elif not tensors[name].isfinite().all():
            problems.append(f"{name} holds NaN or infinity")
        elif not tensors[name].to(dtype).isfinite().all():
            problems.append(f"{name} holds numbers that are too large for {_name(dtype)}")
    problems += [f"all weights of the {prefix} are 0" for prefix in modules if _are_zero(prefix, expected, tensors)]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        shown = "; ".join(sorted(problems)[:3])
        raise InputError(f"{path}: does not fit the model that is described beside it: {shown}{more}")
    for prefix, module in modules.items():
        start = f"{prefix}."
        module.load_state_dict({name.removeprefix(start): tensors[name] for name in expected if name.startswith(start)})
