//! Products added to a tensor: `beta x + alpha (a b)`.

use smallvec::smallvec;

use super::arithmetic::{add, mul, mul_within};
use super::recorded::{Call, Factors, Keep, Settings, record};
use super::registry::{Arguments, Output, operation};
use super::{batch, cast, contract, inplace, sum, view};
use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::graph::node::Gradients;
use crate::tensor::Tensor;
use crate::tensor::dtype::Category;
use crate::tensor::layout::{broadcast, wrap_existing_dim};
use crate::tensor::scalar::Scalar;

/// A product of two tensors and its derivatives.
#[derive(Clone, Copy)]
struct Kind {
    op: &'static str,
    node: &'static str,
    /// The dimensions that the three tensors must have; the first may have fewer, or sizes that broadcast.
    ranks: [usize; 2],
    /// The sizes that must agree, as dimensions of the factors.
    agree: &'static [(usize, usize)],
    /// Of the factors, to be added to the first tensor.
    product: fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor>,
    /// The gradient of each factor from that of the product, whether the factor lies in columns, and the other.
    first: fn(&Tensor, bool, &Tensor) -> Result<Tensor>,
    second: fn(&Tensor, &Tensor, bool) -> Result<Tensor>,
}

fn turned(x: &Tensor) -> Result<Tensor> {
    view::transpose(x, -1, -2)
}

fn outer(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    mul(&view::unsqueeze(a, -1)?, &view::unsqueeze(b, -2)?)
}

/// As [`outer`], in memory in the order of a matrix that it goes with, so that both are read in one pass.
fn outer_beside(x: &Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    match x.strides() {
        [row, column] if row < column => turned(&outer(b, a)?),
        _ => outer(a, b),
    }
}

const MATRICES: Kind = Kind {
    op: "addmm",
    node: "AddmmBackward0",
    ranks: [2, 2],
    agree: &[(1, 0)],
    product: |_, a, b| contract::matmul(a, b),
    first: contract::left_gradient,
    second: contract::right_gradient,
};
const BATCHES: Kind =
    Kind { op: "baddbmm", node: "BaddbmmBackward0", ranks: [3, 3], agree: &[(0, 0), (2, 1)], ..MATRICES };
const SUMMED: Kind = Kind {
    op: "addbmm",
    node: "AddbmmBackward0",
    ranks: [3, 3],
    agree: &[(0, 0), (2, 1)],
    product: |_, a, b| sum::sum(&contract::matmul(a, b)?, &[0], false, Some(a.dtype())),
    ..MATRICES
};
const VECTOR: Kind = Kind {
    op: "addmv",
    node: "AddmvBackward0",
    ranks: [2, 1],
    agree: &[(1, 0)],
    product: |_, a, b| contract::matmul(a, b),
    first: |g, _, b| outer(g, b),
    second: |g, a, _| contract::matmul(&turned(a)?, g),
};
const OUTER: Kind = Kind {
    op: "addr",
    node: "AddrBackward0",
    ranks: [1, 1],
    agree: &[],
    product: outer_beside,
    first: |g, _, b| contract::matmul(g, b),
    second: |g, a, _| contract::matmul(&turned(g)?, a),
};

/// `x + a b` for matrices `a` and `b`.
///
/// # Errors
/// For other ranks, sizes that do not fit and dtypes that differ.
pub fn addmm(x: &Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    MATRICES.run(x, a, b, Scalar::Int(1), Scalar::Int(1))
}

/// `x + a b` for the rows of `a`, which lie side by side in memory, a matrix `b` and a vector `x`: recorded as the view of what
/// [`addmm`] gives for the matrix of all rows.
///
/// # Errors
/// For sizes that do not fit and dtypes that differ.
pub(super) fn addmm_of_rows(x: &Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let width = a.shape()[a.rank() - 1];
    let count: usize = a.shape()[..a.rank() - 1].iter().product();
    let rows = view::reshape(a, &[count as isize, width as isize])?;
    MATRICES.check(x, &rows, b)?;
    check_first(MATRICES.op, x, &[count, b.shape()[1]])?;
    // Computed in its last shape, so that what reads it next can be one program with the sum.
    let y = unrecorded(|| add(&contract::matmul(a, b)?, x))?;
    let matrix = view::seen_as(&y, &[count, b.shape()[1]]);
    MATRICES.record(&matrix, x, &rows, b, Scalar::Int(1), Scalar::Int(1))?;
    view::link_reshaped("ViewBackward0", &matrix, &y)?;
    Ok(y)
}

/// The first tensor must broadcast to the product.
///
/// # Errors
/// Where it does not.
pub(super) fn check_first(op: &'static str, x: &Tensor, product: &[usize]) -> Result<()> {
    if broadcast(op, x.shape(), product)?[..] == *product {
        return Ok(());
    }
    let (expected, given) = (product.to_vec(), x.shape().to_vec());
    Err(Error::Shape { op, what: "the first tensor must broadcast to the product", expected, given })
}

impl Kind {
    fn check(&self, x: &Tensor, a: &Tensor, b: &Tensor) -> Result<()> {
        let op = self.op;
        if self.ranks == [3, 3] {
            // As in torch, sizes are read before anything is said of ranks.
            wrap_existing_dim(op, 2, b.rank())?;
            wrap_existing_dim(op, 1, a.rank())?;
        }
        for (t, rank) in [a, b].into_iter().zip(self.ranks) {
            if t.rank() != rank {
                let what = format!("expected a {rank}-D tensor among its factors, got shape {:?}", t.shape());
                return Err(Error::Invalid { op, what });
            }
        }
        if let Some((i, j)) = self.agree.iter().find(|(i, j)| a.shape()[*i] != b.shape()[*j]) {
            let what = format!("sizes must agree in dimensions {i} and {j}, got {:?} and {:?}", a.shape(), b.shape());
            return Err(Error::Invalid { op, what });
        }
        contract::same_dtype(op, x, a)?;
        contract::same_dtype(op, a, b)
    }

    /// `beta x + alpha (a b)`; without `x` where `beta` is zero.
    fn run(&self, x: &Tensor, a: &Tensor, b: &Tensor, beta: Scalar, alpha: Scalar) -> Result<Tensor> {
        self.check(x, a, b)?;
        let whole = x.dtype().category() <= Category::Integer;
        if whole && self.op == "addr" && [alpha, beta].iter().any(|n| matches!(n, Scalar::Float(_))) {
            let rule = "For integral input tensors, argument alpha must not be a floating point number.";
            return Err(Error::Alpha { op: self.op, rule });
        }
        // As in torch, the factors are of the tensors' dtype.
        let factor = |n: Scalar| if whole { n.cut(self.op, x.dtype()) } else { Ok(n) };
        let (alpha, beta) = (factor(alpha)?, factor(beta)?);
        let scaled = |t: Tensor, by: Scalar| if by == Scalar::Int(1) { Ok(t) } else { mul(&t, by) };
        let value = || {
            let product = scaled((self.product)(x, a, b)?, alpha)?;
            check_first(self.op, x, product.shape())?;
            if beta.as_f64() == 0.0 {
                Ok(product)
            } else {
                let x = scaled(x.clone(), beta)?;
                // The sum lies in memory as its first term does.
                let total = if self.op == "addr" { add(&x, &product)? } else { add(&product, &x)? };
                cast::to(&total, a.dtype())
            }
        };
        if batch::level([x, a, b]).is_some() {
            return value();
        }
        let y = unrecorded(value)?;
        self.record(&y, x, a, b, beta, alpha)?;
        Ok(y)
    }

    /// Records `y` as `beta x + alpha (a b)`.
    fn record(&self, y: &Tensor, x: &Tensor, a: &Tensor, b: &Tensor, beta: Scalar, alpha: Scalar) -> Result<()> {
        let settings = || {
            let all = contract::of_factors(a, b);
            let factors = all.factors.map(|factors| Factors { beta: beta.as_f64(), ..factors });
            let told = Box::new([("alpha", alpha.into()), ("beta", beta.into())]);
            let all = Settings { number: alpha.as_f64(), factors, told, ..all };
            match self.op {
                // The sizes that the sum over the batch takes away, and the last one.
                "addbmm" => Settings { shape: smallvec![a.shape()[0], a.shape()[1], b.shape()[2]], ..all },
                _ => all,
            }
        };
        let formula = match self.op {
            "addmm" => |call: &Call| MATRICES.gradients(call),
            "baddbmm" => |call: &Call| BATCHES.gradients(call),
            "addbmm" => |call: &Call| SUMMED.gradients(call),
            "addmv" => |call: &Call| VECTOR.gradients(call),
            _ => |call: &Call| OUTER.gradients(call),
        };
        record(self.node, y, &[x, a, b], &[Keep::Input(a), Keep::Input(b)], settings, formula)
    }

    fn gradients(&self, call: &Call) -> Result<Gradients> {
        let Factors { in_columns, beta, .. } = call.settings.factors.expect("those of a product");
        let alpha = call.settings.number;
        let (a, b) = (&call.saved[0], &call.saved[1]);
        let scaled = |t: Tensor, by: f64| if by == 1.0 { Ok(t) } else { mul_within(&t, by) };
        let mut g = call.g.clone();
        let dx = if call.needs[0] { Some(scaled(g.clone(), beta)?) } else { None };
        if self.op == "addbmm" {
            let mut shape = view::signed(g.shape());
            shape.insert(0, call.settings.shape[0] as isize);
            g = view::expand(&g, &shape)?;
        }
        let da = if call.needs[1] { Some(scaled((self.first)(&g, in_columns[0], b)?, alpha)?) } else { None };
        let db = if call.needs[2] { Some(scaled((self.second)(&g, a, in_columns[1])?, alpha)?) } else { None };
        Ok(smallvec![dx, da, db])
    }

    fn called(&self, a: &Arguments) -> Result<Output> {
        Ok(self.run(a.tensor(0)?, a.tensor(1)?, a.tensor(2)?, a.number(3)?, a.number(4)?)?.into())
    }

    fn in_place(&self, a: &Arguments) -> Result<Output> {
        let (first, second, beta, alpha) = (a.tensor(1)?, a.tensor(2)?, a.number(3)?, a.number(4)?);
        let run = |x: &Tensor| self.run(x, first, second, beta, alpha);
        Ok(inplace::apply(a.op, a.tensor(0)?, &[first, second], &run)?.into())
    }
}

operation! {
    /// `beta x + alpha (A B)` for matrices; `x` broadcasts, and counts for nothing where `beta` is 0.
    ///
    /// Shapes: `(n, m), (n, k), (k, m) -> (n, m)`; the first broadcasts.
    ///
    /// >>> ferrograd.addmm(ferrograd.tensor([1.0, 2.0]), ferrograd.ones(1, 3), ferrograd.ones(3, 2))
    /// tensor([[4., 5.]])
    function Noted(Numbers -> Shared), ["addmm(Tensor self, Tensor mat1, Tensor mat2, *, Number beta=1, Number alpha=1)"],
    in_place |_, a| MATRICES.in_place(a), |_, a| MATRICES.called(a)
}

operation! {
    /// `beta x + alpha (A B)` for each matrix of two batches; `x` broadcasts.
    ///
    /// Shapes: `(b, n, m), (b, n, k), (b, k, m) -> (b, n, m)`; the first broadcasts.
    /// Raises: RuntimeError for other shapes; IndexError for factors of fewer dimensions.
    ///
    /// >>> ferrograd.baddbmm(ferrograd.zeros(1), ferrograd.ones(2, 1, 3), ferrograd.ones(2, 3, 1)).flatten()
    /// tensor([3., 3.])
    function Noted(Numbers -> Shared), ["baddbmm(Tensor self, Tensor batch1, Tensor batch2, *, Number beta=1, Number alpha=1)"],
    in_place |_, a| BATCHES.in_place(a), |_, a| BATCHES.called(a)
}

operation! {
    /// `beta x + alpha (sum of A B)` over two batches of matrices; `x` broadcasts.
    ///
    /// Shapes: `(n, m), (b, n, k), (b, k, m) -> (n, m)`; the first broadcasts.
    /// Raises: RuntimeError for other shapes; IndexError for factors of fewer dimensions.
    ///
    /// >>> ferrograd.addbmm(ferrograd.zeros(1, 1), ferrograd.ones(2, 1, 3), ferrograd.ones(2, 3, 1))
    /// tensor([[6.]])
    function Noted(Numbers -> Shared), ["addbmm(Tensor self, Tensor batch1, Tensor batch2, *, Number beta=1, Number alpha=1)"],
    in_place |_, a| SUMMED.in_place(a), |_, a| SUMMED.called(a)
}

operation! {
    /// `beta x + alpha (A v)` for a matrix and a vector; `x` broadcasts.
    ///
    /// Shapes: `(n,), (n, k), (k,) -> (n,)`; the first broadcasts.
    ///
    /// >>> ferrograd.addmv(ferrograd.ones(2), ferrograd.ones(2, 3), ferrograd.ones(3))
    /// tensor([4., 4.])
    function Noted(Numbers -> Shared), ["addmv(Tensor self, Tensor mat, Tensor vec, *, Number beta=1, Number alpha=1)"],
    in_place |_, a| VECTOR.in_place(a), |_, a| VECTOR.called(a)
}

operation! {
    /// `beta x + alpha (v w^T)` for two vectors; `x` broadcasts.
    ///
    /// Shapes: `(n, m), (n,), (m,) -> (n, m)`; the first broadcasts.
    ///
    /// >>> ferrograd.addr(ferrograd.zeros(2, 2), ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([3.0, 4.0]))
    /// tensor([[3., 4.],
    ///         [6., 8.]])
    function Noted(Any -> Like), ["addr(Tensor self, Tensor vec1, Tensor vec2, *, Number beta=1, Number alpha=1)"],
    in_place |_, a| OUTER.in_place(a), |_, a| OUTER.called(a)
}
