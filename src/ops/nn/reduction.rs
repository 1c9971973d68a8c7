//! What becomes of the losses of single elements: they are kept, added, or their mean is taken.

use smallvec::SmallVec;

use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::graph::node::{Backward, Derivative, Gradients, Label, Node, Setting};
use crate::graph::saved::Saved;
use crate::host;
use crate::ops::arithmetic::div;
use crate::ops::formula::{OPERANDS, Operand, Pointwise, RESULT};
use crate::ops::pointwise::{SOURCES, apply, derive};
use crate::ops::recorded::link;
use crate::ops::registry::Arguments;
use crate::ops::{sum, view};
use crate::tensor::Tensor;
use crate::tensor::layout::Shape;
use crate::tensor::scalar::Scalar;

/// The three reductions of a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// The losses as they are.
    None,
    /// Their mean.
    Mean,
    /// Their sum.
    Sum,
}

impl Reduction {
    /// The reduction of a call whose arguments `size_average`, `reduce` and `reduction` begin with the `n`th.
    ///
    /// # Errors
    /// For other words than `none`, `mean` and `sum`.
    pub(super) fn of(a: &Arguments, n: usize) -> Result<Reduction> {
        Ok(Reduction::named(a, [n, n + 1, n + 2], None)?.unwrap_or(Reduction::Mean))
    }

    /// The reduction that the `n`th argument names.
    ///
    /// # Errors
    /// For other words than `none`, `mean` and `sum`.
    pub(super) fn word(a: &Arguments, n: usize) -> Result<Reduction> {
        match a.text(n)?.unwrap_or_default() {
            "none" => Ok(Reduction::None),
            "mean" => Ok(Reduction::Mean),
            "sum" => Ok(Reduction::Sum),
            word => Err(Error::Argument {
                op: a.op,
                argument: "reduction",
                rule: "must be 'none', 'mean' or 'sum'",
                given: format!("'{word}'"),
            }),
        }
    }

    /// The reduction that the arguments `size_average`, `reduce` and `reduction` ask for, whose numbers are given; `None` for
    /// the other word.
    ///
    /// # Errors
    /// For any word but these.
    pub(super) fn named(a: &Arguments, at: [usize; 3], other: Option<&str>) -> Result<Option<Reduction>> {
        let [average, reduce, word] = at;
        if a.is_none(average) && a.is_none(reduce) {
            let is_other = other.is_some() && a.text(word)? == other;
            return if is_other { Ok(None) } else { Reduction::word(a, word).map(Some) };
        }
        let given = |n: usize| if a.is_none(n) { Ok(true) } else { a.bool(n) };
        let (found, name) = match (given(average)?, given(reduce)?) {
            (_, false) => (Reduction::None, "none"),
            (true, true) => (Reduction::Mean, "mean"),
            (false, true) => (Reduction::Sum, "sum"),
        };
        let advice = format!("please use reduction='{name}' instead.");
        warn(&format!("size_average and reduce args will be deprecated, {advice}"))?;
        Ok(Some(found))
    }

    /// The losses reduced.
    ///
    /// # Errors
    /// Where there is no memory.
    pub fn apply(self, losses: &Tensor) -> Result<Tensor> {
        match self {
            Reduction::None => Ok(losses.clone()),
            Reduction::Mean => sum::mean(losses, &[], false, None),
            Reduction::Sum => sum::sum(losses, &[], false, None),
        }
    }
}

/// Shows a warning where there is somebody to see it.
pub(super) fn warn(text: &str) -> Result<()> {
    host::host().map_or(Ok(()), |host| (host.warn)(text))
}

/// An element-wise operation and the sum or mean of its result, recorded as one node that keeps the operands alone: its
/// derivative is the operation's.
///
/// # Errors
/// As the operation, whose derivatives must not read its result.
pub(super) fn reduced(spec: &'static Pointwise, operands: &[Operand], reduction: Reduction) -> Result<Tensor> {
    let tensors: SmallVec<[&Tensor; OPERANDS]> = operands.iter().filter_map(|o| o.tensor()).collect();
    let is_plain = |t: &&Tensor| t.batch().is_none();
    if reduction == Reduction::None || !tensors.iter().all(is_plain) {
        return reduction.apply(&apply(spec, operands)?);
    }
    let (y, shape) = unrecorded(|| {
        let losses = apply(spec, operands)?;
        Ok((reduction.apply(&losses)?, losses.layout().shape.clone()))
    })?;
    let kept = operands
        .iter()
        .map(|o| match o {
            Operand::Tensor(t) => Kept::Tensor(Saved::input(t)),
            Operand::Number(n) => Kept::Number(*n),
        })
        .collect();
    link(Reduced { spec, kept, shape, reduction }, &tensors, &y)?;
    Ok(y)
}

/// An operand that the derivative reads.
#[derive(Clone)]
enum Kept {
    Tensor(Saved),
    Number(Scalar),
}

#[derive(Clone)]
struct Reduced {
    spec: &'static Pointwise,
    kept: SmallVec<[Kept; 3]>,
    shape: Shape,
    reduction: Reduction,
}

impl Derivative for Reduced {
    fn name(&self) -> &'static str {
        let Reduced { spec, .. } = self;
        spec.node
    }

    fn backward(&mut self, call: &Backward) -> Result<Gradients> {
        let mut g = call.gradient()?;
        if self.reduction == Reduction::Mean {
            g = div(&g, self.shape.iter().product::<usize>() as f64)?;
        }
        let g = view::expand(&g, &view::signed(&self.shape))?;
        let tensors: SmallVec<[Option<Tensor>; 3]> = self
            .kept
            .iter()
            .map(|kept| match kept {
                Kept::Tensor(saved) => saved.unpack(call.node).map(Some),
                Kept::Number(_) => Ok(None),
            })
            .collect::<Result<_>>()?;
        let mut sources = [Operand::Tensor(&g); SOURCES];
        for (n, (kept, tensor)) in self.kept.iter().zip(&tensors).enumerate() {
            sources[1 + n] = match (kept, tensor) {
                (Kept::Number(number), _) => Operand::Number(*number),
                (Kept::Tensor(_), Some(tensor)) => Operand::Tensor(tensor),
                (Kept::Tensor(_), None) => continue,
            };
        }
        debug_assert!(self.spec.traces().uses.iter().all(|uses| uses & 1 << RESULT == 0));
        let operands = (0..self.kept.len()).filter(|&n| tensors[n].is_some());
        operands
            .enumerate()
            .map(|(edge, n)| if call.needs(edge) { derive(self.spec, n, &sources).map(Some) } else { Ok(None) })
            .collect()
    }

    fn take(&mut self, keep: bool) -> Self {
        let kept = self.kept.iter_mut().map(|kept| match kept {
            Kept::Tensor(saved) => Kept::Tensor(saved.take(keep)),
            Kept::Number(n) => Kept::Number(*n),
        });
        Reduced { kept: kept.collect(), shape: self.shape.clone(), ..*self }
    }

    fn visit(&mut self, f: &mut dyn FnMut(&mut Saved)) {
        for kept in &mut self.kept {
            if let Kept::Tensor(saved) = kept {
                f(saved);
            }
        }
    }

    fn labelled(&self) -> Vec<(Label, Saved)> {
        let label = |(n, kept): (usize, &Kept)| match kept {
            Kept::Tensor(saved) => (Label::Operand(n), saved.clone()),
            Kept::Number(number) => (Label::Operand(n), Saved::number(*number)),
        };
        let mut all: Vec<_> = self.kept.iter().enumerate().map(label).collect();
        // Numbers are none of the values that hooks may take.
        all.sort_by_key(|(_, saved)| saved.as_number().is_some());
        all
    }

    fn settings(&self, _node: &Node) -> Vec<(&'static str, Setting)> {
        vec![("reduction", Setting::Int(self.reduction as i64))]
    }
}
