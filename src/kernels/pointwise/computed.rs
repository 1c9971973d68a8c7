//! The results of a program as something that other kernels read block by block, so that there is never memory for all of
//! them.

use super::{Input, Numbers, Output, Plan};
use crate::error::{Error, Result};
use crate::kernels::expr::Program;
use crate::kernels::instructions::Run;
use crate::tensor::dtype::{DType, UNSUPPORTED};

/// Elements that are computed when they are read, in row-major order.
pub(crate) trait Values: Sync {
    /// Their type.
    fn dtype(&self) -> DType;

    /// Writes `n` elements from `start` on to `to`.
    ///
    /// # Safety
    /// There are so many elements, and room for them.
    unsafe fn write(&self, start: usize, to: *mut u8, n: usize);
}

/// Hands the results of a program over a shape, computed in `numbers`, to `read`; `None` where they are better computed by
/// [`super::run`], as inputs lie across.
///
/// # Errors
/// Where the program cannot be run on these inputs.
///
/// # Safety
/// The inputs are valid for the shape under their strides.
pub(crate) unsafe fn with_values<R>(
    op: &'static str,
    program: &Program,
    numbers: Numbers,
    inputs: &[Input],
    (shape, strides): (&[usize], &[isize]),
    read: impl FnOnce(&dyn Values) -> R,
) -> Result<Option<R>> {
    let dtype = numbers.dtype;
    let targets = [Output { data: std::ptr::null_mut(), dtype, strides }];
    Ok(match dtype {
        DType::F32 => Computed::<f32>::new(op, program, numbers, inputs, &targets, shape)?.map(|c| read(&c)),
        DType::F64 => Computed::<f64>::new(op, program, numbers, inputs, &targets, shape)?.map(|c| read(&c)),
        other => return Err(Error::DTypeUnsupported { op, dtype: other, hint: UNSUPPORTED }),
    })
}

/// A program whose only target is whoever reads.
struct Computed<'a, T: Run>(Plan<'a, T>);

impl<'a, T: Run> Computed<'a, T> {
    fn new(
        op: &'static str,
        program: &Program,
        numbers: Numbers,
        inputs: &'a [Input<'a>],
        targets: &'a [Output<'a>],
        shape: &[usize],
    ) -> Result<Option<Self>> {
        let plan = Plan::new(op, program, numbers, inputs, &[], targets, shape)?;
        Ok(plan.across.is_none().then_some(Computed(plan)))
    }
}

impl<T: Run> Values for Computed<'_, T> {
    fn dtype(&self) -> DType {
        T::DTYPE
    }

    unsafe fn write(&self, start: usize, to: *mut u8, n: usize) {
        let (plan, to) = (&self.0, to.cast::<T>());
        let (is_direct, slot) = (plan.ends_in_result(), plan.outputs.first().map_or(0, |&slot| slot as usize));
        plan.with_registers(|slots, _| {
            plan.each_block(slots, (start, start + n), plan.block, |slots, from, stop, _| {
                // SAFETY: the caller's; a block fits a register.
                unsafe {
                    let target = to.add(from - start);
                    plan.steps(slots, from, stop, is_direct.then_some(target));
                    if !is_direct {
                        std::ptr::copy_nonoverlapping(slots[slot], target, stop - from);
                    }
                }
            });
        });
    }
}
