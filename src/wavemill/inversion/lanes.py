# ruff: noqa: ARG001  # numba passes an intrinsic the types of its arguments; most intrinsics ignore them
"""A numba type of sixteen complex numbers, for SIMD arithmetic in kernels.

Sixteen frames are transformed at once, one in each lane, so that a Fourier transform needs no
shuffles and uses the machine's widest registers. Plain numba loops do not vectorise here: numba
cannot prove that two rows of one array do not overlap, so LLVM falls back to single numbers.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic as untyped_intrinsic
from numba.extending import lower_builtin, models, register_model, type_callable

from wavemill.inversion.fft_plan import LANES

_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_BITS = ir.VectorType(ir.IntType(32), LANES)


def intrinsic(function: Callable[..., Any]) -> Any:
    """Make the code that `function` generates callable from kernels, without its first argument."""
    return untyped_intrinsic(function)


class _ComplexLanes(types.Type):  # type: ignore[misc]  # numba has no types
    def __init__(self) -> None:
        super().__init__(name="wavemill.ComplexLanes")


_lanes = _ComplexLanes()


@register_model(_ComplexLanes)
class _ComplexLanesModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.LiteralStructType([_VECTOR, _VECTOR]))


def _parts(builder: Any, value: Any) -> tuple[Any, Any]:
    return builder.extract_value(value, 0), builder.extract_value(value, 1)


def _joined(builder: Any, real: Any, imag: Any) -> Any:
    empty = ir.Constant(ir.LiteralStructType([_VECTOR, _VECTOR]), ir.Undefined)
    return builder.insert_value(builder.insert_value(empty, real, 0), imag, 1)


def _pointer(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())


def _read(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    value = builder.load(_pointer(context, builder, kind, array, index))
    value.align = 4
    return value


def _write(context: Any, builder: Any, kind: Any, array: Any, index: Any, value: Any) -> None:
    builder.store(value, _pointer(context, builder, kind, array, index)).align = 4


def _splat(builder: Any, number: Any) -> Any:
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), ir.Constant(_BITS, [0] * LANES))


def _constant(number: float) -> Any:
    return ir.Constant(_VECTOR, [number] * LANES)


def _reciprocal_root(builder: Any, x: Any) -> Any:
    """Return 1 / sqrt(x) to 5e-6 for positive x: a guess from the bits, then two Newton steps."""
    half = builder.lshr(builder.bitcast(x, _BITS), ir.Constant(_BITS, [1] * LANES))
    y = builder.bitcast(builder.sub(ir.Constant(_BITS, [0x5F375A86] * LANES), half), _VECTOR)
    minus_half_x = builder.fmul(x, _constant(-0.5))
    for _ in range(2):
        rest = builder.fadd(builder.fmul(minus_half_x, builder.fmul(y, y)), _constant(1.5))
        y = builder.fmul(y, rest)
    return y


def _operation(function: Callable[..., Any], part: str) -> None:
    """Define `+` or `-` of two values for numba."""

    @type_callable(function)  # type: ignore[untyped-decorator]
    def _typed(_context: Any) -> Callable[[Any, Any], Any]:
        return lambda left, right: _lanes if left == right == _lanes else None

    @lower_builtin(function, _lanes, _lanes)  # type: ignore[untyped-decorator]
    def _lowered(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        left, right = (_parts(builder, value) for value in arguments)
        apply = getattr(builder, part)
        return _joined(builder, apply(left[0], right[0]), apply(left[1], right[1]))


_operation(operator.add, "fadd")
_operation(operator.sub, "fsub")


@intrinsic
def load(_typing: Any, array: Any, real: Any, imag: Any) -> Any:
    """Return 16 numbers; real parts start at `array[real]`, imaginary parts at `array[imag]`."""

    def generate(context: Any, builder: Any, given: Any, arguments: Any) -> Any:
        parts = (_read(context, builder, given.args[0], arguments[0], index) for index in arguments[1:])
        return _joined(builder, *parts)

    return _lanes(array, types.intp, types.intp), generate


@intrinsic
def store(_typing: Any, array: Any, real: Any, imag: Any, value: Any) -> Any:
    """Write 16 numbers to the places that `load` reads."""

    def generate(context: Any, builder: Any, given: Any, arguments: Any) -> Any:
        for index, part in zip(arguments[1:3], _parts(builder, arguments[3]), strict=True):
            _write(context, builder, given.args[0], arguments[0], index, part)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, _lanes), generate


@intrinsic
def accumulate(_typing: Any, array: Any, real: Any, imag: Any, value: Any) -> Any:
    """Add real parts to 16 elements from `array[real]`, then imaginary ones from `array[imag]`."""

    def generate(context: Any, builder: Any, given: Any, arguments: Any) -> Any:
        kind, array = given.args[0], arguments[0]
        for index, part in zip(arguments[1:3], _parts(builder, arguments[3]), strict=True):
            total = builder.fadd(_read(context, builder, kind, array, index), part)
            _write(context, builder, kind, array, index, total)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, _lanes), generate


@intrinsic
def stretched(_typing: Any, value: Any, real: Any, imag: Any) -> Any:
    """Return the value with its real part multiplied by `real` and its imaginary part by `imag`."""

    def generate(_context: Any, builder: Any, _given: Any, arguments: Any) -> Any:
        factors = (_splat(builder, number) for number in arguments[1:])
        parts = _parts(builder, arguments[0])
        return _joined(builder, *(builder.fmul(a, b) for a, b in zip(parts, factors, strict=True)))

    return _lanes(_lanes, types.float32, types.float32), generate


@intrinsic
def turned(_typing: Any, value: Any, cos: Any, sin: Any) -> Any:
    """Return the value times `cos + 1j * sin`."""

    def generate(_context: Any, builder: Any, _given: Any, arguments: Any) -> Any:
        c, s = (_splat(builder, number) for number in arguments[1:])
        a, b = _parts(builder, arguments[0])
        real = builder.fsub(builder.fmul(a, c), builder.fmul(b, s))
        return _joined(builder, real, builder.fadd(builder.fmul(a, s), builder.fmul(b, c)))

    return _lanes(_lanes, types.float32, types.float32), generate


@intrinsic
def quarter_turned(_typing: Any, value: Any) -> Any:
    """Return the value times -1j."""

    def generate(_context: Any, builder: Any, _given: Any, arguments: Any) -> Any:
        a, b = _parts(builder, arguments[0])
        return _joined(builder, b, builder.fneg(a))

    return _lanes(_lanes), generate


@intrinsic
def conjugate(_typing: Any, value: Any) -> Any:
    """Return the complex conjugate."""

    def generate(_context: Any, builder: Any, _given: Any, arguments: Any) -> Any:
        a, b = _parts(builder, arguments[0])
        return _joined(builder, a, builder.fneg(b))

    return _lanes(_lanes), generate


@intrinsic
def with_magnitude(_typing: Any, value: Any, magnitude: Any, index: Any) -> Any:
    """Return numbers with the value's phases and the 16 magnitudes from `magnitude[index]` on."""

    def generate(context: Any, builder: Any, given: Any, arguments: Any) -> Any:
        a, b = _parts(builder, arguments[0])
        wanted = _read(context, builder, given.args[1], arguments[1], arguments[2])
        energy = builder.fadd(builder.fmul(a, a), builder.fadd(builder.fmul(b, b), _constant(1e-30)))
        scale = builder.fmul(wanted, _reciprocal_root(builder, energy))
        return _joined(builder, builder.fmul(a, scale), builder.fmul(b, scale))

    return _lanes(_lanes, magnitude, types.intp), generate


@intrinsic
def add_mismatch(_typing: Any, sums: Any, value: Any, magnitude: Any, index: Any) -> Any:
    """Add (|value| - magnitude)^2 and magnitude^2 to 32 sums, where the magnitude is above 0."""

    def generate(context: Any, builder: Any, given: Any, arguments: Any) -> Any:
        a, b = _parts(builder, arguments[1])
        wanted = _read(context, builder, given.args[2], arguments[2], arguments[3])
        energy = builder.fadd(builder.fmul(a, a), builder.fadd(builder.fmul(b, b), _constant(1e-30)))
        rest = builder.fsub(builder.fmul(energy, _reciprocal_root(builder, energy)), wanted)
        heard = builder.fcmp_ordered(">", wanted, _constant(0.0))
        rest = builder.select(heard, rest, _constant(0.0))
        for place, added in ((0, rest), (LANES, wanted)):
            start = ir.Constant(ir.IntType(64), place)
            total = builder.fadd(
                _read(context, builder, given.args[0], arguments[0], start), builder.fmul(added, added)
            )
            _write(context, builder, given.args[0], arguments[0], start, total)
        return context.get_dummy_value()

    return types.void(sums, _lanes, magnitude, types.intp), generate
