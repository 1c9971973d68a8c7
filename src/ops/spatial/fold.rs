//! Windows as columns of a matrix, and the way back.

use super::{check_room, each, listed};
use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::graph::node::Setting;
use crate::kernels::element::dispatch;
use crate::kernels::fold::{self as kernel, Side, Sides};
use crate::ops::recorded::{Told, link_arranged};
use crate::ops::reduce::wide_float;
use crate::ops::registry::{Arguments, operation};
use crate::ops::{batch, cast, copy};
use crate::tensor::Tensor;
use crate::tensor::dtype::{Category, DType};
use crate::tensor::storage::Access;

/// Two of something, for rows and columns of an image.
type Pair = [usize; 2];

/// The windows of images.
#[derive(Clone, Debug)]
struct Columns {
    size: Pair,
    kernel: Pair,
    /// How many windows there are.
    count: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
}

impl Columns {
    /// From the arguments from `n` on: the kernel's size, dilation, padding and stride.
    fn called(a: &Arguments, n: usize, size: Pair) -> Result<Columns> {
        let list = |at: usize, name, least: isize| -> Result<Pair> {
            let given = listed(a, n + at, name, 2)?.unwrap_or_default();
            let found = each(a.op, name, &given, 2)?;
            if found.iter().any(|&x| x < least || x > isize::MAX / 8) {
                let what = format!("{name} should be {least} or more in both dimensions, but got {given:?}");
                return Err(Error::Invalid { op: a.op, what });
            }
            Ok([found[0] as usize, found[1] as usize])
        };
        let (kernel, dilation) = (list(0, "kernel_size", 1)?, list(1, "dilation", 1)?);
        let (padding, stride) = (list(2, "padding", 0)?, list(3, "stride", 1)?);
        let mut count = [0; 2];
        for d in 0..2 {
            let reach = dilation[d].checked_mul(kernel[d] - 1).and_then(|r| r.checked_add(1));
            let room = reach.and_then(|r| (size[d] + 2 * padding[d]).checked_sub(r));
            let Some(room) = room else {
                let what = format!(
                    "given input with spatial size {size:?}, kernel_size={kernel:?}, dilation={dilation:?}, padding={padding:?}, there is no window within it"
                );
                return Err(Error::Invalid { op: a.op, what });
            };
            count[d] = room / stride[d] + 1;
            check_room(a.op, &[size[d], kernel[d].saturating_mul(count[d])])?;
        }
        Ok(Columns { size, kernel, count, stride, padding, dilation })
    }

    fn sides(&self) -> Sides {
        [0, 1].map(|d| Side {
            size: self.size[d],
            kernel: self.kernel[d],
            count: self.count[d],
            stride: self.stride[d],
            padding: self.padding[d],
            dilation: self.dilation[d],
        })
    }

    /// What the nodes of both ways show.
    fn told(&self) -> Told {
        let pairs = [
            ("kernel_size", self.kernel),
            ("dilation", self.dilation),
            ("padding", self.padding),
            ("stride", self.stride),
        ];
        pairs.map(|(name, pair)| (name, Setting::ints(&pair))).into()
    }

    fn elements(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }
}

const LONG: &str = "unfold";

/// `(..., C, H, W)` to `(..., C K L, windows)`.
fn columns(x: &Tensor, c: &Columns) -> Result<Tensor> {
    if let Some(y) = batch::unary(x, |x| columns(x, c)) {
        return y;
    }
    let y = unrecorded(|| {
        let (x, lead) = (copy::to_contiguous(&x.detach())?, x.rank() - 3);
        let mut shape = x.layout().shape.clone();
        shape.truncate(lead);
        shape.extend([x.shape()[lead] * c.elements(), c.count[0] * c.count[1]]);
        let y = Tensor::uninitialized(LONG, &shape, x.dtype())?;
        let access = Access::lock([(&**x.storage(), false)]);
        dispatch!(LONG, x.dtype(), T => {
            // SAFETY: both are contiguous tensors of this type; `y` is new.
            unsafe { kernel::columns::<T>(&c.sides(), x.elements(), y.elements_mut()) };
        });
        drop(access);
        Ok(y)
    })?;
    let back = c.clone();
    let told = || {
        let size = |n: usize| Setting::Int(c.size[n] as i64);
        let sizes = [("self_sym_argsize_minus_2", size(0)), ("self_sym_argsize_minus_1", size(1))];
        c.told().into_iter().chain(sizes).collect()
    };
    link_arranged("Im2ColBackward0", x, &y, told, move |g| images(g, &back))?;
    Ok(y)
}

/// `(..., C K L, windows)` to `(..., C, H, W)`: what windows share is added up.
fn images(x: &Tensor, c: &Columns) -> Result<Tensor> {
    if let Some(y) = batch::unary(x, |x| images(x, c)) {
        return y;
    }
    let y = unrecorded(|| {
        let lead = x.rank() - 2;
        let wide = if x.dtype().is_floating_point() { x.dtype().computed_in() } else { DType::F64 };
        let from = copy::to_contiguous(&cast::to(&x.detach(), wide)?)?;
        let mut shape = x.layout().shape.clone();
        shape.truncate(lead);
        shape.extend([x.shape()[lead] / c.elements(), c.size[0], c.size[1]]);
        let y = Tensor::uninitialized("fold", &shape, wide)?;
        let access = Access::lock([(&**from.storage(), false)]);
        // SAFETY: both are contiguous tensors of these types; `y` is new.
        unsafe {
            wide_float!(wide, A => kernel::images::<A>(&c.sides(), from.elements(), y.elements_mut()));
        }
        drop(access);
        cast::to(&y, x.dtype())
    })?;
    let back = c.clone();
    link_arranged("Col2ImBackward0", x, &y, || c.told(), move |g| columns(g, &back))?;
    Ok(y)
}

fn check_dtype(op: &'static str, x: &Tensor) -> Result<()> {
    x.dtype().require(op)?;
    if x.dtype().category() == Category::Integer {
        return Err(Error::NotImplemented { op, what: format!("{}: convert to a float dtype first; this", x.dtype()) });
    }
    debug_assert!(x.dtype() == DType::Bool || x.dtype().is_floating_point());
    Ok(())
}

operation! {
    /// The windows of images as columns: `(N, C, H, W)` or `(C, H, W)` gives `(N, C K L, P)` or `(C K L, P)` for a kernel of
    /// size `(K, L)` at `P` places, row by row, `stride` apart, its elements `dilation` apart, with `padding` zeros around
    /// the image. The gradient adds up what windows share: it is `fold`.
    ///
    /// Shapes: `([N,] C, H, W) -> ([N,] K, P)`.
    /// Raises: RuntimeError for other shapes and windows that do not fit; IndexError for tensors without dimensions.
    ///
    /// >>> ferrograd.nn.functional.unfold(ferrograd.arange(9.0).reshape(1, 3, 3), 2)
    /// tensor([[0., 1., 3., 4.],
    ///         [1., 2., 4., 5.],
    ///         [3., 4., 6., 7.],
    ///         [4., 5., 7., 8.]])
    function Noted(Folded -> Kept), ["nn.unfold(Tensor input, int[] kernel_size, int[] dilation=1, int[] padding=0, int[] stride=1)"], |_, a| {
        let x = a.tensor(0)?;
        if x.rank() < 3 {
            return Err(Error::DimRange { op: a.op, dim: 2, rank: x.rank() });
        }
        super::check_images(a.op, x, 2)?;
        check_dtype(a.op, x)?;
        let size = [x.shape()[x.rank() - 2], x.shape()[x.rank() - 1]];
        Ok(columns(x, &Columns::called(a, 1, size)?)?.into())
    }
}

operation! {
    /// Columns set into images at the places of `unfold`'s windows, what windows share added up: `(N, C K L, P)` or
    /// `(C K L, P)` gives `(N, C, H, W)` or `(C, H, W)` for `output_size = (H, W)`.
    ///
    /// Shapes: `([N,] C, P) -> ([N,] D, H, W)`, as `nn.unfold` gives of the result.
    ///
    /// >>> ferrograd.nn.functional.fold(ferrograd.ones(4, 4), (3, 3), 2)
    /// tensor([[[1., 2., 1.],
    ///          [2., 4., 2.],
    ///          [1., 2., 1.]]])
    function Noted(Folded -> Kept), ["nn.fold(Tensor input, int[] output_size, int[] kernel_size, int[] dilation=1, int[] padding=0, int[] stride=1)"], |_, a| {
        let x = a.tensor(0)?;
        super::check_images(a.op, x, 1)?;
        check_dtype(a.op, x)?;
        let size = each(a.op, "output_size", &a.sizes(1)?, 2)?;
        if size.iter().any(|&s| s < 1) {
            return Err(Error::Invalid { op: a.op, what: format!("output_size should be greater than zero, but got {size:?}") });
        }
        let c = Columns::called(a, 2, [size[0] as usize, size[1] as usize])?;
        let (rows, windows) = (x.shape()[x.rank() - 2], x.shape()[x.rank() - 1]);
        let (elements, expected) = (c.elements(), c.count[0] * c.count[1]);
        if rows % elements != 0 {
            let what = format!("expected {rows} rows of input to be divisible by the product of kernel_size {:?}", c.kernel);
            return Err(Error::Invalid { op: a.op, what });
        }
        if windows != expected {
            return Err(Error::Invalid { op: a.op, what: format!("expected {expected} columns, one a window, but got {windows}") });
        }
        Ok(images(x, &c)?.into())
    }
}
