"""The recurrent network against torch.nn: time, memory and error, all in one run.

docs/results/benchmarks/recurrent_network.md has the results, and
docs/results/benchmarks/recurrent_network_gpu.md those of a GPU.

    python benchmarks/rnn.py                the CPU tables, and on a machine with a GPU all of the GPU's too
    python benchmarks/rnn.py --sweep        also what the tables in pipeline/rnn/dispatch.py are made from
    python benchmarks/rnn.py --json FILE    also every number, for a program to read

Every ratio is ours / theirs, of medians of runs that take turns, input projection and all gradients on both sides.
For the peer `flashrnn`: pip install flashrnn (it compiles its kernels with nvcc when it is first called).
"""

import argparse
import itertools
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from pipeline.rnn import GRU, LSTM, RNN, dispatch
from pipeline.rnn.dispatch import use_path

CLASSES: dict[str, tuple[type[nn.Module], type[nn.Module]]] = {
    "tanh": (RNN, nn.RNN),
    "gru": (GRU, nn.GRU),
    "lstm": (LSTM, nn.LSTM),
}
CPU_TARGETS = {"tanh": (0.6, 0.9), "gru": (0.6, 0.8), "lstm": (1.0, 1.0)}  # forward+backward at B = 1 and 8
FORWARD_TARGET, SAVED_TARGET = 1.05, 0.6
ERROR_LIMITS = {"fp32": 1e-5, "tf32": 2e-3, "bf16": 2e-2}


class Case(NamedTuple):
    """A row of the GPU's table; `lengths` are those of the shortest and the longest video."""

    cell: str
    num_videos: int
    num_frames: int
    hidden: int
    target: float
    bidirectional: bool = False
    lengths: tuple[int, int] | None = None

    def __str__(self) -> str:
        ragged = "" if self.lengths is None else f" ragged {self.lengths[0]}-{self.lengths[1]}"
        both = " both ways" if self.bidirectional else ""
        return f"{self.cell}{both} B={self.num_videos} T={self.num_frames} H={self.hidden}{ragged}"


GPU_CASES = (
    Case("tanh", 1, 4096, 256, 0.6),
    Case("tanh", 8, 2048, 256, 0.5),
    Case("lstm", 32, 2048, 128, 0.6),
    Case("gru", 8, 2048, 256, 0.6),
    Case("lstm", 16, 4000, 128, 0.35, bidirectional=True, lengths=(500, 4000)),
    Case("tanh", 16, 2048, 512, 0.8),
)


def take_turns(calls: Mapping[str, Callable[[], object]], *, repeats: int, device: str) -> dict[str, float]:
    """Measure calls that run one after the other, in `repeats` rounds after two rounds of warm-up.

    Every other round is in reverse order, as a call affects caches and the allocator for the next one.

    Args:
        calls: The calls by name.
        repeats: The number of rounds that count.
        device: "cpu", or a CUDA device.

    Returns:
        The median milliseconds of each call.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 2):
        for name in list(calls)[:: 1 if turn % 2 else -1]:
            times[name].append(_milliseconds(calls[name], device))
    return {name: statistics.median(values[2:]) for name, values in times.items()}


def _milliseconds(call: Callable[[], object], device: str) -> float:
    if device == "cpu":
        start = time.perf_counter()
        call()
        return (time.perf_counter() - start) * 1e3
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    call()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end)


def make_pair(cell: str, features: int, hidden: int, device: str, dtype: torch.dtype, **options: Any) -> Any:
    """Make our network and torch's with the same weights."""
    torch.manual_seed(0)
    ours_class, torch_class = CLASSES[cell]
    ours = ours_class(features, hidden, **options).to(device, dtype)
    theirs = torch_class(features, hidden, batch_first=True, **options).to(device, dtype)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    return ours, theirs


def forward_only(module: nn.Module, x: Tensor) -> Callable[[], object]:
    """Return a call of a network without a gradient."""

    def call() -> None:
        with torch.no_grad():
            module(x)

    return call


def forward_backward(run: Callable[[], Tensor], inputs: Sequence[Tensor], d_out: Tensor) -> Callable[[], object]:
    """Return a call of `run` with the gradients of `inputs`, where `d_out` is the gradient of its output."""
    return lambda: torch.autograd.grad(run(), inputs, d_out)


def saved_bytes(module: nn.Module, x: Tensor) -> int:
    """Count the bytes held between forward and backward: saved tensors and output, without input and weights."""
    held: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        kept.append(tensor)  # otherwise its memory is given to the next tensor
        return tensor

    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        note(module(x)[0])
    given = {tensor.untyped_storage().data_ptr() for tensor in (x, *module.parameters())}
    return sum(size for place, size in held.items() if place not in given)


def verdict(ratio: float, target: float) -> str:
    """Return in words whether a ratio reaches its target."""
    return f"<= {target:g} {'yes' if ratio <= target else 'NO'}"


def cpu_table(threads: int, repeats: int) -> list[dict[str, Any]]:
    """Print the table of a CPU, and return its rows."""
    torch.set_num_threads(threads)
    num_frames, features, hidden = 512, 512, 256
    print(
        f"\nCPU, {threads} thread{'s' * (threads > 1)}: T={num_frames} F={features} H={hidden} fp32, ms ours / torch.nn"
    )
    print("| cell | B | path forward, training | forward | ratio | forward+backward | ratio | saved MB | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    rows = []
    for cell in CLASSES:
        for num_videos, target in zip((1, 8), CPU_TARGETS[cell], strict=True):
            ours, theirs = make_pair(cell, features, hidden, "cpu", torch.float32)
            x = torch.randn(num_videos, num_frames, features)
            d_out = torch.randn(num_videos, num_frames, hidden)
            row = measure_cpu(ours, theirs, x, d_out, repeats)
            row |= {"cell": cell, "B": num_videos, "threads": threads, "paths": paths_taken(ours, x)}
            rows.append(row)
            print(
                f"| {cell} | {num_videos} | {', '.join(row['paths'])} "
                f"| {row['forward'][0]:.1f} / {row['forward'][1]:.1f} "
                f"| {row['forward_ratio']:.2f} {verdict(row['forward_ratio'], FORWARD_TARGET)} "
                f"| {row['training'][0]:.1f} / {row['training'][1]:.1f} "
                f"| {row['training_ratio']:.2f} {verdict(row['training_ratio'], target)} "
                f"| {row['saved'][0] / 2**20:.1f} / {row['saved'][1] / 2**20:.1f} "
                f"| {row['saved_ratio']:.2f} {verdict(row['saved_ratio'], SAVED_TARGET)} |",
                flush=True,
            )
    return rows


def measure_cpu(ours: nn.Module, theirs: nn.Module, x: Tensor, d_out: Tensor, repeats: int) -> dict[str, Any]:
    """Measure times in milliseconds, saved bytes and their ratios, for an input `x` and the output's gradient."""
    needs = x.clone().requires_grad_()
    forward = take_turns(
        {"ours": forward_only(ours, x), "theirs": forward_only(theirs, x)}, repeats=repeats, device="cpu"
    )
    training = take_turns(
        {
            "ours": forward_backward(lambda: ours(needs)[0], [needs, *ours.parameters()], d_out),
            "theirs": forward_backward(lambda: theirs(needs)[0], [needs, *theirs.parameters()], d_out),
        },
        repeats=repeats,
        device="cpu",
    )
    saved = saved_bytes(ours, needs), saved_bytes(theirs, needs)
    return {
        "forward": (forward["ours"], forward["theirs"]),
        "forward_ratio": forward["ours"] / forward["theirs"],
        "training": (training["ours"], training["theirs"]),
        "training_ratio": training["ours"] / training["theirs"],
        "saved": saved,
        "saved_ratio": saved[0] / saved[1],
    }


def paths_taken(module: Any, x: Tensor) -> list[str]:
    """Return the dispatcher's paths for forward alone and for training."""
    layer = (module.cell, x, module.weights(0), module._zeros(x)[0] if module.cell == "lstm" else module._zeros(x))
    with torch.no_grad():
        forward = dispatch.fastest_path(*layer, None)
    return [forward, dispatch.fastest_path(*layer, None)]


def sweep(threads: int, repeats: int) -> list[dict[str, Any]]:
    """Compare the path `ours` with torch's kernel over sizes: the source of the dispatcher's table."""
    torch.set_num_threads(threads)
    print(
        f"\nCPU, {threads} thread{'s' * (threads > 1)}: path `ours` / torch.nn, T=256, F=H: forward, forward+backward"
    )
    print("| cell | " + " | ".join(f"B={b} H={h}" for b in (1, 8, 32) for h in (64, 128, 256, 512)) + " |")
    print("| --- " * 13 + "|")
    rows = []
    for cell in CLASSES:
        cells = []
        for num_videos in (1, 8, 32):
            for hidden in (64, 128, 256, 512):
                ours, theirs = make_pair(cell, hidden, hidden, "cpu", torch.float32)
                x, d_out = torch.randn(num_videos, 256, hidden), torch.randn(num_videos, 256, hidden)
                with use_path("ours"):
                    row = measure_cpu(ours, theirs, x, d_out, repeats)
                rows.append(row | {"cell": cell, "B": num_videos, "H": hidden, "threads": threads})
                cells.append(f"{row['forward_ratio']:.2f}, {row['training_ratio']:.2f}")
        print(f"| {cell} | " + " | ".join(cells) + " |", flush=True)
    return rows


def sweep_one_frame(threads: int, repeats: int) -> list[dict[str, Any]]:
    """Compare the plain step with torch's kernel for a single frame, forward alone: should the dispatcher use it?"""
    torch.set_num_threads(threads)
    print(f"\nCPU, {threads} thread{'s' * (threads > 1)}: one frame, forward, the plain step / torch.nn, F=H")
    print("| cell | " + " | ".join(f"B={b} H={h}" for b in (1, 8, 32, 160) for h in (128, 256, 384)) + " |")
    print("| --- " * 13 + "|")
    rows = []
    for cell in CLASSES:
        ratios = []
        for num_videos in (1, 8, 32, 160):
            for hidden in (128, 256, 384):
                ours, theirs = make_pair(cell, hidden, hidden, "cpu", torch.float32)
                x = torch.randn(num_videos, 1, hidden)
                with use_path("reference"):
                    calls = {"ours": forward_only(ours, x), "theirs": forward_only(theirs, x)}
                    times = take_turns(calls, repeats=20 * repeats, device="cpu")
                ratios.append(times["ours"] / times["theirs"])
                rows.append({"cell": cell, "B": num_videos, "H": hidden, "threads": threads, "ratio": ratios[-1]})
        print(f"| {cell} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |", flush=True)
    return rows


def gpu_sweep(repeats: int) -> list[dict[str, Any]]:
    """Compare the kernels with cuDNN over sizes: the source of the dispatcher's rule for CUDA. Neither uses TF32."""
    rows = []
    for dtype, num_frames, ragged in itertools.product((torch.bfloat16, torch.float32), (1, 64, 1024), (False, True)):
        if ragged and num_frames == 1:
            continue
        lengths = f", ragged {num_frames // 8}-{num_frames} frames" if ragged else ""
        print(f"\nGPU, {dtype}, T={num_frames}, F=H{lengths}: ours / cuDNN, forward, forward+backward")
        print("| cell | " + " | ".join(f"B={b} H={h}" for b in (8, 64) for h in (128, 256, 512)) + " |")
        print("| --- " * 7 + "|")
        for cell in CLASSES:
            found = [
                gpu_sweep_row(cell, num_videos, num_frames, hidden, dtype, ragged, repeats)
                for num_videos in (8, 64)
                for hidden in (128, 256, 512)
            ]
            shown = (f"{row['forward_ratio']:.2f}, {row['training_ratio']:.2f}" for row in found)
            print(f"| {cell} | " + " | ".join(shown) + " |", flush=True)
            rows += found
    return rows


def gpu_sweep_row(
    cell: str, num_videos: int, num_frames: int, hidden: int, dtype: torch.dtype, ragged: bool, repeats: int
) -> dict[str, Any]:
    """Measure one size on the GPU; `ragged` gives videos from an eighth of `num_frames` to all of it."""
    ours, theirs = make_pair(cell, hidden, hidden, "cuda", dtype)
    lengths = torch.linspace(num_frames // 8, num_frames, num_videos).long() if ragged else None
    x = torch.randn(num_videos, num_frames, hidden, device="cuda", dtype=dtype)
    needs, d_out = x.clone().requires_grad_(), torch.randn_like(x)

    def run_ours(x: Tensor) -> Tensor:
        return ours(x, None, lengths)[0]

    def run_theirs(x: Tensor) -> Tensor:
        return run_torch(theirs, x, lengths)

    with use_path("ours"), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        with torch.no_grad():
            calls = {"ours": lambda: run_ours(x), "theirs": lambda: run_theirs(x)}
            forward = take_turns(calls, repeats=repeats, device="cuda")
        both = {
            "ours": forward_backward(lambda: run_ours(needs), [needs, *ours.parameters()], d_out),
            "theirs": forward_backward(lambda: run_theirs(needs), [needs, *theirs.parameters()], d_out),
        }
        training = take_turns(both, repeats=repeats, device="cuda")
    return {
        **{"cell": cell, "B": num_videos, "T": num_frames, "H": hidden, "dtype": str(dtype), "ragged": ragged},
        **{"forward": forward, "forward_ratio": forward["ours"] / forward["theirs"]},
        **{"training": training, "training_ratio": training["ours"] / training["theirs"]},
    }


def gpu_tables(repeats: int) -> list[dict[str, Any]]:
    """Print the tables of the GPU, and return their rows; none without a GPU."""
    if not torch.cuda.is_available():
        print("\nGPU: not measured, there is none on this machine")
        return []
    print(
        f"\nGPU {torch.cuda.get_device_name()}: bf16, forward+backward, ms; error: largest ||ours - fp64|| / ||fp64||;"
        " fp16: the same, where torch takes cuDNN's faster kernels for some shapes"
    )
    print("| case | ours | cuDNN | ratio | floor | error fp32 | tf32 | bf16 | fp16 ours / cuDNN | fp16 ratio |")
    print("| --- " * 10 + "|")
    with use_path("ours"):
        rows = [gpu_row(case, repeats) for case in GPU_CASES]
    return [*rows, flashrnn_row(repeats)]


def gpu_row(case: Case, repeats: int) -> dict[str, Any]:
    """Measure a case, and print its row."""
    lengths = None
    if case.lengths is not None:
        lengths = torch.linspace(*case.lengths, case.num_videos).long()
    times, half = (gpu_times(case, lengths, dtype, repeats) for dtype in (torch.bfloat16, torch.float16))
    errors = {precision: gpu_error(case, lengths, precision) for precision in ERROR_LIMITS}
    row: dict[str, Any] = {"case": str(case), **times, "ratio": times["ours"] / times["theirs"], "floor": floor(case)}
    row |= {"errors": errors, "float16": half}
    shown = (f"{errors[p]:.1e}{'' if errors[p] <= limit else ' TOO LARGE'}" for p, limit in ERROR_LIMITS.items())
    ratio = f"{row['ratio']:.3f} {verdict(row['ratio'], case.target)}"
    columns = (str(case), f"{times['ours']:.2f}", f"{times['theirs']:.2f}", ratio, f"{row['floor']:.2f}", *shown)
    halves = (f"{half['ours']:.2f} / {half['theirs']:.2f}", f"{half['ours'] / half['theirs']:.2f}")
    print("| " + " | ".join((*columns, *halves)) + " |", flush=True)
    return row


def gpu_times(case: Case, lengths: Tensor | None, dtype: torch.dtype, repeats: int) -> dict[str, float]:
    """Measure forward and backward of a case in milliseconds, ours and torch's; `lengths` is None for full length."""
    options = {"bidirectional": case.bidirectional}
    ours, theirs = make_pair(case.cell, case.hidden, case.hidden, "cuda", dtype, **options)
    x = torch.randn(case.num_videos, case.num_frames, case.hidden, device="cuda", dtype=dtype).requires_grad_()
    d_out = torch.randn(case.num_videos, case.num_frames, ours.output_size, device="cuda", dtype=dtype)
    return take_turns(
        {
            "ours": forward_backward(lambda: ours(x, None, lengths)[0], [x, *ours.parameters()], d_out),
            "theirs": forward_backward(lambda: run_torch(theirs, x, lengths), [x, *theirs.parameters()], d_out),
        },
        repeats=repeats,
        device="cuda",
    )


def run_torch(module: nn.Module, x: Tensor, lengths: Tensor | None) -> Tensor:
    """Return the output [B, T, H] of torch's network, which packs videos of several lengths; None for full length."""
    if lengths is None:
        return module(x)[0]
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(module(packed)[0], batch_first=True, total_length=x.shape[1])[0]


def floor(case: Case) -> float:
    """Return the milliseconds that no kernel can go below: two passes of T steps.

    Each step has the latency of one product and one activation, about 220 cycles at 1.98 GHz (a model, not a
    measurement).
    """
    return 2 * case.num_frames * 220 / 1.98e6


def gpu_error(case: Case, lengths: Tensor | None, precision: str) -> float:
    """Return the largest relative error of output and gradients against torch.nn in float64, with T of at most 512."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    ours, theirs = make_pair(case.cell, case.hidden, case.hidden, "cuda", dtype, bidirectional=case.bidirectional)
    theirs = theirs.double()
    num_frames = min(case.num_frames, 512)
    lengths = None if lengths is None else (lengths * num_frames // case.num_frames).clamp(min=1)
    x = torch.randn(case.num_videos, num_frames, case.hidden, device="cuda", dtype=dtype).requires_grad_()
    d_out = torch.randn(case.num_videos, num_frames, ours.output_size, device="cuda", dtype=dtype)
    x64 = x.detach().double().requires_grad_()
    poisoned = x.detach().clone()
    for video, length in enumerate([] if lengths is None else lengths.tolist()):
        d_out[video, length:] = 0
        poisoned[video, length:] = torch.nan
    poisoned.requires_grad_()
    got_out = ours(poisoned, None, lengths)[0]
    got = [got_out, *torch.autograd.grad(got_out, [poisoned, *ours.parameters()], d_out)]
    out64 = run_torch(theirs, x64, lengths)
    expected = [out64, *torch.autograd.grad(out64, [x64, *theirs.parameters()], d_out.double())]
    torch.backends.cuda.matmul.allow_tf32 = False
    return max(((a.double() - b).norm() / b.norm()).item() for a, b in zip(got, expected, strict=True))


def flashrnn_row(repeats: int) -> dict[str, Any]:
    """Compare an LSTM of 12 heads of 64 with flashrnn, in bf16, the recurrence alone.

    The projected input is given, and its gradient is computed.
    """
    num_videos, num_frames, heads, units = 16, 1024, 12, 64
    name = f"lstm {heads} heads of {units}, B={num_videos} T={num_frames}, recurrence only"
    wx = torch.randn(num_videos, num_frames, 4, heads, units, device="cuda", dtype=torch.bfloat16).requires_grad_()
    weight = (torch.randn(4, heads, units, units, device="cuda") / units**0.5).bfloat16().requires_grad_()
    d_out = torch.randn(num_videos, num_frames, heads, units, device="cuda", dtype=torch.bfloat16)
    calls = {"ours": forward_backward(lambda: OurRecurrence.apply(wx, weight), [wx, weight], d_out)}
    if find_spec("flashrnn"):
        flashrnn = import_flashrnn()
        bias = torch.zeros(4, heads, units, device="cuda", dtype=torch.bfloat16)
        d_states = torch.cat([d_out[None], torch.zeros_like(d_out)[None]])  # h and c
        for backend in ("cuda_fused", "cuda", "triton_fused"):

            def run(backend: str = backend) -> Tensor:
                return flashrnn(wx, weight, bias, function="lstm", backend=backend, dtype="bfloat16")[0]

            try:
                forward_backward(run, [wx, weight], d_states)()
            except Exception as error:  # any error of its compiler: the other paths can still be compared
                print(f"flashrnn {backend}: not measured, {type(error).__name__}: {str(error)[:200]}")
                continue
            calls[backend] = forward_backward(run, [wx, weight], d_states)
    times = take_turns(calls, repeats=repeats, device="cuda")
    peers = {backend: ms for backend, ms in times.items() if backend != "ours"}
    if not peers:
        print(f"| {name} | {times['ours']:.2f} | flashrnn: not measured (pip install flashrnn) |")
        return {"case": name, **times}
    ratio = times["ours"] / min(peers.values())
    shown = ", ".join(f"{backend} {ms:.2f}" for backend, ms in peers.items())
    print(f"| {name} | {times['ours']:.2f} | flashrnn {shown} | {ratio:.2f} {verdict(ratio, 0.5)} |", flush=True)
    return {"case": name, **times, "ratio": ratio}


def import_flashrnn() -> Callable[..., tuple[Tensor, Tensor]]:
    """Import the function of flashrnn.

    It reads the GPU's properties with its own code, which CUDA 13 does not compile (flashrnn 1.0.8, because of
    `cudaDeviceProp.clockRate`). Here it gets the properties that it needs from torch.
    """
    module = import_module("flashrnn.flashrnn.flashrnn")
    gpu = torch.cuda.get_device_properties()
    properties = {
        "maxThreadsPerBlock": gpu.max_threads_per_block,
        "regsPerMultiprocessor": gpu.regs_per_multiprocessor,
        "multiProcessorCount": gpu.multi_processor_count,
        "sharedMemPerBlockOptin": gpu.shared_memory_per_block_optin,
    }
    vars(module)["get_gpu_info"] = lambda device_id: properties
    function: Callable[..., tuple[Tensor, Tensor]] = module.flashrnn
    return function


class OurRecurrence(torch.autograd.Function):
    """An LSTM of N heads of K units without its input projection."""

    @staticmethod
    def forward(ctx: Any, wx: Tensor, weight: Tensor) -> Tensor:
        """Compute h [B, T, N, K] from the projected input wx [B, T, 4, N, K] and weight [4, N, K, K]."""
        from pipeline.rnn.gpu import launch

        num_videos, num_frames, _, heads, units = wx.shape
        output = wx.new_empty(num_videos, num_frames, 1, heads * units)
        cells = torch.empty(num_frames, num_videos, 1, heads * units, device=wx.device)
        h, c = torch.zeros(2, 1, num_videos, heads * units, device=wx.device)
        projected = wx.flatten(2).unsqueeze(2).transpose(0, 1)
        rows = weight.flatten(0, 2).unsqueeze(0)
        launch.forward_loop("lstm", projected, rows, None, h, c, None, (False,), output.transpose(0, 1), cells)
        ctx.save_for_backward(wx, weight, output, cells)
        return output.view(num_videos, num_frames, heads, units)

    @staticmethod
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the gradients of wx and weight from that of h."""
        from pipeline.rnn.gpu import launch
        from pipeline.rnn.gpu import layer as gpu_layer

        wx, weight, output, cells = ctx.saved_tensors
        rows = weight.flatten(0, 2).unsqueeze(0)
        dh, dc, first = torch.zeros(3, 1, len(wx), output.shape[3], device=wx.device)
        h_before = gpu_layer.states_before(output, first, None, (False,))
        c_before = gpu_layer.states_before(cells.transpose(0, 1), first, None, (False,))
        gates = gpu_layer.recurrent_product(h_before, rows).add_(wx.flatten(2).unsqueeze(2))
        d_gates = torch.empty_like(gates)
        launch.backward_loop(
            cell="lstm",
            gates=gates.transpose(0, 1),
            before=c_before.transpose(0, 1),
            weight_hh=rows,
            d_out=d_out.flatten(2).unsqueeze(2).transpose(0, 1),
            dh=dh,
            dc=dc,
            d_gates=d_gates.transpose(0, 1),
            lengths=None,
            reverse=(False,),
        )
        return d_gates.view(wx.shape), gpu_layer.recurrent_weight_gradient(h_before, d_gates, rows).view(weight.shape)


def long_table(device: str) -> list[dict[str, Any]]:
    """Print the memory of one training step for videos of increasing length, without that of input and output."""
    print(f"\nLong videos on {device}: LSTM F=H=64, B=1, one forward and backward")
    print("| frames | held for the recurrence, KiB | seconds |")
    print("| --- | --- | --- |")
    rows = []
    for num_frames in (1_000, 10_000, 100_000):
        module = LSTM(64, 64).to(device)
        x = torch.randn(1, num_frames, 64, device=device)
        with use_path("ours"):
            held = saved_bytes(module, x) - num_frames * 64 * 4  # the output is the caller's
        start = time.perf_counter()
        with use_path("ours"):
            module(x)[0].square().mean().backward()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        rows.append({"frames": num_frames, "held_bytes": held, "seconds": seconds, "device": device})
        print(f"| {num_frames} | {held / 1024:.0f} | {seconds:.1f} |", flush=True)
    return rows


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--threads",
        type=int,
        nargs="*",
        default=[1, 2],
        help="of the CPU tables, one after the other; none given: no tables",
    )
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--sweep", action="store_true", help="the sizes behind the dispatcher's tables too")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, Python {platform.python_version()}, {cpu_name()}")
    results: dict[str, Any] = {}
    results["cpu"] = [row for threads in arguments.threads for row in cpu_table(threads, arguments.repeats)]
    if arguments.sweep:
        results["sweep"] = [row for threads in arguments.threads for row in sweep(threads, arguments.repeats)]
        results["step"] = [row for threads in arguments.threads for row in sweep_one_frame(threads, arguments.repeats)]
    results["gpu"] = gpu_tables(arguments.repeats)
    if arguments.sweep and torch.cuda.is_available():
        results["gpu_sweep"] = gpu_sweep(min(arguments.repeats, 3))
    results["long"] = long_table("cuda" if torch.cuda.is_available() else "cpu")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


def cpu_name() -> str:
    """Return the name of the CPU."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
