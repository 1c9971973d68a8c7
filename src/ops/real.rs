//! What functions of complex numbers are of real ones.

use super::formula::{Rule, Unary};
use super::inplace;
use super::registry::operation;
use crate::kernels::lane::Real;

operation! {
    /// The angle of each element in the complex plane: 0, or pi for negative numbers; NaN stays. The gradient is zero.
    ///
    /// >>> ferrograd.angle(ferrograd.tensor([2.0, -1.0]))
    /// tensor([0.0000, 3.1416])
    unary Angle, angle, "AngleBackward0", Rule::Float, ["angle(Tensor self)"]
}
impl Unary for Angle {
    const IN_PLACE: bool = false;
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        let turned = L::select(x.lt(L::constant(0.0)), L::constant(std::f64::consts::PI), L::constant(0.0));
        L::select(x.is_nan(), x, turned)
    }
    #[inline(always)]
    fn derivative<L: Real>(_g: L, _x: L, _y: L) -> L {
        L::constant(0.0)
    }
}

operation! {
    /// The conjugate: of real numbers the tensor itself.
    ///
    /// >>> ferrograd.conj(ferrograd.tensor([1.0, -2.0]))
    /// tensor([ 1., -2.])
    function Same(Any -> Kept), ["conj(Tensor self)"; also "resolve_conj", "resolve_neg"], |_, a| Ok(a.tensor(0)?.clone().into())
}

operation! {
    /// The conjugate in memory of its own: of real numbers the tensor itself.
    ///
    /// >>> ferrograd.conj_physical(ferrograd.tensor([1.0, -2.0]))
    /// tensor([ 1., -2.])
    function Same(Any -> Kept), ["conj_physical(Tensor self)"],
    in_place |_, a| Ok(inplace::apply(a.op, a.tensor(0)?, &[], &|x| Ok(x.clone()))?.into()),
    |_, a| Ok(a.tensor(0)?.clone().into())
}

operation! {
    /// The real part: of real numbers the tensor itself.
    ///
    /// >>> ferrograd.real(ferrograd.tensor([1.0, -2.0]))
    /// tensor([ 1., -2.])
    function Same(Any -> Kept), ["real(Tensor input)"], |_, a| Ok(a.tensor(0)?.clone().into())
}
