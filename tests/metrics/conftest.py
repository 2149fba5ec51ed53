"""What tests of scores compare with."""

from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """The scores of scikit-learn; importing them takes seconds."""
    return pytest.importorskip("sklearn.metrics")
