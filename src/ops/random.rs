//! Tensors of random numbers: torch's for the same seed.

use smallvec::SmallVec;

use super::copy::Format;
use super::creation::{check_asked, finish, sizes};
use super::registry::{Arguments, operation};
use super::{batch, copy, inplace, view};
use crate::error::{Error, Result};
use crate::graph::forward;
use crate::graph::mode::{self, Randomness};
use crate::kernels::element::dispatch;
use crate::random::Generator;
use crate::random::choice;
use crate::random::distribution::{Distribution, Integers, Normal, Uniform, mantissa};
use crate::tensor::dtype::DType;
use crate::tensor::scalar::Scalar;
use crate::tensor::storage::Access;
use crate::tensor::{Tensor, default_dtype};

/// Numbers of a distribution in all elements of a tensor, in the order in which they lie in memory.
pub(super) fn draw(op: &'static str, target: &Tensor, from: &Generator, numbers: &impl Distribution) -> Result<()> {
    each_in_memory(op, target, |block| {
        let _access = Access::lock([(&**block.storage(), true)]);
        dispatch!(op, block.dtype(), T => {
            // SAFETY: the elements are of this type and without gaps, and their storage is locked.
            let out = unsafe { std::slice::from_raw_parts_mut(block.data_ptr().cast::<T>(), block.numel()) };
            numbers.fill(from, out, target.is_contiguous());
        });
        Ok(())
    })
}

/// Lets `fill` write the elements of `target` in the order in which they lie in memory: it gets a tensor without gaps.
pub(super) fn each_in_memory(
    op: &'static str,
    target: &Tensor,
    fill: impl FnOnce(&Tensor) -> Result<()>,
) -> Result<()> {
    if target.numel() == 0 {
        return Ok(());
    }
    if target.layout().is_dense() {
        return fill(target);
    }
    let mut order = target.layout().memory_order();
    order.reverse();
    let ordered = target.alias(target.layout().permute(&order), false);
    let block = Tensor::uninitialized(op, ordered.shape(), target.dtype())?;
    fill(&block)?;
    copy::write(&ordered, &block)
}

/// The maps whose examples have numbers of their own, the innermost first, each with its number of examples.
///
/// # Errors
/// Where a map was not told whether they have.
pub(super) fn separate_maps(op: &'static str) -> Result<SmallVec<[(u32, usize); 2]>> {
    let maps = mode::mappings();
    for (_, map) in &maps {
        match map.randomness {
            Randomness::Error => return Err(Error::BatchedRandom { op }),
            Randomness::Unsupported => return Err(Error::BatchedRandomGradient { op }),
            Randomness::Same | Randomness::Different => {}
        }
    }
    let separate = maps.into_iter().filter(|(_, m)| m.randomness == Randomness::Different);
    Ok(separate.map(|(level, m)| (level, m.size)).rev().collect())
}

/// The rule of random functions of tensors: `run` gets all examples at once where each has its own numbers, in tensors that
/// broadcast as single examples do.
///
/// # Errors
/// Where all examples are to have the same numbers and are not the same.
pub(super) fn for_each_example(
    op: &'static str,
    tensors: &[&Tensor],
    run: impl FnOnce(&[Tensor]) -> Result<Tensor>,
) -> Result<Tensor> {
    let separate = separate_maps(op)?;
    let rank = tensors.iter().map(|x| x.rank()).max().unwrap_or(0);
    let value = |x: &&Tensor| with_rank(&batch::peeled(x, &separate)?, separate.len(), rank);
    let values: SmallVec<[Tensor; 2]> = tensors.iter().map(value).collect::<Result<_>>()?;
    if values.iter().any(|x| x.batch().is_some()) {
        return Err(same_numbers(op));
    }
    batch::dressed(&run(&values)?, &separate)
}

/// The error of maps whose examples are to have the same numbers and are not the same.
pub(super) fn same_numbers(op: &'static str) -> Error {
    let what = "Vmap does not currently support same randomness with a batched tensor input".into();
    Error::Invalid { op, what }
}

/// A value whose first dimensions are batches with dimensions of size 1 put in behind them, up to a rank of the examples.
pub(super) fn with_rank(value: &Tensor, batches: usize, rank: usize) -> Result<Tensor> {
    let mut shape = view::signed(value.shape());
    if batches == 0 || shape.len() == batches + rank {
        return Ok(value.clone());
    }
    (shape.len()..batches + rank).for_each(|_| shape.insert(batches, 1));
    view::reshape(value, &shape)
}

/// An error for a dtype that is no float.
pub(super) fn check_float(op: &'static str, dtype: DType) -> Result<()> {
    let hint = "only floating point dtypes can be drawn";
    if dtype.is_floating_point() { Ok(()) } else { Err(Error::DTypeUnsupported { op, dtype, hint }) }
}

/// A new tensor of a distribution.
pub(super) fn drawn(
    op: &'static str,
    shape: &[usize],
    dtype: DType,
    from: &Generator,
    numbers: &impl Distribution,
) -> Result<Tensor> {
    batch::random(op, shape, |shape| {
        let y = Tensor::uninitialized(op, shape, dtype.require(op)?)?;
        draw(op, &y, from, numbers)?;
        Ok(y)
    })
}

/// A new tensor of a distribution in the shape of `x` and the order of its memory.
pub(super) fn drawn_as(
    op: &'static str,
    x: &Tensor,
    dtype: DType,
    from: &Generator,
    numbers: &impl Distribution,
) -> Result<Tensor> {
    // Examples that have the same numbers may be different themselves: only their layout counts.
    let separate = separate_maps(op)?;
    let x = batch::peeled(x, &separate)?;
    let y = copy::laid_out_as(&x, Tensor::uninitialized(op, x.shape(), dtype.require(op)?)?);
    draw(op, &y, from, numbers)?;
    batch::dressed(&y, &separate)
}

/// A new tensor of a distribution like `x`, as argument `n`, the dtype, and those behind it ask for.
fn drawn_like(a: &Arguments, n: usize, dtype: DType, from: &Generator, numbers: &impl Distribution) -> Result<Tensor> {
    let x = a.tensor(0)?;
    match Format::named(a, n + 5)? {
        None | Some(Format::Preserve) => drawn_as(a.op, x, dtype, from, numbers),
        Some(Format::Contiguous) => drawn(a.op, x.shape(), dtype, from, numbers),
        Some(format) => {
            let like = format.applied(a.op, Tensor::uninitialized(a.op, x.shape(), dtype)?, None)?;
            drawn_as(a.op, &like, dtype, from, numbers)
        }
    }
}

const STANDARD_UNIFORM: Uniform = Uniform { low: 0.0, high: 1.0 };
const STANDARD_NORMAL: Normal = Normal { mean: 0.0, std: 1.0 };

/// Floats from sizes and like another tensor, of one distribution.
macro_rules! floats {
    ($($(#[doc = $doc:literal])* $sized:literal, $(#[doc = $like_doc:literal])* $like:literal => $numbers:expr;)*) => {$(
        operation! {
            $(#[doc = $doc])*
            function Size(Floats -> Asked), [$sized], |_, a| {
                let dtype = a.dtype(2)?.unwrap_or_else(default_dtype);
                check_float(a.op, dtype)?;
                check_asked(a, 2, dtype)?;
                finish(drawn(a.op, &sizes(a.op, a.ints(0)?)?, dtype, a.generator(1)?, &$numbers)?, a, 2)
            }
        }
        operation! {
            $(#[doc = $like_doc])*
            function Same(Floats -> AskedLike), [$like], |_, a| {
                let dtype = a.dtype(2)?.unwrap_or(a.tensor(0)?.dtype());
                check_float(a.op, dtype)?;
                check_asked(a, 2, dtype)?;
                finish(drawn_like(a, 2, dtype, a.generator(1)?, &$numbers)?, a, 2)
            }
        }
    )*};
}

floats! {
    /// Random numbers between 0 and 1, evenly distributed: torch's for the same seed. `generator` is the stream that they
    /// are drawn from.
    ///
    /// >>> _ = ferrograd.manual_seed(0); ferrograd.rand(3)
    /// tensor([0.4963, 0.7682, 0.0885])
    "rand(int[] size, *, Generator? generator=None, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)",
    /// As `rand`, in the shape and dtype of another tensor and in the order of its memory.
    ///
    /// >>> ferrograd.rand_like(ferrograd.zeros(2)).shape
    /// torch.Size([2])
    "rand_like(Tensor input, *, Generator? generator=None, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False, MemoryFormat? memory_format=None)"
    => STANDARD_UNIFORM;

    /// Random numbers of the normal distribution of mean 0 and variance 1: torch's for the same seed. `generator` is the
    /// stream that they are drawn from.
    ///
    /// >>> _ = ferrograd.manual_seed(0); ferrograd.randn(3)
    /// tensor([ 1.5410, -0.2934, -2.1788])
    "randn(int[] size, *, Generator? generator=None, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)",
    /// As `randn`, in the shape and dtype of another tensor and in the order of its memory.
    ///
    /// >>> ferrograd.randn_like(ferrograd.zeros(2)).shape
    /// torch.Size([2])
    "randn_like(Tensor input, *, Generator? generator=None, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False, MemoryFormat? memory_format=None)"
    => STANDARD_NORMAL;
}

operation! {
    /// Random integers from `low`, 0 where it is not given, to below `high`, all alike: torch's for the same seed. Of
    /// int64 where no dtype is given.
    ///
    /// Raises: RuntimeError where there is none to draw, and where the dtype does not hold them.
    ///
    /// Dtypes: any but bool; `dtype`, else int64.
    ///
    /// >>> _ = ferrograd.manual_seed(0); ferrograd.randint(10, (4,))
    /// tensor([4, 9, 3, 0])
    function Size(Noted -> Noted), [
        "randint(int high, Size size, *, Generator? generator=None, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)",
        "randint(int low, int high, Size size, *, Generator? generator=None, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)"
    ], |n, a| {
        let (low, high) = if n == 0 { (0, a.int(0)?) } else { (a.int(0)?, a.int(1)?) };
        let shape = sizes(a.op, a.ints(n + 1)?)?;
        let dtype = a.dtype(n + 3)?.unwrap_or(DType::I64);
        check_asked(a, n + 3, dtype)?;
        let numbers = integers(a.op, low as i64, Some(high as i64), dtype)?;
        finish(drawn(a.op, &shape, dtype, a.generator(n + 2)?, &numbers)?, a, n + 3)
    }
}

operation! {
    /// As `randint`, in the shape and dtype of another tensor and in the order of its memory.
    ///
    /// >>> _ = ferrograd.manual_seed(0); ferrograd.randint_like(ferrograd.zeros(3), 1, 4)
    /// tensor([3., 1., 3.])
    function Same(Numbers -> AskedLike), [
        "randint_like(Tensor input, int high, *, Generator? generator=None, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False, MemoryFormat? memory_format=None)",
        "randint_like(Tensor input, int low, int high, *, Generator? generator=None, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False, MemoryFormat? memory_format=None)"
    ], |n, a| {
        let (low, high) = if n == 0 { (0, a.int(1)?) } else { (a.int(1)?, a.int(2)?) };
        let dtype = a.dtype(n + 3)?.unwrap_or(a.tensor(0)?.dtype());
        check_asked(a, n + 3, dtype)?;
        let numbers = integers(a.op, low as i64, Some(high as i64), dtype)?;
        finish(drawn_like(a, n + 3, dtype, a.generator(n + 2)?, &numbers)?, a, n + 3)
    }
}

/// The integers from `low` to below `high`, or to the greatest there is, that a dtype holds.
///
/// # Errors
/// Where there are none, and where the dtype does not hold the first or the last.
pub(super) fn integers(op: &'static str, low: i64, high: Option<i64>, dtype: DType) -> Result<Integers> {
    let wrong = |what: String| Err(Error::Invalid { op, what });
    let order = |from: i64, to: i64| format!("expects 'from' to be less than 'to', but got from={from} >= to={to}");
    let is_float = dtype.is_floating_point();
    let (base, last) = match high {
        Some(high) if low >= high => return wrong(order(low, high)),
        Some(high) if is_float => {
            let (from, to) = (first_held(op, low, dtype)?, end_held(op, high, dtype)?);
            if from >= to {
                return wrong(order(from, to) + " after rounding to the dtype");
            }
            (from, to - 1)
        }
        Some(high) => (low, high - 1),
        None if low == i64::MIN => return all_integers(op, dtype),
        None if is_float => (first_held(op, low, dtype)?, 1 << mantissa(dtype)),
        None => (low, greatest(dtype)),
    };
    if high.is_none() && is_float && base >= last {
        return wrong(order(base, last) + " after rounding to the dtype");
    }
    for (name, number) in [("from", base), ("to - 1", last)] {
        let is_held = match dtype {
            DType::Bool => matches!(number, 0 | 1),
            DType::U8 => (0..=255).contains(&number),
            _ => Scalar::Int(number).check_fits(op, dtype).is_ok(),
        };
        if !is_held {
            return wrong(format!("{name} is out of bounds for {dtype}, got {number}"));
        }
    }
    Ok(Integers { base, range: (last as u64).wrapping_sub(base as u64).wrapping_add(1) })
}

/// All integers of 64 bits.
fn all_integers(op: &'static str, dtype: DType) -> Result<Integers> {
    match dtype {
        DType::I64 | DType::F64 | DType::F32 | DType::BF16 => Ok(Integers { base: 0, range: 0 }),
        DType::F16 | DType::Bool => Err(Error::DTypeUnsupported { op, dtype, hint: "it does not hold 64 bits" }),
        _ => Err(Error::DTypeInvalid { op, dtype, rule: "64 bits are drawn for int64, float64, float32 and bfloat16" }),
    }
}

/// The greatest number of an integer dtype.
fn greatest(dtype: DType) -> i64 {
    match dtype {
        DType::Bool => 1,
        DType::U8 => 255,
        other => i64::MAX >> (64 - 8 * other.size()),
    }
}

/// An integer as a float dtype holds it.
fn rounded(op: &'static str, number: i64, dtype: DType) -> Result<i64> {
    use crate::kernels::element::Element;
    dispatch!(op, dtype, T => Ok(<T as Element>::from_i64(number).to_i64()))
}

/// The distance of floats about an integer.
fn spacing(number: i64, dtype: DType) -> i64 {
    let exponent = number.unsigned_abs().max(1).ilog2() as i32;
    1 << (exponent - mantissa(dtype) as i32 + 1).max(0)
}

/// The number itself, or the next float, where those above it are rounded to less.
fn first_held(op: &'static str, from: i64, dtype: DType) -> Result<i64> {
    let next = rounded(op, from.wrapping_add(1), dtype)?;
    Ok(if next < from { next.wrapping_add(spacing(from.wrapping_add(1), dtype)) } else { from })
}

/// The number itself, or the float before it, where those below it are rounded to it or more.
fn end_held(op: &'static str, to: i64, dtype: DType) -> Result<i64> {
    let last = rounded(op, to.wrapping_sub(1), dtype)?;
    Ok(if last >= to { last.wrapping_sub(spacing(to.wrapping_sub(1), dtype)) } else { to })
}

operation! {
    /// The integers from 0 to below `n` in a random order: torch's for the same seed. Of int64 where no dtype is given.
    ///
    /// Raises: RuntimeError for a negative `n`, and where the dtype does not hold the numbers.
    ///
    /// Shapes: `(n,)`.
    /// Dtypes: any but bool; `dtype`, else int64.
    ///
    /// >>> _ = ferrograd.manual_seed(0); ferrograd.randperm(4)
    /// tensor([0, 1, 3, 2])
    function Noted(Noted -> Noted), ["randperm(int n, *, Generator? generator=None, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)"], |_, a| {
        let dtype = a.dtype(2)?.unwrap_or(DType::I64);
        check_asked(a, 2, dtype)?;
        finish(randperm(a.op, a.int(0)?, dtype, a.generator(1)?)?, a, 2)
    }
}

fn randperm(op: &'static str, n: isize, dtype: DType, from: &Generator) -> Result<Tensor> {
    let shape = sizes(op, &[n])?;
    dtype.require(op)?.require_numbers(op)?;
    if dtype.is_floating_point() && n as u64 > (1 << mantissa(dtype)) + 1 {
        let what = format!("{dtype} does not hold all integers below n={n}");
        return Err(Error::Invalid { op, what });
    }
    Scalar::Int(n as i64).check_fits(op, dtype)?;
    batch::random(op, &shape, |shape| {
        let y = Tensor::uninitialized(op, shape, dtype)?;
        dispatch!(op, dtype, T => {
            // SAFETY: the tensor is new, contiguous and of this type.
            let out = unsafe { y.elements_mut::<T>() };
            let mut stream = from.lock();
            // One for each example.
            out.chunks_mut((n as usize).max(1)).for_each(|one| choice::shuffled(&mut stream, one));
        });
        Ok(y)
    })
}

/// Whether a tensor of these batches has room for the numbers of maps whose examples have their own.
///
/// # Errors
/// Where it is the same tensor for all examples of one.
pub(super) fn check_room(op: &'static str, separate: &[(u32, usize)], levels: &[(u32, usize)]) -> Result<()> {
    if separate.iter().all(|one| levels.contains(one)) {
        return Ok(());
    }
    let what = "vmap: Cannot ask for different inplace randomness on an unbatched tensor: there is room for one example. \
                Please ask for the same randomness, or use an operation that is not in place";
    Err(Error::Invalid { op, what: what.into() })
}

/// A function that changes all elements of `target` to random numbers: `write` fills a tensor outside of all maps.
///
/// # Errors
/// As `inplace::check`, where a map was not told whether each example has its own numbers, and where each is to have them
/// and there is room for one.
pub(super) fn fill(
    op: &'static str,
    node: &'static str,
    target: &Tensor,
    write: impl FnOnce(&Tensor) -> Result<()>,
) -> Result<Tensor> {
    let separate = separate_maps(op)?;
    let levels = batch::levels(target);
    check_room(op, &separate, &levels)?;
    let bottom = forward::bottom(target);
    let mut shape: SmallVec<[usize; 6]> = bottom.shape().into();
    for (dim, level) in levels.iter().rev().enumerate() {
        if !separate.contains(level) {
            shape[dim] = 1;
        }
    }
    inplace::overwrite(op, node, bottom, || {
        if shape[..] == *bottom.shape() {
            return write(bottom);
        }
        // The same for all examples of a map.
        let one = Tensor::uninitialized(op, &shape, bottom.dtype())?;
        write(&one)?;
        copy::write(bottom, &one)
    })?;
    Ok(target.clone())
}
