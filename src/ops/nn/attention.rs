//! Attention: means of values, weighted by how well their keys fit a query, block by block of queries.

use smallvec::{SmallVec, smallvec};

use super::loss::invalid;
use crate::error::{Error, Result};
use crate::graph::forward::{self, unrecorded};
use crate::graph::meta::is_recorded;
use crate::graph::node::{Gradients, Setting};
use crate::ops::arithmetic::{add, mul, sub};
use crate::ops::compare::{gt, le, where_};
use crate::ops::contract::matmul;
use crate::ops::dropout::ELEMENTS;
use crate::ops::operands::is_short;
use crate::ops::recorded::{Call, Keep, Settings, record};
use crate::ops::registry::operation;
use crate::ops::softmax::softmax;
use crate::ops::{batch, cast, creation, extremum, join, sum, view};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::broadcast;

/// The operation that messages name.
const OP: &str = "scaled_dot_product_attention";

operation! {
    /// `softmax(q k^T scale + mask) v`: queries `(..., L, E)`, keys `(..., S, E)` and values `(..., S, V)` give `(..., L, V)`;
    /// leading dimensions broadcast. Computed for a block of queries after another, in the gradient too, so that the weights
    /// `(L, S)` are never there at once.
    ///
    /// `attn_mask`, which broadcasts to the weights, is added to them, or says by truth values which keys take part; with
    /// `is_causal` these are the keys that stand no later than the query. A query without keys gives zeros. `scale` is
    /// `1 / sqrt(E)` where it is not given. With `enable_gqa` each head of keys and values, the third dimension from the end,
    /// serves several heads of queries.
    ///
    /// Weights are left out with the probability `dropout_p`, and the others divided by `1 - dropout_p`; then all of them are
    /// there at once.
    ///
    /// Raises: RuntimeError for dtypes and sizes that do not fit, for what is no probability, and for a mask beside
    /// `is_causal`.
    ///
    /// Shapes: `(..., n, k), (..., m, k), (..., m, l), (n, m) -> (..., n, l)`.
    ///
    /// >>> F, x = ferrograd.nn.functional, ferrograd.tensor([[0.0, 0.0], [10.0, 0.0]])
    /// >>> F.scaled_dot_product_attention(x, x, ferrograd.tensor([[1.0], [3.0]]), is_causal=True)
    /// tensor([[1.],
    ///         [3.]])
    function Noted(Floats -> Shared), ["nn.scaled_dot_product_attention(Tensor query, Tensor key, Tensor value, Tensor? attn_mask=None, Number dropout_p=0.0, bool is_causal=False, *, Number? scale=None, bool enable_gqa=False)"],
    |_, a| {
        let (q, k, v) = (a.tensor(0)?, a.tensor(1)?, a.tensor(2)?);
        let mask = a.maybe_tensor(3)?;
        if mask.is_some() && a.bool(5)? {
            return invalid(a.op, "Explicit attn_mask should not be set when is_causal=True".into());
        }
        let scale = a.maybe_number(6)?.map(|n| n.as_f64());
        let (k, v) = if a.bool(7)? { (&repeated(q, k)?, &repeated(q, v)?) } else { (k, v) };
        Ok(match a.float(4)? {
            0.0 => attention(q, k, v, mask, a.bool(5)?, scale)?,
            p => with_dropout(q, k, v, Masks { given: mask, is_causal: a.bool(5)?, scale: scaled(q, scale) }, p)?,
        }.into())
    }
}

/// Keys or values with each head as often as there are heads of queries for it.
fn repeated(q: &Tensor, t: &Tensor) -> Result<Tensor> {
    let heads = |t: &Tensor| t.rank().checked_sub(3).map(|d| t.shape()[d]);
    let (Some(of_queries), Some(own)) = (heads(q), heads(t)) else {
        return invalid(OP, "enable_gqa needs heads: tensors of at least three dimensions".into());
    };
    if own == 0 || of_queries % own != 0 {
        return invalid(
            OP,
            format!(
                "Number of heads in key and value must divide the number of heads in query, got {own} and {of_queries}"
            ),
        );
    }
    let dim = t.rank() as isize - 3;
    let mut shape = view::signed(t.shape());
    shape.insert(dim as usize + 1, (of_queries / own) as isize);
    let spread = view::expand(&view::unsqueeze(t, dim + 1)?, &shape)?;
    view::flatten(&spread, dim, dim + 1)
}

/// Which keys take part, and what is added to the weights.
#[derive(Clone, Copy)]
struct Masks<'a> {
    given: Option<&'a Tensor>,
    is_causal: bool,
    scale: f64,
}

/// The queries of a block: as many as make some tens of thousands of weights.
fn block(keys: usize) -> usize {
    (1usize << 16).div_euclid(keys.max(1)).clamp(16, 1024)
}

/// Attention without dropout.
///
/// # Errors
/// For dtypes and sizes that do not fit.
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: Option<&Tensor>,
    is_causal: bool,
    scale: Option<f64>,
) -> Result<Tensor> {
    check(OP, q, k, v, mask)?;
    let factor = scaled(q, scale);
    let masks = Masks { given: mask, is_causal, scale: factor };
    if is_short(q.dtype()) {
        return widened([q, k, v], mask, |[q, k, v], mask| attention(q, k, v, mask, is_causal, scale));
    }
    if batch::level([q, k, v].into_iter().chain(mask)).is_some() {
        return blocks(q, k, v, masks);
    }
    let y = unrecorded(|| blocks(q, k, v, masks))?;
    // The values are for the gradients of the weights alone.
    let needs_values = forward::is_active() || is_recorded([q, k].into_iter().chain(mask));
    let mut keep: SmallVec<[Keep; 4]> = smallvec![Keep::Input(q), Keep::Input(k)];
    keep.push(if needs_values { Keep::Input(v) } else { Keep::Nothing(2) });
    keep.extend(mask.map(Keep::Input));
    let mut inputs: SmallVec<[&Tensor; 4]> = smallvec![q, k, v];
    inputs.extend(mask);
    let told = || {
        let scale = scale.map_or(Setting::Nothing, Setting::Float);
        vec![("dropout_p", Setting::Float(0.0)), ("is_causal", Setting::Bool(is_causal)), ("scale", scale)]
    };
    let settings = || Settings { number: factor, keepdim: is_causal, told: told().into(), ..Settings::default() };
    record("ScaledDotProductFlashAttentionForCpuBackward0", &y, &inputs, &keep, settings, of_attention)?;
    Ok(y)
}

/// The factor of the scores. Of queries without elements there is nothing to scale.
fn scaled(q: &Tensor, scale: Option<f64>) -> f64 {
    let size = q.shape().last().copied().unwrap_or(1);
    scale.unwrap_or(1.0 / (size.max(1) as f64).sqrt())
}

/// What is made of 16-bit floats in float32, which softmax and products compute in, rounded once.
fn widened(
    all: [&Tensor; 3],
    mask: Option<&Tensor>,
    run: impl FnOnce([&Tensor; 3], Option<&Tensor>) -> Result<Tensor>,
) -> Result<Tensor> {
    let dtype = all[0].dtype();
    let [q, k, v] = all.map(|t| cast::to(t, DType::F32));
    let wide = |mask: &Tensor| if mask.dtype() == dtype { cast::to(mask, DType::F32) } else { Ok(mask.clone()) };
    let mask = mask.map(wide).transpose()?;
    cast::to(&run([&q?, &k?, &v?], mask.as_ref())?, dtype)
}

/// Attention by weights of which each is left out with a probability.
fn with_dropout(q: &Tensor, k: &Tensor, v: &Tensor, masks: Masks, p: f64) -> Result<Tensor> {
    check(OP, q, k, v, masks.given)?;
    if is_short(q.dtype()) {
        return widened([q, k, v], masks.given, |[q, k, v], given| with_dropout(q, k, v, Masks { given, ..masks }, p));
    }
    let weights = weights(q, &view::transpose(k, -1, -2)?, masks, 0)?;
    matmul(&ELEMENTS.apply(OP, &weights, p, true, false)?, v)
}

fn check(op: &'static str, q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Result<()> {
    if q.dtype() != k.dtype() || q.dtype() != v.dtype() {
        let dtypes = [q.dtype(), k.dtype(), v.dtype()].map(|d| d.to_string()).join(", ");
        return invalid(op, format!("Expected query, key, and value to have the same dtype, but got {dtypes}"));
    }
    if !q.dtype().is_floating_point() {
        return invalid(op, format!("expected floating-point numbers, got {}", q.dtype()));
    }
    if [q, k, v].iter().any(|t| t.rank() < 2) {
        let shapes = [q.shape(), k.shape(), v.shape()];
        return invalid(
            op,
            format!("Expected query, key, and value to all be at least 2 dimensional, but got shapes {shapes:?}"),
        );
    }
    let last = |t: &Tensor, n: usize| t.shape()[t.rank() - n];
    if last(q, 1) != last(k, 1) || last(k, 2) != last(v, 2) {
        let shapes = [q.shape(), k.shape(), v.shape()];
        return invalid(op, format!("expected (..., L, E), (..., S, E) and (..., S, V), got {shapes:?}"));
    }
    let lead = |t: &Tensor| t.shape()[..t.rank() - 2].to_vec();
    let both = broadcast(op, &lead(q), &lead(k))?;
    let mut weights = broadcast(op, &both, &lead(v))?;
    let Some(mask) = mask else { return Ok(()) };
    if mask.dtype() != DType::Bool && mask.dtype() != q.dtype() && mask.dtype() != DType::F32 {
        return invalid(
            op,
            format!(
                "Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: {} and query.dtype: {}",
                mask.dtype(),
                q.dtype()
            ),
        );
    }
    weights.extend([last(q, 2), last(k, 2)]);
    if broadcast(op, &weights, mask.shape())? == weights {
        return Ok(());
    }
    let (expected, given) = (weights.to_vec(), mask.shape().to_vec());
    Err(Error::Shape { op, what: "the mask must broadcast to the weights", expected, given })
}

/// The first queries of each block and their number.
fn cuts(queries: usize, keys: usize) -> impl Iterator<Item = (isize, isize)> {
    steps(queries, block(keys))
}

/// The first of each `step` of so many, and their number; of none, once none.
fn steps(size: usize, step: usize) -> impl Iterator<Item = (isize, isize)> {
    (0..size.max(1)).step_by(step).map(move |at| (at as isize, step.min(size - at) as isize))
}

/// A part of a tensor along a dimension, counted from the end: all of it where it is the same for each.
fn part(t: &Tensor, dim: isize, (at, count): (isize, isize)) -> Result<Tensor> {
    match t.rank().checked_add_signed(dim) {
        Some(d) if t.shape()[d] != 1 => view::narrow(t, dim, at, count),
        _ => Ok(t.clone()),
    }
}

/// Weights that are there at once, where examples or heads can go one after another.
const WEIGHTS: usize = 1 << 19;

/// A leading dimension of the weights, counted from the end, along which the work is done in parts, and how many of its indices a
/// part has.
#[derive(Clone, Copy)]
struct Parts {
    dim: isize,
    size: usize,
    count: usize,
}

impl Parts {
    /// The longest of them, where there would be too many weights at once.
    fn of(all: [&Tensor; 3]) -> Option<Parts> {
        let [q, k, _] = all;
        let size = |dim: usize| all.iter().filter_map(|t| Some(t.shape()[t.rank().checked_sub(dim)?])).max();
        let rank = all.iter().map(|t| t.rank()).max().unwrap_or(0);
        let sizes: SmallVec<[usize; 4]> = (3..=rank).map(|dim| size(dim).unwrap_or(1)).collect();
        let (n, &size) = sizes.iter().enumerate().max_by_key(|&(_, size)| size)?;
        let (queries, keys) = (q.shape()[q.rank() - 2], k.shape()[k.rank() - 2]);
        let weights = sizes.iter().product::<usize>() * queries.min(block(keys)) * keys;
        let count = (WEIGHTS * size).checked_div(weights)?.clamp(1, size);
        (count < size).then_some(Parts { dim: -(n as isize + 3), size, count })
    }

    /// The first indices of the parts and their numbers.
    fn each(self) -> impl Iterator<Item = (isize, isize)> {
        steps(self.size, self.count)
    }

    /// A part of a tensor.
    fn part(self, t: &Tensor, range: (isize, isize)) -> Result<Tensor> {
        part(t, self.dim, range)
    }
}

fn blocks(q: &Tensor, k: &Tensor, v: &Tensor, masks: Masks) -> Result<Tensor> {
    let Some(parts) = Parts::of([q, k, v]) else { return blocks_of_queries(q, k, v, masks) };
    // A part of one index may have another dimension that has to be parted.
    let of_part = |at| {
        let given = masks.given.map(|mask| parts.part(mask, at)).transpose()?;
        let masks = Masks { given: given.as_ref(), ..masks };
        blocks(&parts.part(q, at)?, &parts.part(k, at)?, &parts.part(v, at)?, masks)
    };
    join::cat(&parts.each().map(of_part).collect::<Result<Vec<_>>>()?, parts.dim)
}

fn blocks_of_queries(q: &Tensor, k: &Tensor, v: &Tensor, masks: Masks) -> Result<Tensor> {
    let (queries, keys) = (q.shape()[q.rank() - 2], k.shape()[k.rank() - 2]);
    let turned = view::transpose(k, -1, -2)?;
    let mut all = Vec::new();
    for (at, count) in cuts(queries, keys) {
        let weights = weights(&view::narrow(q, -2, at, count)?, &turned, masks, at)?;
        all.push(matmul(&weights, v)?);
    }
    if all.len() == 1 { Ok(all.swap_remove(0)) } else { join::cat(&all, -2) }
}

/// The weights of a block of queries, the first of which is the `at`th.
fn weights(q: &Tensor, turned: &Tensor, masks: Masks, at: isize) -> Result<Tensor> {
    let mut scores = matmul(&mul(q, masks.scale)?, turned)?;
    let (count, keys) = (q.shape()[q.rank() - 2] as isize, turned.shape()[turned.rank() - 1]);
    let mut allowed = None;
    if masks.is_causal {
        let places = |from: i64, to: i64| creation::arange(from.into(), to.into(), 1.into(), None);
        let own = view::unsqueeze(&places(at as i64, (at + count) as i64)?, 1)?;
        allowed = Some(le(&places(0, keys as i64)?, &own)?);
    }
    if let Some(mask) = masks.given {
        let part = part(mask, -2, (at, count))?;
        if mask.dtype() == DType::Bool {
            allowed = Some(part);
        } else {
            scores = add(&scores, &cast::to(&part, scores.dtype())?)?;
        }
    }
    if allowed.is_none() && masks.given.is_some() && keys > 0 {
        let some = gt(&extremum::amax(&scores, &[-1], true)?, f64::NEG_INFINITY)?;
        return where_(&some, &softmax(&scores, -1, None)?, 0.0);
    }
    let Some(allowed) = allowed else { return softmax(&scores, -1, None) };
    let found = softmax(&where_(&allowed, &scores, f64::NEG_INFINITY)?, -1, None)?;
    // Where no key takes part there are no weights, and no gradients.
    where_(&allowed, &found, 0.0)
}

fn of_attention(call: &Call) -> Result<Gradients> {
    let [q, k, v] = [&call.saved[0], &call.saved[1], &call.saved[2]];
    let masks = Masks { given: call.saved.get(3), is_causal: call.settings.keepdim, scale: call.settings.number };
    let needs = std::array::from_fn(|n| call.needs.get(n) == Some(&true));
    let found = by_parts([q, k, v], masks, &call.g, needs)?;
    Ok(found.into_iter().take(call.needs.len()).collect())
}

/// The gradients of queries, keys, values and mask part by part. Those of a mask that is the same for several parts are added here,
/// not by the engine: side by side they would be as many as the weights.
fn by_parts([q, k, v]: [&Tensor; 3], masks: Masks, g: &Tensor, needs: [bool; 4]) -> Result<[Option<Tensor>; 4]> {
    // Where nothing asks for the weights' gradients the values were not kept.
    let has_values = needs[0] || needs[1] || needs[3];
    let Some(parts) = Parts::of([q, k, if has_values { v } else { g }]) else {
        return of_part(q, k, v, masks, g, needs);
    };
    let mut all: [Vec<Tensor>; 4] = Default::default();
    let mut of_shared = None;
    for at in parts.each() {
        let part = |t: &Tensor| parts.part(t, at);
        let given = masks.given.map(part).transpose()?;
        let shared = given.as_ref().filter(|part| masks.given.is_some_and(|all| part.shape() == all.shape()));
        let values = if has_values { part(v)? } else { v.clone() };
        let masks = Masks { given: given.as_ref(), ..masks };
        let found = by_parts([&part(q)?, &part(k)?, &values], masks, &part(g)?, needs)?;
        for (n, found) in found.into_iter().enumerate() {
            match (found, shared) {
                (Some(found), Some(mask)) if n == 3 => {
                    of_shared = Some(gathered(of_shared, sum::sum_to_size(&found, &view::signed(mask.shape()))?)?);
                }
                (found, _) => all[n].extend(found),
            }
        }
    }
    let [of_q, of_k, of_v, of_mask] = all.map(|all| joined(&all, parts.dim));
    Ok([of_q?, of_k?, of_v?, of_mask?.or(of_shared)])
}

/// Tensors one behind the other, if there are any.
fn joined(all: &[Tensor], dim: isize) -> Result<Option<Tensor>> {
    match all {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        _ => join::cat(all, dim).map(Some),
    }
}

/// The gradients of queries, keys, values and mask block by block, with the weights `p` computed again: `dv = p^T g`,
/// `dp = g v^T`, `ds = p (dp - sum(p dp))`, `dq = ds k scale`, `dk = ds^T q scale`; that of the mask is `ds`.
fn of_part(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    masks: Masks,
    g: &Tensor,
    needs: [bool; 4],
) -> Result<[Option<Tensor>; 4]> {
    let (queries, keys) = (q.shape()[q.rank() - 2], k.shape()[k.rank() - 2]);
    let turned_k = view::transpose(k, -1, -2)?;
    let needs_weights = needs[0] || needs[1] || needs[3];
    let (mut of_q, mut of_k, mut of_v, mut of_mask) = (Vec::new(), None, None, Vec::new());
    for (at, count) in cuts(queries, keys) {
        let part = |t: &Tensor| view::narrow(t, -2, at, count);
        let (rows, g) = (part(q)?, part(g)?);
        let p = weights(&rows, &turned_k, masks, at)?;
        if needs[2] {
            of_v = Some(gathered(of_v, matmul(&view::transpose(&p, -1, -2)?, &g)?)?);
        }
        if !needs_weights {
            continue;
        }
        let dp = matmul(&g, &view::transpose(v, -1, -2)?)?;
        let inner = sum::sum(&mul(&p, &dp)?, &[-1], true, None)?;
        let ds = mul(&p, &sub(&dp, &inner)?)?;
        let scaled = mul(&ds, masks.scale)?;
        if needs[0] {
            of_q.push(matmul(&scaled, k)?);
        }
        if needs[1] {
            of_k = Some(gathered(of_k, matmul(&view::transpose(&scaled, -1, -2)?, &rows)?)?);
        }
        if needs[3] {
            of_mask.push(ds);
        }
    }
    Ok([joined(&of_q, -2)?, of_k, of_v, joined(&of_mask, -2)?])
}

/// The sum of what the blocks before gave and of what one gives.
fn gathered(before: Option<Tensor>, part: Tensor) -> Result<Tensor> {
    match before {
        Some(before) => add(&before, &part),
        None => Ok(part),
    }
}
