"""Continue a piece of music: a recurrent network reads chords and says which of 88 keys sound next (one-to-many).

    python examples/music.py                                  # on made pieces, in a minute
    python examples/music.py --data FOLDER --corpus Nottingham

A piece is a piano roll: a row for each step in time, with a 0 or 1 for each key. The network reads row t and gives each
key a probability in row t + 1. The score is the negative log-likelihood (NLL) of a row in nats, summed over the keys,
averaged over all rows but the first of each piece, as in Bai et al. 2018 (arXiv 1803.01271), whose code has the files
JSB_Chorales.mat and Nottingham.mat. To write music, as many keys as the network expects are drawn by their odds, and
read as the next row. --out gets a checkpoint for each cell, from which a stopped training goes on; music.mid, in which
the best network goes on after the beginning of a test piece; and music.png, the same as a piano roll, and how far back
in time the gradient of the last row reaches. A network does not learn from what lies further back.
"""

from pathlib import Path

import mido
import scipy.io
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, dropout

from pipeline.rnn import frame_mask
from pipeline.rnn.pictures import draw_gradients
from pipeline.rnn.programs import arguments, compare, read_options, run
from pipeline.rnn.sequences import CELLS, batches, pad

KEYS, LOWEST = 88, 21  # the lowest key of a piano is number 21 of MIDI
PARTS = ("train", "valid", "test")
BEGIN = 16  # rows that are given
LONGEST = 128  # rows of a piece that training reads at once: longer pieces are cut
Pieces = list[Tensor]  # each float32 [T, 88] of zeros and ones


def made_pieces() -> Pieces:
    """Make pieces of 32 rows: the chords I, IV, V, I in a random key, with a melody of their notes above them."""
    pieces = torch.zeros(24, 32, KEYS)
    for piece, tonic in zip(pieces, torch.randint(27, 39, (24,)).tolist(), strict=True):
        for step in range(32):
            root = tonic + (0, 5, 7, 0)[step // 4 % 4]
            piece[step, [root, root + 4, root + 7, root + (12, 16, 19, 16)[step % 4]]] = 1
    return list(pieces)


def read_pieces(path: Path) -> dict[str, Pieces]:
    """Read the pieces of each part from a .mat file; those of one row predict nothing and are left out."""
    parts = {}
    with path.open("rb") as file:
        try:
            content = scipy.io.loadmat(file)  # plain arrays: nothing in the file is run
            for name in PARTS:
                pieces = [piece for piece in content[f"{name}data"].flat if len(piece) > 1]
                wrong = [
                    f"an array {piece.dtype} {piece.shape}"
                    for piece in pieces
                    if piece.dtype.kind not in "buif" or piece.shape[1:] != (KEYS,) or set(piece.flat) - {0, 1}
                ]
                if wrong or not pieces:
                    raise ValueError(f"{name}data has {[*wrong, 'no piece of two rows or more'][0]}")
                parts[name] = [torch.tensor(piece).float() for piece in pieces]
        except Exception as error:  # whatever scipy happens to meet in a file that is something else
            expected = f"a MATLAB file of traindata, validdata and testdata, pieces [rows, {KEYS}] of 0 and 1"
            raise ValueError(f"{path}: got {type(error).__name__} ({error}), expected {expected}") from None
    return parts


class Composer(nn.Module):
    """Rows [B, T, 88] -> logits of the keys of each next row [B, T, 88], and the state after the last row."""

    def __init__(self, cell: str) -> None:
        super().__init__()
        self.rnn, self.keys = CELLS[cell](KEYS, 256), nn.Linear(256, KEYS)

    def forward(self, rows: Tensor, state: object = None) -> tuple[Tensor, object]:
        """Read rows; padding at their end changes nothing."""
        outputs, state = self.rnn(dropout(rows, 0.2, self.training), state)
        return self.keys(dropout(outputs, 0.5, self.training)), state

    def nll(self, pieces: Pieces) -> Tensor:
        """Return the NLL of a row, averaged over all rows of these pieces."""
        rows, lengths = pad(pieces)
        nll = binary_cross_entropy_with_logits(self(rows[:, :-1])[0], rows[:, 1:], reduction="none").sum(2)
        return nll[frame_mask(lengths - 1, nll.shape[1], nll.device)].mean()

    @torch.no_grad()
    def score(self, pieces: Pieces) -> float:
        """Return the same as a number, a few pieces at a time, so that long ones fit into memory."""
        total = sum(self.nll(part).item() * (sum(map(len, part)) - len(part)) for part in batches(pieces, 8))
        return total / (sum(map(len, pieces)) - len(pieces))


@torch.no_grad()
def compose(model: Composer, rows: Tensor, steps: int) -> Tensor:
    """Return rows [T, 88] and those that follow [T + steps, 88]: as many keys as are expected, drawn by their odds."""
    logits, state = model(rows[None])
    for _ in range(steps):
        count = int(torch.sigmoid(logits[0, -1]).sum().round())
        gumbel = -torch.empty(KEYS).exponential_().log()  # the largest sums with it are drawn without replacement
        keys = (logits[0, -1] + gumbel).topk(count).indices
        rows = torch.cat([rows, torch.zeros(1, KEYS).index_fill(1, keys, 1)])
        logits, state = model(rows[None, -1:], state)
    return rows


def write_midi(rows: Tensor, path: Path) -> None:
    """Write rows as notes that sound as long as their key is down."""
    file, since, silence = mido.MidiFile(), 0, torch.zeros(1, KEYS)
    track = file.add_track()
    for changes in torch.cat([silence, rows, silence]).diff(dim=0):
        for key in changes.nonzero().flatten().tolist():
            kind = "note_on" if changes[key] > 0 else "note_off"
            track.append(mido.Message(kind, note=LOWEST + key, time=since))
            since = 0
        since += 288  # ticks, of which a second has 960: a step lasts 0.3 s
    file.save(path)


def main() -> None:
    """Run the example."""
    options = read_options(arguments(__doc__, num_epochs=120, out="music", corpus="JSB_Chorales"))
    path = options.path and options.path.with_suffix(".mat")
    torch.manual_seed(0)
    parts = read_pieces(path) if path else {part: made_pieces() for part in PARTS}
    cuts = [cut for piece in parts["train"] for cut in piece.split(LONGEST) if len(cut) > 1]
    models = compare(
        options,
        Composer,
        lambda model: (model.nll(part) for part in batches(cuts, 8)),
        lambda model: model.score(parts["valid"]),
        paths=[path],
        learning_rate=0.004,
        measure="NLL in validation",
    )
    for cell, model in models.items():
        print(f"{cell}: NLL {model.score(parts['valid']):.3f} in validation, {model.score(parts['test']):.3f} in test")
    rows = compose(models[best := next(iter(models))], parts["test"][0][:BEGIN], 64)
    write_midi(rows, options.out / "music.mid")
    roll, curves = (figure := Figure(figsize=(10, 6.5), dpi=120, layout="constrained")).subplots(2, 1)
    steps, keys = rows.nonzero(as_tuple=True)
    roll.barh(keys + LOWEST, 1, left=steps, color=["#8b949e" if s < BEGIN else "#2a639b" for s in steps])
    roll.set(xlabel="step", ylabel="key", title=f"the beginning of a test piece (grey), and how the {best} goes on")
    draw_gradients(curves, models, lambda model: model.nll([piece[:65] for piece in parts["test"][:32]]))
    figure.savefig(options.out / "music.png")


if __name__ == "__main__":
    run(main)
