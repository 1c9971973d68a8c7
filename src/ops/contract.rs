//! Matrix products.

use smallvec::{SmallVec, smallvec};

use super::recorded::{Call, Factors, Keep, Settings, TensorFormula, record};
use super::reduce::wide_float;
use super::registry::operation;
use super::{arithmetic, batch, cast, sum, view};
use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::graph::node::Gradients;
use crate::kernels::element::Element;
use crate::kernels::gemm::{self, Matrix, Product};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::{Layout, Shape, broadcast};
use crate::tensor::storage::Access;

/// Products exist for numbers only.
fn require_numbers(op: &'static str, dtype: DType) -> Result<()> {
    if dtype != DType::Bool {
        return Ok(());
    }
    Err(Error::NotImplemented { op, what: "bool: convert to a number type first; this".into() })
}

/// Operands must have one dtype.
pub(super) fn same_dtype(op: &'static str, a: &Tensor, b: &Tensor) -> Result<()> {
    if a.dtype() == b.dtype() { Ok(()) } else { Err(Error::DTypeMismatch { op, left: a.dtype(), right: b.dtype() }) }
}

fn inner_sizes(op: &'static str, a: &Tensor, b: &Tensor) -> Error {
    Error::InnerSizes { op, left: a.shape().to_vec(), right: b.shape().to_vec() }
}

/// `c = a b` over the last two dimensions, the leading ones broadcast; without history.
fn product(op: &'static str, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    same_dtype(op, a, b)?;
    let (ra, rb) = (a.rank(), b.rank());
    let (m, k, n) = (a.shape()[ra - 2], a.shape()[ra - 1], b.shape()[rb - 1]);
    if b.shape()[rb - 2] != k {
        return Err(inner_sizes(op, a, b));
    }
    let batch = broadcast(op, &a.shape()[..ra - 2], &b.shape()[..rb - 2])?;
    let mut shape = batch.clone();
    shape.extend([m, n]);
    if k == 0 || shape.contains(&0) {
        return Tensor::zeros(&shape, a.dtype());
    }
    require_numbers(op, a.dtype())?;
    let wide = a.dtype().computed_in();
    if wide != a.dtype() {
        // Narrow numbers are multiplied as wider ones; the results are rounded once, or wrap to the same integers.
        let c = product(op, &cast::to(&a.detach(), wide)?, &cast::to(&b.detach(), wide)?)?;
        return cast::to(&c, a.dtype());
    }
    let c = Tensor::uninitialized(op, &shape, a.dtype())?;
    let _access = Access::lock([(&**a.storage(), false), (&**b.storage(), false)]);
    macro_rules! run {
        ($t:ty) => {
            multiply::<$t>(a, b, &c, &batch, (m, n, k))
        };
    }
    match a.dtype() {
        DType::F32 => run!(f32),
        DType::F64 => run!(f64),
        DType::I64 => run!(i64),
        DType::I32 => run!(i32),
        _ => run!(u8),
    }
    Ok(c)
}

fn multiply<T: Element + Product>(a: &Tensor, b: &Tensor, c: &Tensor, batch: &Shape, sizes: (usize, usize, usize)) {
    let matrix = |t: &Tensor| Matrix {
        data: t.data_ptr().cast::<T>().cast_const(),
        row_stride: t.strides()[t.rank() - 2],
        column_stride: t.strides()[t.rank() - 1],
    };
    let lead = |t: &Tensor| {
        let mut lead = t.layout().clone();
        lead.shape.truncate(t.rank() - 2);
        lead.strides.truncate(t.rank() - 2);
        lead.offset = 0;
        lead.broadcast_to(batch)
    };
    let (ma, mb, (la, lb), (m, n, k)) = (matrix(a), matrix(b), (lead(a), lead(b)), sizes);
    let count: usize = batch.iter().product();
    let out = c.data_ptr().cast();
    // A matrix that all products share makes one product of them: the rows of all the others, one below another.
    let one = |rows, left: Matrix<T>, right: Matrix<T>, width| {
        // SAFETY: the layouts lie in their storages, which are locked; `c` is new and row-major.
        unsafe { gemm::batched::<T>((rows, width, k), left, &[0], right, &[0], out) }
    };
    let rows = if count > 1 && is_shared(&lb) { rows_below(&la, m, ma.row_stride) } else { None };
    if let Some(row_stride) = rows {
        return one(count * m, Matrix { row_stride, ..ma }, mb, n);
    }
    let columns = if count > 1 && n == 1 && is_shared(&la) { rows_below(&lb, 1, 0) } else { None };
    if let Some(row_stride) = columns {
        let turned = |m: Matrix<T>| Matrix { row_stride: m.column_stride, column_stride: m.row_stride, ..m };
        return one(count, Matrix { row_stride, ..turned(mb) }, turned(ma), m);
    }
    let offsets = |l: Layout| -> SmallVec<[isize; 4]> { l.offsets().map(|o| o as isize).collect() };
    // SAFETY: as above.
    unsafe { gemm::batched::<T>(sizes, ma, &offsets(la), mb, &offsets(lb), out) };
}

/// True where all products of a batch have the same matrix.
fn is_shared(lead: &Layout) -> bool {
    lead.shape.iter().zip(&lead.strides).all(|(&size, &stride)| size == 1 || stride == 0)
}

/// The step from row to row where the matrices of a batch, of `rows` rows each, lie one below another.
fn rows_below(lead: &Layout, rows: usize, row_stride: isize) -> Option<isize> {
    let matrix = (rows > 1).then_some((rows, row_stride));
    let mut dims = lead.shape.iter().copied().zip(lead.strides.iter().copied()).chain(matrix).filter(|d| d.0 > 1).rev();
    let (size, step) = dims.next()?;
    let below = |next: isize, (size, stride): (usize, isize)| (stride == next).then(|| stride * size as isize);
    dims.try_fold(step * size as isize, below).map(|_| step)
}

/// `c = a b` for matrices or batches of them, recorded.
fn matrices(op: &'static str, node: &'static str, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if let Some(y) = batch::matmul(a, b, matmul) {
        return y;
    }
    let c = product(op, a, b)?;
    record_product(node, &c, a, b)?;
    Ok(c)
}

/// Records `c` as the product of `a` and `b`; a vector is a row on the left and a column on the right.
fn record_product(node: &'static str, c: &Tensor, a: &Tensor, b: &Tensor) -> Result<()> {
    // One matrix, or a vector, on the left of many: torch takes the transposed product.
    let turned = b.rank() > 2 && a.requires_grad() && is_one(a, b);
    // torch views the gradients of what it viewed as one batch.
    let is_viewed = node != "BmmBackward0";
    let number = f64::from(u8::from(turned));
    let settings = || Settings { number, keepdim: is_viewed, ..of_factors(a, b) };
    record(node, c, &[a, b], &[Keep::Input(a), Keep::Input(b)], settings, |call: &Call| -> Result<Gradients> {
        // da = g b^T, db = a^T g; the engine sums over broadcast batches.
        let (a, b) = (&call.saved[0], &call.saved[1]);
        let Factors { ranks, in_columns, .. } = call.settings.factors.expect("those of a product");
        let (row, column) = (ranks[0] == 1, ranks[1] == 1);
        let (has_batch, has_batches) = (ranks[0] > 2, ranks[1] > 2);
        let g = if row { &view::unsqueeze(&call.g, -2)? } else { &call.g };
        let g = if column { &view::unsqueeze(g, -1)? } else { g };
        let is_viewed = call.settings.keepdim;
        let of_batch = |left: &Tensor, right: &Tensor| matrices("matmul", "ViewBackward0", left, right);
        let da = || -> Result<Tensor> {
            let b = if column { &view::unsqueeze(b, 1)? } else { b };
            let da = if is_viewed && has_batch { of_batch(g, &turn(b)?)? } else { left_gradient(g, in_columns[0], b)? };
            if row { view::squeeze(&da, Some(&[-2])) } else { Ok(da) }
        };
        let db = || -> Result<Tensor> {
            let a = if row { &view::unsqueeze(a, 0)? } else { a };
            if column && has_batch {
                return mv(&turn(&rows(a)?)?, &view::reshape(&call.g, &[-1])?);
            }
            // One matrix on the right: the sum over the batch is the product of all rows.
            let (a, g) = if has_batch && !has_batches { (&rows(a)?, &rows(g)?) } else { (a, g) };
            let db = if call.settings.number != 0.0 {
                turn(&matrices_any(&turn(g)?, a)?)?
            } else if is_viewed && has_batch && has_batches {
                of_batch(&turn(a)?, g)?
            } else {
                right_gradient(g, a, in_columns[1])?
            };
            if column { view::squeeze(&db, Some(&[-1])) } else { Ok(db) }
        };
        Ok(smallvec![call.needs[0].then(da).transpose()?, call.needs[1].then(db).transpose()?])
    })
}

/// The settings of a product: of two matrices with their sizes and strides, which its node shows.
pub(super) fn of_factors(a: &Tensor, b: &Tensor) -> Settings {
    let (ranks, in_columns) = ([a, b].map(|t| t.rank() as u8), [a, b].map(is_column_major));
    let factors = Some(Factors { ranks, in_columns, beta: 1.0 });
    if ranks != [2, 2] {
        return Settings { factors, ..Settings::default() };
    }
    let shape = a.shape().iter().chain(b.shape()).copied().collect();
    let dims = a.strides().iter().chain(b.strides()).copied().collect();
    Settings { shape, dims, factors, ..Settings::default() }
}

/// Records a product whose derivative is a formula of both factors.
fn record_factors(node: &'static str, y: &Tensor, a: &Tensor, b: &Tensor, formula: TensorFormula) -> Result<()> {
    record(node, y, &[a, b], &[Keep::Input(a), Keep::Input(b)], || of_factors(a, b), formula)
}

/// The gradient of `a` from that of `a b`: `g b^T`, or `(b g^T)^T` where that has the order of `a`.
pub(super) fn left_gradient(g: &Tensor, in_columns: bool, b: &Tensor) -> Result<Tensor> {
    if b.rank() == 2 && in_columns { turn(&matrices_any(b, &turn(g)?)?) } else { matrices_any(g, &turn(b)?) }
}

/// The gradient of `b` from that of `a b`: `a^T g`, or `(g^T a)^T` where that has the order of `b`.
pub(super) fn right_gradient(g: &Tensor, a: &Tensor, in_columns: bool) -> Result<Tensor> {
    if a.rank() == 2 && in_columns { turn(&matrices_any(&turn(g)?, a)?) } else { matrices_any(&turn(a)?, g) }
}

/// Matrices transposed.
fn turn(x: &Tensor) -> Result<Tensor> {
    if x.rank() == 2 { view::t(x) } else { view::transpose(x, -1, -2) }
}

/// True for a matrix whose columns lie one after another.
fn is_column_major(x: &Tensor) -> bool {
    x.rank() == 2 && x.strides()[0] == 1 && x.strides()[1] == x.shape()[0] as isize
}

/// True where what stands on the left of a product is one for all that stand on the right.
fn is_one(a: &Tensor, b: &Tensor) -> bool {
    a.rank() <= 2 || (a.rank(), b.rank(), a.shape()[0]) == (3, 3, 1) && b.shape()[0] != 1
}

fn matrices_any(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let node = if a.rank() == 2 && b.rank() == 2 { "MmBackward0" } else { "BmmBackward0" };
    matrices("matmul", node, a, b)
}

operation! {
    /// Matrix product with torch's rank rules: vectors give a dot product, a matrix and a vector a vector, two matrices
    /// a matrix, and more dimensions are batches that broadcast. `dA = g B^T`, `dB = A^T g`.
    ///
    /// Both operands have one dtype.
    ///
    /// Shapes: `(..., n, k), (..., k, m) -> (..., n, m)`; the first dimensions broadcast. A vector is a row on the
    /// left and a column on the right: `(..., n, k), (k,) -> (..., n)`.
    ///
    /// >>> ferrograd.matmul(ferrograd.tensor([[1.0, 2.0], [3.0, 4.0]]), ferrograd.tensor([1.0, 1.0]))
    /// tensor([3., 7.])
    function Noted(Numbers -> Shared), ["matmul(Tensor self, Tensor other)"], |_, a| Ok(matmul(a.tensor(0)?, a.tensor(1)?)?.into())
}

/// Matrix product in all combinations of ranks.
///
/// # Errors
/// For tensors without dimensions, inner sizes that differ, batches that do not broadcast, and dtypes that differ.
pub fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    const OP: &str = "matmul";
    same_dtype(OP, a, b)?;
    for t in [a, b] {
        if t.rank() == 0 {
            return Err(Error::Rank { op: OP, expected: "both arguments to be at least 1D", shape: vec![] });
        }
    }
    if let Some(y) = batch::matmul(a, b, matmul) {
        return y;
    }
    match (a.rank(), b.rank()) {
        (1, 1) => dot(a, b),
        (2, 1) => mv(a, b),
        (1, 2) => {
            let row = matrices(OP, "MmBackward0", &view::unsqueeze(a, 0)?, b)?;
            view::squeezed(&row, Some(&[0]), "SqueezeBackward4")
        }
        (2, 2) => matrices(OP, "MmBackward0", a, b),
        _ => batched(a, b),
    }
}

/// Products of batches of matrices; a vector is a row on the left and a column on the right. One node, which has the name
/// of the last of those that torch makes.
fn batched(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (row, column) = (a.rank() == 1, b.rank() == 1);
    let left = if row { a.alias(a.layout().unsqueeze(0), false) } else { a.clone() };
    let right = if column { b.alias(b.layout().unsqueeze(1), false) } else { b.clone() };
    let mut c = product("matmul", &left, &right)?;
    if row || column {
        let dim = c.rank() - if row { 2 } else { 1 };
        c = c.alias(c.layout().select(dim, 0), false).detach();
    }
    // torch takes the product of the transposed matrices where one on the left that is differentiated meets many, and a copy
    // of the result in row-major order where that is another.
    let mut node = "UnsafeViewBackward0";
    if !row && is_one(a, b) && b.rank() > 2 && a.requires_grad() {
        let (m, n) = (c.shape()[c.rank() - 2], c.shape()[c.rank() - 1]);
        node = "CloneBackward0";
        if m == 1 || n == 1 {
            node = "TransposeBackward0";
            let mut layout = c.layout().clone();
            let last = layout.strides.len() - 1;
            (layout.strides[last - 1], layout.strides[last]) = (1, m as isize);
            c = c.alias(layout, false).detach();
        }
    }
    record_product(node, &c, a, b)?;
    Ok(c)
}

/// The rows of all matrices of a batch as one matrix.
fn rows(batch: &Tensor) -> Result<Tensor> {
    let (width, lead) = batch.shape().split_last().expect("a batch of matrices");
    view::reshape(batch, &[lead.iter().product::<usize>() as isize, *width as isize])
}

operation! {
    /// Product of two matrices.
    ///
    /// Shapes: `(n, k), (k, m) -> (n, m)`.
    ///
    /// >>> ferrograd.mm(ferrograd.tensor([[1.0, 2.0]]), ferrograd.tensor([[3.0], [4.0]]))
    /// tensor([[11.]])
    function Noted(Numbers -> Shared), ["mm(Tensor self, Tensor mat2)"], |_, a| Ok(mm(a.tensor(0)?, a.tensor(1)?)?.into())
}

/// Product of two matrices.
///
/// # Errors
/// For other ranks, inner sizes and dtypes that differ.
pub fn mm(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    of_rank("mm", "a matrix", a, 2)?;
    of_rank("mm", "a matrix", b, 2)?;
    matrices("mm", "MmBackward0", a, b)
}

operation! {
    /// Products of two batches of matrices.
    ///
    /// Shapes: `(b, n, k), (b, k, m) -> (b, n, m)`.
    ///
    /// >>> ferrograd.bmm(ferrograd.ones(2, 1, 3), ferrograd.ones(2, 3, 1)).flatten()
    /// tensor([3., 3.])
    function Noted(Numbers -> Shared), ["bmm(Tensor self, Tensor mat2)"], |_, a| {
        let (x, y) = (a.tensor(0)?, a.tensor(1)?);
        of_rank("bmm", "a 3D tensor", x, 3)?;
        of_rank("bmm", "a 3D tensor", y, 3)?;
        if x.shape()[0] != y.shape()[0] {
            return Err(Error::Shape {
                op: "bmm", what: "batch sizes must agree", expected: x.shape()[..1].to_vec(), given: y.shape()[..1].to_vec(),
            });
        }
        Ok(matrices("bmm", "BmmBackward0", x, y)?.into())
    }
}

fn of_rank(op: &'static str, expected: &'static str, t: &Tensor, rank: usize) -> Result<()> {
    if t.rank() == rank { Ok(()) } else { Err(Error::Rank { op, expected, shape: t.shape().to_vec() }) }
}

operation! {
    /// Product of a matrix and a vector.
    ///
    /// Shapes: `(n, k), (k,) -> (n,)`.
    /// Raises: IndexError where the matrix has no dimensions.
    ///
    /// >>> ferrograd.mv(ferrograd.tensor([[1.0, 2.0], [3.0, 4.0]]), ferrograd.tensor([1.0, 0.0]))
    /// tensor([1., 3.])
    function Noted(Numbers -> Shared), ["mv(Tensor self, Tensor vec)"], |_, a| Ok(mv(a.tensor(0)?, a.tensor(1)?)?.into())
}

/// Product of a matrix and a vector.
///
/// # Errors
/// For other ranks, sizes that differ, and dtypes that differ.
pub fn mv(a: &Tensor, x: &Tensor) -> Result<Tensor> {
    if a.rank() == 0 {
        return Err(Error::NoDimensions { op: "mv", dim: 0 });
    }
    of_rank("mv", "a matrix", a, 2)?;
    of_rank("mv", "a vector", x, 1)?;
    if a.shape()[1] != x.shape()[0] {
        return Err(inner_sizes("mv", a, x));
    }
    if let Some(y) = batch::matmul(a, x, matmul) {
        return y;
    }
    let column = x.alias(x.layout().unsqueeze(1), false);
    let y = product("mv", a, &column)?;
    let y = y.alias(y.layout().select(1, 0), false).detach();
    record_factors("MvBackward0", &y, a, x, |call| {
        // dA = g x^T, dx = A^T g
        let (g, a, x) = (&call.g, &call.saved[0], &call.saved[1]);
        let da = if call.needs[0] { Some(arithmetic::mul(&view::unsqueeze(g, 1)?, x)?) } else { None };
        let dx = if call.needs[1] { Some(mv(&view::t(a)?, g)?) } else { None };
        Ok(smallvec![da, dx])
    })?;
    Ok(y)
}

operation! {
    /// Sum of the products of two vectors' elements.
    ///
    /// Shapes: `(n,), (n,) -> ()`.
    ///
    /// >>> ferrograd.dot(ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([3.0, 4.0]))
    /// tensor(11.)
    function Noted(Numbers -> Shared), ["dot(Tensor self, Tensor tensor)"], |_, a| Ok(dot(a.tensor(0)?, a.tensor(1)?)?.into())
}

/// Sum of the products of two vectors' elements.
///
/// # Errors
/// For other ranks, sizes that differ, and dtypes that differ.
pub fn dot(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    inner("dot", "DotBackward0", a, b)
}

/// As [`dot`], the first conjugated, which real numbers are already.
///
/// # Errors
/// As [`dot`].
pub fn vdot(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    inner("vdot", "VdotBackward0", a, b)
}

fn inner(op: &'static str, node: &'static str, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    of_rank(op, "a vector", a, 1)?;
    of_rank(op, "a vector", b, 1)?;
    same_dtype(op, a, b)?;
    if a.shape() != b.shape() {
        return Err(inner_sizes(op, a, b));
    }
    require_numbers(op, a.dtype())?;
    if let Some(y) = batch::matmul(a, b, matmul) {
        return y;
    }
    let wide = |t: &Tensor| cast::to(t, a.dtype().computed_in());
    let y = unrecorded(|| {
        let (x, z) = (wide(a)?, wide(b)?);
        let is_flat = |t: &Tensor| t.is_contiguous() && t.dtype().is_floating_point();
        if is_flat(&x) && is_flat(&z) {
            return cast::to(&inner_floats(op, &x.detach(), &z.detach())?, a.dtype());
        }
        let products = arithmetic::mul(&x, &z)?;
        cast::to(&sum::sum(&products, &[], false, Some(products.dtype()))?, a.dtype())
    })?;
    record_factors(node, &y, a, b, |call| {
        // da = g b, db = g a
        let (g, a, b) = (&call.g, &call.saved[0], &call.saved[1]);
        let da = if call.needs[0] { Some(arithmetic::mul(g, b)?) } else { None };
        let db = if call.needs[1] { Some(arithmetic::mul(g, a)?) } else { None };
        Ok(smallvec![da, db])
    })?;
    Ok(y)
}

/// The inner product of contiguous vectors of float32 or float64.
fn inner_floats(op: &'static str, x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let found = Tensor::uninitialized(op, &[], x.dtype())?;
    let _access = Access::lock([(&**x.storage(), false), (&**y.storage(), false)]);
    wide_float!(x.dtype(), T => {
        // SAFETY: both are contiguous vectors of this type, locked; the result is new.
        unsafe { found.elements_mut::<T>()[0] = gemm::inner_product(x.elements::<T>(), y.elements::<T>()) };
    });
    Ok(found)
}
