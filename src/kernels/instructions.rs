//! The loops behind a program's instructions: one operation over a block of elements, for each dtype and tier.

use super::dispatch::{Tier, tiered};
use super::element::Compute;
use super::expr::OpCode;
use super::lane::{Lane, Real};

/// One instruction over `n` elements: `dst[i] = op(a[i], b[i], c[i])`. Arguments that the operation lacks are ignored.
pub type Loop<T> = unsafe fn(*mut T, *const T, *const T, *const T, usize);

/// What an instruction does with vectors.
trait Step {
    /// How many arguments it reads.
    const ARITY: usize;
    fn eval<L: Lane>(a: L, b: L, c: L) -> L;
}

/// As [`Step`], for instructions that only floating-point numbers have.
trait RealStep {
    fn eval<L: Real>(a: L) -> L;
}

macro_rules! steps {
    ($($name:ident / $arity:literal: |$a:ident, $b:ident, $c:ident| $body:expr;)*) => {$(
        struct $name;
        impl Step for $name {
            const ARITY: usize = $arity;
            #[inline(always)]
            #[allow(unused_variables)]
            fn eval<L: Lane>($a: L, $b: L, $c: L) -> L { $body }
        }
    )*};
}

steps! {
    Add / 2: |a, b, c| a + b;
    Sub / 2: |a, b, c| a - b;
    Mul / 2: |a, b, c| a * b;
    Div / 2: |a, b, c| a / b;
    Neg / 1: |a, b, c| -a;
    Abs / 1: |a, b, c| a.abs();
    Maximum / 2: |a, b, c| a.maximum(b);
    Minimum / 2: |a, b, c| a.minimum(b);
    FloorDivide / 2: |a, b, c| a.floor_divide(b);
    Remainder / 2: |a, b, c| a.remainder(b);
    Pow / 2: |a, b, c| a.pow(b);
    Eq / 2: |a, b, c| L::from_mask(a.eq(b));
    Lt / 2: |a, b, c| L::from_mask(a.lt(b));
    Le / 2: |a, b, c| L::from_mask(a.le(b));
    Select / 3: |a, b, c| L::select(a.ne(L::constant(0.0)), b, c);
    And / 2: |a, b, c| a * b;
    Or / 2: |a, b, c| a.maximum(b);
    Not / 1: |a, b, c| L::constant(1.0) - a;
}

macro_rules! real_steps {
    ($($name:ident: |$a:ident| $body:expr;)*) => {$(
        struct $name;
        impl RealStep for $name {
            #[inline(always)]
            fn eval<L: Real>($a: L) -> L { $body }
        }
    )*};
}

real_steps! {
    Sqrt: |a| a.sqrt();
    Exp: |a| a.exp();
    Log: |a| a.log();
    Expm1: |a| a.expm1();
    Log1p: |a| a.log1p();
    Sin: |a| a.sin();
    Cos: |a| a.cos();
    Tanh: |a| a.tanh();
    Sigmoid: |a| a.sigmoid();
    Floor: |a| a.floor();
    Trunc: |a| a.trunc();
}

/// Whole vectors, then one last vector through a buffer that pads what is missing with ones, which no operation
/// traps or slows on.
#[inline(always)]
unsafe fn each<T: Compute, const ARITY: usize>(
    dst: *mut T,
    args: [*const T; 3],
    n: usize,
    eval: impl Fn(T::V, T::V, T::V) -> T::V,
) {
    let one = T::V::constant(1.0);
    // SAFETY: the caller of the loop gives `n` readable elements in each argument used and `n` writable in `dst`.
    unsafe {
        let load = |arg: usize, i: usize| if arg < ARITY { T::load(args[arg].add(i)) } else { one };
        let whole = n - n % T::WIDTH;
        let mut i = 0;
        while i < whole {
            T::store(dst.add(i), eval(load(0, i), load(1, i), load(2, i)));
            i += T::WIDTH;
        }
        let rest = n - whole;
        if rest > 0 {
            let tail = |arg: usize| {
                let mut padded = one;
                if arg < ARITY {
                    std::ptr::copy_nonoverlapping(args[arg].add(whole), (&raw mut padded).cast(), rest);
                }
                padded
            };
            let result = eval(tail(0), tail(1), tail(2));
            std::ptr::copy_nonoverlapping((&raw const result).cast(), dst.add(whole), rest);
        }
    }
}

#[inline(always)]
unsafe fn step<T: Compute, S: Step>(dst: *mut T, a: *const T, b: *const T, c: *const T, n: usize) {
    // SAFETY: the caller vouches for the blocks.
    unsafe {
        match S::ARITY {
            1 => each::<T, 1>(dst, [a, b, c], n, S::eval),
            2 => each::<T, 2>(dst, [a, b, c], n, S::eval),
            _ => each::<T, 3>(dst, [a, b, c], n, S::eval),
        }
    }
}

/// A compute type whose vectors have the functions of real numbers.
trait RealCompute: Compute<V: Real> {}
impl RealCompute for f32 {}
impl RealCompute for f64 {}

#[inline(always)]
unsafe fn real_step<T: RealCompute, S: RealStep>(dst: *mut T, a: *const T, b: *const T, c: *const T, n: usize) {
    // SAFETY: the caller vouches for the blocks.
    unsafe { each::<T, 1>(dst, [a, b, c], n, |a, _, _| S::eval(a)) }
}

#[inline(always)]
unsafe fn mul_add<T: RealCompute>(dst: *mut T, a: *const T, b: *const T, c: *const T, n: usize) {
    // SAFETY: the caller vouches for the blocks.
    unsafe { each::<T, 3>(dst, [a, b, c], n, |a, b, c| a.mul_add(b, c)) }
}

tiered! { fn step_loop<T: Compute, S: Step>(dst: *mut T, a: *const T, b: *const T, c: *const T, n: usize) = step::<T, S>; }
tiered! { fn real_loop<T: RealCompute, S: RealStep>(dst: *mut T, a: *const T, b: *const T, c: *const T, n: usize) = real_step::<T, S>; }
tiered! { fn mul_add_loop<T: RealCompute>(dst: *mut T, a: *const T, b: *const T, c: *const T, n: usize) = mul_add::<T>; }

/// The loop of an instruction that every number has; `None` for the others.
fn shared_loop<T: Compute>(op: OpCode, tier: Tier) -> Option<Loop<T>> {
    Some(match op {
        OpCode::Add => step_loop::<T, Add>(tier),
        OpCode::Sub => step_loop::<T, Sub>(tier),
        OpCode::Mul => step_loop::<T, Mul>(tier),
        OpCode::Div => step_loop::<T, Div>(tier),
        OpCode::Neg => step_loop::<T, Neg>(tier),
        OpCode::Abs => step_loop::<T, Abs>(tier),
        OpCode::Maximum => step_loop::<T, Maximum>(tier),
        OpCode::Minimum => step_loop::<T, Minimum>(tier),
        OpCode::FloorDivide => step_loop::<T, FloorDivide>(tier),
        OpCode::Remainder => step_loop::<T, Remainder>(tier),
        OpCode::Pow => step_loop::<T, Pow>(tier),
        OpCode::Eq => step_loop::<T, Eq>(tier),
        OpCode::Lt => step_loop::<T, Lt>(tier),
        OpCode::Le => step_loop::<T, Le>(tier),
        OpCode::Select => step_loop::<T, Select>(tier),
        OpCode::And => step_loop::<T, And>(tier),
        OpCode::Or => step_loop::<T, Or>(tier),
        OpCode::Not => step_loop::<T, Not>(tier),
        _ => return None,
    })
}

fn real_only_loop<T: RealCompute>(op: OpCode, tier: Tier) -> Option<Loop<T>> {
    Some(match op {
        OpCode::Sqrt => real_loop::<T, Sqrt>(tier),
        OpCode::Exp => real_loop::<T, Exp>(tier),
        OpCode::Log => real_loop::<T, Log>(tier),
        OpCode::Expm1 => real_loop::<T, Expm1>(tier),
        OpCode::Log1p => real_loop::<T, Log1p>(tier),
        OpCode::Sin => real_loop::<T, Sin>(tier),
        OpCode::Cos => real_loop::<T, Cos>(tier),
        OpCode::Tanh => real_loop::<T, Tanh>(tier),
        OpCode::Sigmoid => real_loop::<T, Sigmoid>(tier),
        OpCode::Floor => real_loop::<T, Floor>(tier),
        OpCode::Trunc => real_loop::<T, Trunc>(tier),
        OpCode::MulAdd => mul_add_loop::<T>(tier),
        _ => return None,
    })
}

/// A type that programs run on.
pub trait Run: Compute {
    /// The loop of an instruction, or `None` where the type does not have it.
    fn instruction(op: OpCode, tier: Tier) -> Option<Loop<Self>>;
}

macro_rules! runs {
    ($($t:ty: $all:expr),*) => {$(
        impl Run for $t {
            fn instruction(op: OpCode, tier: Tier) -> Option<Loop<Self>> {
                let more: fn(OpCode, Tier) -> Option<Loop<$t>> = $all;
                shared_loop::<$t>(op, tier).or_else(|| more(op, tier))
            }
        }
    )*};
}
runs!(f32: real_only_loop, f64: real_only_loop, i64: |_, _| None, i32: |_, _| None, u8: |_, _| None);
