"""Loads the weights of an encoder from a file that somebody gives."""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from pipeline.errors import InputError, first_line

PUBLISHED = ("imagenet", "pretrained")  # two words for the weights that the authors of a network published


def load_file(trunk: nn.Module, path: Path, name: str, *, ignored: set[str]) -> None:
    """Load a file of weights into a trunk.

    Args:
        trunk: The trunk.
        path: The file: a state_dict, saved by torch or as safetensors.
        name: The name of the encoder, for messages.
        ignored: The names of the parts of the network that the trunk leaves out.

    Raises:
        InputError: The file is missing or broken, or does not fit the trunk.
    """
    expected = trunk.state_dict()
    known = expected.keys() | ignored
    state = {key if key in known else _own_name(key): tensor for key, tensor in _read(path).items()}
    state = {key: tensor for key, tensor in state.items() if key not in ignored}
    problems = [f"{key} is missing" for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    for key, tensor in state.items():
        if key not in expected:
            problems.append(f"{key} is not a name of this network")
        elif tensor.shape != expected[key].shape:
            problems.append(f"{key} has shape {list(tensor.shape)}, expected {list(expected[key].shape)}")
        elif not tensor.isfinite().all():
            problems.append(f"{key} holds NaN or infinity")
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise InputError(f"{path}: the weights do not fit encoder {name}: {'; '.join(problems[:5])}{more}")
    trunk.load_state_dict(state, strict=False)


def _own_name(key: str) -> str:
    """Convert a name in a published file, or in one saved from an Encoder, to the one that the network has now."""
    key = key.removeprefix("trunk.").removeprefix("network.")
    key = re.sub(r"(^|\.)_", r"\1", key)  # efficientnet_lite0: _blocks.0._bn1 -> blocks.0.bn1
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", key)  # torchvision's densenet files


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such weights file") from error
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError, SafetensorError) as error:
        raise InputError(f"{path}: not a file of weights that can be loaded safely ({first_line(error)})") from error
    if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise InputError(f"{path}: not a state_dict: expected tensors by name, and nothing else, in the file")
    return state
