"""The recurrences over a whole window: torch's kernels if it has them, and our own if it does not.

A layer takes inputs (T, N, I) and a state of (1, N, H) tensors, and returns outputs (T, N, H) and the state after the
window. Its weights have torch's names and shapes in either case.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from charlstm.network.cells import CELLS

LayerState = tuple[Tensor, ...]
"""(h, c), or (h,) if the cell has no cell state; each (1, N, H)."""


def recurrence(cell: str, input_size: int, hidden_size: int) -> nn.Module:
    """Return a layer of this cell, with torch's default initial weights."""
    kinds: dict[str, type[nn.Module]] = {"lstm": nn.LSTM, "gru": GRU, "rnn": RNN}
    if cell in kinds:
        return kinds[cell](input_size, hidden_size)
    return GatedMemory(cell, input_size, hidden_size)


class GRU(nn.GRU):
    """torch's kernel, with the state as a tuple."""

    def forward(self, inputs: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:  # type: ignore[override]
        """Run a window."""
        outputs, h = super().forward(inputs, state[0].to(inputs.dtype))
        return outputs, (h,)


class RNN(nn.RNN):
    """torch's kernel, with the state as a tuple."""

    def forward(self, inputs: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:  # type: ignore[override]
        """Run a window."""
        outputs, h = super().forward(inputs, state[0].to(inputs.dtype))
        return outputs, (h,)


class GatedMemory(nn.Module):
    """A cell with a cell state c for which torch has no kernel: `peephole` or `coupled`.

    The input product is computed once for the whole window. Each step then needs only one product with the recurrent
    matrix and a few operations on (N, H).
    """

    def __init__(self, cell: str, input_size: int, hidden_size: int) -> None:
        """Initialise the weights as torch's own layers do."""
        super().__init__()
        gates, peepholes = len(CELLS[cell].gates), CELLS[cell].peepholes
        self.weight_ih_l0 = nn.Parameter(torch.empty(gates * hidden_size, input_size))
        self.weight_hh_l0 = nn.Parameter(torch.empty(gates * hidden_size, hidden_size))
        self.bias_ih_l0 = nn.Parameter(torch.empty(gates * hidden_size))
        self.bias_hh_l0 = nn.Parameter(torch.empty(gates * hidden_size))
        self.weight_ch_l0 = nn.Parameter(torch.empty(peepholes * hidden_size)) if peepholes else None
        for weight in self.parameters():
            nn.init.uniform_(weight, -1 / math.sqrt(hidden_size), 1 / math.sqrt(hidden_size))

    def forward(self, inputs: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """Run a window."""
        from_x = F.linear(inputs, self.weight_ih_l0, self.bias_ih_l0 + self.bias_hh_l0)  # (T, N, GH)
        h, c = (part.squeeze(0).to(self.weight_hh_l0.dtype) for part in state)
        outputs, c = _Window.apply(from_x, self.weight_hh_l0, self.weight_ch_l0, h, c)  # type: ignore[no-untyped-call]
        return outputs, (outputs[-1:], c[None])


class _Window(torch.autograd.Function):
    """The steps of a window and their gradients, written out by hand.

    The gates are i, f, g, o with peepholes, and f, g, o (i = 1 - f) without. The backward pass computes everything that
    does not depend on a gradient for the whole window at once, so each step needs only the product and four
    operations. With ~ for pre-activations, and all values at step t unless stated otherwise:

        dh  = gradient of the output + U^T d~(t+1)
        do~ = dh * A              A = tanh(c) o (1 - o)
        dc  = carry + dh * B      B = o (1 - tanh(c)^2) + A p_o
        d~  = dc * slopes         the derivatives of c with respect to i~, f~ and g~
        carry to t-1 = dc * K     K = f + slope_i p_i + slope_f p_f, the derivative of c with respect to c(t-1)
    """

    @staticmethod
    def forward(ctx: Any, from_x: Tensor, u: Tensor, p: Tensor | None, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs, (T, N, H), and the last cell state, (N, H).

        Args:
            ctx: keeps what the backward pass needs.
            from_x: W x + b, (T, N, GH).
            u: the recurrent matrix, (GH, H).
            p: the peephole weights, (3H,), or None for `coupled`.
            h: (N, H).
            c: (N, H).
        """
        steps, streams, size = len(from_x), *h.shape
        gates = from_x.to(u.dtype, copy=True)  # (T, N, GH), overwritten with the activations in place
        hs = h.new_empty(steps + 1, streams, size)
        cs = c.new_empty(steps + 1, streams, size)
        tanh_cs = torch.empty_like(hs[1:])
        hs[0], cs[0] = h, c
        with torch.autocast(h.device.type, enabled=False):
            product = _Product(u.t(), from_x.dtype)
            blocks = gates.view(steps, streams, -1, size)
            together, gs, os = blocks[..., :-2, :].unbind(), blocks[..., -2, :].unbind(), blocks[..., -1, :].unbind()
            h_steps, c_steps, tanh_steps = hs.unbind(), cs.unbind(), tanh_cs.unbind()
            if p is not None:
                p_if, p_o = p[: 2 * size].view(2, size), p[2 * size :]
            for t, gate in enumerate(gates.unbind()):
                product.add_to(gate, h_steps[t])
                before, after, g, o = c_steps[t], c_steps[t + 1], gs[t].tanh_(), os[t]
                if p is None:
                    f = together[t].sigmoid_()[:, 0]
                    torch.lerp(g, before, f, out=after)  # f c + (1 - f) g
                else:
                    i_and_f = together[t].addcmul_(before[:, None], p_if).sigmoid_()
                    torch.mul(i_and_f[:, 0], g, out=after).addcmul_(i_and_f[:, 1], before)
                    o.addcmul_(after, p_o)
                torch.mul(o.sigmoid_(), torch.tanh(after, out=tanh_steps[t]), out=h_steps[t + 1])
        ctx.save_for_backward(gates, hs, cs, tanh_cs, u, p)
        ctx.dtype = from_x.dtype
        return hs[1:], cs[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor | None, Tensor, Tensor]:
        """Return the gradients of the arguments."""
        grad_outputs, grad_c = gradients
        gates, hs, cs, tanh_cs, u, p = ctx.saved_tensors
        steps, streams, size = tanh_cs.shape
        blocks = gates.view(steps, streams, -1, size)
        g, o = blocks[..., -2, :], blocks[..., -1, :]
        slope_o = tanh_cs * o * (1 - o)  # A
        h_to_c = o * (1 - tanh_cs**2)  # B
        f = blocks[..., -3, :]
        if p is None:
            slopes = torch.stack(((cs[:-1] - g) * f * (1 - f), (1 - f) * (1 - g * g)), 2)  # (T, N, G - 1, H)
            keep = f
        else:
            p_i, p_f, p_o = p.view(3, size)
            i = blocks[..., 0, :]
            slopes = torch.stack((g * i * (1 - i), cs[:-1] * f * (1 - f), i * (1 - g * g)), 2)
            keep = f + slopes[..., 0, :] * p_i + slopes[..., 1, :] * p_f
            h_to_c += slope_o * p_o
        grad_gates = torch.empty_like(gates)
        with torch.autocast(gates.device.type, enabled=False):
            product = _Product(u, ctx.dtype)
            views = grad_gates.view(steps, streams, -1, size)
            into_c, into_o, all_gates = views[..., :-1, :].unbind(), views[..., -1, :].unbind(), grad_gates.unbind()
            factors = tuple(factor.unbind() for factor in (slope_o, h_to_c, slopes, keep))
            grad_h, carry = grad_outputs.clone().unbind(), grad_c.clone()
            for t in range(steps - 1, -1, -1):
                if t < steps - 1:
                    product.add_to(grad_h[t], all_gates[t + 1])
                by_o, by_h, by_gates, by_c = (factor[t] for factor in factors)
                torch.mul(grad_h[t], by_o, out=into_o[t])
                carry.addcmul_(grad_h[t], by_h)
                torch.mul(carry[:, None], by_gates, out=into_c[t])
                carry.mul_(by_c)
            before = torch.zeros_like(hs[0])
            product.add_to(before, all_gates[0])
            grad_from_x = grad_gates.to(ctx.dtype)
            grad_u = (grad_from_x.flatten(0, 1).t() @ hs[:-1].flatten(0, 1).to(ctx.dtype)).to(u.dtype)
        grad_p = None
        if p is not None:
            seen = ((cs[:-1], 0), (cs[:-1], 1), (cs[1:], 3))  # i and f see the old c, o the new one
            grad_p = torch.cat([(c * views[:, :, gate]).sum((0, 1)) for c, gate in seen])
        return grad_from_x, grad_u, grad_p, before, carry


class _Product:
    """Adds x @ matrix to a total; the product has this dtype: bf16 if the input product was computed in bf16."""

    def __init__(self, matrix: Tensor, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._matrix = matrix.to(dtype)

    def add_to(self, total: Tensor, x: Tensor) -> None:
        """Add to `total`, (N, ...), in place."""
        if x.dtype == self._dtype:
            torch.addmm(total, x, self._matrix, out=total)
        else:
            total.add_(x.to(self._dtype) @ self._matrix)
