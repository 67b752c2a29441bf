"""What the sections of every file have in common."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

__all__ = ["IsPowerOfTwo", "PowerOfTwo", "Section"]


def _power_of_two(value: int) -> int:
    if value & (value - 1):
        raise ValueError("must be a power of two")
    return value


IsPowerOfTwo = AfterValidator(_power_of_two)
PowerOfTwo = Annotated[int, IsPowerOfTwo]


class Section(BaseModel):
    """Base of all sections: frozen, strict, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
