"""The linear recurrence between its projections in NumPy float64, one step at a time."""

import numpy as np
from scipy.linalg import block_diag


def values(x, h, blocks, b, c, d, mask):
    """`(outputs, state)`; `d` a vector or a matrix, as the layer has it."""
    a, d = block_diag(*blocks), np.diag(d) if d.ndim == 1 else d
    outputs, h = np.zeros([*x.shape[:2], len(c)]), h.copy()
    for row in range(len(x)):
        shown = np.zeros(len(c))
        for t in range(x.shape[1]):
            if mask[row, t]:
                h[row] = a @ h[row] + b @ x[row, t]
                shown = c @ h[row] + d @ x[row, t]
            outputs[row, t] = shown
    return outputs, h


def gradients(x, h0, blocks, b, c, d, mask, upstream, final):
    """Of `sum(outputs * upstream) + sum(state * final)`: x, h0, blocks, b, c, d."""
    a, skip = block_diag(*blocks), np.diag(d) if d.ndim == 1 else d
    da, db, dc, dd = (np.zeros_like(v) for v in (a, b, c, skip))
    dx, dh0 = np.zeros_like(x), np.zeros_like(h0)
    for row in range(len(x)):
        real = np.flatnonzero(mask[row])
        states = [h0[row]]
        for t in real:
            states.append(a @ states[-1] + b @ x[row, t])
        g, ends = final[row].copy(), [*real[1:], x.shape[1]]
        for i in reversed(range(len(real))):
            t = real[i]
            dy = upstream[row, t : ends[i]].sum(0)  # the output stands until the next real step
            g += c.T @ dy
            dc += np.outer(dy, states[i + 1])
            dd += np.outer(dy, x[row, t])
            da += np.outer(g, states[i])
            db += np.outer(g, x[row, t])
            dx[row, t] = b.T @ g + skip.T @ dy
            g = a.T @ g
        dh0[row] = g
    width = blocks.shape[1]
    corners = range(0, len(a), width)
    dblocks = np.stack([da[i : i + width, i : i + width] for i in corners])
    return dx, dh0, dblocks, db, dc, np.diag(dd) if d.ndim == 1 else dd
