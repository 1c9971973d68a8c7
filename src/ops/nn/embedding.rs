//! Rows of a table of vectors by their numbers, and sums, means and maxima of several.

use smallvec::{SmallVec, smallvec};

use super::loss::{invalid, refused};
use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::graph::node::{Gradients, Setting};
use crate::kernels::bags::{self as kernel, Table};
use crate::memory::{listed, reserved, scratch};
use crate::ops::arithmetic::{div, mul};
use crate::ops::compare::{clamp_min, ne, where_};
use crate::ops::recorded::{Call, Keep, Settings, record};
use crate::ops::reduce::wide_float;
use crate::ops::registry::{Arguments, Output, operation};
use crate::ops::{batch, cast, copy, extremum, index, norm, rows, sum, view};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::storage::Access;

const BAG: &str = "embedding_bag";

operation! {
    /// The rows of a table that indices name: indices of any shape and a table `(V, D)` give `(..., D)`.
    ///
    /// The row `padding_idx` gets no gradient. Rows whose norm of order `norm_type` is greater than `max_norm` are scaled down
    /// to it in the table itself. With `scale_grad_by_freq` the gradient of a row is over how often it is named.
    ///
    /// Shapes: `(...), (V, D) -> (..., D)`.
    /// Dtypes: `weight` any, kept; `input` is int64 or int32.
    /// Raises: RuntimeError for an `input` of other dtypes and a table of another shape; IndexError for rows that
    /// there are not; NotImplementedError for `sparse`.
    ///
    /// >>> F = ferrograd.nn.functional
    /// >>> F.embedding(ferrograd.tensor([1, 0]), ferrograd.tensor([[1.0, 2.0], [3.0, 4.0]]))
    /// tensor([[3., 4.],
    ///         [1., 2.]])
    function Noted(Noted -> Noted), ["nn.embedding(Tensor input, Tensor weight, int? padding_idx=None, Number? max_norm=None, Number norm_type=2.0, bool scale_grad_by_freq=False, bool sparse=False)"],
    |_, a| {
        let (input, table) = (a.tensor(0)?, a.tensor(1)?);
        check_table(a.op, input, table)?;
        refuse_sparse(a, 6)?;
        let padding = padding(a.op, table, a.maybe_int(2)?)?;
        if let Some(greatest) = a.maybe_number(3)? {
            renormalize(a.op, table, input, a.float(4)?, greatest.as_f64())?;
        }
        Ok(embedding(input, table, padding, a.bool(5)?)?.into())
    }
}

fn refuse_sparse(a: &Arguments, n: usize) -> Result<()> {
    if a.bool(n)? { Err(Error::NotImplemented { op: a.op, what: "sparse=True".into() }) } else { Ok(()) }
}

fn check_table(op: &'static str, input: &Tensor, table: &Tensor) -> Result<()> {
    if table.rank() != 2 {
        return invalid(op, format!("'weight' must be 2-D, got shape {:?}", table.shape()));
    }
    check_indices(op, "indices", input)
}

fn check_indices(op: &'static str, name: &str, t: &Tensor) -> Result<()> {
    if matches!(t.dtype(), DType::I64 | DType::I32) {
        return Ok(());
    }
    invalid(op, format!("Expected tensor for argument '{name}' to have scalar type int64 or int32, got {}", t.dtype()))
}

/// The row without a gradient, counted from the front.
fn padding(op: &'static str, table: &Tensor, row: Option<isize>) -> Result<Option<isize>> {
    let Some(row) = row else { return Ok(None) };
    let count = table.shape()[0] as isize;
    if !(-count..count).contains(&row) {
        return Err(Error::Argument {
            op,
            argument: "padding_idx",
            rule: "must be within num_embeddings",
            given: row.to_string(),
        });
    }
    Ok(Some(if row < 0 { row + count } else { row }))
}

/// Scales the rows that are named down to a norm, in the table itself.
fn renormalize(op: &'static str, table: &Tensor, input: &Tensor, p: f64, greatest: f64) -> Result<()> {
    if batch::level([table, input]).is_some() {
        return Err(Error::NotImplemented { op, what: "max_norm within a map".into() });
    }
    unrecorded(|| {
        let mut named = input.to_vec::<i64>()?;
        named.sort_unstable();
        named.dedup();
        if named.is_empty() {
            return Ok(());
        }
        let named = Tensor::from_slice(&named);
        let found = norm::renorm(&rows::index_select(table, 0, &named)?, p, 0, greatest)?;
        index::set(table, &[index::Index::Tensor(named)], &found)
    })
}

/// The rows of a table that indices name; one row without a gradient; each row's gradient over how often it is named.
///
/// # Errors
/// For indices that are no rows.
pub fn embedding(input: &Tensor, table: &Tensor, padding: Option<isize>, by_frequency: bool) -> Result<Tensor> {
    const OP: &str = "embedding";
    let flat = view::reshape(&cast::to(input, DType::I64)?, &[-1])?;
    let shape: SmallVec<[isize; 4]> =
        input.shape().iter().chain(&table.shape()[1..]).map(|&size| size as isize).collect();
    let taken = || view::reshape(&rows::index_select(table, 0, &flat)?, &shape);
    if batch::level([input, table]).is_some() {
        if by_frequency {
            return Err(Error::NotImplemented { op: OP, what: "scale_grad_by_freq within a map".into() });
        }
        let y = taken()?;
        return match padding {
            Some(row) => where_(&view::unsqueeze(&ne(input, row as i64)?, -1)?, &y, &y.detach()),
            None => Ok(y),
        };
    }
    let y = unrecorded(taken)?;
    let settings = || Settings {
        shape: table.layout().shape.clone(),
        dims: padding.into_iter().collect(),
        keepdim: by_frequency,
        told: Box::new([
            ("padding_idx", Setting::Int(padding.unwrap_or(-1) as i64)),
            ("scale_grad_by_freq", Setting::Bool(by_frequency)),
            ("weight_sym_argsize_0", Setting::Int(table.shape()[0] as i64)),
        ]),
        ..Settings::default()
    };
    record("EmbeddingBackward0", &y, &[table], &[Keep::Input(&flat)], settings, of_embedding)?;
    Ok(y)
}

/// The gradients of the rows, added up.
fn of_embedding(call: &Call) -> Result<Gradients> {
    let (s, flat) = (call.settings, &call.saved[0]);
    let mut g = view::reshape(&call.g, &[flat.numel() as isize, s.shape[1] as isize])?;
    if let Some(&row) = s.dims.first() {
        g = where_(&view::unsqueeze(&ne(flat, row as i64)?, 1)?, &g, 0.0)?;
    }
    if s.keepdim {
        let ones = Tensor::ones(flat.shape(), g.dtype())?;
        let counts = index::scatter_zeros(&s.shape[..1], 0, flat, &ones)?;
        g = div(&g, &view::unsqueeze(&rows::index_select(&counts, 0, flat)?, 1)?)?;
    }
    Ok(smallvec![Some(rows::added(&s.shape, flat, &g)?)])
}

operation! {
    /// The sum, the mean or the maximum (`mode`) of the rows of a table that each bag names: bags of equal length `(B, N)`, or
    /// all indices in one vector and `offsets` with the place where each bag begins (with `include_last_offset` also where the
    /// last ends). A table `(V, D)` gives `(B, D)`; an empty bag gives zeros.
    ///
    /// `per_sample_weights`, of the shape of the indices, multiply the rows of a sum. The row `padding_idx` counts nothing.
    /// The other arguments are those of `embedding`.
    ///
    /// Shapes: `(B, N), (V, D) -> (B, D)` or `(N,), (V, D), (B,) -> (B, D)`.
    /// Dtypes: `weight` floating-point, kept; `input` is int64 or int32.
    /// Raises: RuntimeError for a `weight` or an `input` of other dtypes; RuntimeError or ValueError for other
    /// shapes; IndexError for rows that there are not.
    ///
    /// >>> F, table = ferrograd.nn.functional, ferrograd.tensor([[1.0, 2.0], [3.0, 4.0]])
    /// >>> F.embedding_bag(ferrograd.tensor([0, 1, 1]), table, ferrograd.tensor([0, 1]))
    /// tensor([[1., 2.],
    ///         [3., 4.]])
    function Noted(Noted -> Noted), ["nn.embedding_bag(Tensor input, Tensor weight, Tensor? offsets=None, Number? max_norm=None, Number norm_type=2, bool scale_grad_by_freq=False, str mode='mean', bool sparse=False, Tensor? per_sample_weights=None, bool include_last_offset=False, int? padding_idx=None)"],
    |_, a| embedding_bag(a)
}

fn embedding_bag(a: &Arguments) -> Result<Output> {
    let (op, mut input, mut table) = (a.op, a.tensor(0)?, a.tensor(1)?);
    if matches!(table.dtype(), DType::I64 | DType::I32) && input.dtype().is_floating_point() {
        (input, table) = (table, input);
    }
    check_table(op, input, table)?;
    if !table.dtype().is_floating_point() {
        return Err(Error::DTypeInvalid {
            op,
            dtype: table.dtype(),
            rule: "expected a table of floating-point numbers",
        });
    }
    refuse_sparse(a, 7)?;
    let mode = a.text(6)?.unwrap_or("mean");
    if !matches!(mode, "sum" | "mean" | "max") {
        return refused(op, format!("mode has to be one of sum, mean or max, got '{mode}'"));
    }
    let weights = a.maybe_tensor(8)?;
    check_weights(op, input, table, weights, mode)?;
    let padding = padding(op, table, a.maybe_int(10)?).map_err(|_| Error::Invalid {
        op,
        what: format!("padding_idx must be within the number of embeddings, {}", table.shape()[0]),
    })?;
    let bags = Bags::new(op, input, a.maybe_tensor(2)?, a.bool(9)?)?;
    if let Some(greatest) = a.maybe_number(3)? {
        renormalize(op, table, input, a.float(4)?, greatest.as_f64())?;
    }
    // Halves are added up in single precision.
    let dtype = table.dtype();
    let wide = |t: &Tensor| if dtype == DType::F64 { Ok(t.clone()) } else { cast::to(t, DType::F32) };
    let (table, weights) = (&wide(table)?, weights.map(wide).transpose()?);
    let found = bagged(input, table, &bags, mode, weights.as_ref(), padding, a.bool(5)?)?;
    Ok(cast::to(&found, dtype)?.into())
}

/// The sums, means or maxima of the bags.
fn bagged(
    input: &Tensor,
    table: &Tensor,
    bags: &Bags,
    mode: &str,
    weights: Option<&Tensor>,
    padding: Option<isize>,
    by_frequency: bool,
) -> Result<Tensor> {
    let flat = view::reshape(input, &[-1])?;
    let is_plain = weights.is_none() && padding.is_none() && !by_frequency && mode != "max";
    if is_plain && let Some(y) = summed(&flat, table, bags, mode == "mean")? {
        return Ok(y);
    }
    let taken = embedding(&flat, table, padding, by_frequency)?;
    let counted = padding.map(|row| ne(&flat, row as i64)).transpose()?;
    if mode == "max" {
        return bags.greatest(&taken, counted.as_ref());
    }
    let mut taken = match &counted {
        Some(counted) => where_(&view::unsqueeze(counted, 1)?, &taken, 0.0)?,
        None => taken,
    };
    if let Some(weights) = weights {
        taken = mul(&taken, &view::reshape(weights, &[-1, 1])?)?;
    }
    let total = bags.sum(&taken)?;
    if mode == "sum" {
        return Ok(total);
    }
    let ones = match &counted {
        Some(counted) => cast::to(counted, table.dtype())?,
        None => Tensor::ones(flat.shape(), table.dtype())?,
    };
    let counts = bags.sum(&view::unsqueeze(&ones, 1)?)?;
    div(&total, &clamp_min(&counts, 1.0)?)
}

/// The sums or means of the bags by the kernel, where nothing but the rows counts and these lie side by side.
fn summed(flat: &Tensor, table: &Tensor, bags: &Bags, mean: bool) -> Result<Option<Tensor>> {
    if batch::level([flat, table]).is_some() || table.strides()[1] != 1 || table.shape()[1] == 0 {
        return Ok(None);
    }
    let flat = copy::to_contiguous(&cast::to(flat, DType::I64)?)?;
    let (size, width) = (table.shape()[0], table.shape()[1]);
    let y = Tensor::uninitialized(BAG, &[bags.count, width], table.dtype())?;
    let mut end = 0;
    let ends = bags.lengths.iter().map(|&n| {
        end += n;
        end
    });
    let ends: Vec<usize> = listed(bags.count, ends);
    let access = Access::lock([(&**flat.storage(), false), (&**table.storage(), false)]);
    // SAFETY: the indices are contiguous and of this type; the rows named are there; `y` is new.
    unsafe {
        let named = flat.elements::<i64>();
        if let Some(&index) = named.iter().find(|&&row| !(0..size as i64).contains(&row)) {
            return Err(Error::IndexRange { op: BAG, index, dim: 0, size });
        }
        let step = table.strides()[0];
        wide_float!(table.dtype(), A => {
            let table = Table { rows: table.data_ptr().cast(), step, width };
            kernel::sums::<A>(table, named, &ends, mean, y.elements_mut());
        });
    }
    drop(access);
    let counts: Vec<f64> = listed(bags.count, bags.lengths.iter().map(|&n| if mean { n.max(1) as f64 } else { 1.0 }));
    let counts = unrecorded(|| cast::to(&Tensor::from_shape(&counts, &[bags.count, 1])?, table.dtype()))?;
    let settings = || Settings { shape: table.layout().shape.clone(), ..Settings::default() };
    // What stands behind the last bag belongs to none.
    let flat = view::narrow(&flat, 0, 0, bags.of.numel() as isize)?;
    let keep = [Keep::Input(&flat), Keep::Input(&bags.of), Keep::Input(&counts)];
    record("EmbeddingBagBackward0", &y, &[table], &keep, settings, |call| {
        // Each row gets the gradient of its bag, over the number of rows where that is a mean.
        let [flat, of, counts] = [0, 1, 2].map(|n| &call.saved[n]);
        let g = div(&call.g, counts)?;
        let g = match g.shape()[0] {
            1 => view::expand(&g, &[flat.numel() as isize, g.shape()[1] as isize])?,
            _ => rows::index_select(&g, 0, of)?,
        };
        Ok(smallvec![Some(rows::added(&call.settings.shape, flat, &g)?)])
    })?;
    Ok(Some(y))
}

fn check_weights(op: &'static str, input: &Tensor, table: &Tensor, weights: Option<&Tensor>, mode: &str) -> Result<()> {
    let Some(weights) = weights else { return Ok(()) };
    if weights.shape() != input.shape() {
        let (given, expected) = (weights.shape(), input.shape());
        return refused(
            op,
            format!(
                "If per_sample_weights is not None, then it must have the same shape as the input ({expected:?}), got {given:?}"
            ),
        );
    }
    if mode != "sum" {
        return Err(Error::NotImplemented {
            op,
            what: format!("per_sample_weights for mode='{mode}': only mode='sum'; this"),
        });
    }
    if weights.dtype() != table.dtype() {
        return invalid(op, format!("expected per_sample_weights of dtype {}, got {}", table.dtype(), weights.dtype()));
    }
    Ok(())
}

/// How indices are cut into bags.
struct Bags {
    count: usize,
    /// The bag of each index.
    of: Tensor,
    /// The lengths of the bags.
    lengths: Vec<usize>,
}

impl Bags {
    fn new(op: &'static str, input: &Tensor, offsets: Option<&Tensor>, includes_last: bool) -> Result<Bags> {
        let lengths = match (input.rank(), offsets) {
            (2, None) => scratch(input.shape()[1], input.shape()[0]),
            (2, Some(_)) => {
                return refused(op, "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length sequences".into());
            }
            (1, None) => return refused(op, "offsets has to be a 1D Tensor but got None".into()),
            (1, Some(offsets)) => lengths(op, input.numel(), offsets, includes_last)?,
            (rank, _) => {
                return refused(op, format!("input has to be 1D or 2D Tensor, but got Tensor of dimension {rank}"));
            }
        };
        let bags = lengths.iter().enumerate().flat_map(|(bag, &n)| std::iter::repeat_n(bag as i64, n));
        let of: Vec<i64> = listed(lengths.iter().sum(), bags);
        Ok(Bags { count: lengths.len(), of: Tensor::from_slice(&of), lengths })
    }

    /// The sums of the rows of each bag.
    fn sum(&self, taken: &Tensor) -> Result<Tensor> {
        if let Some(&length) = self.lengths.first().filter(|&first| self.lengths.iter().all(|n| n == first)) {
            let shape = [self.count as isize, length as isize, taken.shape()[1] as isize];
            return sum::sum(&view::reshape(taken, &shape)?, &[1], false, None);
        }
        rows::added(&[self.count, taken.shape()[1]], &self.of, taken)
    }

    /// The greatest numbers of each bag, of rows that count; zero in a bag without any.
    fn greatest(&self, taken: &Tensor, counted: Option<&Tensor>) -> Result<Tensor> {
        let longest = self.lengths.iter().copied().max().unwrap_or(0);
        let width = taken.shape()[1];
        if longest == 0 {
            return Tensor::zeros(&[self.count, width], taken.dtype());
        }
        let counts: Option<Vec<u8>> = counted.map(Tensor::to_vec).transpose()?;
        let room = self.count.saturating_mul(longest);
        let (mut places, mut filled) = (reserved("embedding_bag", room)?, reserved("embedding_bag", room)?);
        let mut next = 0;
        for &length in &self.lengths {
            for n in 0..longest {
                let is_there = n < length && counts.as_ref().is_none_or(|c| c[next + n] != 0);
                places.push(if is_there { (next + n) as i64 } else { 0 });
                filled.push(u8::from(is_there));
            }
            next += length;
        }
        let shape = [self.count as isize, longest as isize, width as isize];
        let spread = view::reshape(&rows::index_select(taken, 0, &Tensor::from_slice(&places))?, &shape)?;
        let filled = cast::to(&Tensor::from_shape(&filled, &[self.count, longest, 1])?, DType::Bool)?;
        let least = where_(&filled, &spread, f64::NEG_INFINITY)?;
        let found = extremum::max_along(&least, 1)?;
        let any = sum::sum(&filled, &[1], false, None)?;
        where_(&cast::to(&any, DType::Bool)?, &found, 0.0)
    }
}

/// The lengths of the bags from where they begin.
fn lengths(op: &'static str, total: usize, offsets: &Tensor, includes_last: bool) -> Result<Vec<usize>> {
    if offsets.rank() != 1 {
        return refused(op, format!("offsets has to be a 1D Tensor, got shape {:?}", offsets.shape()));
    }
    check_indices(op, "offsets", offsets)?;
    let mut begins = offsets.to_vec::<i64>()?;
    if begins.first().is_some_and(|&first| first != 0) {
        return invalid(
            op,
            format!(
                "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from position 0. However, got {}",
                begins[0]
            ),
        );
    }
    if begins.last().is_some_and(|&last| last > total as i64) {
        return invalid(
            op,
            format!("offsets[-1] can not be greater than input's length({total}), got {}", begins[begins.len() - 1]),
        );
    }
    if includes_last && begins.is_empty() {
        return invalid(op, "include_last_offset: number of offsets should be at least 1".into());
    }
    if includes_last {
        begins.pop()
    } else {
        None
    };
    let ends = begins.iter().skip(1).copied().chain([if includes_last {
        offsets.to_vec::<i64>()?[begins.len()]
    } else {
        total as i64
    }]);
    let mut all = reserved(op, begins.len())?;
    for (begin, end) in begins.iter().zip(ends) {
        match usize::try_from(end - begin) {
            Ok(length) => all.push(length),
            Err(_) => return invalid(op, format!("offsets must not decrease, got {begin} before {end}")),
        }
    }
    Ok(all)
}
