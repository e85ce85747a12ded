"""DINOv2's positions for images of another size than its own: interpolated as PyTorch does, whose cubic differs from others'."""

import numpy as np
import numpy.typing as npt

_A = -0.75  # of the cubic convolution kernel (Keys, 1981), as in torch.nn.functional.interpolate; others have -0.5

Array = npt.NDArray[np.float32]


def interpolate_positions(positions: Array, grid: tuple[int, int]) -> Array:
    """Position embeddings (1, 1 + n * n, channels) of a class token and a square of patches, for another grid of patches.

    Bicubic, without antialiasing, corners not aligned (modeling_dinov2.py, `interpolate_pos_encoding`).

    Args:
        positions: the model's own.
        grid: (rows, columns).
    """
    edge, channels = round((positions.shape[1] - 1) ** 0.5), positions.shape[2]
    square = positions[0, 1:].reshape(edge, edge, channels).astype(np.float64)
    rows, columns = (_cubic(edge, count) for count in grid)
    found = np.einsum("ri,cj,ijk->rck", rows, columns, square).reshape(1, -1, channels)
    return np.concatenate([positions[:, :1], found.astype(np.float32)], axis=1)


def _cubic(size: int, count: int) -> npt.NDArray[np.float64]:
    """The matrix (count, size) that resizes a row of `size` values to `count`."""
    places = (np.arange(count) + 0.5) * size / count - 0.5
    first = np.floor(places).astype(int)
    matrix = np.zeros((count, size))
    for offset in (-1, 0, 1, 2):
        weights = _kernel(np.abs(places - (first + offset)))
        np.add.at(matrix, (np.arange(count), np.clip(first + offset, 0, size - 1)), weights)
    return matrix


def _kernel(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    near = ((_A + 2) * distance - (_A + 3)) * distance**2 + 1
    far = ((_A * distance - 5 * _A) * distance + 8 * _A) * distance - 4 * _A
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
