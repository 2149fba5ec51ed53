"""The networks of torchvision."""

from torch import nn

from pipeline.errors import InputError, first_line
from pipeline.models.encoders.efficientnet_lite import LITE0
from pipeline.models.encoders.encoder import Normalization


def torchvision_network(name: str, *, downloads: bool) -> tuple[nn.Module, Normalization]:
    """Make a classification network of torchvision.

    Args:
        name: Its name in torchvision.models.
        downloads: Whether it gets its published weights. Otherwise they are random.

    Returns:
        The network, and the images that it expects.

    Raises:
        InputError: The weights could not be downloaded.
    """
    import torchvision

    # Torchvision sets these options with its own weights of the two networks, and not without weights, where it warns.
    options = {"transform_input": True, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    try:
        model = torchvision.models.get_model(name, weights="DEFAULT" if downloads else None, **options)
    except (OSError, RuntimeError) as error:
        if not downloads:
            raise
        raise InputError(
            f"the ImageNet weights of {name} could not be downloaded ({first_line(error)}): connect to the internet "
            f"once, give the path of a weights file, or take {LITE0}, whose weights are installed"
        ) from error
    preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    side = getattr(model, "image_size", preset.crop_size[0])  # a vision transformer has a fixed size
    return model, Normalization(tuple(preset.mean), tuple(preset.std), (side, side))
