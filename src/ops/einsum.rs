//! Sums of products over named dimensions.

use smallvec::SmallVec;

use super::registry::operation;
use super::{arithmetic, contract, path, sum, view};
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;

const OP: &str = "einsum";

/// What stands for one dimension: letters by their code, dimensions of an ellipsis from [`HIDDEN`] on.
type Label = u16;
type Labels = SmallVec<[Label; 8]>;
/// The label of the last dimension of an ellipsis; those before count down.
const HIDDEN: Label = 1 << 15;

fn refused<T>(what: String) -> Result<T> {
    Err(Error::Invalid { op: OP, what })
}

operation! {
    /// Sums of products over dimensions named by letters: those that are not named behind `->` are summed. Without `->`
    /// those that occur once stay, in the order of the alphabet. `...` stands for dimensions that broadcast and stay; a
    /// letter that an operand has twice takes its diagonal. More than two operands are multiplied in the cheapest order.
    /// The operands may also each be followed by a list of numbers that name its dimensions.
    ///
    /// Shapes: as the letters of `equation` say.
    ///
    /// >>> ferrograd.einsum("ij,jk->ik", ferrograd.tensor([[1.0, 2.0]]), ferrograd.tensor([[3.0], [4.0]]))
    /// tensor([[11.]])
    function Noted(Numbers -> Shared), ["einsum(str equation, Tensor[] operands)"], |_, a| {
        Ok(einsum(a.text(0)?.unwrap_or_default(), a.tensors(1)?)?.into())
    }
}

/// The terms of an equation: one for each operand, and for the result where it is given.
struct Terms {
    operands: Vec<Labels>,
    result: Option<Labels>,
}

/// The labels of one term for an operand of a rank; `rank` is none for the result, whose ellipsis has `hidden` dimensions.
fn labels(term: &str, rank: Option<usize>, hidden: usize) -> Result<Labels> {
    let letters = term.chars().filter(char::is_ascii_alphabetic).count();
    let mut found = Labels::new();
    let mut rest = term;
    let mut dotted = false;
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("...") {
            if std::mem::replace(&mut dotted, true) {
                return refused(format!("found '.' for a second time in the term '{term}'"));
            }
            let Some(count) = rank.map_or(Some(hidden), |r| r.checked_sub(letters)) else {
                return too_many(term, rank);
            };
            found.extend((0..count).map(|i| HIDDEN + (count - i) as Label));
            rest = &rest[3..];
        } else if c.is_ascii_alphabetic() {
            found.push(c as Label);
            rest = &rest[1..];
        } else if c == '.' {
            return refused(format!("found '.' that is not part of any ellipsis in the term '{term}'"));
        } else {
            return refused(format!(
                "invalid subscript given at '{c}', subscripts must be in [a-zA-Z], in the term '{term}'"
            ));
        }
    }
    match rank {
        Some(rank) if found.len() != rank => too_many(term, Some(rank)),
        _ => Ok(found),
    }
}

fn too_many<T>(term: &str, rank: Option<usize>) -> Result<T> {
    let rank = rank.unwrap_or(0);
    refused(format!(
        "the number of subscripts in '{term}' does not match the number of dimensions ({rank}) of its operand"
    ))
}

fn parse(equation: &str, operands: &[Tensor]) -> Result<Terms> {
    let plain: String = equation.chars().filter(|c| *c != ' ').collect();
    let (inputs, result) = match plain.split_once("->") {
        Some((inputs, result)) => (inputs, Some(result)),
        None => (&plain[..], None),
    };
    if inputs.contains('-') || inputs.contains('>') {
        return refused(format!("found an arrow that is none in '{equation}'"));
    }
    let terms: Vec<&str> = inputs.split(',').collect();
    if terms.len() != operands.len() {
        let (expected, given) = (terms.len(), operands.len());
        return refused(format!("the equation has {expected} terms, but {given} operands were given"));
    }
    let found: Vec<Labels> =
        terms.iter().zip(operands).map(|(term, x)| labels(term, Some(x.rank()), 0)).collect::<Result<_>>()?;
    let hidden = found.iter().map(|t| t.iter().filter(|l| **l > HIDDEN).count()).max().unwrap_or(0);
    let result = result.map(|term| labels(term, None, hidden)).transpose()?;
    if let Some(result) = &result {
        for (i, l) in result.iter().enumerate() {
            let name = char::from_u32(u32::from(*l)).unwrap_or('.');
            if result[..i].contains(l) {
                return refused(format!("output subscript {name} appears more than once in the output"));
            }
            if !found.iter().any(|t| t.contains(l)) {
                return refused(format!(
                    "output subscript {name} does not appear in the equation for any input operand"
                ));
            }
        }
    }
    Ok(Terms { operands: found, result })
}

/// The labels of a result that is not given: the ellipsis, then what occurs once, in the order of the alphabet.
fn implicit(operands: &[Labels]) -> Labels {
    let count = |l: Label| operands.iter().flatten().filter(|x| **x == l).count();
    let mut all: Labels = operands.iter().flatten().copied().collect();
    all.sort_unstable();
    all.dedup();
    let hidden = all.iter().rev().copied().filter(|&l| l > HIDDEN);
    hidden.chain(all.iter().copied().filter(|&l| l < HIDDEN && count(l) == 1)).collect()
}

/// An operand and the names of its dimensions.
#[derive(Clone)]
struct Named {
    x: Tensor,
    labels: Labels,
}

/// The size of every label: dimensions of size 1 broadcast.
struct Sizes(SmallVec<[(Label, usize); 16]>);

impl Sizes {
    fn new(operands: &[Named]) -> Result<Sizes> {
        let mut all = Sizes(SmallVec::new());
        for named in operands {
            for (&l, &size) in named.labels.iter().zip(named.x.shape()) {
                match all.0.iter_mut().find(|(known, _)| *known == l) {
                    None => all.0.push((l, size)),
                    Some((_, known)) if *known == 1 => *known = size,
                    Some((_, known)) if size != 1 && size != *known => {
                        let name = char::from_u32(u32::from(l)).filter(|_| l < HIDDEN).unwrap_or('.');
                        let what = "does not broadcast with previously seen size";
                        return refused(format!("subscript {name} has size {size} which {what} {known}"));
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(all)
    }

    fn of(&self, l: Label) -> usize {
        self.0.iter().find(|(known, _)| *known == l).map_or(1, |(_, size)| *size)
    }
}

/// Sums of products over named dimensions.
///
/// # Errors
/// For equations that are none, operands that do not fit them, and sizes and dtypes that do not agree.
pub fn einsum(equation: &str, operands: &[Tensor]) -> Result<Tensor> {
    if operands.is_empty() {
        return refused("must provide at least one operand".into());
    }
    let terms = parse(equation, operands)?;
    let result = terms.result.clone().unwrap_or_else(|| implicit(&terms.operands));
    let mut all: Vec<Named> = operands
        .iter()
        .zip(terms.operands)
        .map(|(x, labels)| diagonal(Named { x: x.clone(), labels }))
        .collect::<Result<_>>()?;
    let sizes = Sizes::new(&all)?;
    for named in &mut all {
        *named = without(named, |l, size| size == 1 && sizes.of(l) != 1)?;
    }
    let order = if all.len() > 2 {
        let labels: Vec<Vec<Label>> = all.iter().map(|n| n.labels.to_vec()).collect();
        path::cheapest(&labels, &result, &|l| sizes.of(l))
    } else {
        vec![(0, 1); all.len() - 1]
    };
    for (i, j) in order {
        // The later one first, so that the other keeps its place.
        let b = all.remove(j);
        let a = all.remove(i);
        let kept = |l: Label| result.contains(&l) || all.iter().any(|n| n.labels.contains(&l));
        let product = contracted(a, b, &kept, operands.len() == 2)?;
        all.push(product);
    }
    // Sums of one tensor are in int64 where it has integers, products keep their dtype.
    let dtype = if operands.len() > 1 { Some(all[0].x.dtype()) } else { None };
    finished(summed(&all[0], &|l| result.contains(&l), dtype)?, &result, &sizes)
}

/// An operand with each label once: of a label that it has twice, the diagonal.
fn diagonal(named: Named) -> Result<Named> {
    let Named { mut x, mut labels } = named;
    while let Some((first, second)) = repeated(&labels) {
        let (a, b) = (x.shape()[first], x.shape()[second]);
        if a != b {
            let name = char::from_u32(u32::from(labels[first])).unwrap_or('.');
            return refused(format!(
                "subscript {name} is repeated for an operand but the sizes don't match, {a} != {b}"
            ));
        }
        x = view::movedim(&view::diagonal(&x, 0, first as isize, second as isize)?, -1, first as isize)?;
        labels.remove(second);
    }
    Ok(Named { x, labels })
}

fn repeated(labels: &[Label]) -> Option<(usize, usize)> {
    (1..labels.len()).find_map(|second| labels[..second].iter().position(|l| *l == labels[second]).map(|f| (f, second)))
}

/// Without dimensions of size 1 that are not wanted.
fn without(named: &Named, drop: impl Fn(Label, usize) -> bool) -> Result<Named> {
    let is_dropped = |i: &usize| drop(named.labels[*i], named.x.shape()[*i]);
    let dims: SmallVec<[isize; 4]> = (0..named.labels.len()).filter(is_dropped).map(|d| d as isize).collect();
    if dims.is_empty() {
        return Ok(named.clone());
    }
    let labels = (0..named.labels.len()).filter(|i| !is_dropped(i)).map(|i| named.labels[i]).collect();
    Ok(Named { x: view::squeeze(&named.x, Some(&dims))?, labels })
}

/// Summed over the dimensions that are not kept, in a dtype, or as all sums.
fn summed(named: &Named, kept: &dyn Fn(Label) -> bool, dtype: Option<DType>) -> Result<Named> {
    let dims: SmallVec<[isize; 4]> =
        (0..named.labels.len()).filter(|&i| !kept(named.labels[i])).map(|d| d as isize).collect();
    if dims.is_empty() {
        return Ok(named.clone());
    }
    let x = sum::sum(&named.x, &dims, false, dtype)?;
    Ok(Named { x, labels: named.labels.iter().copied().filter(|&l| kept(l)).collect() })
}

/// The dimensions in another order, some put in with size 1.
fn arranged(named: &Named, order: &[Label]) -> Result<Tensor> {
    let mut x = named.x.clone();
    let mut labels = named.labels.clone();
    for &l in order {
        if !labels.contains(&l) {
            x = view::unsqueeze(&x, -1)?;
            labels.push(l);
        }
    }
    let dims: SmallVec<[isize; 8]> =
        order.iter().filter_map(|l| labels.iter().position(|x| x == l)).map(|d| d as isize).collect();
    if dims.iter().enumerate().all(|(i, &d)| i as isize == d) { Ok(x) } else { view::permute(&x, &dims) }
}

/// The product of two operands, summed over what only they have. Where it `widens`, what only one of them is summed over is in
/// int64 where it has integers, as all sums, unless the product is a sum too, whose operands have one dtype.
fn contracted(a: Named, b: Named, kept: &dyn Fn(Label) -> bool, widens: bool) -> Result<Named> {
    contract::same_dtype(OP, &a.x, &b.x)?;
    let (in_a, in_b) = (a.labels.clone(), b.labels.clone());
    let is_sum = in_a.iter().any(|&l| in_b.contains(&l) && !kept(l));
    let dtype = Some(a.x.dtype()).filter(|_| is_sum || !widens);
    let a = summed(&a, &|l| kept(l) || in_b.contains(&l), dtype)?;
    let b = summed(&b, &|l| kept(l) || in_a.contains(&l), dtype)?;
    let part =
        |of: &Named, f: &dyn Fn(Label) -> bool| -> Labels { of.labels.iter().copied().filter(|&l| f(l)).collect() };
    let batch = part(&a, &|l| b.labels.contains(&l) && kept(l));
    let inner = part(&a, &|l| b.labels.contains(&l) && !kept(l));
    let left = part(&a, &|l| !b.labels.contains(&l));
    let right = part(&b, &|l| !a.labels.contains(&l));
    let labels: Labels = batch.iter().chain(&left).chain(&right).copied().collect();
    if inner.is_empty() {
        let order: Labels = labels.clone();
        return Ok(Named { x: arithmetic::mul(&arranged(&a, &order)?, &arranged(&b, &order)?)?, labels });
    }
    let size = |of: &Named, l: Label| of.labels.iter().position(|x| *x == l).map_or(1, |d| of.x.shape()[d]);
    let sizes = |of: &Named, labels: &[Label]| -> Vec<isize> { labels.iter().map(|&l| size(of, l) as isize).collect() };
    let product = |s: &[isize]| s.iter().product::<isize>();
    let (bs, ls, rs, is) = (sizes(&a, &batch), sizes(&a, &left), sizes(&b, &right), sizes(&a, &inner));
    let join = |parts: [&Labels; 3]| -> Labels { parts.into_iter().flatten().copied().collect() };
    let rows = arranged(&a, &join([&batch, &left, &inner]))?;
    let columns = arranged(&b, &join([&batch, &inner, &right]))?;
    let (m, k, n) = (product(&ls), product(&is), product(&rs));
    let y = if batch.is_empty() && left.is_empty() && right.is_empty() {
        contract::dot(&view::reshape(&rows, &[k])?, &view::reshape(&columns, &[k])?)?
    } else if batch.is_empty() {
        contract::matmul(&view::reshape(&rows, &[m, k])?, &view::reshape(&columns, &[k, n])?)?
    } else {
        let count = product(&bs);
        contract::matmul(&view::reshape(&rows, &[count, m, k])?, &view::reshape(&columns, &[count, k, n])?)?
    };
    let shape: Vec<isize> = bs.iter().chain(&ls).chain(&rs).copied().collect();
    Ok(Named { x: view::reshape(&y, &shape)?, labels })
}

/// The result in its order of dimensions; those that only had size 1 come back.
fn finished(named: Named, result: &Labels, sizes: &Sizes) -> Result<Tensor> {
    let y = arranged(&named, result)?;
    let shape: SmallVec<[isize; 8]> = result.iter().map(|&l| sizes.of(l) as isize).collect();
    if view::signed(y.shape())[..] == shape[..] { Ok(y) } else { view::expand(&y, &shape) }
}

operation! {
    /// The sum of products over pairs of dimensions: over the last of the first and the first of the second tensor, as many
    /// as `dims` says, or over the dimensions in two lists.
    ///
    /// Shapes: the dimensions of `dims` have the same sizes; the result has the others of `a`, then of `b`.
    ///
    /// >>> ferrograd.tensordot(ferrograd.ones(2, 3), ferrograd.ones(3, 2), dims=1)
    /// tensor([[3., 3.],
    ///         [3., 3.]])
    function Noted(Numbers -> Shared), ["tensordot(Tensor a, Tensor b, int dims=2)", "tensordot(Tensor a, Tensor b, int[][] dims)"], |n, a| {
        let (x, y) = (a.tensor(0)?, a.tensor(1)?);
        if n == 1 {
            return match a.lists(2)? {
                [first, second] => Ok(tensordot(x, y, first, second)?.into()),
                other => refused_dot(format!("dims must be an integer or two lists of integers, got {} lists", other.len())),
            };
        }
        let count = a.int(2)?;
        if count < 0 {
            return refused_dot(format!("expects dims >= 0, but got dims={count}"));
        }
        if count > x.rank().min(y.rank()) as isize {
            return refused_dot(format!("expects dims < ndim_a or ndim_b, but got dims={count}"));
        }
        let first: SmallVec<[isize; 4]> = (-count..0).collect();
        let second: SmallVec<[isize; 4]> = (0..count).collect();
        Ok(tensordot(x, y, &first, &second)?.into())
    }
}

fn refused_dot<T>(what: String) -> Result<T> {
    Err(Error::Invalid { op: "tensordot", what })
}

/// The sum of products over pairs of dimensions.
///
/// # Errors
/// For lists of different lengths, dimensions out of range or named twice, and sizes and dtypes that differ.
pub fn tensordot(a: &Tensor, b: &Tensor, first: &[isize], second: &[isize]) -> Result<Tensor> {
    if first.len() != second.len() {
        let (a, b) = (first.len(), second.len());
        return refused_dot(format!("both dimension lists should have same length, got {a} and {b}"));
    }
    let wrapped = |dims: &[isize], x: &Tensor| -> Result<SmallVec<[usize; 4]>> {
        if !dims.is_empty() {
            crate::tensor::layout::dim_mask("tensordot", dims, x.rank())?;
        }
        dims.iter().map(|&d| crate::tensor::layout::wrap_existing_dim("tensordot", d, x.rank())).collect()
    };
    let (first, second) = (wrapped(first, a)?, wrapped(second, b)?);
    let (mut la, mut lb): (Labels, Labels) =
        ((0..a.rank() as Label).collect(), (0..b.rank() as Label).map(|l| 1000 + l).collect());
    for (&i, &j) in first.iter().zip(&second) {
        let (p, q) = (a.shape()[i], b.shape()[j]);
        if p != q && p != 1 && q != 1 {
            return refused_dot(format!(
                "contracted dimensions need to match, but first has size {p} in dim {i} and second has size {q} in dim {j}"
            ));
        }
        lb[j] = la[i];
    }
    let all = [Named { x: a.clone(), labels: la.clone() }, Named { x: b.clone(), labels: lb.clone() }];
    let sizes = Sizes::new(&all)?;
    la.retain(|l| !lb.contains(l));
    lb.retain(|l| *l >= 1000);
    let result: Labels = la.iter().chain(&lb).copied().collect();
    let [a, b] = all.map(|n| without(&n, |l, size| size == 1 && sizes.of(l) != 1));
    finished(contracted(a?, b?, &|l| result.contains(&l), false)?, &result, &sizes)
}

operation! {
    /// Sums of products over the last dimensions of two tensors; where one is a number, the product.
    ///
    /// Shapes: `(..., k), (..., k)`: the result has the first dimensions of both.
    ///
    /// >>> ferrograd.inner(ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([3.0, 4.0]))
    /// tensor(11.)
    function Noted(Numbers -> Like), ["inner(Tensor self, Tensor other)"], |_, a| {
        let (x, y) = (a.tensor(0)?, a.tensor(1)?);
        if x.rank() == 0 || y.rank() == 0 {
            return Ok(arithmetic::mul(x, y)?.into());
        }
        if x.shape().last() != y.shape().last() {
            return Err(Error::InnerSizes { op: "inner", left: x.shape().to_vec(), right: y.shape().to_vec() });
        }
        Ok(tensordot(x, y, &[-1], &[-1])?.into())
    }
}

operation! {
    /// A bilinear form for each feature: `y_o = x1^T W_o x2 + b_o`, over the last dimensions.
    ///
    /// Shapes: `(..., n), (..., m), (o, n, m), (o,) -> (..., o)`.
    ///
    /// >>> ferrograd.bilinear(ferrograd.ones(1, 2), ferrograd.ones(1, 3), ferrograd.ones(1, 2, 3))
    /// tensor([[6.]])
    function Noted(Numbers -> Shared), ["bilinear(Tensor input1, Tensor input2, Tensor weight, Tensor? bias=None)"; also "nn.bilinear"], |_, a| {
        Ok(bilinear(a.tensor(0)?, a.tensor(1)?, a.tensor(2)?, a.maybe_tensor(3)?)?.into())
    }
}

/// A bilinear form for each feature.
///
/// # Errors
/// For shapes that do not fit.
pub fn bilinear(x1: &Tensor, x2: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let wrong = |what: String| Err(Error::Invalid { op: "bilinear", what });
    let lead = |x: &Tensor| x.shape()[..x.rank().saturating_sub(1)].to_vec();
    if x1.rank() != x2.rank() || lead(x1) != lead(x2) {
        return wrong(format!("input batch dimensions do not match: got {:?} and {:?}", x1.shape(), x2.shape()));
    }
    let last = |x: &Tensor| x.shape().last().copied().unwrap_or(1);
    if weight.rank() != 3 || weight.shape()[1..] != [last(x1), last(x2)] {
        let (w, a, b) = (weight.shape(), last(x1), last(x2));
        return wrong(format!("the weight must be (out, {a}, {b}), got {w:?}"));
    }
    if let Some(b) = bias.filter(|b| b.shape() != &weight.shape()[..1]) {
        return wrong(format!(
            "bias size does not match weight size: got {:?} but expected [{}]",
            b.shape(),
            weight.shape()[0]
        ));
    }
    let y = einsum("...i,oij,...j->...o", &[x1.clone(), weight.clone(), x2.clone()])?;
    bias.map_or_else(|| Ok(y.clone()), |b| arithmetic::add(&y, b))
}
