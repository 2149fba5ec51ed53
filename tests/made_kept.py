"""What workers keep in a cluster, without a cluster."""

from typing import Any

from pipeline.fleet.cluster import KeptLostError


class KeptHere:
    """Features that are kept in this process, instead of `Kept`, or are lost."""

    def __init__(self, features: Any, *, is_lost: bool, returns: bool = False) -> None:
        self._features, self._is_lost, self._returns = features, is_lost, returns

    def get(self) -> Any:
        if self._is_lost:
            self._is_lost = not self._returns
            raise KeptLostError
        return self._features
