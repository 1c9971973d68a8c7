//! Losses that compare scores of classes with the class that is right, or with their probabilities.

use smallvec::{SmallVec, smallvec};

use super::activation::logsigmoid;
use super::loss::{invalid, refused};
use super::reduction::Reduction;
use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::graph::mode::is_grad_enabled;
use crate::graph::node::{Gradients, Setting};
use crate::ops::arithmetic::{add, div, div_within, mul, neg, rsub};
use crate::ops::compare::{ne, where_};
use crate::ops::recorded::{Call, Keep, Settings, record};
use crate::ops::registry::{Arguments, operation};
use crate::ops::softmax::log_softmax;
use crate::ops::{batch, cast, copy, gather, index, rows, sum, view};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::storage::Access;

operation! {
    /// The negative logarithm of the probability of the right class: `-w[t] x[t]` for logarithms `x` of shape `(C)`,
    /// `(N, C)` or `(N, C, ...)` and classes `t` of shape `()`, `(N)` or `(N, ...)`, with a weight for each class. The mean is
    /// weighted: the sum over that of the weights. Elements of the class `ignore_index` count nothing.
    ///
    /// `reduction` is `'none'`, `'mean'` or `'sum'`; `size_average` and `reduce` are its old names.
    ///
    /// Shapes: `(N, C, ...), (N, ...), (C,) -> ()` or `(C,), (), (C,) -> ()`; that of the target where
    /// `reduction='none'`.
    /// Raises: RuntimeError or ValueError for other shapes; IndexError or RuntimeError for classes that there are
    /// not; RuntimeError for a weight that requires a gradient.
    ///
    /// >>> F = ferrograd.nn.functional
    /// >>> F.nll_loss(ferrograd.tensor([[-0.5, -1.0], [-2.0, -0.1]]), ferrograd.tensor([0, 1]))
    /// tensor(0.3000)
    function Noted(Floats -> Shared), ["nn.nll_loss(Tensor input, Tensor target, Tensor? weight=None, bool? size_average=None, int ignore_index=-100, bool? reduce=None, str reduction='mean')"],
    |_, a| {
        let reduction = Reduction::named(a, [3, 5, 6], None)?.unwrap_or(Reduction::Mean);
        Ok(nll_loss(a.tensor(0)?, a.tensor(1)?, a.maybe_tensor(2)?, a.int(4)?, reduction)?.into())
    }
}

/// The dimension of the classes.
fn classes(x: &Tensor) -> usize {
    usize::from(x.rank() > 1)
}

/// The negative logarithm of the probability of the right class.
///
/// # Errors
/// For shapes and dtypes that do not fit, and classes that there are not.
pub fn nll_loss(
    x: &Tensor,
    target: &Tensor,
    weight: Option<&Tensor>,
    ignored: isize,
    reduction: Reduction,
) -> Result<Tensor> {
    const OP: &str = "nll_loss";
    check_shapes(OP, x, target)?;
    crate::ops::operands::real(OP, x)?;
    let dim = classes(x);
    if let Some(w) = weight.filter(|w| w.shape() != [x.shape()[dim]]) {
        let (count, given) = (x.shape()[dim], w.shape());
        return invalid(
            OP,
            format!(
                "weight tensor should be defined either for all {count} classes or no classes but got weight tensor of shape: {given:?}"
            ),
        );
    }
    if let Some(w) = weight.filter(|w| w.dtype() != x.dtype()) {
        return invalid(OP, format!("expected scalar type {} but found {}", x.dtype(), w.dtype()));
    }
    if weight.is_some_and(Tensor::requires_grad) && is_grad_enabled() {
        return invalid(OP, "the weight has no gradient: detach() it".into());
    }
    if !matches!(target.dtype(), DType::I64 | DType::U8) {
        return invalid(OP, format!("expected scalar type int64 for the target but found {}", target.dtype()));
    }
    let chosen = Chosen::of(x, target, weight, ignored)?;
    if batch::level([x, target].into_iter().chain(weight)).is_some() {
        return chosen.value(x, reduction);
    }
    let y = unrecorded(|| chosen.value(x, reduction))?;
    let scale = match (reduction, &chosen.weights) {
        (Reduction::Mean, Some(weights)) => sum::sum(weights, &[], false, None)?.item()?.as_f64(),
        (Reduction::Mean, None) => chosen.index.numel() as f64,
        _ => 1.0,
    };
    // Where all is ignored the gradient is zero, whatever the mean.
    let number = if chosen.ignored == chosen.index.numel() { 0.0 } else { -1.0 / scale };
    let settings = || {
        let mut told =
            vec![("ignore_index", Setting::Int(ignored as i64)), ("reduction", Setting::Int(reduction as i64))];
        told.extend(weight.is_none().then_some(("weight", Setting::Nothing)));
        let dims = smallvec![dim as isize, ignored, chosen.ignored as isize];
        Settings { shape: x.layout().shape.clone(), dims, number, told: told.into(), ..Settings::default() }
    };
    let mut keep: SmallVec<[Keep; 2]> = smallvec![Keep::Beside(1, target)];
    keep.extend(weight.map(|w| Keep::Beside(2, w)));
    let name = if x.rank() > 2 { "NllLoss2DBackward0" } else { "NllLossBackward0" };
    record(name, &y, &[x], &keep, settings, of_nll)?;
    Ok(y)
}

/// Shapes `(C)` and `()`, or `(N, C, ...)` and `(N, ...)`.
fn check_shapes(op: &'static str, x: &Tensor, target: &Tensor) -> Result<()> {
    if x.rank() == 0 {
        return refused(op, "Expected 1 or more dimensions (got 0)".into());
    }
    let mut expected = x.layout().shape.clone();
    expected.remove(classes(x));
    if expected[..] == *target.shape() {
        return Ok(());
    }
    let (given, input) = (target.shape(), x.shape());
    if x.rank() > 1 && given.first() != input.first() {
        return refused(
            op,
            format!("Expected input batch_size to match target batch_size, got shapes {input:?} and {given:?}"),
        );
    }
    invalid(op, format!("expected target size {expected:?} for an input of shape {input:?}, got {given:?}"))
}

/// What is picked of the classes: where it lies, and what it counts.
struct Chosen {
    dim: isize,
    /// The classes, with zero for what is ignored.
    index: Tensor,
    /// Their weights, zero for what is ignored; none where all count the same.
    weights: Option<Tensor>,
    /// Where nothing is ignored, if something is.
    counted: Option<Tensor>,
    /// How many are ignored.
    ignored: usize,
}

impl Chosen {
    /// # Errors
    /// For classes that there are not.
    fn of(x: &Tensor, target: &Tensor, weight: Option<&Tensor>, ignored: isize) -> Result<Chosen> {
        let (dim, target) = (classes(x), cast::to(target, DType::I64)?);
        let found = if target.batch().is_some() { 1 } else { check_classes(&target, x.shape()[dim], ignored as i64)? };
        Chosen::new(dim as isize, x.dtype(), &target, weight, ignored, found)
    }

    /// Of classes that there are, of which `found` are ignored.
    fn new(
        dim: isize,
        dtype: DType,
        target: &Tensor,
        weight: Option<&Tensor>,
        ignored: isize,
        found: usize,
    ) -> Result<Chosen> {
        unrecorded(|| {
            let counted = if found > 0 { Some(ne(target, ignored as i64)?) } else { None };
            let index = match &counted {
                Some(counted) => where_(counted, target, 0)?,
                None => target.clone(),
            };
            let each = |w: &Tensor| -> Result<Tensor> {
                let flat = view::reshape(&index, &[-1])?;
                view::reshape(&rows::index_select(w, 0, &flat)?, &view::signed(index.shape()))
            };
            let weights = match (weight.map(each).transpose()?, &counted) {
                (Some(weights), Some(counted)) => Some(where_(counted, &weights, 0.0)?),
                (None, Some(counted)) => Some(cast::to(counted, dtype)?),
                (weights, None) => weights,
            };
            Ok(Chosen { dim, index, weights, counted, ignored: found })
        })
    }

    /// The loss.
    fn value(&self, x: &Tensor, reduction: Reduction) -> Result<Tensor> {
        let picked = gather::gather(x, self.dim, &view::unsqueeze(&self.index, self.dim)?)?;
        let mut losses = neg(&view::squeeze(&picked, Some(&[self.dim]))?)?;
        if let Some(counted) = &self.counted {
            losses = where_(counted, &losses, 0.0)?;
        }
        let Some(weights) = &self.weights else { return reduction.apply(&losses) };
        let losses = mul(&losses, weights)?;
        match reduction {
            Reduction::Mean => div(&sum::sum(&losses, &[], false, None)?, &sum::sum(weights, &[], false, None)?),
            other => other.apply(&losses),
        }
    }
}

/// How many classes are ignored.
///
/// # Errors
/// For classes that there are not.
fn check_classes(target: &Tensor, count: usize, ignored: i64) -> Result<usize> {
    let target = copy::to_contiguous(&target.detach())?;
    let _access = Access::lock([(&**target.storage(), false)]);
    // SAFETY: the tensor is contiguous, locked, and of integers of 64 bits.
    let classes = unsafe { target.elements::<i64>() };
    let is_wrong = |class: i64| class != ignored && class as u64 >= count as u64;
    if classes.iter().fold(false, |any, &class| any | is_wrong(class))
        && let Some(&index) = classes.iter().find(|&&class| is_wrong(class))
    {
        return Err(Error::IndexRange { op: "nll_loss", index, dim: 1, size: count });
    }
    Ok(classes.iter().filter(|&&class| class == ignored).count())
}

/// `dx` is the gradient, times what the element counts, at the class that was picked, and zero elsewhere.
fn of_nll(call: &Call) -> Result<Gradients> {
    let (s, dtype) = (call.settings, call.g.dtype());
    let (dim, ignored, found) = (s.dims[0], s.dims[1], s.dims[2] as usize);
    let target = cast::to(&call.saved[0], DType::I64)?;
    let chosen = Chosen::new(dim, dtype, &target, call.saved.get(1), ignored, found)?;
    let mut g = mul(&call.g, s.number)?;
    if let Some(weights) = &chosen.weights {
        g = mul(&g, weights)?;
    }
    let g = view::expand(&g, &view::signed(target.shape()))?;
    let (g, index) = (view::unsqueeze(&g, dim)?, view::unsqueeze(&chosen.index, dim)?);
    Ok(smallvec![Some(index::scatter_zeros(&s.shape, dim, &index, &g)?)])
}

operation! {
    /// The cross entropy of scores and the right classes: `nll_loss` of `log_softmax`. Where the target has the shape of the
    /// input it holds probabilities `p`: `-sum(w p log_softmax(x))`, and the mean is that over the examples.
    ///
    /// `label_smoothing` mixes the target with equal probabilities of all classes. Scores are of shape `(C)`, `(N, C)` or
    /// `(N, C, ...)`; the other arguments are those of `nll_loss`.
    ///
    /// Shapes: `(N, C, ...), (N, ...), (C,) -> ()` or `(C,), (), (C,) -> ()`, or a target of the input's; that without `C`
    /// where `reduction='none'`.
    /// Raises: RuntimeError or ValueError for other shapes; IndexError or RuntimeError for classes that there are
    /// not; RuntimeError for a weight that requires a gradient.
    ///
    /// >>> F = ferrograd.nn.functional
    /// >>> F.cross_entropy(ferrograd.tensor([[2.0, 0.0], [0.0, 1.0]]), ferrograd.tensor([0, 1]))
    /// tensor(0.2201)
    /// >>> F.cross_entropy(ferrograd.tensor([[2.0, 0.0]]), ferrograd.tensor([[0.5, 0.5]]))
    /// tensor(1.1269)
    function Noted(Floats -> Shared), ["nn.cross_entropy(Tensor input, Tensor target, Tensor? weight=None, bool? size_average=None, int ignore_index=-100, bool? reduce=None, str reduction='mean', Number label_smoothing=0.0)"],
    |_, a| {
        let reduction = Reduction::named(a, [3, 5, 6], None)?.unwrap_or(Reduction::Mean);
        Ok(cross_entropy(a, reduction)?.into())
    }
}

fn cross_entropy(a: &Arguments, reduction: Reduction) -> Result<Tensor> {
    let (x, target, weight) = (a.tensor(0)?, a.tensor(1)?, a.maybe_tensor(2)?);
    let (ignored, smoothing) = (a.int(4)?, a.float(7)?);
    if !(0.0..=1.0).contains(&smoothing) {
        return invalid(a.op, format!("label_smoothing must be between 0.0 and 1.0. Got: {smoothing}"));
    }
    if x.rank() == 0 {
        return invalid(a.op, "input must have at least one dimension for the classes, got shape []".into());
    }
    let dim = classes(x);
    if x.shape() == target.shape() {
        if !target.dtype().is_floating_point() {
            let dtype = target.dtype();
            return invalid(
                a.op,
                format!("Expected floating point type for target with class probabilities, got {dtype}"),
            );
        }
        if ignored >= 0 {
            return invalid(a.op, "ignore_index is not supported for floating point target".into());
        }
        return of_probabilities(a.op, x, target, weight, smoothing, reduction);
    }
    check_shapes(a.op, x, target)?;
    let logs = log_softmax(x, dim as isize, None)?;
    let exact = nll_loss(&logs, target, weight, ignored, reduction)?;
    if smoothing == 0.0 {
        return Ok(exact);
    }
    let even = smoothed(&logs, target, weight, ignored, reduction)?;
    let share = smoothing / x.shape()[dim] as f64;
    add(&mul(&exact, 1.0 - smoothing)?, &mul(&even, share)?)
}

/// A vector of weights of the classes, with dimensions of size 1 for the others.
fn beside(weight: &Tensor, x: &Tensor) -> Result<Tensor> {
    let mut shape: SmallVec<[isize; 4]> = smallvec![1; x.rank()];
    shape[classes(x)] = -1;
    view::reshape(weight, &shape)
}

fn check_weight(op: &'static str, weight: Option<&Tensor>, x: &Tensor) -> Result<()> {
    let count = x.shape()[classes(x)];
    match weight.filter(|w| w.shape() != [count]) {
        Some(w) => {
            let given = w.shape();
            invalid(
                op,
                format!(
                    "weight tensor should be defined either for all {count} classes or no classes but got weight tensor of shape: {given:?}"
                ),
            )
        }
        None => Ok(()),
    }
}

/// The cross entropy of scores and probabilities.
fn of_probabilities(
    op: &'static str,
    x: &Tensor,
    target: &Tensor,
    weight: Option<&Tensor>,
    smoothing: f64,
    reduction: Reduction,
) -> Result<Tensor> {
    check_weight(op, weight, x)?;
    let dim = classes(x);
    let logs = log_softmax(x, dim as isize, None)?;
    let count = x.shape()[dim];
    let target = match smoothing {
        0.0 => target.clone(),
        part => add(&mul(target, 1.0 - part)?, part / count as f64)?,
    };
    let mut products = mul(&logs, &target)?;
    if let Some(weight) = weight {
        products = mul(&products, &beside(weight, x)?)?;
    }
    match reduction {
        Reduction::None => neg(&sum::sum(&products, &[dim as isize], false, None)?),
        Reduction::Sum => neg(&sum::sum(&products, &[], false, None)?),
        Reduction::Mean => {
            let examples = x.numel() as f64 / count as f64;
            div_within(&neg(&sum::sum(&products, &[], false, None)?)?, examples)
        }
    }
}

/// The part of the loss that treats all classes alike: the sum over them.
fn smoothed(
    logs: &Tensor,
    target: &Tensor,
    weight: Option<&Tensor>,
    ignored: isize,
    reduction: Reduction,
) -> Result<Tensor> {
    let dim = classes(logs);
    let weighted = match weight {
        Some(weight) => mul(logs, &beside(weight, logs)?)?,
        None => logs.clone(),
    };
    let counted = ne(target, ignored as i64)?;
    let losses = where_(&counted, &neg(&sum::sum(&weighted, &[dim as isize], false, None)?)?, 0.0)?;
    if reduction != Reduction::Mean {
        return reduction.apply(&losses);
    }
    let chosen = Chosen::of(logs, target, weight, ignored)?;
    let total = match &chosen.weights {
        Some(weights) => sum::sum(weights, &[], false, None)?,
        None => return reduction.apply(&losses),
    };
    div(&sum::sum(&losses, &[], false, None)?, &total)
}

operation! {
    /// `-t log sigmoid(x) - (1 - t) log sigmoid(-x)` times a weight, the mean over the classes (the last dimension), and the
    /// mean or sum of that.
    ///
    /// Shapes: `(N, C), (N, C) -> ()`; `(N,)` where `reduction='none'`.
    /// Raises: RuntimeError for shapes that do not broadcast; IndexError for tensors without dimensions.
    ///
    /// >>> F = ferrograd.nn.functional
    /// >>> F.multilabel_soft_margin_loss(ferrograd.tensor([[0.0, 2.0]]), ferrograd.tensor([[1.0, 1.0]]))
    /// tensor(0.4100)
    function Noted(Floats -> Promoted), ["nn.multilabel_soft_margin_loss(Tensor input, Tensor target, Tensor? weight=None, bool? size_average=None, bool? reduce=None, str reduction='mean')"],
    |_, a| {
        let (x, t, reduction) = (a.tensor(0)?, a.tensor(1)?, Reduction::of(a, 3)?);
        let yes = mul(t, &logsigmoid(x)?)?;
        let no = mul(&rsub(t, 1)?, &logsigmoid(&neg(x)?)?)?;
        let mut losses = neg(&add(&yes, &no)?)?;
        if let Some(weight) = a.maybe_tensor(2)? {
            losses = mul(&losses, weight)?;
        }
        let Some(&count) = x.shape().last() else { return Err(Error::NoDimensions { op: a.op, dim: -1 }) };
        Ok(reduction.apply(&div(&sum::sum(&losses, &[-1], false, None)?, count as f64)?)?.into())
    }
}
