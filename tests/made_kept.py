"""What workers keep in a cluster, without a cluster."""

from typing import Any

from pipeline.fleet.cluster import KeptLostError


class KeptHere:
    """Features that are kept in this process, instead of `Kept`, or are lost."""

    def __init__(self, features: Any, *, is_lost: bool) -> None:
        self._features, self._is_lost = features, is_lost

    def get(self) -> Any:
        if self._is_lost:
            raise KeptLostError
        return self._features
