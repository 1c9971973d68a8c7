//! What kind of number an element is, its sign and its neighbours, and membership.

use smallvec::smallvec;

use super::arithmetic::{mul, neg};
use super::formula::{Binary, Form, Formula, NOT_IMPLEMENTED, OPERANDS, Operand, Pointwise, Rule, Unary};
use super::pointwise::{Chosen, arguments};
use super::recorded::link_linear;
use super::registry::{Arguments, operation};
use super::{batch, cast, compare, copy, exponential, extremum, flat, histogram, select, sort, view};
use crate::error::{Error, Result};
use crate::graph::forward;
use crate::kernels::element::dispatch;
use crate::kernels::frexp::frexp as split;
use crate::kernels::lane::Real;
use crate::tensor::Tensor;
use crate::tensor::dtype::{Category, DType, Promotion};
use crate::tensor::scalar::Scalar;
use crate::tensor::storage::Access;

/// True for numbers that are neither infinite nor NaN; integers are not.
#[inline(always)]
fn is_finite<L: Real>(x: L) -> L::Mask {
    (x * L::constant(0.0)).eq(L::constant(0.0))
}

/// A question about one element, answered by a truth value.
macro_rules! question {
    ($T:ident: |$x:ident| $mask:expr) => {
        impl Unary for $T {
            const IN_PLACE: bool = false;
            #[inline(always)]
            fn forward<L: Real>($x: L) -> L {
                L::from_mask($mask)
            }
            #[inline(always)]
            fn derivative<L: Real>(g: L, _x: L, _y: L) -> L {
                g
            }
        }
    };
}

operation! {
    /// True where neither infinite nor NaN, element by element.
    ///
    /// >>> ferrograd.isfinite(ferrograd.tensor([1.0, float("inf"), float("nan")]))
    /// tensor([ True, False, False])
    unary IsFinite, isfinite, "NotDifferentiable", Rule::Compare, ["isfinite(Tensor self)"]
}
question!(IsFinite: |x| is_finite(x));

operation! {
    /// True where infinite, element by element.
    ///
    /// >>> ferrograd.isinf(ferrograd.tensor([1.0, float("-inf"), float("nan")]))
    /// tensor([False,  True, False])
    unary IsInf, isinf, "NotDifferentiable", Rule::Compare, ["isinf(Tensor self)"]
}
question!(IsInf: |x| !is_finite(x) & x.eq(x));

operation! {
    /// True where positive infinity, element by element.
    ///
    /// >>> ferrograd.isposinf(ferrograd.tensor([1.0, float("-inf"), float("inf")]))
    /// tensor([False, False,  True])
    unary IsPosInf, isposinf, "NotDifferentiable", Rule::Compare, ["isposinf(Tensor self)"]
}
question!(IsPosInf: |x| !is_finite(x) & x.gt(L::constant(0.0)));

operation! {
    /// True where negative infinity, element by element.
    ///
    /// >>> ferrograd.isneginf(ferrograd.tensor([1.0, float("-inf"), float("inf")]))
    /// tensor([False,  True, False])
    unary IsNegInf, isneginf, "NotDifferentiable", Rule::Compare, ["isneginf(Tensor self)"]
}
question!(IsNegInf: |x| !is_finite(x) & x.lt(L::constant(0.0)));

operation! {
    /// True everywhere: there are no complex numbers.
    ///
    /// >>> ferrograd.isreal(ferrograd.tensor([1.0, float("nan")]))
    /// tensor([True, True])
    function Same(Any -> Bool), ["isreal(Tensor self)"], |_, a| {
        let (x, value) = (a.tensor(0)?, forward::bottom(a.tensor(0)?));
        let y = copy::laid_out_as(value, Tensor::filled(a.op, value.shape(), Scalar::Bool(true), DType::Bool)?);
        Ok(batch::batched(y, &batch::levels(x)).into())
    }
}

/// True where the sign of a floating-point number is negative, of zero and NaN too.
struct SignBit;
impl SignBit {
    fn spec() -> &'static Pointwise {
        static SPEC: Pointwise = Pointwise::new::<SignBit>("signbit", "NotDifferentiable", Rule::Compare);
        &SPEC
    }
}
impl Formula for SignBit {
    const ARITY: usize = 1;
    #[inline(always)]
    fn forward<L: Real>([x, ..]: [L; OPERANDS]) -> L {
        L::from_mask(L::constant(1.0).copysign(x).lt(L::constant(0.0)))
    }
    #[inline(always)]
    fn derivative<L: Real>(_n: usize, g: L, _x: [L; OPERANDS], _y: L) -> L {
        g
    }
}

operation! {
    /// True where the sign is negative, element by element: of negative zeros too.
    ///
    /// >>> ferrograd.signbit(ferrograd.tensor([1.0, -0.0, -2.0]))
    /// tensor([False,  True,  True])
    function Same(Any -> Bool), ["signbit(Tensor self)"], |_, a| Ok(signbit(a.tensor(0)?)?.into())
}

/// True where the sign is negative.
///
/// # Errors
/// For dtypes without kernels.
pub fn signbit(x: &Tensor) -> Result<Tensor> {
    match x.dtype().is_floating_point() {
        true => super::pointwise::apply(SignBit::spec(), &[x.into()]),
        false => compare::lt(x, Scalar::Int(0)),
    }
}

operation! {
    /// The size of `a` with the sign of `b`, element by element: `dy/da` is 1 where the sign stays and -1 where it changes,
    /// and 0 at zero; `dy/db = 0`.
    ///
    /// >>> ferrograd.copysign(ferrograd.tensor([1.0, -2.0]), ferrograd.tensor([-0.0, 3.0]))
    /// tensor([-1.,  2.])
    binary Copysign, copysign, "CopysignBackward0", Rule::Float, ["copysign(Tensor self, Operand other)"]
}
impl Binary for Copysign {
    const FORMS: &'static [Form] = &[Form::new(0b10, "CopysignBackward1", 0b01)];
    #[inline(always)]
    fn forward<L: Real>(a: L, b: L) -> L {
        a.copysign(b)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, a: L, _b: L, y: L) -> [L; 2] {
        let zero = L::constant(0.0);
        [g * L::select(a.eq(zero), zero, y / a), zero]
    }
}

operation! {
    /// The floating-point number next to `a` on the way to `b`, element by element: `dy/da = 1` where they differ.
    ///
    /// >>> ferrograd.nextafter(ferrograd.tensor([1.0]), ferrograd.tensor([2.0])) - 1
    /// tensor([1.1921e-07])
    binary Nextafter, nextafter, "NextafterBackward0", Rule::Real, ["nextafter(Tensor self, Tensor other)"]
}
impl Binary for Nextafter {
    #[inline(always)]
    fn forward<L: Real>(a: L, b: L) -> L {
        a.nextafter(b)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, a: L, b: L, _y: L) -> [L; 2] {
        let zero = L::constant(0.0);
        [L::select(a.eq(b), zero, g), zero]
    }
}

operation! {
    /// 0 where `x < 0`, 1 where `x > 0`, and `values` at zero, element by element. Both tensors must have one dtype. The
    /// gradient is zero.
    ///
    /// Dtypes: any, one for all, kept.
    ///
    /// >>> ferrograd.heaviside(ferrograd.tensor([-1.5, 0.0, 2.0]), ferrograd.tensor([0.5]))
    /// tensor([0.0000, 0.5000, 1.0000])
    binary Heaviside, heaviside, NOT_IMPLEMENTED, Rule::Promote, ["heaviside(Tensor self, Tensor values)"], |_, a| {
        if a.tensor(0)?.dtype() != a.tensor(1)?.dtype() {
            let what = "heaviside is not yet implemented for tensors with different dtypes.".into();
            return Err(Error::Invalid { op: a.op, what });
        }
        arguments(Heaviside::spec(), a)
    }
}
impl Binary for Heaviside {
    #[inline(always)]
    fn forward<L: Real>(x: L, values: L) -> L {
        let (zero, one) = (L::constant(0.0), L::constant(1.0));
        L::select(x.eq(zero), values, L::select(x.lt(zero) | x.is_nan(), zero, one))
    }
    #[inline(always)]
    fn derivative<L: Real>(_g: L, _x: L, _values: L, _y: L) -> [L; 2] {
        let zero = L::constant(0.0);
        [zero, zero]
    }
}

operation! {
    /// The larger of two, element by element; where one is NaN, the other. The gradient goes to the one taken, at a tie to
    /// the first.
    ///
    /// >>> ferrograd.fmax(ferrograd.tensor([1.0, float("nan")]), ferrograd.tensor([3.0, 2.0]))
    /// tensor([3., 2.])
    binary Fmax, fmax, "FmaxBackward0", Rule::Promote, ["fmax(Tensor self, Tensor other)"]
}
impl Binary for Fmax {
    const IN_PLACE: bool = false;
    #[inline(always)]
    fn forward<L: Real>(a: L, b: L) -> L {
        L::select(a.ge(b) | b.is_nan(), a, b)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, a: L, b: L, _y: L) -> [L; 2] {
        let (zero, first) = (L::constant(0.0), a.ge(b) | b.is_nan());
        [L::select(!first, zero, g), L::select(first, zero, g)]
    }
}

operation! {
    /// The smaller of two, element by element; where one is NaN, the other. The gradient goes to the one taken, at a tie to
    /// the first.
    ///
    /// >>> ferrograd.fmin(ferrograd.tensor([1.0, float("nan")]), ferrograd.tensor([3.0, 2.0]))
    /// tensor([1., 2.])
    binary Fmin, fmin, "FminBackward0", Rule::Promote, ["fmin(Tensor self, Tensor other)"]
}
impl Binary for Fmin {
    const IN_PLACE: bool = false;
    #[inline(always)]
    fn forward<L: Real>(a: L, b: L) -> L {
        L::select(a.le(b) | b.is_nan(), a, b)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, a: L, b: L, _y: L) -> [L; 2] {
        let (zero, first) = (L::constant(0.0), a.le(b) | b.is_nan());
        [L::select(!first, zero, g), L::select(first, zero, g)]
    }
}

/// `x` where finite, else the number for its kind.
struct NanToNum;
impl NanToNum {
    fn spec() -> &'static Pointwise {
        static SPEC: Pointwise = Pointwise::new::<NanToNum>("nan_to_num", "NanToNumBackward0", Rule::Promote);
        &SPEC
    }
}
impl Formula for NanToNum {
    const ARITY: usize = 4;
    const FORMS: &'static [Form] = &[Form::new(0b1110, "NanToNumBackward0", 0b0001)];
    #[inline(always)]
    fn forward<L: Real>([x, nan, high, low]: [L; OPERANDS]) -> L {
        let infinity = L::select(x.lt(L::constant(0.0)), low, high);
        L::select(is_finite(x), x, L::select(x.is_nan(), nan, infinity))
    }
    #[inline(always)]
    fn derivative<L: Real>(_n: usize, g: L, [x, ..]: [L; OPERANDS], _y: L) -> L {
        g * L::from_mask(is_finite(x))
    }
}

operation! {
    /// NaN and infinities replaced, element by element: by `nan` (0), `posinf` and `neginf` (the greatest and the least
    /// number of the dtype). The gradient passes where `x` is finite.
    ///
    /// >>> ferrograd.nan_to_num(ferrograd.tensor([1.0, float("nan"), float("inf")]), posinf=9.0)
    /// tensor([1., 0., 9.])
    chooses Same(Any -> Kept), ["nan_to_num(Tensor self, Number? nan=None, Number? posinf=None, Number? neginf=None)"],
    |_, a| replaced(a)
}

/// The operation and the operands of a call `nan_to_num(self, nan, posinf, neginf)`.
fn replaced<'a>(a: &'a Arguments) -> Result<Chosen<'a>> {
    let x = a.tensor(0)?;
    if x.dtype().category() <= Category::Integer {
        // A truth value does not change the dtype that the operands promote to.
        let unused = Operand::Number(Scalar::Bool(false));
        return Ok((NanToNum::spec(), smallvec![x.into(), unused, unused, unused]));
    }
    let greatest = match x.dtype() {
        DType::F16 => 65504.0,
        DType::BF16 => 3.3895313892515355e38,
        DType::F32 => f32::MAX as f64,
        _ => f64::MAX,
    };
    let number =
        |n: usize, default: f64| -> Result<Operand> { Ok(a.maybe_number(n)?.map_or(default, Scalar::as_f64).into()) };
    Ok((NanToNum::spec(), smallvec![x.into(), number(1, 0.0)?, number(2, greatest)?, number(3, -greatest)?]))
}

operation! {
    /// True where an element is one of `test_elements`, or none of them with `invert`. NaN is never found. Either may be a
    /// number; `assume_unique` changes nothing.
    ///
    /// Shapes: `(...), (...) -> (...)`: that of `elements`.
    ///
    /// >>> ferrograd.isin(ferrograd.tensor([1, 2, 3]), ferrograd.tensor([2, 3]))
    /// tensor([False,  True,  True])
    function Noted(Numbers -> Bool), ["isin(Operand elements, Operand test_elements, *, bool assume_unique=False, bool invert=False)"], |_, a| {
        let found = isin(a.operand(0)?, a.operand(1)?)?;
        Ok(if a.bool(3)? { compare::logical_not(&found)? } else { found }.into())
    }
}

/// Whether each element is one of `among`: found by halves in the sorted elements.
///
/// # Errors
/// For dtypes without kernels.
pub fn isin(elements: Operand, among: Operand) -> Result<Tensor> {
    let (x, among) = match (elements, among) {
        (Operand::Tensor(x), Operand::Number(n)) => return compare::eq(x, n),
        (Operand::Number(n), Operand::Tensor(among)) => (Tensor::scalar(n, n.dtype())?, among.clone()),
        (Operand::Tensor(x), Operand::Tensor(among)) => (x.clone(), among.clone()),
        (Operand::Number(a), Operand::Number(b)) => {
            return compare::eq(&Tensor::scalar(a, a.dtype())?, b);
        }
    };
    if let Some(t) = [&x, &among].into_iter().find(|t| t.dtype() == DType::Bool) {
        let what = format!("Unsupported input type encountered for isin(): {}", t.dtype());
        return Err(Error::Invalid { op: "isin", what });
    }
    if among.numel() == 0 {
        return Tensor::zeros(x.shape(), DType::Bool);
    }
    let among = view::reshape(&among, &[-1])?;
    let mut promotion = Promotion::default();
    [&x, &among].into_iter().for_each(|t| promotion.tensor(t.dtype(), t.rank()));
    let common = promotion.result();
    let (x, among) = (cast::to(&x, common)?, cast::to(&among, common)?);
    let [sorted, _] = sort::sort(&among, 0, false)?;
    let sorted = without_nan(&sorted)?;
    let at = histogram::searched("isin", &sorted, &x, None, false, false)?;
    let at = compare::clamp_max(&at, sorted.numel() as i64 - 1)?;
    let (selection, indices) = flat::flat("isin", &sorted, &at)?;
    compare::eq(&select::take(&selection, &sorted, indices)?, &x)
}

/// A sorted vector with its greatest number in the place of the NaNs at its end, so that it is sorted for comparisons.
fn without_nan(sorted: &Tensor) -> Result<Tensor> {
    if !sorted.dtype().is_floating_point() {
        return Ok(sorted.clone());
    }
    let nan = compare::isnan(sorted)?;
    let numbers = compare::where_(&nan, &view::select(sorted, 0, 0)?, sorted)?;
    compare::where_(&nan, &extremum::amax(&numbers, &[0], false)?, sorted)
}

operation! {
    /// Mantissa and exponent, element by element: `x = m 2^e` with `0.5 <= |m| < 1`, as C's `frexp`; `dm/dx = 2^-e`. Zeros,
    /// infinities and NaN are their own mantissa, with exponent 0.
    ///
    /// Dtypes: floating-point, kept; the exponent is int32.
    ///
    /// >>> ferrograd.frexp(ferrograd.tensor([3.0, -0.25])).exponent
    /// tensor([ 2, -1], dtype=torch.int32)
    function Same(Floats -> Noted), ["frexp(Tensor self) -> (Tensor mantissa, Tensor exponent)"], |_, a| Ok(frexp(a.tensor(0)?)?.into())
}

/// Mantissa and exponent.
///
/// # Errors
/// For integers.
pub fn frexp(x: &Tensor) -> Result<[Tensor; 2]> {
    if let Some(batch) = x.batch() {
        return Ok(frexp(&batch.value)?.map(|t| Tensor::batched(&t, batch.level)));
    }
    if !x.dtype().is_floating_point() {
        let rule = "expected floating-point numbers";
        return Err(Error::DTypeInvalid { op: "frexp", dtype: x.dtype(), rule });
    }
    let source = copy::to_contiguous(&x.detach())?;
    let empty = |dtype| Tensor::uninitialized("frexp", x.shape(), dtype);
    let (mantissa, exponent) = (empty(x.dtype())?, empty(DType::I32)?);
    {
        let written = [&mantissa, &exponent].map(|t| (&**t.storage(), true));
        let _access = Access::lock(written.into_iter().chain([(&**source.storage(), false)]));
        dispatch!("frexp", x.dtype(), T => {
            // SAFETY: the tensors are contiguous, of these types and apart, and their storages are locked.
            let (from, m, e) = unsafe { (source.elements::<T>(), mantissa.elements_mut::<T>(), exponent.elements_mut()) };
            split(from, m, e);
            Ok(())
        })?;
    }
    let ordered = |y: Tensor| if x.is_contiguous() { Ok(y) } else { copy::clone_as(&y, x) };
    let (mantissa, exponent) = (ordered(mantissa)?, ordered(exponent)?);
    let by = exponent.clone();
    link_linear("FrexpBackward0", x, &mantissa, move |g| {
        mul(g, &exponential::exp2(&cast::to(&neg(&by)?, g.dtype())?)?)
    })?;
    Ok([mantissa, exponent])
}
