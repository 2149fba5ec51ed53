"""Train the project's own recurrent network on a toy problem that needs memory: is the sum so far odd?

    python examples/recurrent_network.py

The network reads a 0 or 1 per frame and learns to say after each frame whether it has seen an odd number of ones. A
network that sees one frame at a time cannot do better than chance. Only torch and `pipeline.rnn` are needed.
"""

import torch
from torch import nn

from pipeline.rnn import GRU


def main() -> None:
    """Run the example."""
    torch.manual_seed(0)
    rnn, classify = GRU(1, 16), nn.Linear(16, 1)
    optimizer = torch.optim.Adam([*rnn.parameters(), *classify.parameters()], lr=0.01)
    for step in range(401):
        bits = torch.randint(0, 2, (64, 12, 1)).float()  # 64 sequences of 12 frames, 1 feature per frame
        is_odd = bits.cumsum(dim=1) % 2
        outputs, _ = rnn(bits)  # [64, 12, 16]
        logits = classify(outputs)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, is_odd)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 0:
            accuracy = ((logits > 0) == is_odd.bool()).float().mean()
            print(f"step {step:3}: loss {loss.item():.3f}, {100 * accuracy.item():.1f}% of the frames right")


if __name__ == "__main__":
    main()
