"""The place of a trained model: its checkpoint folder, named by a path or by a URI of MLflow."""

from pathlib import Path

from pipeline.stores.address import WITH_SCHEME, check_model_address, is_address, parse_address

MLFLOW_SCHEMES = ("models:", "runs:", "mlflow-artifacts:", "file:", "s3:", "gs:", "http:", "https:")


def find_checkpoint(location: str) -> Path:
    """Find a checkpoint folder.

    Args:
        location: The folder, or an MLflow URI.

    Raises:
        InputError: MLflow has no such model, or the address is not valid.
    """
    if is_address(location):
        parse_address(location)
    elif WITH_SCHEME.match(location):
        check_model_address(location)
    if not location.startswith(MLFLOW_SCHEMES):
        return Path(location)
    from pipeline.tracking.models import fetch_checkpoint  # mlflow takes seconds to import

    return fetch_checkpoint(location)


def find_exports(location: str) -> Path | None:
    """Find the folder that keeps the encoder of such a model, exported for a CPU: beside its checkpoint folder.

    None for an MLflow URI: its folder may be MLflow's own, or gone when this call ends.
    """
    from pipeline.encoding.runtime import exports_beside  # torch takes a second and 300 MB

    return None if location.startswith(MLFLOW_SCHEMES) else exports_beside(Path(location))
