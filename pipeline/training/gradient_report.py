"""What training tells, epoch by epoch, of the gradient's way back through time: see `pipeline.rnn.diagnostics`.

L layers, D directions, G gates.
"""

from collections.abc import Sequence
from typing import TypedDict

from pipeline.datasets.windows import Batch
from pipeline.models.labeller import Labeller
from pipeline.training.losses import masked_cross_entropy

GATED = ("gru", "lstm")


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


def diagnose(labeller: Labeller, cell: str, batch: Batch) -> Diagnosis | None:
    """Of the labeller as it is, in eval mode; None without a recurrent network. `cell` is told in the warning."""
    device = labeller.classifier.weight.device
    labels = batch.labels.to(device)
    flow = labeller.gradient_flow(
        batch.inputs.to(device), lambda logits: masked_cross_entropy(logits, labels), lengths=batch.lengths
    )
    if flow is None:
        return None
    return {
        "norms": flow.norms.tolist(),
        "radii": flow.spectral_radius.amax(3).tolist(),
        "gates": list(flow.gates),
        "factor": flow.longest,
        "verdict": flow.verdict,
        "warning": _warning(cell, verdict=flow.verdict, factor=flow.longest, reach=flow.reach),
    }


def scores_of(diagnosis: Diagnosis) -> dict[str, float]:
    """What is logged of each epoch; spectral_radius is the largest of all layers, directions and gates."""
    return {
        "rnn/gradient_factor": diagnosis["factor"],
        "rnn/spectral_radius": max(max(gates) for layer in diagnosis["radii"] for gates in layer),
    }


def due_warning(diagnoses: Sequence[Diagnosis]) -> str | None:
    """The warning of the last epoch, if it is the first to confirm the epoch before it.

    One epoch is no ground for it: gated cells begin with gates half open, and learn within an epoch or two to keep them
    open (docs/rnn.md).
    """
    verdicts = [diagnosis["verdict"] for diagnosis in diagnoses]
    confirmed = [i for i in range(1, len(verdicts)) if verdicts[i - 1] == verdicts[i] != "healthy"]
    return diagnoses[-1]["warning"] if confirmed and confirmed[0] == len(verdicts) - 1 else None


def _warning(cell: str, *, verdict: str, factor: float, reach: float) -> str:
    """In plain words, with the cure; empty where there is nothing to warn of."""
    start = "an orthogonal start (labeller.recurrent_init=orthogonal)"
    if verdict == "vanishing":
        gates = [] if cell in GATED else ["a gated cell (labeller=gru, labeller=lstm)"]
        relu = "the identity as start" if cell == "relu" else "cell relu that starts with the identity"
        cures = [*gates, start, f"{relu} (labeller.cell=relu, labeller.recurrent_init=identity)"]
        return (
            f"Warning: gradients vanish: with each frame back in time they shrink to {factor:.2f} of their size, and"
            f" after {reach:.0f} frames nothing is left of them; what lies further back is not learnt from."
            f" If it matters, the cure is {', or '.join(cures)}."
        )
    if verdict == "exploding":
        cures = ["a smaller training.clip_norm", "shorter windows (training.window_frames)", start]
        return (
            f"Warning: gradients explode: with each frame back in time they grow {factor:.2f} times."
            f" The cure is {', or '.join(cures)}."
        )
    return ""
