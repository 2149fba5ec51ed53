"""The probabilities of classes from the logits of a network: the one place where exclusive and overlapping differ.

K classes.
"""

import torch
from torch import Tensor

Groups = tuple[tuple[int, ...], ...]


def class_probabilities(logits: Tensor, groups: Groups | None) -> Tensor:
    """Compute the probability of each class.

    Exclusive classes share a softmax. Where classes overlap, those of a group share a softmax with "none", whose logit
    is 0; for a group of one class that is the sigmoid of its logit.

    Args:
        logits: [..., K].
        groups: The indices of the classes of each group, where classes overlap; None where they are exclusive.

    Returns:
        [..., K]. The probabilities of a group add up to 1 minus that of none.

    >>> class_probabilities(torch.zeros(3), ((0, 1), (2,))).tolist()
    [0.3333333432674408, 0.3333333432674408, 0.5]
    """
    if groups is None:
        return logits.softmax(-1)
    probabilities = logits.sigmoid()
    for members in groups:
        if len(members) > 1:
            columns = torch.tensor(members, device=logits.device)
            with_none = torch.cat([logits[..., columns], torch.zeros_like(logits[..., :1])], dim=-1)
            probabilities = probabilities.index_copy(-1, columns, with_none.softmax(-1)[..., :-1])
    return probabilities
