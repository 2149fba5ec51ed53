"""This module defines one step of each cell as Triton functions, which the Triton and the Gluon kernels call.

The equations are those of `pipeline.rnn.cells`. All values are float32 tensors of one shape. With FAST, tanh and the
sigmoid are the approximation of the processor, see `tanh`.
"""

# mypy: disable-error-code="no-untyped-def"
# (Kernels have no types that Python knows.)

import triton
import triton.language as tl


@triton.jit
def sigmoid(x, FAST: tl.constexpr):
    """Compute 1 / (1 + exp(-x)).

    Args:
        x: The values.
        FAST: Whether to use the approximation of the processor, see `tanh`.
    """
    if FAST:
        return 0.5 + 0.5 * tanh(0.5 * x, FAST)
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def tanh(x, FAST: tl.constexpr):
    """Compute the hyperbolic tangent of x.

    It is computed by exp, because Triton's interpreter lacks libdevice; the absolute error is about 1e-7.

    Args:
        x: The values.
        FAST: Whether to use the instruction of the processor instead, which has 11 bits and takes a quarter of the
            instructions.
    """
    if FAST:
        return tl.inline_asm_elementwise("tanh.approx.f32 $0, $1;", "=f,f", [x], tl.float32, is_pure=True, pack=1)
    return 2.0 / (1.0 + tl.exp(-2.0 * x)) - 1.0


@triton.jit
def larger(a, b):
    """Return the larger of two numbers, as the combining function of a reduction."""
    return tl.where(a > b, a, b)


@triton.jit
def lstm(pre_i, pre_f, pre_g, pre_o, c, FAST: tl.constexpr):
    """Compute one step of an LSTM.

    Args:
        pre_i: The pre-activation of the input gate.
        pre_f: The pre-activation of the forget gate.
        pre_g: The pre-activation of the candidate.
        pre_o: The pre-activation of the output gate.
        c: c_(t-1).
        FAST: Whether to use the approximation of the processor, see `tanh`.

    Returns:
        h_t and c_t.
    """
    c = sigmoid(pre_f, FAST) * c + sigmoid(pre_i, FAST) * tanh(pre_g, FAST)
    return sigmoid(pre_o, FAST) * tanh(c, FAST), c


@triton.jit
def gru(pre_r, pre_z, new_in, new_hidden, h, FAST: tl.constexpr):
    """Compute one step of a GRU.

    Args:
        pre_r: The pre-activation of the reset gate.
        pre_z: The pre-activation of the update gate.
        new_in: The input's part of n, W_in x_t + b_in.
        new_hidden: The recurrent part of n, W_hn h_(t-1) + b_hn.
        h: h_(t-1).
        FAST: Whether to use the approximation of the processor, see `tanh`.

    Returns:
        h_t.
    """
    n = tanh(new_in + sigmoid(pre_r, FAST) * new_hidden, FAST)
    return n + sigmoid(pre_z, FAST) * (h - n)


@triton.jit
def lstm_backward(pre_i, pre_f, pre_g, pre_o, c_before, d_h, d_c, FAST: tl.constexpr):
    """Compute the gradients of one step of an LSTM.

    Args:
        pre_i: As in `lstm`.
        pre_f: As in `lstm`.
        pre_g: As in `lstm`.
        pre_o: As in `lstm`.
        c_before: c_(t-1).
        d_h: The gradient of h_t.
        d_c: The gradient of c_t.
        FAST: Whether to use the approximation of the processor, see `tanh`.

    Returns:
        The gradients of the four pre-activations, and of c_before.
    """
    i = sigmoid(pre_i, FAST)
    f = sigmoid(pre_f, FAST)
    g = tanh(pre_g, FAST)
    o = sigmoid(pre_o, FAST)
    tanh_c = tanh(f * c_before + i * g, FAST)
    d_c = d_c + d_h * o * (1.0 - tanh_c * tanh_c)
    d_i = d_c * g * i * (1.0 - i)
    d_f = d_c * c_before * f * (1.0 - f)
    d_g = d_c * i * (1.0 - g * g)
    d_o = d_h * tanh_c * o * (1.0 - o)
    return d_i, d_f, d_g, d_o, d_c * f


@triton.jit
def gru_backward(pre_r, pre_z, new_in, new_hidden, h_before, d_h, FAST: tl.constexpr):
    """Compute the gradients of one step of a GRU.

    Args:
        pre_r: As in `gru`.
        pre_z: As in `gru`.
        new_in: As in `gru`.
        new_hidden: As in `gru`.
        h_before: h_(t-1).
        d_h: The gradient of h_t.
        FAST: Whether to use the approximation of the processor, see `tanh`.

    Returns:
        The gradients of the first four arguments, and that of h_before by way of z alone.
    """
    r = sigmoid(pre_r, FAST)
    z = sigmoid(pre_z, FAST)
    n = tanh(new_in + r * new_hidden, FAST)
    d_new_in = d_h * (1.0 - z) * (1.0 - n * n)
    d_r = d_new_in * new_hidden * r * (1.0 - r)
    d_z = d_h * (h_before - n) * z * (1.0 - z)
    return d_r, d_z, d_new_in, d_new_in * r, d_h * z
