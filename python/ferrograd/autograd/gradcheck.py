"""Derivatives checked against differences."""

import functools
import warnings
from collections.abc import Callable, Sequence

from .. import _ferrograd
from .._ferrograd import Tensor
from .._functions import allclose
from . import _jacobian
from ._jacobian import Place
from .function import Function


class GradcheckError(RuntimeError):
    """What `gradcheck` and `gradgradcheck` found to be wrong.

    >>> import ferrograd
    >>> class Wrong(ferrograd.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x * 2
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         return grad * 3
    >>> x = ferrograd.ones(1, dtype=ferrograd.float64, requires_grad=True)
    >>> try:
    ...     gradcheck(Wrong.apply, x)
    ... except GradcheckError:
    ...     print("it is wrong")
    it is wrong
    """


def gradcheck(
    func: Callable,
    inputs: Tensor | Sequence,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Check the derivatives of `func` at `inputs` against central differences.

    Derivatives are taken of the tensors among `inputs` that require gradients; give float64 ones, float32 has too few
    digits for the default `eps`. A check that fails raises a `GradcheckError` that shows both Jacobians, one row for
    each element of the input, or returns False where `raise_exception` is False.

    eps, atol, rtol: the step of the differences, and how closely derivatives must agree with them.
    nondet_tol: how far two backward passes of the same gradient may differ.
    check_undefined_grad: outputs without a gradient must count as if it were zero.
    check_grad_dtypes: gradients must have the dtype of their input.
    check_batched_grad, check_batched_forward_grad: gradients and tangents in batches must give what one by one gives.
    check_forward_ad, check_backward_ad: which of the two modes is checked.
    fast_mode: compare `v^T J u` for one random `u` and `v` in place of whole Jacobians: two calls of `func` for each
        input, whatever its size. Where it fails, the message shows the Jacobians.
    masked: for sparse tensors, of which there are none here.

    >>> import ferrograd
    >>> x = ferrograd.tensor([0.5, 1.0], dtype=ferrograd.float64, requires_grad=True)
    >>> gradcheck(ferrograd.tanh, x)
    True
    >>> gradcheck(lambda x: x.detach() * x, x)
    Traceback (most recent call last):
    ferrograd.autograd.gradcheck.GradcheckError: Jacobian mismatch for output 0 with respect to input 0,
    numerical:tensor([[1.0000, 0.0000],
            [0.0000, 2.0000]], dtype=torch.float64)
    analytical:tensor([[0.5000, 0.0000],
            [0.0000, 1.0000]], dtype=torch.float64)
    The greatest difference is 1, at element 1 of the input and element 1 of the output.
    """
    assert check_forward_ad or check_backward_ad, "Expected at least one of check_forward_ad or check_backward_ad to be True"
    assert check_forward_ad or not check_batched_forward_grad, "Setting check_batched_forward_grad=True requires check_forward_ad to be True"
    inputs = _all(inputs)
    _check_inputs(inputs)
    check = _Check(Place(func, inputs), eps, atol, rtol, nondet_tol)
    try:
        if not check.place.outputs:
            check.nothing_moves()
            return True
        if check_backward_ad:
            check.fast(True) if fast_mode else check.slow_backward()
        if check_forward_ad:
            check.fast(False) if fast_mode else check.slow_forward()
            if check_undefined_grad:
                check.missing_tangents()
        if check_batched_forward_grad:
            check.batched_tangents()
        if check_backward_ad:
            if check_batched_grad:
                check.batched_gradients()
            check.gradients_of_nothing(check_grad_dtypes)
            if check_undefined_grad:
                check.missing_gradients()
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable,
    inputs: Tensor | Sequence,
    grad_outputs: Tensor | Sequence | None = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Check the second derivatives of `func` at `inputs`: those of its gradients, as `gradcheck` does.

    The gradients are those for `grad_outputs`, or for random numbers from [-1, 1), laid out with gaps where
    `gen_non_contig_grad_outputs`; derivatives are taken of them too. `check_rev_over_rev` and `check_fwd_over_rev` tell
    by which mode; the other arguments are those of `gradcheck`.

    Raises GradcheckError where they differ, ValueError where no input requires a gradient, AssertionError where
    `check_undefined_grad` or `check_batched_grad` is asked for without `check_rev_over_rev`.

    >>> import ferrograd
    >>> x = ferrograd.tensor([0.5, -1.0], dtype=ferrograd.float64, requires_grad=True)
    >>> gradgradcheck(ferrograd.tanh, x, fast_mode=True)
    True
    """
    assert check_fwd_over_rev or check_rev_over_rev, "Expected at least one of check_fwd_over_rev or check_rev_over_rev to be True"
    for name, asked in (("check_undefined_grad", check_undefined_grad), ("check_batched_grad", check_batched_grad)):
        assert check_rev_over_rev or not asked, f"Setting {name}=True requires check_rev_over_rev to be True"
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    if grad_outputs is None:
        outputs = Place(func, inputs).outputs
        gradients = tuple(_random_gradient(y, gen_non_contig_grad_outputs) for y in outputs)
    else:
        gradients = (grad_outputs,) if isinstance(grad_outputs, Tensor) else tuple(grad_outputs)
    wanted = [i for i, x in enumerate(inputs) if _jacobian.is_wanted(x)]

    def first_derivatives(*arguments):
        given, seeds = arguments[: len(inputs)], arguments[len(inputs) :]
        outputs = [y for y in _jacobian.tensors(func(*given)) if y.requires_grad]
        found = _ferrograd._grad(outputs, [given[i] for i in wanted], list(seeds), True, True, True, False)
        return tuple(g for g in found if g is not None)

    return gradcheck(
        first_derivatives,
        inputs + gradients,
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
        masked=masked,
    )


def _random_gradient(y: Tensor, gaps: bool) -> Tensor:
    from ..testing import make_tensor

    return make_tensor(y.shape, dtype=y.dtype, low=-1, high=1, requires_grad=True, noncontiguous=gaps)


def _check_inputs(inputs: tuple) -> None:
    wanted = [(i, x) for i, x in enumerate(inputs) if _jacobian.is_wanted(x)]
    if not wanted:
        raise ValueError("gradcheck expects at least one input tensor to require gradient, but none of them have requires_grad=True.")
    for i, x in wanted:
        if x.dtype != _ferrograd.float64:
            warnings.warn(
                f"Input #{i} requires gradient and is not a double precision floating point or complex. "
                f"This check will likely fail: {x.dtype} has too few digits for the default eps.",
                stacklevel=3,
            )
        if x.numel() and any(stride == 0 and size > 1 for stride, size in zip(x.stride(), x.shape)):
            raise RuntimeError(
                f"The {i}th input has a dimension with stride 0. gradcheck only supports inputs that are non-overlapping: "
                "moving one element moves all that share its memory. Call .contiguous() on the input first."
            )


class _Undefined(Function):
    """The identity, which sends no gradient back."""

    @staticmethod
    def forward(ctx, x):
        return x

    @staticmethod
    def backward(ctx, grad):
        return None


class _Check:
    """The checks of one function at one place; each raises a GradcheckError where it fails."""

    def __init__(self, place: Place, eps: float, atol: float, rtol: float, nondet_tol: float) -> None:
        self.place, self.eps, self.atol, self.rtol, self.nondet_tol = place, eps, atol, rtol, nondet_tol

    def close(self, found: Tensor, expected: Tensor, atol: float | None = None) -> bool:
        double = _ferrograd.float64
        return allclose(found.to(double), expected.to(double), self.rtol, self.atol if atol is None else atol)

    @functools.cached_property
    def differences(self) -> list:
        """The Jacobians by differences."""
        return _jacobian.by_differences(self.place, self.eps)

    def nothing_moves(self) -> None:
        """Where no output requires a gradient, none may depend on the inputs."""
        floating = Tensor.is_floating_point
        for i, jacobians in zip(self.place.wanted, _jacobian.by_differences(self.place, self.eps, floating)):
            for n, jacobian in enumerate(jacobians):
                if bool((jacobian != 0).any()):
                    raise GradcheckError(
                        f"Numerical gradient for function expected to be zero: output {n} requires no gradient, "
                        f"but differs with input {i},\nnumerical:{jacobian}"
                    )

    def slow_backward(self) -> None:
        found = _jacobian.by_backward(self.place)
        self.compare(found, "Jacobian mismatch")
        again = _jacobian.by_backward(self.place)
        self.compare_passes(_zipped(found, again))

    def slow_forward(self) -> None:
        self.compare(_jacobian.by_forward(self.place), "Jacobian computed with forward mode mismatch")

    def compare(self, found: list, what: str) -> None:
        """Jacobians against those of differences."""
        for i, n, (analytical, numerical) in _zipped(found, self.differences):
            if not self.close(analytical, numerical):
                raise GradcheckError(_mismatch(what, n, self.place.wanted[i], numerical, analytical))

    def compare_passes(self, pairs) -> None:
        for _, n, (first, second) in pairs:
            same = (first == second).logical_or((first - second).abs() <= self.nondet_tol).logical_or(first.isnan())
            if not bool(same.all()):
                raise GradcheckError(
                    f"Backward is not reentrant, i.e., running backward with same input and grad_output multiple times "
                    f"gives different values, although analytical gradient matches numerical gradient. Output {n} gave "
                    f"gradients that differ by {(first - second).abs().max().item():g}; the tolerance is nondet_tol={self.nondet_tol}."
                )

    def fast(self, backward: bool) -> None:
        """`v^T J u` for random `u` and `v`, by differences and by one pass or one tangent."""
        place, draw = self.place, _Drawn()
        us = [draw.like(x) for x in place.sources()]
        vs = [draw.like(y) for y in place.outputs]
        passes = [_jacobian.pulled(place, n, v) for n, v in enumerate(vs)] if backward else []
        again = [_jacobian.pulled(place, n, v) for n, v in enumerate(vs)] if backward else []
        for k, (i, u) in enumerate(zip(place.wanted, us)):
            differences = _jacobian.difference(place, i, u, self.eps, _jacobian.is_wanted)
            tangents = [] if backward else _jacobian.pushed(place, i, u)
            for n, (v, along) in enumerate(zip(vs, differences)):
                numerical = _dot(v, along)
                analytical = _dot(passes[n][k], u) if backward else _dot(tangents[n], v)
                # A difference of atol in every element adds up to this.
                atol = self.atol * u.sum().item() * v.sum().item()
                if not self.close(analytical, numerical, atol):
                    self.fail_fast(backward, n, k, numerical, analytical)
        for n, (first, second) in enumerate(zip(passes, again)):
            self.compare_passes((k, n, pair) for k, pair in enumerate(zip(first, second)))

    def fail_fast(self, backward: bool, n: int, k: int, numerical: Tensor, analytical: Tensor) -> None:
        what = "Jacobian mismatch" if backward else "Jacobian computed with forward mode mismatch"
        found = (_jacobian.by_backward if backward else _jacobian.by_forward)(self.place)[k][n]
        expected = self.differences[k][n]
        gap = max((found - expected).abs().reshape(-1).tolist(), default=0.0)
        raise GradcheckError(
            f"{what} for output {n} with respect to input {self.place.wanted[k]},\n"
            f"numerical:{numerical.item()}\nanalytical:{analytical.item()}\n"
            "These are products of the Jacobians with random vectors (fast mode). The Jacobians are:\n"
            f"Numerical:\n{expected}\nAnalytical:\n{found}\n"
            f"The max per-element difference (slow mode) is: {gap}."
        )

    def missing_tangents(self) -> None:
        """An input without a tangent must count as if it were zero."""
        ones = {i: _ferrograd.ones(x.shape, dtype=x.dtype) for i, x in zip(self.place.wanted, self.place.sources())}
        for i, one in ones.items():
            with_zeros = _jacobian.pushed_along(self.place, ones | {i: _ferrograd.zeros_like(one)})
            without = _jacobian.pushed_along(self.place, {j: t for j, t in ones.items() if j != i})
            for n, ((_, zeros), (_, missing)) in enumerate(zip(with_zeros, without)):
                if zeros is not None and missing is not None and not self.close(missing, zeros):
                    raise GradcheckError(
                        f"The tangent of output {n} differs where input {i} has no tangent and where it is zero,\n"
                        f"none:{missing}\nzero:{zeros}"
                    )

    def missing_gradients(self) -> None:
        """Outputs without a gradient must count as if it were zero."""
        count = len(self.place.outputs)
        cases = [set(range(count))] + ([{n} for n in range(count)] if count > 1 else [])
        for missing in cases:
            outputs = [_Undefined.apply(y) if n in missing else y for n, y in enumerate(self.place.outputs)]
            zeros = [_ferrograd.zeros_like(y) for y in outputs]
            try:
                found = _ferrograd._grad(outputs, self.place.sources(), zeros, True, False, True, False)
            except RuntimeError as error:
                warnings.warn(
                    "Backwards compatibility: New undefined gradient support checking feature is enabled by default; "
                    "call with check_undefined_grad=False where the function need not handle gradients that are None",
                    stacklevel=4,
                )
                raise GradcheckError(
                    f"Expected backward function to handle undefined output grads (of outputs {sorted(missing)}), got: {error}"
                ) from error
            for i, g in zip(self.place.wanted, found):
                if g is not None and bool((g != 0).any()):
                    raise GradcheckError(
                        f"Expected all input grads to be undefined or zero when all output grads are undefined or zero "
                        f"(undefined: those of outputs {sorted(missing)}), got for input {i}: {g}"
                    )

    def gradients_of_nothing(self, dtypes: bool) -> None:
        """From gradients of zeros come zeros."""
        place = self.place
        zeros = [_ferrograd.zeros_like(y) for y in place.outputs]
        found = _ferrograd._grad(place.outputs, place.sources(), zeros, True, False, True, False)
        for i, x, g in zip(place.wanted, place.sources(), found):
            if g is None:
                continue
            if bool((g != 0).any()):
                raise GradcheckError(f"backward not multiplied by grad_output: of zeros it made for input {i}: {g}")
            if dtypes and g.dtype != x.dtype:
                raise GradcheckError(f"Gradient has dtype mismatch: input {i} is {x.dtype}, its gradient {g.dtype}")

    def batched_gradients(self) -> None:
        """A batch of gradients in one pass gives what passes one after another give."""
        from . import grad

        draw, sources = _Drawn(), self.place.sources()
        for n, y in enumerate(self.place.outputs):
            gradients = [draw.like(y) for _ in range(2)]
            single = [_jacobian.pulled(self.place, n, g) for g in gradients]
            options = dict(retain_graph=True, allow_unused=True, is_grads_batched=True, materialize_grads=True)
            try:
                batched = grad(y, sources, _ferrograd.stack(gradients), **options)
            except RuntimeError as error:
                raise GradcheckError(f"While computing batched gradients, got: {error}") from error
            self.compare_batched("gradients", n, [list(all) for all in zip(*single)], batched)

    def batched_tangents(self) -> None:
        """A batch of tangents gives what tangents one after another give."""
        draw = _Drawn()
        for i, x in zip(self.place.wanted, self.place.sources()):
            tangents = [draw.like(x) for _ in range(2)]
            single = [_jacobian.pushed(self.place, i, t) for t in tangents]
            level = _ferrograd._vmap_enter(2, "unsupported")
            try:
                found = _jacobian.pushed(self.place, i, _ferrograd._add_batch_dim(_ferrograd.stack(tangents), 0, level))
                batched = [_ferrograd._remove_batch_dim(t, level, 2, 0) for t in found]
            except RuntimeError as error:
                raise GradcheckError(f"While computing batched forward gradients, got: {error}") from error
            finally:
                _ferrograd._vmap_exit()
            self.compare_batched("tangents", i, [list(all) for all in zip(*single)], batched)

    def compare_batched(self, what: str, n: int, single: list, batched) -> None:
        for expected, found in zip(single, batched):
            expected = _ferrograd.stack(expected)
            if not self.close(found, expected):
                of = "output" if what == "gradients" else "input"
                raise GradcheckError(
                    f"gradcheck or gradgradcheck failed while testing batched gradient computation: a batch of {what} of "
                    f"{of} {n} gives\n{found}\nand one after another give\n{expected}"
                )


def _zipped(first: list, second: list):
    """Pairs of the Jacobians of every input and output, with their numbers."""
    for i, (rows, others) in enumerate(zip(first, second)):
        for n, pair in enumerate(zip(rows, others)):
            yield i, n, pair


def _mismatch(what: str, output: int, source: int, numerical: Tensor, analytical: Tensor) -> str:
    gap = (analytical - numerical).abs()
    row, column = divmod(int(gap.argmax()), numerical.shape[1])
    return (
        f"{what} for output {output} with respect to input {source},\nnumerical:{numerical}\nanalytical:{analytical}\n"
        f"The greatest difference is {gap.max().item():g}, at element {row} of the input and element {column} of the output."
    )


def _dot(a: Tensor, b: Tensor) -> Tensor:
    double = _ferrograd.float64
    return (a.to(double).reshape(-1) * b.to(double).reshape(-1)).sum()


class _Drawn:
    """Random vectors of length 1, the same in every run; the package's own stream is left alone."""

    def __init__(self) -> None:
        import random

        self._random = random.Random(0)

    def like(self, t: Tensor) -> Tensor:
        values = _ferrograd.tensor([self._random.random() for _ in range(t.numel())], dtype=_ferrograd.float64)
        length = (values * values).sum().sqrt()
        return (values / length).reshape(t.shape).to(t.dtype)


def get_numerical_jacobian(
    fn: Callable, inputs: Tensor | tuple, target: Tensor | tuple | None = None, eps: float = 1e-3, grad_out: float = 1.0
) -> tuple[Tensor, ...]:
    """The Jacobians by central differences of the first output of `fn`, which takes a tuple, for each of `inputs` that requires a
    gradient, or of `target`, which `fn` may reach by another way: one row for each element of the input. A FutureWarning says that
    torch is about to take the name away.

    Raises ValueError for another `grad_out` than 1.

    >>> import ferrograd
    >>> warnings.simplefilter("ignore", FutureWarning)
    >>> x = ferrograd.tensor([1.0, 2.0], dtype=ferrograd.float64, requires_grad=True)
    >>> get_numerical_jacobian(lambda inputs: inputs[0] * 2, (x,))
    (tensor([[2.0000, 0.0000],
            [0.0000, 2.0000]], dtype=torch.float64),)
    """
    _old_name("get_numerical_jacobian", grad_out)
    given, moved = _all(inputs), _all(inputs if target is None else target)
    place = Place(lambda *_: fn(given), moved)
    found = _jacobian.by_differences(place, eps)
    return tuple(of_outputs[0].to(x.dtype) for of_outputs, x in zip(found, place.sources()))


def get_analytical_jacobian(
    inputs: Tensor | tuple, output: Tensor, nondet_tol: float = 0.0, grad_out: float = 1.0
) -> tuple[tuple[Tensor, ...], bool, bool, bool]:
    """The Jacobians by backward passes of an output for each of `inputs` that requires a gradient, one row for each element of the
    input; whether a second pass gives them within `nondet_tol`; and True twice: gradients have the sizes and dtypes of their
    inputs. A FutureWarning says that torch is about to take the name away.

    Raises ValueError for another `grad_out` than 1, RuntimeError for an output without a history.

    >>> import ferrograd
    >>> warnings.simplefilter("ignore", FutureWarning)
    >>> x = ferrograd.tensor([1.0, 2.0], requires_grad=True)
    >>> get_analytical_jacobian((x,), x * x)
    ((tensor([[2., 0.],
            [0., 4.]]),), True, True, True)
    """
    _old_name("get_analytical_jacobian", grad_out)
    sources = [x for x in _all(inputs) if _jacobian.is_wanted(x)]

    def run() -> tuple[Tensor, ...]:
        columns = [_ferrograd._grad([output], sources, [unit], True, False, True, True) for unit in _jacobian.units(output)]
        return tuple(
            _ferrograd.stack([found[n].reshape(-1) for found in columns], 1) if columns else x.new_zeros((x.numel(), 0))
            for n, x in enumerate(sources)
        )

    first, second = run(), run()
    is_same = all(allclose(a, b, rtol=0.0, atol=nondet_tol) for a, b in zip(first, second))
    return first, is_same, True, True


def _old_name(name: str, grad_out: float) -> None:
    warnings.warn(f"`{name}` was part of PyTorch's private API and will be removed there", FutureWarning, stacklevel=3)
    if grad_out != 1.0:
        raise ValueError(f"Expected grad_out to be 1.0. {name} no longer supports values of grad_out != 1.0.")


def _all(inputs: Tensor | Sequence) -> tuple:
    return tuple(inputs) if isinstance(inputs, (list, tuple)) else (inputs,)


__all__ = ["GradcheckError", "get_analytical_jacobian", "get_numerical_jacobian", "gradcheck", "gradgradcheck"]
