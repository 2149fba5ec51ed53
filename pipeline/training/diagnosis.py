"""The figures that training keeps of the gradient's way back through time, epoch by epoch, and when to warn.

L layers, D directions, G gates.
"""

from collections.abc import Sequence
from typing import TypedDict


class Diagnosis(TypedDict):
    """The diagnosis of one epoch, in plain types, which is kept with the training's state.

    Attributes:
        norms: [L][D][k], the norms of dL/dh at the frame that the loss reads and 1, 2, .. frames from it, as in
            `GradientFlow`.
        radii: [L][D][G], the spectral radius of W_hh, the largest of the heads.
        gates: The names of the G gates.
        factor: The factor by which the norms change with each frame, where they last longest.
        verdict: healthy, vanishing or exploding.
        warning: The warning in words; empty where the verdict is healthy.
    """

    norms: list[list[list[float]]]
    radii: list[list[list[float]]]
    gates: list[str]
    factor: float
    verdict: str
    warning: str


def scores_of(diagnosis: Diagnosis) -> dict[str, float]:
    """Return the scores that are logged; spectral_radius is the largest of all layers, directions and gates."""
    return {
        "rnn/gradient_factor": diagnosis["factor"],
        "rnn/spectral_radius": max(max(gates) for layer in diagnosis["radii"] for gates in layer),
    }


def due_warning(diagnoses: Sequence[Diagnosis]) -> str | None:
    """Return the warning of the last epoch, if it is the first to confirm the epoch before it; else None.

    One epoch is not enough for a warning: gated cells begin with gates half open, and learn within an epoch or two to
    keep them open (docs/explained/rnn.md).

    Args:
        diagnoses: The diagnoses of all epochs, in order.
    """
    verdicts = [diagnosis["verdict"] for diagnosis in diagnoses]
    confirmed = [i for i in range(1, len(verdicts)) if verdicts[i - 1] == verdicts[i] != "healthy"]
    return diagnoses[-1]["warning"] if confirmed and confirmed[0] == len(verdicts) - 1 else None
