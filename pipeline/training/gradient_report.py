"""The report of training, epoch by epoch, on the gradient's way back through time: see `pipeline.rnn.diagnostics`."""

from pipeline.datasets.windows import Batch
from pipeline.models.labeller import Labeller
from pipeline.training.diagnosis import Diagnosis
from pipeline.training.losses import masked_cross_entropy
from pipeline.training.objective import Objective

GATED = ("gru", "lstm")


def diagnose(
    labeller: Labeller, cell: str, batch: Batch, objective: Objective = masked_cross_entropy
) -> Diagnosis | None:
    """Diagnose the gradient of a labeller as it is, in eval mode.

    Args:
        labeller: The labeller, in eval mode.
        cell: The kind of its recurrent cell, which decides the cures that a warning names.
        batch: The windows on which the gradient is measured.
        objective: The loss whose gradient it is.

    Returns:
        The diagnosis; None without a recurrent network.
    """
    device = labeller.classifier.weight.device
    labels = batch.labels.to(device)
    flow = labeller.gradient_flow(
        batch.inputs.to(device), lambda logits: objective(logits, labels), lengths=batch.lengths
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


def _warning(cell: str, *, verdict: str, factor: float, reach: float) -> str:
    """Write the warning in plain words, with the cure; empty where there is nothing to warn of."""
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
