//! All elements of a list that an index sends to one place of a tensor made into one.

use smallvec::{SmallVec, smallvec};

use super::recorded::link;
use super::registry::Arguments;
use super::select::{self, Deed, Indices, Selection};
use super::{arithmetic, cast, compare, copy, inplace};
use crate::error::{Error, Result};
use crate::graph::NodeRef;
use crate::graph::meta::is_recorded;
use crate::graph::node::{Backward, Derivative, Edge, Gradients};
use crate::graph::saved::Saved;
use crate::kernels::lookup::{Greatest, Least, Multiply, Put};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::scalar::Scalar;

/// What becomes of several elements for one place.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Reduce {
    Sum,
    Product,
    Mean,
    Greatest,
    Least,
}

impl Reduce {
    /// The one that argument `n` names.
    pub fn named(a: &Arguments, n: usize) -> Result<Reduce> {
        Ok(match a.text(n)? {
            Some("sum") => Reduce::Sum,
            Some("prod") => Reduce::Product,
            Some("mean") => Reduce::Mean,
            Some("amax") => Reduce::Greatest,
            Some("amin") => Reduce::Least,
            other => {
                let given = other.unwrap_or("None");
                let what = format!("reduce argument must be either sum, prod, mean, amax or amin, got {given}");
                return Err(Error::Invalid { op: a.op, what });
            }
        })
    }
}

/// A copy of `x` with the elements of the list for each place made into one, together with the one there already where
/// `include`.
pub(super) fn reduced(
    s: &Selection,
    x: &Tensor,
    list: &Tensor,
    indices: &Indices,
    reduce: Reduce,
    include: bool,
) -> Result<Tensor> {
    let start = |number: i64| {
        if include { Ok(x.clone()) } else { put(s, x, number, indices) }
    };
    match reduce {
        Reduce::Sum => select::joined(s, &start(0)?, list, indices.clone(), Deed::Add),
        Reduce::Mean if x.dtype() == DType::Bool => {
            Err(Error::NotImplemented { op: s.op, what: "the mean of truth values: this".into() })
        }
        Reduce::Mean => {
            let total = select::joined(s, &start(0)?, list, indices.clone(), Deed::Add)?;
            // Places that nothing was sent to have their own element.
            let own = Tensor::full(x.shape(), Scalar::Int(1), x.dtype())?;
            let own = if include { own } else { put(s, &own, 0, indices)? };
            let count = select::joined(s, &own, &Tensor::scalar(1i64, x.dtype())?, indices.clone(), Deed::Add)?;
            if x.dtype().is_floating_point() {
                arithmetic::div(&total, &count)
            } else {
                arithmetic::floor_divide(&total, &count)
            }
        }
        _ => chosen(s, x, list, indices, reduce, include),
    }
}

/// A copy of `x` with a number at the indices.
fn put(s: &Selection, x: &Tensor, number: i64, indices: &Indices) -> Result<Tensor> {
    select::joined(s, x, &Tensor::scalar(number, x.dtype())?, indices.clone(), Deed::Put)
}

/// Products, and the greatest and the least elements, which have derivatives of their own.
fn chosen(
    s: &Selection,
    x: &Tensor,
    list: &Tensor,
    indices: &Indices,
    reduce: Reduce,
    include: bool,
) -> Result<Tensor> {
    let again =
        |s: &Selection, x: &Tensor, list: &Tensor, indices: Indices| chosen(s, x, list, &indices, reduce, include);
    if let Some(y) = select::on_examples(s, x, list, indices, again) {
        return y;
    }
    let y = copy::contiguous_copy(x)?;
    match reduce {
        _ if include => {}
        Reduce::Product => s.write::<Put>(&y, &Tensor::scalar(1i64, x.dtype())?, indices)?,
        // Any element of the list is a beginning that changes nothing.
        _ => s.write::<Put>(&y, list, indices)?,
    }
    match reduce {
        Reduce::Product => s.write::<Multiply>(&y, list, indices)?,
        Reduce::Greatest => s.write::<Greatest>(&y, list, indices)?,
        _ => s.write::<Least>(&y, list, indices)?,
    }
    let derivative = Reduction {
        reduce,
        include,
        selection: Box::new(s.clone()),
        saved: [Saved::input(x), Saved::input(list), Saved::output(&y)],
        indices: indices.iter().map(Saved::input).collect(),
    };
    link(derivative, &[x, list], &y)?;
    Ok(y)
}

/// As [`reduced`], into `target`.
pub(super) fn reduce_in_place(
    s: &Selection,
    target: &Tensor,
    list: &Tensor,
    indices: &Indices,
    reduce: Reduce,
    include: bool,
) -> Result<Tensor> {
    if reduce == Reduce::Sum && include {
        return select::join(s, target, list, indices.clone(), Deed::Add, s.family.nodes[Deed::Add as usize], None);
    }
    inplace::apply(s.op, target, &[list], &|x| reduced(s, x, list, indices, reduce, include))
}

/// The derivatives of products and of the greatest and least elements, by the input, the list and the result.
#[derive(Clone)]
struct Reduction {
    reduce: Reduce,
    include: bool,
    selection: Box<Selection>,
    saved: [Saved; 3],
    indices: SmallVec<[Saved; 1]>,
}

impl Derivative for Reduction {
    fn name(&self) -> &'static str {
        if self.selection.op.starts_with("index") { "IndexReduceBackward0" } else { "ScatterReduceBackward0" }
    }

    fn backward(&mut self, call: &Backward) -> Result<Gradients> {
        let [x, list, y] = &self.saved;
        let found = Found {
            s: &self.selection,
            indices: self.indices.iter().map(|i| i.unpack(call.node)).collect::<Result<_>>()?,
            g: call.gradient()?,
            x: x.unpack(call.node)?,
            list: list.unpack(call.node)?,
            y: y.unpack(call.node)?,
            include: self.include,
        };
        let (dx, dlist) = if self.reduce == Reduce::Product { found.product()? } else { found.extremum()? };
        let dx = if self.include { dx } else { put(found.s, &dx, 0, &found.indices)? };
        Ok(smallvec![Some(dx), Some(dlist)])
    }

    fn take(&mut self, keep: bool) -> Self {
        let [x, list, y] = &mut self.saved;
        Reduction {
            saved: [x.take(keep), list.take(keep), y.take(keep)],
            indices: self.indices.iter_mut().map(|i| i.take(keep)).collect(),
            selection: self.selection.clone(),
            ..*self
        }
    }

    fn visit(&mut self, f: &mut dyn FnMut(&mut Saved)) {
        self.saved.iter_mut().chain(&mut self.indices).for_each(f);
    }
}

/// The derivative of a gradient that has none of its own: of a product with several zeros, each of them is a factor of
/// the other's.
#[derive(Clone)]
struct Once(&'static str);

impl Derivative for Once {
    fn name(&self) -> &'static str {
        "Error"
    }
    fn backward(&mut self, _call: &Backward) -> Result<Gradients> {
        let what = "Double backward is unsupported for a product of several zeros that go to the same position";
        Err(Error::Invalid { op: self.0, what: what.into() })
    }
    fn take(&mut self, _keep: bool) -> Self {
        self.clone()
    }
}

fn once(op: &'static str, gradient: &Tensor) -> Tensor {
    let result = gradient.detach();
    let node = NodeRef::new(Once(op), smallvec![gradient.gradient_edge()], result.shape(), result.dtype());
    result.set_history(Edge { node, output: 0 });
    result
}

/// What a derivative was given and what was kept for it.
struct Found<'a> {
    s: &'a Selection,
    indices: Indices,
    g: Tensor,
    x: Tensor,
    list: Tensor,
    y: Tensor,
    include: bool,
}

impl Found<'_> {
    fn taken(&self, t: &Tensor) -> Result<Tensor> {
        select::take(self.s, t, self.indices.clone())
    }

    fn added(&self, t: &Tensor, list: &Tensor) -> Result<Tensor> {
        select::joined(self.s, t, list, self.indices.clone(), Deed::Add)
    }

    /// All elements that are the extremum share its gradient.
    fn extremum(&self) -> Result<(Tensor, Tensor)> {
        let hits = |t: &Tensor, y: &Tensor| cast::to(&compare::eq(t, y)?, self.g.dtype());
        let (own, sent) = (hits(&self.x, &self.y)?, hits(&self.list, &self.taken(&self.y)?)?);
        let own = if self.include { own } else { put(self.s, &own, 0, &self.indices)? };
        let share = arithmetic::div(&self.g, &self.added(&own, &sent)?)?;
        Ok((arithmetic::mul(&own, &share)?, arithmetic::mul(&sent, &self.taken(&share)?)?))
    }

    /// `dx = g` times the product of the list, `dlist_i = g` times the product of all others: by division where the factor is
    /// not zero; a factor that alone is zero is replaced by 1 and the product computed anew.
    fn product(&self) -> Result<(Tensor, Tensor)> {
        let nonzero = |t: &Tensor| compare::where_(&compare::eq(t, 0)?, 1, t);
        let product =
            |x: &Tensor, list: &Tensor| reduced(self.s, x, list, &self.indices, Reduce::Product, self.include);
        let x = nonzero(&self.x)?;
        let dx = arithmetic::mul(&self.g, &arithmetic::div(&product(&x, &self.list)?, &x)?)?;
        let zero = compare::eq(&self.list, 0)?;
        let count = self.added(&Tensor::zeros(&self.s.table, self.g.dtype())?, &cast::to(&zero, self.g.dtype())?)?;
        let alone = compare::logical_and(&zero, &compare::eq(&self.taken(&count)?, 1)?)?;
        let others = product(&self.x, &compare::where_(&alone, 1, &self.list)?)?;
        let replaced = self.taken(&arithmetic::mul(&self.g, &others)?)?;
        let divided = arithmetic::div(&self.taken(&arithmetic::mul(&self.g, &self.y)?)?, &nonzero(&self.list)?)?;
        let dlist = compare::where_(&alone, &replaced, &divided)?;
        let several = compare::logical_and(&zero, &compare::logical_not(&alone)?)?;
        if is_recorded([&dlist]) && several.to_scalars()?.iter().any(|s| s.as_bool()) {
            return Ok((dx, once(self.s.op, &dlist)));
        }
        Ok((dx, dlist))
    }
}
