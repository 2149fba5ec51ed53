"""The loss of a student: the distance of its probabilities from those of a teacher.

B videos, T frames, K classes, N frames that the teacher speaks of, n classes in a group.
"""

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.models.class_probabilities import Groups
from pipeline.training.losses import WholeWeight, alone


def distillation_loss(
    logits: Tensor,
    soft_labels: Tensor,
    *,
    groups: Groups | None,
    temperature: float,
    whole_weight: WholeWeight = alone,
) -> Tensor:
    """Compute temperature^2 KL(teacher || student) of probabilities at this temperature, the mean over frames.

    Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network", arXiv 1503.02531, section 2: the factor
    keeps the gradient as large as that of the labels, whatever the temperature.

    Args:
        logits: [B, T, K], those of the student.
        soft_labels: [B, T, K], the probabilities of the teacher at this temperature; NaN in a frame that is left out.
        groups: The indices of the classes of each group, where classes overlap, which share a softmax with "none": the
            mean is over frames and groups. None where all classes are exclusive.
        temperature: The temperature of the student's probabilities here.
        whole_weight: See `WholeWeight`.

    Returns:
        A scalar; 0 (with a gradient of 0) where all frames are left out.
    """
    taught = ~soft_labels.isnan().any(-1)
    student, teacher = logits[taught].float() / temperature, soft_labels[taught].float()  # [N, K]
    if groups is None:
        parts = [(student, teacher)]
    else:
        parts = [
            (
                torch.cat([student[:, members], torch.zeros_like(student[:, :1])], dim=1),
                torch.cat([teacher[:, members], (1 - teacher[:, members].sum(1, keepdim=True)).clamp(min=0)], dim=1),
            )
            for members in map(list, groups)
        ]
    total = torch.stack([functional.kl_div(z.log_softmax(1), p, reduction="sum") for z, p in parts]).sum()
    count = whole_weight(total.new_tensor(len(parts) * len(student)))
    return temperature**2 * total / count.clamp(min=1)
