"""A device's own factors: the exact ridge solution against public item factors (MATH 2, 3b).

Loss of a device with confidence weights w_i > 0 on watched titles (0 elsewhere) and item factors v_i:
    1/2 sum_i (alpha0 + w_i) (v_i'p - [w_i > 0])^2 + ridge/2 ||p||^2
Setting the gradient by p to zero gives A p = y with
    A = alpha0 V'V + sum_watched w_i v_i v_i' + ridge I,    y = sum_watched (alpha0 + w_i) v_i.
With w_i = 1 this is MATH 2: (alpha0 V'V + sum v v' + ridge I) p = (1 + alpha0) sum v.
Source: Hu, Koren, Volinsky 2008, "Collaborative filtering for implicit feedback datasets".
"""

import numpy as np
from numpy.typing import NDArray

from backrow.client.history import HistoryBlock, IntArray

FloatArray = NDArray[np.float64]


def gram(factors: FloatArray) -> FloatArray:
    """V'V of item factors of shape (titles, factors); compute it once per model."""
    wide = np.asarray(factors, dtype=np.float64)
    return np.asarray(wide.T @ wide)


def normal_equations(
    factors: FloatArray, titles: IntArray, weights: FloatArray, alpha0: float, ridge: float, item_gram: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """A and y of the module's docstring, shapes (factors, factors) and (factors,).

    Args:
        factors: item factors V, shape (titles of the catalogue, factors).
        titles: catalogue rows watched, shape (watched,).
        weights: confidence weights, shape (watched,), > 0.
        alpha0: confidence on every title, >= 0.
        ridge: > 0, so that A is positive definite whatever was watched.
        item_gram: V'V.

    Raises:
        ValueError: alpha0 < 0, ridge <= 0, or a title is not a row of `factors`.
    """
    _check(alpha0, ridge)
    if len(titles) and not (titles.min() >= 0 and titles.max() < len(factors)):
        raise ValueError(f"a watched title is not among the model's {len(factors)} titles: leave it out of the history")
    watched = np.asarray(factors[titles], dtype=np.float64)
    rooted = watched * np.sqrt(weights)[:, None]
    matrix = alpha0 * item_gram + rooted.T @ rooted
    matrix.flat[:: len(matrix) + 1] += ridge
    return matrix, np.asarray((alpha0 + weights) @ watched)


def user_factors(
    model_factors: FloatArray, titles: IntArray, weights: FloatArray, alpha0: float, ridge: float
) -> FloatArray:
    """Exact factors of one device, shape (factors,); zero for an empty history. Never leave the device.

    Args and Raises: as `normal_equations`.
    """
    matrix, target = normal_equations(model_factors, titles, weights, alpha0, ridge, gram(model_factors))
    return np.asarray(np.linalg.solve(matrix, target))


def solve_block(
    factors: FloatArray, block: HistoryBlock, alpha0: float, ridge: float, *, item_gram: FloatArray | None = None
) -> FloatArray:
    """`user_factors` of a block of devices, shape (devices, factors).

    A device's row does not depend on which other devices share its block.

    Args:
        factors: item factors V, shape (titles, factors).
        block: raw histories, in order.
        alpha0: confidence on every title, >= 0.
        ridge: > 0.
        item_gram: V'V where the caller has it already.

    Raises: as `normal_equations`.
    """
    _check(alpha0, ridge)
    shared = gram(factors) if item_gram is None else item_gram
    size = factors.shape[1]
    matrices, targets = np.empty((len(block), size, size)), np.empty((len(block), size))
    for row, history in enumerate(block):
        matrices[row], targets[row] = normal_equations(factors, history.titles, history.weights, alpha0, ridge, shared)
    return np.asarray(np.linalg.solve(matrices, targets[:, :, None])[:, :, 0])


def _check(alpha0: float, ridge: float) -> None:
    if not 0 <= alpha0 < np.inf:
        raise ValueError(f"alpha0 must be finite and >= 0, got {alpha0}")
    if not 0 < ridge < np.inf:
        raise ValueError(f"ridge must be positive and finite, got {ridge}: without it the solution is not unique")
