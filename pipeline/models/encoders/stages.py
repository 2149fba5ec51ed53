"""The stages of a network, from its input to its features: from where on it is trained, and how fast each stage is.

Stages are found by the names of parameters, so that they have the names that their network gives them, such as layer4
of a ResNet, stages.3 of a ConvNeXt and blocks.11 of a vision transformer.
"""

from itertools import groupby
from typing import Any

from torch import nn

from pipeline.errors import InputError


def stages_of(network: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Return the parameters of each stage, in the order of the network.

    A stage is named by the path to its first part with a digit: layer1.0.conv1.weight belongs to layer1, and
    blocks.3.attn.qkv.weight to blocks.3. Without a digit it is named by the first part. What has no matrix of weights,
    such as a norm between stages or an embedding of positions, belongs to the stage before it, or to the first one.
    """
    named = list(network.named_parameters())
    if all(name.startswith("network.") for name, _ in named):  # a FeatureMap
        named = [(name.removeprefix("network."), parameter) for name, parameter in named]
    stages: dict[str, list[nn.Parameter]] = {}
    waiting: list[nn.Parameter] = []
    for unit, run in groupby(named, key=lambda item: _unit(item[0])):
        members = list(run)
        parameters = [parameter for _, parameter in members]
        if any(parameter.ndim > 1 and "weight" in name.split(".")[-1] for name, parameter in members):
            stages.setdefault(unit, []).extend(waiting + parameters)
            waiting = []
        else:
            (list(stages.values())[-1] if stages else waiting).extend(parameters)
    return stages


def _unit(name: str) -> str:
    parts = name.split(".")[:-1] or [name]
    first = next((index for index, part in enumerate(parts) if any(map(str.isdigit, part))), 0)
    return ".".join(parts[: first + 1])


def fix_before(network: nn.Module, stage: str) -> list[nn.Module]:
    """Exclude from training all stages before one.

    Args:
        network: The network.
        stage: The name of the first stage that is trained.

    Returns:
        The parts of the network that are not trained at all. Keep them in evaluation mode: batch norms and dropout are
        then fixed too.

    Raises:
        InputError: The network has no stage of this name.
    """
    stages = stages_of(network)
    if stage not in stages:
        raise InputError(f"train_from: got {stage!r}, expected a stage of this network: {', '.join(stages)}")
    for name, parameters in stages.items():
        if name == stage:
            break
        for parameter in parameters:
            parameter.requires_grad_(False)
    return [part for part in network.modules() if _is_fixed(part)]


def _is_fixed(part: nn.Module) -> bool:
    parameters = list(part.parameters())
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)


def rate_groups(network: nn.Module, *, rate: float, decay: float) -> list[dict[str, Any]]:
    """Return the parameters that are trained, as torch.optim takes them, with lower rates for earlier stages.

    The rate is rate * decay^d, where d is the number of later stages ("BEiT: BERT Pre-Training of Image Transformers",
    Bao et al. 2021, arXiv 2106.08254, calls it layer-wise learning rate decay).

    Args:
        network: The network.
        rate: The learning rate of the last stage.
        decay: The factor from one stage to the one before it; 1 for the same rate everywhere.
    """
    stages = list(stages_of(network).values())
    by_rate: dict[float, list[nn.Parameter]] = {}
    for index, parameters in enumerate(stages):
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        if trained:
            by_rate.setdefault(rate * decay ** (len(stages) - 1 - index), []).extend(trained)
    return [{"params": parameters, "lr": own_rate} for own_rate, parameters in by_rate.items()]
