"""Every path is compared with the reference, and refuses what it cannot run.

The cases are heads, segments, torch's kernels, and streams in float32.
"""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.rnn import GRU, LSTM, RNN, dispatch
from pipeline.rnn.dispatch import use_path

CELLS = {
    "tanh": lambda *sizes, **options: RNN(*sizes, **options),
    "relu": lambda *sizes, **options: RNN(*sizes, nonlinearity="relu", **options),
    "gru": GRU,
    "lstm": LSTM,
}
RAGGED = torch.tensor([9, 23, 1, 17])


def results(module: nn.Module, path: Any, lengths: Tensor | None = None, *, num_frames: int = 23) -> list[Tensor]:
    """Return outputs, final state and all gradients on a path, for the same input and a random linear loss."""
    generator = torch.Generator().manual_seed(1)
    device, dtype = next(module.parameters()).device, next(module.parameters()).dtype

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=dtype).to(device)

    x = random(4, num_frames, 6).requires_grad_()
    module.zero_grad()
    with use_path(path):
        outputs, state = module(x, None, lengths)
        tensors = [outputs, *(state if isinstance(state, tuple) else (state,))]
        sum((t * random(*t.shape)).sum() for t in tensors).backward()
    gradients = [x.grad, *(p.grad.clone() for p in module.parameters())]
    return [t.detach().cpu() for t in (*tensors, *gradients)]


def assert_equal(got: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["equal", "ragged"])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("num_heads", [2, 4])
def test_heads_are_independent_networks(cell: str, num_heads: int, lengths: Tensor | None) -> None:
    torch.manual_seed(0)
    network = CELLS[cell](6, 8, num_heads=num_heads).double()
    gates = network.weight_ih_l0.shape[0] // 8
    expected = []
    for head in range(num_heads):
        alone = CELLS[cell](6, 8 // num_heads).double()
        rows = torch.arange(gates * 8).view(gates, num_heads, -1)[:, head].flatten()
        alone.load_state_dict({name: weight[rows] for name, weight in network.state_dict().items()})
        expected.append(alone(torch.ones(4, 23, 6).double(), None, lengths)[0])
    for path in ("reference", "ours"):
        with use_path(path):
            outputs, _ = network(torch.ones(4, 23, 6).double(), None, lengths)
        torch.testing.assert_close(outputs, torch.cat(expected, 2), rtol=0, atol=1e-12)


@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["equal", "ragged"])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("num_heads", [1, 3])
def test_gradients_of_heads_and_layers(cell: str, num_heads: int, lengths: Tensor | None) -> None:
    torch.manual_seed(0)
    network = CELLS[cell](6, 6, num_heads=num_heads, num_layers=2, bidirectional=True).double()
    assert_equal(results(network, "ours", lengths), results(network, "reference", lengths), 1e-10)


@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["equal", "ragged"])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_segments_change_nothing(
    monkeypatch: pytest.MonkeyPatch, cell: str, lengths: Tensor | None, bidirectional: bool
) -> None:
    torch.manual_seed(0)
    network = CELLS[cell](6, 5, bidirectional=bidirectional).double()
    expected = results(network, "reference", lengths)
    monkeypatch.setattr(dispatch, "SEGMENT_FRAMES", 4)
    assert_equal(results(network, "ours", lengths), expected, 1e-10)


def test_training_keeps_states_between_segments_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "SEGMENT_FRAMES", 64)
    network, x = GRU(2, 8), torch.randn(1, 640, 2)

    def num_bytes_held() -> int:
        held: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            network(x)
        weights = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
        return sum(size for place, size in held.items() if place not in {x.untyped_storage().data_ptr(), *weights})

    in_segments = num_bytes_held()
    monkeypatch.setattr(dispatch, "SEGMENT_FRAMES", 640)
    assert in_segments <= 10 * 8 * 4 + 1024, "the state, once for each segment"
    assert num_bytes_held() > 10 * in_segments


@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["equal", "ragged"])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_the_kernel_of_torch_agrees_with_the_reference(
    cell: str, bidirectional: bool, bias: bool, lengths: Tensor | None
) -> None:
    torch.manual_seed(0)
    network = CELLS[cell](6, 5, num_layers=2, bidirectional=bidirectional, bias=bias)
    assert_equal(results(network, "torch", lengths), results(network, "reference", lengths), 2e-5)


def test_torch_kernel_refuses_heads() -> None:
    with use_path("torch"), pytest.raises(ValueError, match="got 2 heads, expected 1"):
        GRU(4, 4, num_heads=2)(torch.zeros(2, 3, 4))


def test_the_measured_table_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    def path(network: Any, x: Tensor, lengths: Tensor | None = None) -> str:
        taken = []
        for name, module in (("torch", dispatch), ("ours", dispatch)):
            run = getattr(module, {"torch": "_run_torch", "ours": "_run_in_segments"}[name])
            monkeypatch.setattr(
                module, run.__name__, lambda *layer, name=name, run=run: taken.append(name) or run(*layer)
            )
        network(x, None, lengths)
        monkeypatch.undo()
        return taken[0]

    x, lengths = torch.zeros(2, 5, 3), torch.tensor([5, 4])
    assert path(LSTM(3, 4), x) == "torch"
    assert path(GRU(3, 4), x) == path(RNN(3, 4), x) == "ours"
    with torch.no_grad():
        assert path(LSTM(3, 4), x) == path(GRU(3, 4), x) == path(RNN(3, 4), x) == "torch"
        assert path(LSTM(3, 4), x, lengths) == "ours"
        assert path(LSTM(3, 4, num_heads=2), x) == "ours"
        assert path(LSTM(3, 4).double(), x.double()) == "ours"
    monkeypatch.setattr(dispatch, "TORCH_ON_CPU", {"forward": set(), "forward+backward": set()})
    network = LSTM(3, 4)
    with torch.no_grad():
        assert torch.allclose(network(x)[0], network(x, None, torch.tensor([5, 5]))[0], atol=1e-6)


def test_long_videos_train_in_segments_even_where_torch_is_faster() -> None:
    network, x = LSTM(3, 4), torch.zeros(1, dispatch.SEGMENT_FRAMES + 1, 3)
    layer = ("lstm", x, network.weights(0), torch.zeros(1, 1, 4), None)
    assert dispatch.fastest_path(*layer) == "ours"
    with torch.no_grad():
        assert dispatch.fastest_path(*layer) == "torch"


@pytest.mark.gpu
@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["equal", "ragged"])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("path", ["torch", "ours"])
def test_paths_on_a_gpu_agree_with_the_reference(path: Any, cell: str, lengths: Tensor | None) -> None:
    torch.manual_seed(0)
    network = CELLS[cell](6, 40, num_layers=2, bidirectional=True)
    expected = results(network, "reference", lengths)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # for cuDNN's backward pass
        assert_equal(results(network.cuda(), path, lengths), expected, 1e-4)


@pytest.mark.gpu
def test_the_measured_rule_decides_on_a_gpu() -> None:
    def path(dtype: torch.dtype, num_frames: int, *, lengths: Tensor | None = None, cell: str = "lstm") -> str:
        network = CELLS[cell](3, 16).to("cuda", dtype)
        x, h = (torch.zeros(*shape, device="cuda", dtype=dtype) for shape in ((2, num_frames, 3), (1, 2, 16)))
        return dispatch.fastest_path(cell, x, network.weights(0), h, lengths)

    long, lengths = dispatch.OURS_ON_CUDA_FRAMES, torch.tensor([dispatch.OURS_ON_CUDA_FRAMES, 3])
    assert path(torch.bfloat16, long) == path(torch.float16, long) == "ours"
    assert path(torch.bfloat16, long - 1) == path(torch.float32, long) == "torch"
    assert path(torch.bfloat16, long, lengths=lengths) == path(torch.float32, dispatch.SEGMENT_FRAMES + 1) == "ours"
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert path(torch.float32, long) == "ours"


@pytest.mark.gpu
def test_training_memory_on_a_gpu_does_not_grow_with_the_video() -> None:
    """Frames, outputs and their gradients are not counted: they grow with the video whatever the network does."""
    torch.manual_seed(0)
    network = LSTM(16, 64).cuda()

    def num_bytes_more(num_frames: int) -> int:
        x = torch.randn(1, num_frames, 16, device="cuda").requires_grad_()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        network(x)[0].sum().backward()
        return torch.cuda.max_memory_allocated() - before

    given = 4 * (16 + 64 + 64)  # bytes per frame: its gradient, its outputs, their gradient
    short, long = (num_bytes_more(n) - n * given for n in (20_000, 100_000))
    assert long < short + 100_000 * 64 * 4, "the outputs once more, where segments are put together"


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("path", ["reference", "torch", "ours"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_float32_stream_in_chunks_agrees_with_one_pass(cell: str, path: Any, device: str) -> None:
    """Chunks of any lengths agree with one pass to 1e-6. The same chunks agree with themselves to the bit."""
    torch.manual_seed(0)
    network, x = CELLS[cell](24, 32, num_layers=2).to(device), torch.randn(2, 300, 24).to(device)

    def stream(bounds: list[int]) -> Tensor:
        outputs, state = [], None
        for start, stop in itertools.pairwise(bounds):
            output, state = network(x[:, start:stop], state)
            outputs.append(output)
        return torch.cat(outputs, 1)

    with use_path(path), torch.no_grad():
        whole, _ = network(x)
        for bounds in ([0, 1, 2, 3, 50, 51, 300], [*range(0, 300, 16), 300], list(range(301))):
            torch.testing.assert_close(stream(bounds), whole, rtol=0, atol=1e-6)
        assert torch.equal(stream([*range(0, 300, 16), 300]), stream([*range(0, 300, 16), 300]))


def test_path_is_restored_after_an_error() -> None:
    with pytest.raises(ValueError, match="expected 3"), use_path("reference"):
        GRU(3, 4)(torch.zeros(1))
    assert dispatch._forced is None
