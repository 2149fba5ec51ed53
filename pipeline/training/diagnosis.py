"""What training keeps of the gradient's way back through time, epoch by epoch: the figures, and when to warn.

L layers, D directions, G gates.
"""

from collections.abc import Sequence
from typing import TypedDict


class Diagnosis(TypedDict):
    """Of one epoch, in plain types, to be kept with the training's state.

    norms   [L][D][k]  of dL/dh at the frame that the loss reads and 1, 2, .. frames from it, as in GradientFlow
    radii   [L][D][G]  spectral radius of W_hh, the largest of the heads
    factor  by which norms change with each frame, where they last longest
    """

    norms: list[list[list[float]]]
    radii: list[list[list[float]]]
    gates: list[str]
    factor: float
    verdict: str
    warning: str


def scores_of(diagnosis: Diagnosis) -> dict[str, float]:
    """What is logged of each epoch; spectral_radius is the largest of all layers, directions and gates."""
    return {
        "rnn/gradient_factor": diagnosis["factor"],
        "rnn/spectral_radius": max(max(gates) for layer in diagnosis["radii"] for gates in layer),
    }


def due_warning(diagnoses: Sequence[Diagnosis]) -> str | None:
    """The warning of the last epoch, if it is the first to confirm the epoch before it.

    One epoch is no ground for it: gated cells begin with gates half open, and learn within an epoch or two to keep them
    open (docs/explained/rnn.md).
    """
    verdicts = [diagnosis["verdict"] for diagnosis in diagnoses]
    confirmed = [i for i in range(1, len(verdicts)) if verdicts[i - 1] == verdicts[i] != "healthy"]
    return diagnoses[-1]["warning"] if confirmed and confirmed[0] == len(verdicts) - 1 else None
