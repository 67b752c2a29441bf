"""Checks of arguments: a wrong array raises at once and says what was allowed."""

from typing import Any

import numpy as np

__all__ = ["check_array", "check_shape"]


def check_array(name: str, array: Any, *dtypes: type[np.generic],
                dimensions: int | None = None) -> None:
    """Raise ``TypeError`` unless ``array`` is an ndarray of one of ``dtypes``, and ``ValueError``
    unless it has ``dimensions`` dimensions (any number when None)."""
    allowed = " or ".join(np.dtype(dtype).name for dtype in dtypes)
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a numpy array of {allowed}, not {type(array).__name__}")
    if not any(array.dtype == dtype for dtype in dtypes):
        raise TypeError(f"{name} must be an array of {allowed}, not of {array.dtype}")
    if dimensions is not None and array.ndim != dimensions:
        raise ValueError(f"{name} must have {dimensions} dimension{'s'[:dimensions != 1]}, "
                         f"not the shape {list(array.shape)}")


def check_shape(name: str, array: np.ndarray[Any, Any], shape: tuple[int, ...], why: str) -> None:
    """Raise ``ValueError`` unless ``array`` has ``shape``; ``why`` says where that comes from."""
    if array.shape != shape:
        raise ValueError(f"{name} must have the shape {list(shape)} ({why}), "
                         f"not {list(array.shape)}")
