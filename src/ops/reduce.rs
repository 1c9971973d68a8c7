//! How operations reduce: the dimensions, the result's shape, and the kernel run on a tensor as it lies in memory.

use smallvec::SmallVec;

use super::cast;
use super::recorded::Settings;
use crate::error::Result;
use crate::kernels::element::Element;
use crate::kernels::pointwise::Values;
use crate::kernels::reduce::extreme::{End, extremes};
use crate::kernels::reduce::{Accumulator, Reduction, Space, reduce};
use crate::kernels::source::Source;
use crate::tensor::Tensor;
use crate::tensor::dtype::{Category, DType};
use crate::tensor::layout::{Layout, Shape, dim_mask};
use crate::tensor::pending;
use crate::tensor::storage::Access;

/// Runs a block of code with a type name bound to the type that numbers of a dtype are reduced in: float64 for its own
/// numbers, float32 for all other floats, int64 for integers and bool.
macro_rules! wide {
    ($dtype:expr, $A:ident => $body:expr) => {
        match $dtype {
            $crate::tensor::dtype::DType::F64 => {
                type $A = f64;
                $body
            }
            dtype if dtype.is_floating_point() => {
                type $A = f32;
                $body
            }
            _ => {
                type $A = i64;
                $body
            }
        }
    };
}
pub(super) use wide;

/// As [`wide`], for what makes no greater numbers of those of a dtype: integers as they are, truth values as bytes.
macro_rules! compared {
    (@arms $dtype:expr, $A:ident => $body:expr; $($variant:ident: $t:ty),*) => {
        match $dtype {
            $($crate::tensor::dtype::DType::$variant => {
                type $A = $t;
                $body
            })*
            dtype => $crate::ops::reduce::wide!(dtype, $A => $body),
        }
    };
    ($dtype:expr, $A:ident => $body:expr) => {
        $crate::ops::reduce::compared!(@arms $dtype, $A => $body; I32: i32, I16: i16, I8: i8, U8: u8, Bool: u8)
    };
}
pub(super) use compared;

/// As [`wide`], for floats alone: float64 for its own numbers, float32 for all others.
macro_rules! wide_float {
    ($dtype:expr, $A:ident => $body:expr) => {
        if $dtype == $crate::tensor::dtype::DType::F64 {
            type $A = f64;
            $body
        } else {
            type $A = f32;
            $body
        }
    };
}
pub(in crate::ops) use wide_float;

/// The dtype of sums and products: integers and bool count in int64 where nothing else is asked for.
pub(super) fn total_dtype(x: DType, asked: Option<DType>) -> DType {
    asked.unwrap_or(if x.category() <= Category::Integer { DType::I64 } else { x })
}

/// A reduction over some dimensions of tensors of one shape.
pub(super) struct Plan {
    op: &'static str,
    mask: SmallVec<[bool; 8]>,
    shape: Shape,
    /// The reduced dimensions, counted from the front.
    pub dims: SmallVec<[isize; 4]>,
    keepdim: bool,
    whole: bool,
}

impl Plan {
    /// A reduction over `dims`; none means all.
    ///
    /// # Errors
    /// For dimensions out of range or named twice.
    pub fn new(op: &'static str, x: &Tensor, dims: &[isize], keepdim: bool) -> Result<Plan> {
        let mask = dim_mask(op, dims, x.rank())?;
        let reduced = (0..x.rank()).filter(|&d| mask[d]).map(|d| d as isize).collect();
        Ok(Plan { op, mask, shape: x.layout().shape.clone(), dims: reduced, keepdim, whole: dims.is_empty() })
    }

    /// How many elements go into one result.
    pub fn length(&self) -> usize {
        self.dims.iter().map(|&d| self.shape[d as usize]).product()
    }

    /// The result's shape with the reduced dimensions as 1.
    pub fn kept(&self) -> Shape {
        self.shape.iter().zip(&self.mask).map(|(&s, &m)| if m { 1 } else { s }).collect()
    }

    /// The result's shape.
    pub fn shape(&self) -> Shape {
        if self.keepdim {
            return self.kept();
        }
        self.shape.iter().zip(&self.mask).filter(|(_, m)| !**m).map(|(&s, _)| s).collect()
    }

    /// What derivatives need to know.
    pub fn settings(&self, number: f64) -> Settings {
        Settings {
            shape: self.shape.clone(),
            dims: self.dims.clone(),
            keepdim: self.keepdim,
            number,
            whole: self.whole,
            ..Settings::default()
        }
    }

    fn space(&self, x: &Tensor) -> Space {
        Space::new(&self.shape, x.strides(), &self.mask, &Layout::contiguous(&self.kept()).strides)
    }

    /// The reduction of `x`, without history, in the dtype that it is computed in. A centre has a number for each result.
    pub fn run<R: Reduction>(&self, x: &Tensor, centre: Option<&Tensor>) -> Result<Tensor> {
        let y = Tensor::uninitialized(self.op, &self.shape(), R::Out::DTYPE)?;
        let middle = centre.map(|c| c.data_ptr().cast::<R::Out>().cast_const());
        let (space, to) = (self.space(x), y.data_ptr().cast());
        if x.dtype() == R::In::DTYPE && space.reads_side_by_side() {
            // SAFETY: the space is that of the values; `y` is new, and as the centre contiguous.
            let read = |values: &dyn Values| unsafe { reduce::<R>(Source::computed(values), &space, to, middle) };
            if pending::with_values(x, read)?.is_some() {
                return Ok(y);
            }
        }
        x.settle()?;
        let source = Source::<R::In>::new(self.op, x.data_ptr(), x.dtype())?;
        let _access = Access::lock([(&**x.storage(), false)]);
        // SAFETY: as above; the tensor's storage is locked.
        unsafe { reduce::<R>(source, &space, to, middle) };
        Ok(y)
    }

    /// The extremes of `x` over one dimension, and their indices; or over all dimensions of a contiguous tensor, with
    /// their places in row-major order. The values are in the dtype that it is computed in.
    pub fn extremes<A: Accumulator, E: End<A>>(&self, x: &Tensor, values: bool) -> Result<(Option<Tensor>, Tensor)> {
        let places = Tensor::uninitialized(self.op, &self.shape(), DType::I64)?;
        let values = if values { Some(Tensor::uninitialized(self.op, &self.shape(), A::DTYPE)?) } else { None };
        let source = Source::<A>::new(self.op, x.data_ptr(), x.dtype())?;
        let _access = Access::lock([(&**x.storage(), false)]);
        let target = values.as_ref().map_or(std::ptr::null_mut(), |v| v.data_ptr().cast());
        // SAFETY: as in `run`; the caller reduces over something, and in row-major order.
        unsafe { extremes::<A, E>(source, &self.space(x), target, places.data_ptr().cast()) };
        Ok((values, places))
    }
}

/// `x` as numbers of `dtype` for a kernel that converts what it reads: itself, unless its numbers must be rounded or cut
/// to the dtype first. Integers wrap to the same numbers later; floats that do not fit become what a conversion gives.
pub(super) fn readable_as(x: &Tensor, dtype: DType) -> Result<Tensor> {
    let wraps = dtype == DType::I64 || dtype.category() == Category::Integer && !x.dtype().is_floating_point();
    let exact = wraps || matches!(dtype, DType::F32 | DType::F64);
    if exact || dtype == x.dtype() { Ok(x.clone()) } else { cast::to(x, dtype) }
}
