//! The table of operations and the arguments of a call that does not know its operation's types.

use linkme::distributed_slice;
use smallvec::SmallVec;

use super::formula::Pointwise;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::scalar::Scalar;

/// All operations, in no order: filled by the blocks themselves at link time.
#[distributed_slice]
pub static OPERATIONS: [Operation];

/// A value given to an operation.
#[derive(Clone, Debug)]
pub enum Value {
    /// Not given, or given as none.
    None,
    /// A tensor.
    Tensor(Tensor),
    /// Several tensors.
    Tensors(Vec<Tensor>),
    /// A number.
    Number(Scalar),
    /// Sizes, dimensions or indices.
    Ints(SmallVec<[isize; 4]>),
    /// An element type.
    DType(DType),
    /// A word.
    Text(String),
}

/// What an operation gives.
#[derive(Clone, Debug)]
pub enum Output {
    /// One tensor.
    Tensor(Tensor),
    /// Two tensors with names, such as `values` and `indices`.
    Pair(&'static str, [Tensor; 2]),
    /// Several tensors.
    Tensors(Vec<Tensor>),
}

impl From<Tensor> for Output {
    fn from(tensor: Tensor) -> Self {
        Output::Tensor(tensor)
    }
}

/// How an operation behaves, for tests and bindings that treat kinds alike.
#[derive(Clone, Copy)]
pub enum Kind {
    /// One formula on every element.
    Pointwise(fn() -> &'static Pointwise),
    /// A function of tensors.
    Function,
}

/// One operation as the table has it.
pub struct Operation {
    /// torch's name: the head of the signatures.
    pub name: &'static str,
    /// The docstring.
    pub doc: &'static str,
    /// The calls it takes, in order of trial: `sum(Tensor self, int[]? dim=None, bool keepdim=False)`.
    pub signatures: &'static [&'static str],
    /// How it behaves.
    pub kind: Kind,
    /// Runs it; the first argument is the number of the signature that matched.
    pub call: fn(usize, &Arguments) -> Result<Output>,
}

/// The arguments of a call, one for each parameter of the matched signature.
pub struct Arguments<'a> {
    /// The operation's name.
    pub op: &'static str,
    /// The values in the order of the signature.
    pub values: &'a [Value],
}

impl Arguments<'_> {
    fn wrong<T>(&self, n: usize, expected: &'static str) -> Result<T> {
        Err(Error::ArgumentType {
            op: self.op,
            argument: format!("argument {}", n + 1),
            expected,
            given: format!("{:?}", self.values.get(n)),
        })
    }

    /// A tensor.
    pub fn tensor(&self, n: usize) -> Result<&Tensor> {
        match self.values.get(n) {
            Some(Value::Tensor(t)) => Ok(t),
            _ => self.wrong(n, "a Tensor"),
        }
    }

    /// Several tensors.
    pub fn tensors(&self, n: usize) -> Result<&[Tensor]> {
        match self.values.get(n) {
            Some(Value::Tensors(t)) => Ok(t),
            _ => self.wrong(n, "a sequence of Tensors"),
        }
    }

    /// A tensor or a number.
    pub fn operand(&self, n: usize) -> Result<super::formula::Operand<'_>> {
        match self.values.get(n) {
            Some(Value::Tensor(t)) => Ok(t.into()),
            Some(Value::Number(s)) => Ok((*s).into()),
            _ => self.wrong(n, "a Tensor or a number"),
        }
    }

    /// A tensor or a number, if given.
    pub fn maybe_operand(&self, n: usize) -> Result<Option<super::formula::Operand<'_>>> {
        if self.is_none(n) { Ok(None) } else { self.operand(n).map(Some) }
    }

    /// True where nothing was given.
    pub fn is_none(&self, n: usize) -> bool {
        matches!(self.values.get(n), None | Some(Value::None))
    }

    /// A number.
    pub fn number(&self, n: usize) -> Result<Scalar> {
        match self.values.get(n) {
            Some(Value::Number(s)) => Ok(*s),
            _ => self.wrong(n, "a number"),
        }
    }

    /// A number, if given.
    pub fn maybe_number(&self, n: usize) -> Result<Option<Scalar>> {
        if self.is_none(n) { Ok(None) } else { self.number(n).map(Some) }
    }

    /// A truth value.
    pub fn bool(&self, n: usize) -> Result<bool> {
        self.number(n).map(Scalar::as_bool)
    }

    /// An integer.
    pub fn int(&self, n: usize) -> Result<isize> {
        self.number(n).map(|s| s.as_i64() as isize)
    }

    /// Several integers; none where nothing was given.
    pub fn ints(&self, n: usize) -> Result<&[isize]> {
        match self.values.get(n) {
            Some(Value::Ints(i)) => Ok(i),
            None | Some(Value::None) => Ok(&[]),
            _ => self.wrong(n, "a tuple of ints"),
        }
    }

    /// A word, if given.
    pub fn text(&self, n: usize) -> Result<Option<&str>> {
        match self.values.get(n) {
            Some(Value::Text(t)) => Ok(Some(t)),
            None | Some(Value::None) => Ok(None),
            _ => self.wrong(n, "a str"),
        }
    }

    /// An element type, if given.
    pub fn dtype(&self, n: usize) -> Result<Option<DType>> {
        match self.values.get(n) {
            Some(Value::DType(d)) => Ok(Some(*d)),
            None | Some(Value::None) => Ok(None),
            _ => self.wrong(n, "a dtype"),
        }
    }
}

/// The name at the head of a signature.
pub const fn head(signatures: &[&'static str]) -> &'static str {
    let bytes = signatures[0].as_bytes();
    let mut end = 0;
    while bytes[end] != b'(' {
        end += 1;
    }
    signatures[0].split_at(end).0
}

/// Writes an operation down. Element-wise operations name their struct, function, torch's node and dtype rule:
///
/// ```text
/// operation! {
///     /// Hyperbolic tangent.
///     unary Tanh, tanh, "TanhBackward0", Rule::Float, ["tanh(Tensor self)"]
/// }
/// ```
///
/// and their formula follows as an impl of `Unary`, `Binary` or `Ternary`. All others give a function of the matched
/// signature's number and the arguments:
///
/// ```text
/// operation! {
///     /// Matrix product.
///     function ["matmul(Tensor self, Tensor other)"], |_, a| Ok(matmul(a.tensor(0)?, a.tensor(1)?)?.into())
/// }
/// ```
macro_rules! operation {
    ($(#[doc = $doc:literal])* unary $T:ident, $name:ident, $node:expr, $rule:expr, [$($signature:literal),+ $(,)?]) => {
        $crate::ops::registry::operation!(@pointwise Unary (x) [$($doc)*] $T, $name, $node, $rule, [$($signature),+]);
        impl $crate::ops::formula::Formula for $T {
            const ARITY: usize = 1;
            #[inline(always)]
            fn forward<L: $crate::kernels::lane::Real>(x: [L; 3]) -> L {
                <$T as $crate::ops::formula::Unary>::forward(x[0])
            }
            #[inline(always)]
            fn derivative<L: $crate::kernels::lane::Real>(_n: usize, g: L, x: [L; 3], y: L) -> L {
                <$T as $crate::ops::formula::Unary>::derivative(g, x[0], y)
            }
            const DOMAIN: [$crate::ops::formula::Domain; 3] =
                [<$T as $crate::ops::formula::Unary>::DOMAIN, $crate::ops::formula::Domain::ALL, $crate::ops::formula::Domain::ALL];
        }
    };
    ($(#[doc = $doc:literal])* binary $T:ident, $name:ident, $node:expr, $rule:expr, [$($signature:literal),+ $(,)?] $(, $call:expr)?) => {
        $crate::ops::registry::operation!(@pointwise Binary (a, b) [$($doc)*] $T, $name, $node, $rule, [$($signature),+] $(, $call)?);
        impl $crate::ops::formula::Formula for $T {
            const ARITY: usize = 2;
            #[inline(always)]
            fn forward<L: $crate::kernels::lane::Real>(x: [L; 3]) -> L {
                <$T as $crate::ops::formula::Binary>::forward(x[0], x[1])
            }
            #[inline(always)]
            fn derivative<L: $crate::kernels::lane::Real>(n: usize, g: L, x: [L; 3], y: L) -> L {
                <$T as $crate::ops::formula::Binary>::derivative(g, x[0], x[1], y)[n]
            }
            const DOMAIN: [$crate::ops::formula::Domain; 3] = {
                let [a, b] = <$T as $crate::ops::formula::Binary>::DOMAIN;
                [a, b, $crate::ops::formula::Domain::ALL]
            };
            const FORMS: &'static [$crate::ops::formula::Form] = <$T as $crate::ops::formula::Binary>::FORMS;
            const SPECIAL: Option<$crate::ops::formula::Special> = <$T as $crate::ops::formula::Binary>::SPECIAL;
        }
    };
    ($(#[doc = $doc:literal])* ternary $T:ident, $name:ident, $node:expr, $rule:expr, [$($signature:literal),+ $(,)?]) => {
        $crate::ops::registry::operation!(@pointwise Ternary (a, b, c) [$($doc)*] $T, $name, $node, $rule, [$($signature),+]);
        impl $crate::ops::formula::Formula for $T {
            const ARITY: usize = 3;
            #[inline(always)]
            fn forward<L: $crate::kernels::lane::Real>(x: [L; 3]) -> L {
                <$T as $crate::ops::formula::Ternary>::forward(x[0], x[1], x[2])
            }
            #[inline(always)]
            fn derivative<L: $crate::kernels::lane::Real>(n: usize, g: L, x: [L; 3], y: L) -> L {
                <$T as $crate::ops::formula::Ternary>::derivative(g, x[0], x[1], x[2], y)[n]
            }
            const FORMS: &'static [$crate::ops::formula::Form] = <$T as $crate::ops::formula::Ternary>::FORMS;
        }
    };
    (@pointwise $Trait:ident ($($arg:ident),+) [$($doc:literal)*] $T:ident, $name:ident, $node:expr, $rule:expr, [$($signature:literal),+] $(, $call:expr)?) => {
        $(#[doc = $doc])*
        pub struct $T;
        impl $T {
            /// What the table and the engine know of the operation.
            pub fn spec() -> &'static $crate::ops::formula::Pointwise {
                static SPEC: $crate::ops::formula::Pointwise =
                    $crate::ops::formula::Pointwise::new::<$T>($crate::ops::registry::head(&[$($signature),+]), $node, $rule);
                &SPEC
            }
        }
        $(#[doc = $doc])*
        ///
        /// # Errors
        /// For shapes that do not broadcast and dtypes that the operation does not take.
        pub fn $name<'a>($($arg: impl Into<$crate::ops::formula::Operand<'a>>),+) -> $crate::error::Result<$crate::tensor::Tensor> {
            $crate::ops::pointwise::apply($T::spec(), &[$($arg.into()),+])
        }
        $crate::ops::registry::operation!(@entry [$($doc)*] [$($signature),+],
            $crate::ops::registry::Kind::Pointwise($T::spec), $crate::ops::registry::operation!(@call $T $($call)?));
    };
    (@call $T:ident $call:expr) => { $call };
    (@call $T:ident) => { |_, a| $crate::ops::pointwise::call($T::spec(), a) };
    ($(#[doc = $doc:literal])* function [$($signature:literal),+ $(,)?], $call:expr) => {
        $crate::ops::registry::operation!(@entry [$($doc)*] [$($signature),+],
            $crate::ops::registry::Kind::Function, $call);
    };
    (@entry [$($doc:literal)*] [$($signature:literal),+], $kind:expr, $call:expr) => {
        const _: () = {
            #[linkme::distributed_slice($crate::ops::registry::OPERATIONS)]
            static ENTRY: $crate::ops::registry::Operation = $crate::ops::registry::Operation {
                name: $crate::ops::registry::head(&[$($signature),+]),
                doc: concat!($($doc, "\n"),*),
                signatures: &[$($signature),+],
                kind: $kind,
                call: $call,
            };
        };
    };
}
pub(crate) use operation;
