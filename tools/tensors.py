"""Tensors in files: ``.npy``, and ``FILE.safetensors:TENSOR``."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.console import UserError

__all__ = ["expect", "npy_bytes", "read_tensor"]

# Element types of safetensors that have a meaning here, as numpy holds them: codes as integers.
_SAFETENSORS = {"F32": "<f4", "F64": "<f8", "F16": "<f2", "BF16": "<u2", "U8": "u1", "U16": "<u2",
                "U32": "<u4", "I8": "i1", "I32": "<i4", "I64": "<i8", "F8_E4M3": "u1",
                "F8_E5M2": "u1", "F8_E8M0": "u1", "BOOL": "?"}


def read_tensor(place: str, option: str, codes: str | None = None) -> NDArray[Any]:
    """Read an array from ``FILE.npy`` or ``FILE.safetensors:TENSOR``.

    BF16 and 8-bit floating-point tensors of safetensors come as their codes (uint16, uint8); 8-bit
    ones must have the format ``codes``. ``UserError`` names ``option`` when the file cannot be
    read or holds no such tensor.
    """
    path, found, tensor = place.partition(".safetensors:")
    if found or place.endswith(".safetensors"):
        name = f"{path}.safetensors" if found else place
        return _read_safetensors(Path(name), tensor, option, codes)
    file = Path(place)
    data = _bytes(file, option)
    if data.startswith(b"PK"):
        raise UserError(f"{option} {file} holds several arrays (.npz); one .npy is needed")
    try:
        if not data.startswith(np.lib.format.MAGIC_PREFIX):
            raise ValueError
        array: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception:
        # What numpy raises for a damaged header depends on the damage.
        raise UserError(f"{option} {file} is no whole .npy file of numbers; write it with "
                        f"numpy.save, or name FILE.safetensors:TENSOR") from None
    return array


def _bytes(file: Path, option: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"{option} {file} cannot be read: {error.strerror}") from None


def _read_safetensors(file: Path, tensor: str, option: str,
                      codes: str | None) -> NDArray[Any]:
    from safetensors import SafetensorError, deserialize

    data = _bytes(file, option)
    try:
        tensors = dict(deserialize(data))  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise UserError(f"{option} {file} is no safetensors file: {error}") from None
    if tensor not in tensors:
        known = sorted(tensors)
        shown = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "") or "none"
        wrong = f"holds no tensor {tensor!r}" if tensor else "may hold several tensors"
        raise UserError(f"{option} {file} {wrong}; it holds {shown}; name one as {file}:TENSOR")
    found = tensors[tensor]
    kind = found["dtype"].lower().removeprefix("f8_")
    if codes is not None and kind in ("e4m3", "e5m2", "e8m0") and kind != codes:
        raise UserError(f"{option} {file}:{tensor} holds {kind} codes, and this tile needs {codes} "
                        f"there")
    dtype = _SAFETENSORS.get(found["dtype"])
    if dtype is None:
        raise UserError(f"{option} {file}:{tensor} has the type {found['dtype']}; known types are "
                        f"{', '.join(_SAFETENSORS)}")
    if not len(found["data"]):
        return np.empty(found["shape"], dtype)
    return np.frombuffer(found["data"], dtype).reshape(found["shape"])


def expect(array: NDArray[Any], option: str, types: dict[str, str],
           shape: tuple[int | None, ...], described: str) -> NDArray[Any]:
    """Return ``array`` if it has one of ``types`` and the ``shape`` (None: any, but not 0).

    ``types`` maps a numpy type name to its meaning, for the message. The array comes back in
    native byte order and contiguous.
    """
    if array.dtype.newbyteorder("=").name not in types:
        allowed = " or ".join(f"{name} ({meaning})" for name, meaning in types.items())
        raise UserError(f"{option} has elements of type {array.dtype.name}; allowed: {allowed}; "
                        f"convert it with array.astype")
    fits = array.ndim == len(shape) and all(
        got >= 1 and want in (None, got) for want, got in zip(shape, array.shape, strict=True))
    if not fits:
        raise UserError(f"{option} has the shape {list(array.shape)}; needed: {described}")
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


def npy_bytes(array: NDArray[Any]) -> bytes:
    """The bytes of a ``.npy`` file."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()
