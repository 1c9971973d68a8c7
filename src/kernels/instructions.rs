//! The loops behind a program's instructions: one operation over a block of elements, for each dtype and tier.

use super::careful::{self, careful_loop, zeta_loop};
use super::dispatch::{Tier, tiered};
use super::element::Compute;
use super::expr::OpCode;
use super::function::{Function, functions};
use super::joins::{Join, Way, join_by_number, join_loop};
use super::lane::{Lane, Real};
use super::sines::{RealCompute, both_loop, incomplete_loop, sine_loop};
use super::whole::Whole;

/// One instruction, or some joined, over `n` elements: `dst[i] = op(a[i], b[i], c[i], d[i])`. Arguments that the operation
/// lacks are ignored.
pub type Loop<T> = unsafe fn(*mut T, *const T, *const T, *const T, *const T, usize);
/// Two functions of the same `n` elements, which they share most of the work for.
pub type TwinLoop<T> = unsafe fn(*mut T, *mut T, *const T, usize);

/// What an instruction does with vectors. A trait and not closures: only functions marked so are sure to be inlined into
/// the instruction set of their caller.
pub(super) trait Step<L> {
    /// How many arguments it reads.
    const ARITY: usize;
    /// Whether it takes so many instructions that they stand once where the code is to be small.
    const IS_LONG: bool = false;
    fn eval(a: L, b: L, c: L, d: L) -> L;
}

macro_rules! steps {
    ($is_long:literal, $($name:ident / $arity:literal: |$a:ident, $b:ident, $c:ident| $body:expr;)*) => {$(
        pub(super) struct $name;
        impl<L: Lane> Step<L> for $name {
            const ARITY: usize = $arity;
            const IS_LONG: bool = $is_long;
            #[inline(always)]
            #[allow(unused_variables, reason = "steps of fewer arguments")]
            fn eval($a: L, $b: L, $c: L, _d: L) -> L { $body }
        }
    )*};
}

steps! { false,
    Add / 2: |a, b, c| a + b;
    Sub / 2: |a, b, c| a - b;
    Mul / 2: |a, b, c| a * b;
    Div / 2: |a, b, c| a / b;
    Neg / 1: |a, b, c| -a;
    Abs / 1: |a, b, c| a.abs();
    Maximum / 2: |a, b, c| a.maximum(b);
    Minimum / 2: |a, b, c| a.minimum(b);
    Floor / 1: |a, b, c| a.floor();
    Trunc / 1: |a, b, c| a.trunc();
    Round / 1: |a, b, c| a.round();
    ShiftLeft / 2: |a, b, c| a.shift_left(b);
    ShiftRight / 2: |a, b, c| a.shift_right(b);
    BitAnd / 2: |a, b, c| a.bit_and(b);
    BitOr / 2: |a, b, c| a.bit_or(b);
    BitXor / 2: |a, b, c| a.bit_xor(b);
    Eq / 2: |a, b, c| L::from_mask(a.eq(b));
    Lt / 2: |a, b, c| L::from_mask(a.lt(b));
    Le / 2: |a, b, c| L::from_mask(a.le(b));
    Select / 3: |a, b, c| L::select(a.ne(L::constant(0.0)), b, c);
    And / 2: |a, b, c| a * b;
    Or / 2: |a, b, c| a.maximum(b);
    Not / 1: |a, b, c| L::constant(1.0) - a;
}

steps! { true,
    FloorDivide / 2: |a, b, c| a.floor_divide(b);
    Remainder / 2: |a, b, c| a.remainder(b);
    Pow / 2: |a, b, c| a.pow(b);
    Fmod / 2: |a, b, c| a.fmod(b);
    Gcd / 2: |a, b, c| a.gcd(b);
}

struct MulAdd;
impl<L: Real> Step<L> for MulAdd {
    const ARITY: usize = 3;
    #[inline(always)]
    fn eval(a: L, b: L, c: L, _d: L) -> L {
        a.mul_add(b, c)
    }
}

struct WholeMulAdd;
impl<L: Lane> Step<L> for WholeMulAdd {
    const ARITY: usize = 3;
    #[inline(always)]
    fn eval(a: L, b: L, c: L, _d: L) -> L {
        a * b + c
    }
}

/// A step's arguments in the order of a call.
macro_rules! call {
    ($name:ident, $a:ident, $b:ident,) => {
        $a.$name()
    };
    ($name:ident, $a:ident, $b:ident, $other:ident) => {
        $a.$name($b)
    };
}

/// The step of a function of real numbers; some have loops of their own.
macro_rules! real_step {
    (Sin, $($rest:tt)*) => {};
    (Cos, $($rest:tt)*) => {};
    (Tan, $($rest:tt)*) => {};
    (Zeta, $($rest:tt)*) => {};
    (Lgamma, $($rest:tt)*) => {};
    (Igamma, $($rest:tt)*) => {};
    (Igammac, $($rest:tt)*) => {};
    ($Name:ident, $name:ident, $($other:ident)?) => {
        struct $Name;
        impl<L: Real> Step<L> for $Name {
            const ARITY: usize = 1 $(+ { stringify!($other); 1 })?;
            const IS_LONG: bool = true;
            #[inline(always)]
            #[allow(unused_variables, reason = "functions of one argument")]
            fn eval(a: L, b: L, _c: L, _d: L) -> L {
                call!($name, a, b, $($other)?)
            }
        }
    };
}

macro_rules! loop_of {
    (Sin, $T:ident, $tier:ident) => {
        sine_loop::<$T, 0>($tier)
    };
    (Cos, $T:ident, $tier:ident) => {
        sine_loop::<$T, 1>($tier)
    };
    (Tan, $T:ident, $tier:ident) => {
        careful_loop::<$T, careful::Tangent>($tier)
    };
    (Lgamma, $T:ident, $tier:ident) => {
        careful_loop::<$T, careful::Lgamma>($tier)
    };
    (Igamma, $T:ident, $tier:ident) => {
        incomplete_loop::<$T, 0>($tier)
    };
    (Igammac, $T:ident, $tier:ident) => {
        incomplete_loop::<$T, 1>($tier)
    };
    (Zeta, $T:ident, $tier:ident) => {
        zeta_loop::<$T>($tier)
    };
    ($Name:ident, $T:ident, $tier:ident) => {
        step_loop::<$T, $Name>($tier)
    };
}

macro_rules! real_steps {
    ($($(#[doc = $doc:literal])* $Name:ident $name:ident($($other:ident)?);)*) => {
        $(real_step!($Name, $name, $($other)?);)*

        /// The loop of a function of real numbers.
        fn function_loop<T: RealCompute>(function: Function, tier: Tier) -> Loop<T> {
            match function {
                $(Function::$Name => loop_of!($Name, T, tier),)*
            }
        }
    };
}
functions!(real_steps);

/// The most arguments of a step.
const ARGUMENTS: usize = 4;

/// A loop over single elements: the compiler makes better vectors of it than of one over vectors.
///
/// # Safety
/// As [`Takes::each`], for arguments of which the numbers are known.
#[inline(always)]
unsafe fn singles<T: Compute, S: Step<T::One>, const K: usize, const SMALL: bool>(
    dst: *mut T,
    arguments: [*const T; ARGUMENTS],
    [second, third, fourth]: [T::One; ARGUMENTS - 1],
    n: usize,
) {
    let [a, b, c, d] = arguments;
    let is_array = |n: usize| n < K && n < S::ARITY;
    let one = T::One::constant(1.0);
    let mut i = 0;
    // SAFETY: the caller's.
    unsafe {
        while i < n {
            // Of places that it does not know the compiler makes no vectors.
            i = if SMALL { std::hint::black_box(i) } else { i };
            let x = if is_array(0) { a.add(i).cast::<T::One>().read() } else { one };
            let y = if is_array(1) { b.add(i).cast::<T::One>().read() } else { second };
            let z = if is_array(2) { c.add(i).cast::<T::One>().read() } else { third };
            let w = if is_array(3) { d.add(i).cast::<T::One>().read() } else { fourth };
            dst.add(i).cast::<T::One>().write(S::eval(x, y, z, w));
            i += 1;
        }
    }
}

/// A compute type whose vectors an instruction takes.
pub(super) trait Takes<S>: Compute {
    /// The step of `n` elements. The arguments behind the first `K` are numbers: of these the first element is read, once.
    ///
    /// # Safety
    /// The first arguments that the step has are readable for `n` elements, numbers for one, and `dst` is writable; `dst` is one
    /// of the arguments or apart from all.
    #[doc(hidden)]
    unsafe fn each<const K: usize, const SMALL: bool>(
        dst: *mut Self,
        a: *const Self,
        b: *const Self,
        c: *const Self,
        d: *const Self,
        n: usize,
    );
}

impl<T: Compute, S: Step<T::One>> Takes<S> for T {
    #[inline(always)]
    unsafe fn each<const K: usize, const SMALL: bool>(
        dst: *mut T,
        a: *const T,
        b: *const T,
        c: *const T,
        d: *const T,
        n: usize,
    ) {
        let is_number = |n: usize| K <= n && n < S::ARITY;
        // SAFETY: the caller's numbers.
        let number =
            |at: *const T, n| unsafe { if is_number(n) { at.cast::<T::One>().read() } else { T::One::constant(1.0) } };
        let numbers = [number(b, 1), number(c, 2), number(d, 3)];
        // The compiler makes no vectors where the target may be what is read; that it is the first argument it sees, and that
        // it is the term of a product and a sum.
        let is_in_place = !SMALL && dst.cast_const() == a;
        let is_term = !SMALL && S::ARITY == 3 && K >= 3 && dst.cast_const() == c;
        // SAFETY: the caller gives `n` readable elements in each argument used that is no number, and `n` writable in `dst`.
        unsafe {
            if SMALL && S::IS_LONG {
                singles::<T, S, K, true>(dst, [a, b, c, d], numbers, n);
            } else if is_in_place {
                singles::<T, S, K, false>(dst, [dst, b, c, d], numbers, n);
            } else if is_term {
                singles::<T, S, K, false>(dst, [a, b, dst, d], numbers, n);
            } else {
                singles::<T, S, K, false>(dst, [a, b, c, d], numbers, n);
            }
        }
    }
}

tiered! { pub(super) fn numbers_loop<T: Takes<S>, S: Sized; const K: usize>(dst: *mut T, a: *const T, b: *const T, c: *const T, d: *const T, n: usize) = <T as Takes<S>>::each::<K, false>, small <T as Takes<S>>::each::<K, true>; }

/// The loop of a step of which no argument is known to be a number.
pub(super) fn step_loop<T: Takes<S>, S>(tier: Tier) -> Loop<T> {
    numbers_loop::<T, S, ARGUMENTS>(tier)
}

/// How many of a step's arguments there are before those that are numbers: one at least.
pub(super) fn arrays(args: &[u16], is_number: impl Fn(u16) -> bool) -> usize {
    args.iter().rposition(|&a| !is_number(a)).map_or(1, |last| last + 1)
}

/// The loop of an instruction whose second argument is a number, where it has one of its own.
pub(super) fn loop_by_number<T: Compute>(op: OpCode, tier: Tier) -> Option<Loop<T>> {
    Some(match op {
        OpCode::Add => numbers_loop::<T, Add, 1>(tier),
        OpCode::Sub => numbers_loop::<T, Sub, 1>(tier),
        OpCode::Mul => numbers_loop::<T, Mul, 1>(tier),
        OpCode::Div => numbers_loop::<T, Div, 1>(tier),
        OpCode::Maximum => numbers_loop::<T, Maximum, 1>(tier),
        OpCode::Minimum => numbers_loop::<T, Minimum, 1>(tier),
        OpCode::Eq => numbers_loop::<T, Eq, 1>(tier),
        OpCode::Lt => numbers_loop::<T, Lt, 1>(tier),
        OpCode::Le => numbers_loop::<T, Le, 1>(tier),
        OpCode::BitAnd => numbers_loop::<T, BitAnd, 1>(tier),
        OpCode::BitOr => numbers_loop::<T, BitOr, 1>(tier),
        OpCode::BitXor => numbers_loop::<T, BitXor, 1>(tier),
        _ => return None,
    })
}

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
        OpCode::Floor => step_loop::<T, Floor>(tier),
        OpCode::Trunc => step_loop::<T, Trunc>(tier),
        OpCode::Round => step_loop::<T, Round>(tier),
        OpCode::Fmod => step_loop::<T, Fmod>(tier),
        OpCode::Gcd => step_loop::<T, Gcd>(tier),
        OpCode::ShiftLeft => step_loop::<T, ShiftLeft>(tier),
        OpCode::ShiftRight => step_loop::<T, ShiftRight>(tier),
        OpCode::BitAnd => step_loop::<T, BitAnd>(tier),
        OpCode::BitOr => step_loop::<T, BitOr>(tier),
        OpCode::BitXor => step_loop::<T, BitXor>(tier),
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

/// The loop of an instruction that only real numbers have, or have another way than integers.
fn real_loop<T: RealCompute>(op: OpCode, tier: Tier) -> Option<Loop<T>> {
    match op {
        OpCode::MulAdd => Some(step_loop::<T, MulAdd>(tier)),
        OpCode::Fmod => Some(careful_loop::<T, careful::Fmod>(tier)),
        OpCode::Remainder => Some(careful_loop::<T, careful::Remainder>(tier)),
        OpCode::FloorDivide => Some(careful_loop::<T, careful::FloorDivide>(tier)),
        OpCode::Function(function) => Some(function_loop(function, tier)),
        _ => None,
    }
}

/// A type that programs run on.
pub trait Run: Compute {
    /// The loop of an instruction, or `None` where the type does not have it.
    fn instruction(op: OpCode, tier: Tier) -> Option<Loop<Self>>;
    /// Whether steps may be joined.
    const JOINS: bool;
    /// The loop of steps that are joined, or `None` where the type does not have it.
    fn joined(join: Join, tier: Tier) -> Option<Loop<Self>>;
    /// The same where the third argument is a number, and no other.
    fn joined_by_number(join: Join, tier: Tier) -> Option<Loop<Self>>;
    /// The loop of a step that is done so and reads so many arguments, of which those behind the first `arrays` are numbers, and
    /// whether it reads these once: loops that know no better read them from blocks.
    fn way(op: OpCode, way: &Way, arity: usize, arrays: usize, tier: Tier) -> Option<(Loop<Self>, bool)> {
        let by_number = match way {
            Way::Joined(Join::Whole(whole), ..) => Self::whole(*whole, arrays, tier),
            Way::Joined(join, ..) if arrays == 2 && arity == 3 => Self::joined_by_number(*join, tier),
            Way::Joined(..) => None,
            _ if arrays < arity => loop_by_number(op, tier),
            _ => None,
        };
        let any = || match way {
            Way::Joined(join, ..) => Self::joined(*join, tier),
            _ => Self::instruction(op, tier),
        };
        by_number.map(|run| (run, true)).or_else(|| any().map(|run| (run, arrays == arity)))
    }
    /// The loop of a formula whose operands behind the first `arrays` are numbers, or `None` where the type does not have it.
    fn whole(whole: Whole, arrays: usize, tier: Tier) -> Option<Loop<Self>>;
    /// The loop of a sine and a cosine, or `None` where the type does not have it.
    fn sine_and_cosine(tier: Tier) -> Option<TwinLoop<Self>>;
}

macro_rules! reals {
    ($($t:ident),*) => {$(
        impl Run for $t {
            fn instruction(op: OpCode, tier: Tier) -> Option<Loop<Self>> {
                real_loop(op, tier).or_else(|| shared_loop(op, tier))
            }
            const JOINS: bool = true;
            fn joined(join: Join, tier: Tier) -> Option<Loop<Self>> {
                join_loop(join, tier)
            }
            fn joined_by_number(join: Join, tier: Tier) -> Option<Loop<Self>> {
                join_by_number(join, tier)
            }
            fn whole(whole: Whole, arrays: usize, tier: Tier) -> Option<Loop<Self>> {
                whole.$t.get(arrays - 1).map(|run| run(tier))
            }
            fn sine_and_cosine(tier: Tier) -> Option<TwinLoop<Self>> {
                Some(both_loop(tier))
            }
        }
    )*};
}
reals!(f32, f64);

macro_rules! integers {
    ($($t:ty),*) => {$(
        impl Run for $t {
            fn instruction(op: OpCode, tier: Tier) -> Option<Loop<Self>> {
                match op {
                    OpCode::MulAdd => Some(step_loop::<Self, WholeMulAdd>(tier)),
                    _ => shared_loop(op, tier),
                }
            }
            const JOINS: bool = false;
            fn joined(_join: Join, _tier: Tier) -> Option<Loop<Self>> {
                None
            }
            fn joined_by_number(_join: Join, _tier: Tier) -> Option<Loop<Self>> {
                None
            }
            fn whole(_whole: Whole, _arrays: usize, _tier: Tier) -> Option<Loop<Self>> {
                None
            }
            fn sine_and_cosine(_tier: Tier) -> Option<TwinLoop<Self>> {
                None
            }
        }
    )*};
}
integers!(i64, i32, u8);
