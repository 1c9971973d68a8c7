//! Linear maps of the last dimensions, each mixed by a sparse matrix of its own. The derivative is the transposed map.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::error::Result;
use crate::graph::forward::unrecorded;
use crate::kernels::element::{Element, dispatch};
use crate::kernels::gemm::Float;
use crate::kernels::mix::{self, Matrix};
use crate::ops::recorded::{Told, link_arranged};
use crate::ops::reduce::wide_float;
use crate::ops::{arithmetic, batch, cast, copy};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::channels_last;
use crate::tensor::storage::Access;

/// A linear map of tensors of any number of leading dimensions.
#[derive(Clone, Debug, Default)]
pub(super) struct Map {
    /// Dimensions, counted from the end, and the matrices along them.
    pub parts: Vec<(usize, Matrix)>,
    /// What the elements are divided by before that.
    pub before: Option<Divisor>,
    /// What the results are divided by.
    pub after: Option<Divisor>,
    /// The settings of the call, which its node shows.
    pub told: Told,
}

/// What elements are divided by.
#[derive(Clone, Debug)]
pub(super) enum Divisor {
    /// All by the same number.
    All(i64),
    /// Each by one of a tensor, broadcast.
    Each(Tensor),
}

impl Map {
    pub fn transposed(&self) -> Map {
        Map {
            parts: self.parts.iter().map(|(d, m)| (*d, m.transposed())).collect(),
            before: self.after.clone(),
            after: self.before.clone(),
            told: Told::new(),
        }
    }

    /// True where the results are elements, or zero.
    fn picks(&self) -> bool {
        self.before.is_none() && self.after.is_none() && self.parts.iter().all(|(_, m)| m.picks())
    }

    /// The numbers of images of bytes: rows before columns, each pass rounded to bytes.
    pub fn bytes(&self, op: &'static str, x: &Tensor) -> Result<Tensor> {
        let mut y = copy::to_contiguous(&x.detach())?;
        let mut order: Vec<&(usize, Matrix)> = self.parts.iter().filter(|(_, m)| m.rows() != m.columns()).collect();
        order.sort_by_key(|(d, _)| *d);
        for (dim, matrix) in order {
            let mut shape = y.layout().shape.clone();
            let at = shape.len() - dim;
            shape[at] = matrix.rows();
            let inner = shape[at + 1..].iter().product();
            let next = Tensor::uninitialized(op, &shape, DType::U8)?;
            let access = Access::lock([(&**y.storage(), false)]);
            // SAFETY: both are contiguous tensors of bytes, `y` is locked and `next` new.
            let (from, to) = unsafe { (y.elements::<u8>(), next.elements_mut::<u8>()) };
            mix::mix_bytes(matrix, from, to, inner);
            drop(access);
            y = next;
        }
        Ok(y)
    }

    /// The numbers, without history.
    pub fn numbers(&self, op: &'static str, x: &Tensor) -> Result<Tensor> {
        let dtype = x.dtype();
        let is_picking = self.picks();
        let wide = match dtype.computed_in() {
            _ if is_picking => dtype,
            float if float.is_floating_point() => float,
            _ => DType::F64,
        };
        let over = |x: Tensor, by: &Option<Divisor>| match by {
            Some(Divisor::All(by)) => arithmetic::div(&x, *by),
            Some(Divisor::Each(by)) => arithmetic::div(&x, &cast::to(by, wide)?),
            None => Ok(x),
        };
        let mut y = over(cast::to(&x.detach(), wide)?, &self.before)?;
        // Channels that lie side by side stay so: one dimension more comes behind those of the matrices.
        let is_within = self.parts.iter().all(|(d, _)| d + 2 <= x.rank()) && y.layout().suggests_channels_last();
        let turned = channels_last(x.rank()).filter(|_| is_within);
        if let Some(turned) = turned {
            y = y.alias(y.layout().permute(turned), false);
        }
        // What makes fewer goes first, rows before columns; what makes more, the other way round.
        let mut order: Vec<&(usize, Matrix)> = self.parts.iter().filter(|(_, m)| !m.is_identity()).collect();
        if order.is_empty() {
            // One pass at least: a sum begins with zero, which has another sign than an element may have.
            order.extend(self.parts.first());
        }
        order.sort_by_key(|(d, m)| {
            let grows = m.rows() > m.columns();
            (grows, if grows { *d as isize } else { -(*d as isize) })
        });
        for (dim, matrix) in order {
            y = along(op, &y, *dim + usize::from(turned.is_some()), matrix, is_picking)?;
        }
        if turned.is_some() {
            let back: SmallVec<[usize; 5]> = [0, x.rank() - 1].into_iter().chain(1..x.rank() - 1).collect();
            y = y.alias(y.layout().permute(&back), false);
        }
        cast::to(&over(y, &self.after)?, dtype)
    }
}

/// One matrix along a dimension that is counted from the end.
fn along(op: &'static str, x: &Tensor, dim: usize, matrix: &Matrix, is_picking: bool) -> Result<Tensor> {
    let x = copy::to_contiguous(x)?;
    let mut shape = x.layout().shape.clone();
    let at = shape.len() - dim;
    shape[at] = matrix.rows();
    let inner = shape[at + 1..].iter().product();
    let y = Tensor::uninitialized(op, &shape, x.dtype())?;
    let access = Access::lock([(&**x.storage(), false)]);
    if is_picking {
        dispatch!(op, x.dtype(), T => {
            // SAFETY: both are contiguous tensors of this type; `y` is new.
            let (x, y) = unsafe { (x.elements::<T>(), y.elements_mut::<T>()) };
            mix::pick(matrix, x, y, inner);
        });
    } else {
        wide_float!(x.dtype(), A => mixed::<A>(matrix, &x, &y, inner));
    }
    drop(access);
    Ok(y)
}

fn mixed<T: Element + Float>(matrix: &Matrix, x: &Tensor, y: &Tensor, inner: usize) {
    // SAFETY: both are contiguous tensors of this type, locked; `y` is new.
    let (x, y) = unsafe { (x.elements::<T>(), y.elements_mut::<T>()) };
    mix::mix(matrix, x, y, inner);
}

/// A map of a tensor, recorded under a name; its derivative under another, and so on by turns.
pub(super) fn apply(op: &'static str, names: [&'static str; 2], map: &Arc<Map>, x: &Tensor) -> Result<Tensor> {
    if let Some(y) = batch::unary(x, |x| apply(op, names, map, x)) {
        return y;
    }
    let y = unrecorded(|| match x.dtype() {
        DType::U8 if !map.picks() => map.bytes(op, x),
        _ => map.numbers(op, x),
    })?;
    let told = || map.told.clone();
    let back = map.clone();
    link_arranged(names[0], x, &y, told, move |g| apply(op, [names[1], names[0]], &Arc::new(back.transposed()), g))?;
    Ok(y)
}
