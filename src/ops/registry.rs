//! The table of operations and the arguments of a call that does not know its operation's types.

use std::sync::OnceLock;

use linkme::distributed_slice;
use smallvec::SmallVec;

use super::formula::Pointwise;
use super::terms::{Made, Shapes, Terms, docstring};
use super::view;
use crate::error::{Error, Result};
use crate::random::{self, Generator};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::scalar::Scalar;

/// The blocks' entries, in no order: filled by themselves at link time. [`operations`] has also their in-place forms.
#[distributed_slice]
pub static BLOCKS: [Operation];

/// All operations by name: those of the blocks and their in-place forms.
pub fn operations() -> &'static [Operation] {
    static ALL: OnceLock<Vec<Operation>> = OnceLock::new();
    ALL.get_or_init(|| {
        let told = |of: &Operation| Operation { doc: leak(docstring(of, Made::Written)), ..*of };
        let made = BLOCKS.iter().filter_map(in_place).chain(BLOCKS.iter().filter_map(copied));
        let mut all: Vec<Operation> = BLOCKS.iter().map(told).chain(made).collect();
        all.sort_by_key(|o| o.name);
        all
    })
}

/// How the signatures end that ask for the in-place form by an argument.
const INPLACE: &str = ", bool inplace=False)";

/// Text of the table, which lives as long as the process.
fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

/// The operation that writes the result of another into its first operand, where a signature has one, `Tensor self`.
fn in_place(of: &Operation) -> Option<Operation> {
    let renamed = |signature: &&'static str| leak(signature.replacen('(', "_(", 1).replace(INPLACE, ")"));
    let takes_self = |signature: &&&'static str| signature.contains("(Tensor self");
    let named = of.aliases.iter().filter(|name| !name.starts_with("special."));
    let aliases: Vec<&'static str> = named.map(|name| leak(format!("{name}_"))).collect();
    let signatures: Vec<&'static str> = of.signatures.iter().filter(takes_self).map(renamed).collect();
    if signatures.is_empty() {
        return None;
    }
    let mut operation = Operation {
        name: leak(format!("{}_", of.name)),
        signatures: Box::leak(signatures.into_boxed_slice()),
        aliases: Box::leak(aliases.into_boxed_slice()),
        call: of.in_place?,
        in_place: None,
        ..*of
    };
    operation.doc = leak(docstring(&operation, Made::InPlace(of.name)));
    Some(operation)
}

/// The functions of several operands in place that torch has among those of the package.
const WRITING: [&str; 6] = ["clamp_max_", "clamp_min_", "gcd_", "lcm_", "ldexp_", "xlogy_"];

/// The views of which torch has copies.
const COPIED: &str =
    "as_strided diagonal expand permute select split split_with_sizes squeeze t transpose unbind unfold unsqueeze";

/// The function that gives a copy of what a view shows: `permute_copy` of `permute`. It takes sizes in brackets only.
fn copied(of: &Operation) -> Option<Operation> {
    let is_of_tensors = matches!(of.home(), Home::Package | Home::Tensor);
    if !is_of_tensors || !COPIED.split(' ').any(|name| name == of.name) {
        return None;
    }
    let renamed = |signature: &&'static str| {
        let call = signature.trim_start_matches("Tensor.").replacen('(', "_copy(", 1);
        leak(call.replace("(Tensor self", "(Tensor input").replace("int[] ", "Size "))
    };
    let signatures: Vec<&'static str> = of.signatures.iter().map(renamed).collect();
    let mut operation = Operation {
        name: leak(format!("{}_copy", of.name)),
        signatures: Box::leak(signatures.into_boxed_slice()),
        aliases: &[],
        in_place: None,
        copies: true,
        kind: Kind::Function(Terms { shapes: Shapes::Noted, ..of.terms() }),
        ..*of
    };
    operation.doc = leak(docstring(&operation, Made::Copy(of.name)));
    Some(operation)
}

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
    /// Several lists of integers.
    Lists(Vec<SmallVec<[isize; 4]>>),
    /// Several numbers.
    Numbers(Vec<Scalar>),
    /// An element type.
    DType(DType),
    /// A word.
    Text(String),
    /// A stream of random numbers.
    Generator(Generator),
}

/// What an operation gives.
#[derive(Clone, Debug)]
pub enum Output {
    /// One tensor.
    Tensor(Tensor),
    /// Several tensors, whose names are in the signature, if they have any.
    Tensors(Vec<Tensor>),
    /// A tensor that takes the place of the first operand, whose layout was changed in place. The operand itself stays as
    /// it was: it is for a host language to let the object that stood for it stand for this tensor.
    Instead(Tensor),
}

impl<const N: usize> From<[Tensor; N]> for Output {
    fn from(tensors: [Tensor; N]) -> Self {
        Output::Tensors(tensors.into())
    }
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
    /// A function of tensors, and what it takes and gives.
    Function(Terms),
}

/// What runs an operation; the first argument is the number of the signature that matched.
pub type Run = fn(usize, &Arguments) -> Result<Output>;

/// One operation as the table has it.
#[derive(Clone, Copy)]
pub struct Operation {
    /// torch's name: the head of the signatures.
    pub name: &'static str,
    /// The docstring.
    pub doc: &'static str,
    /// The calls it takes, in order of trial: `sum(Tensor self, int[]? dim=None, bool keepdim=False)`. Several results
    /// are written behind an arrow, with names where they have any: `-> (Tensor values, Tensor indices)`.
    pub signatures: &'static [&'static str],
    /// Other names that torch has for it; those written `package.name`, `nn.name` and `special.name` are functions of these homes, wherever
    /// the operation is.
    pub aliases: &'static [&'static str],
    /// How it behaves.
    pub kind: Kind,
    /// Runs it.
    pub call: Run,
    /// Runs it into its first operand, where there is such a form.
    pub in_place: Option<Run>,
    /// Whether what it gives are copies of what `call` gives, which are views.
    pub copies: bool,
}

/// Where an operation is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// In the package, and on a tensor where the first parameter is `Tensor self`.
    Package,
    /// On a tensor only: the signature is written `Tensor.name(...)`.
    Tensor,
    /// Among the functions of neural networks: `nn.name(...)`.
    Nn,
    /// Among the special functions: `special.name(...)`.
    Special,
    /// Among the functions of linear algebra: `linalg.name(...)`.
    Linalg,
}

impl Operation {
    /// Runs it, in place where the arguments of a signature that has `inplace` say so.
    ///
    /// # Errors
    /// What the operation raises.
    #[inline]
    pub fn run(&self, signature: usize, arguments: &Arguments) -> Result<Output> {
        match (self.in_place, arguments.values.last()) {
            (Some(run), Some(Value::Number(Scalar::Bool(true)))) if self.signatures[signature].ends_with(INPLACE) => {
                run(signature, arguments)
            }
            _ if self.copies => view::copied(arguments.tensor(0)?, (self.call)(signature, arguments)?),
            _ => (self.call)(signature, arguments),
        }
    }

    /// Where it is found.
    pub fn home(&self) -> Home {
        let head = self.signatures[0].split_once('(').map_or("", |(head, _)| head);
        match head.split_once('.') {
            None => Home::Package,
            Some(("nn", _)) => Home::Nn,
            Some(("special", _)) => Home::Special,
            Some(("linalg", _)) => Home::Linalg,
            Some(_) => Home::Tensor,
        }
    }

    /// True where a tensor has the operation as a method.
    pub fn is_method(&self) -> bool {
        matches!(self.home(), Home::Package | Home::Tensor) && self.signatures[0].contains("(Tensor self")
    }

    /// True where the operation is a function of its home; of in-place forms in the package those of one operand, and few others.
    pub fn is_function(&self) -> bool {
        let is_one = || !matches!(self.kind, Kind::Pointwise(spec) if spec().arity > 1);
        match self.home() {
            Home::Package => !self.name.ends_with('_') || is_one() || WRITING.contains(&self.name),
            Home::Tensor => false,
            Home::Nn | Home::Special | Home::Linalg => true,
        }
    }
}

/// The arguments of a call, one for each parameter of the matched signature.
pub struct Arguments<'a> {
    /// The operation's name.
    pub op: &'static str,
    /// The values in the order of the signature.
    pub values: &'a [Value],
}

impl Arguments<'_> {
    /// Stands for None among integers.
    pub const SAME: isize = isize::MIN;

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

    /// Several integers, if given.
    pub fn maybe_ints(&self, n: usize) -> Result<Option<&[isize]>> {
        if self.is_none(n) { Ok(None) } else { self.ints(n).map(Some) }
    }

    /// Several integers, of which a single one may stand for all; none where nothing was given.
    pub fn sizes(&self, n: usize) -> Result<SmallVec<[isize; 4]>> {
        match self.values.get(n) {
            Some(Value::Number(one)) => Ok(smallvec::smallvec![one.as_i64() as isize]),
            _ => self.ints(n).map(SmallVec::from_slice),
        }
    }

    /// Several lists of integers.
    pub fn lists(&self, n: usize) -> Result<&[SmallVec<[isize; 4]>]> {
        match self.values.get(n) {
            Some(Value::Lists(all)) => Ok(all),
            _ => self.wrong(n, "lists of ints"),
        }
    }

    /// An integer, if given.
    pub fn maybe_int(&self, n: usize) -> Result<Option<isize>> {
        if self.is_none(n) { Ok(None) } else { self.int(n).map(Some) }
    }

    /// A tensor, if given.
    pub fn maybe_tensor(&self, n: usize) -> Result<Option<&Tensor>> {
        if self.is_none(n) { Ok(None) } else { self.tensor(n).map(Some) }
    }

    /// A number as a float64.
    pub fn float(&self, n: usize) -> Result<f64> {
        self.number(n).map(Scalar::as_f64)
    }

    /// Several numbers; none where nothing was given.
    pub fn numbers(&self, n: usize) -> Result<&[Scalar]> {
        match self.values.get(n) {
            Some(Value::Numbers(all)) => Ok(all),
            None | Some(Value::None) => Ok(&[]),
            _ => self.wrong(n, "a tuple of numbers"),
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

    /// A stream of random numbers: the default one where none is given.
    pub fn generator(&self, n: usize) -> Result<&Generator> {
        match self.values.get(n) {
            Some(Value::Generator(g)) => Ok(g),
            None | Some(Value::None) => Ok(random::default()),
            _ => self.wrong(n, "a Generator"),
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
    let (mut start, mut end) = (0, 0);
    while bytes[end] != b'(' {
        if bytes[end] == b'.' {
            start = end + 1;
        }
        end += 1;
    }
    signatures[0].split_at(end).0.split_at(start).1
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
/// and their formula follows as an impl of `Unary`, `Binary`, `Ternary` or `Quaternary`. Their in-place forms (`tanh_`)
/// come by themselves. Other names of the same operation follow the signatures: `["acos(Tensor self)"; also "arccos"]`.
/// Where arguments beside the operands choose the formula, a function of the matched signature's number and the arguments
/// follows that gives the formula and its operands; a block without a formula of its own begins with `chooses`:
///
/// ```text
/// operation! {
///     /// Bounds.
///     chooses Broadcast(Numbers -> Promoted), ["clamp(Tensor self, Number? min=None, Number? max=None)"], |_, a| bounds(a)
/// }
/// ```
///
/// `ternary ..., [...], run run, in_place` gives the calls themselves, for operands that are checked or converted first.
///
/// All others say which shapes and dtypes they take and give (see [`super::terms`]), and a function that makes the result:
///
/// ```text
/// operation! {
///     /// Matrix product.
///     ///
///     /// Shapes: `(..., n, k), (..., k, m) -> (..., n, m)`.
///     function Noted(Numbers -> Shared), ["matmul(Tensor self, Tensor other)"], |_, a| Ok(matmul(a.tensor(0)?, a.tensor(1)?)?.into())
/// }
/// ```
///
/// `function ..., [...], in_place run, call` gives an in-place form too.
macro_rules! operation {
    ($(#[doc = $doc:literal])* unary $T:ident, $name:ident, $node:expr, $rule:expr, $calls:tt $(, $choose:expr)?) => {
        $crate::ops::registry::operation!(@pointwise (x) [$($doc)*] $T, $name, $node, $rule, $calls $(, $choose)?);
        $crate::ops::registry::operation!(@formula $T, Unary, 1, [0], _n, [],
            [<$T as $crate::ops::formula::Unary>::DOMAIN], None, 0, false);
    };
    ($(#[doc = $doc:literal])* binary $T:ident, $name:ident, $node:expr, $rule:expr, $calls:tt $(, $choose:expr)?) => {
        $crate::ops::registry::operation!(@pointwise (a, b) [$($doc)*] $T, $name, $node, $rule, $calls $(, $choose)?);
        $crate::ops::registry::operation!(@formula $T, Binary, 2, [0 1], n, [[n]],
            <$T as $crate::ops::formula::Binary>::DOMAIN, <$T as $crate::ops::formula::Binary>::SPECIAL,
            <$T as $crate::ops::formula::Binary>::EXACT, false);
    };
    ($(#[doc = $doc:literal])* ternary $T:ident, $name:ident, $node:expr, $rule:expr, $calls:tt, run $run:expr, $in_place:expr) => {
        $crate::ops::registry::operation!(@spec (a, b, c) [$($doc)*] $T, $name, $node, $rule, $calls);
        $crate::ops::registry::operation!(@entry [$($doc)*] $calls,
            $crate::ops::registry::Kind::Pointwise($T::spec), $run, $in_place);
        $crate::ops::registry::operation!(@ternary $T);
    };
    ($(#[doc = $doc:literal])* ternary $T:ident, $name:ident, $node:expr, $rule:expr, $calls:tt $(, $choose:expr)?) => {
        $crate::ops::registry::operation!(@pointwise (a, b, c) [$($doc)*] $T, $name, $node, $rule, $calls $(, $choose)?);
        $crate::ops::registry::operation!(@ternary $T);
    };
    (@ternary $T:ident) => {
        $crate::ops::registry::operation!(@formula $T, Ternary, 3, [0 1 2], n, [[n]],
            <$T as $crate::ops::formula::Ternary>::DOMAIN, None, <$T as $crate::ops::formula::Ternary>::EXACT,
            <$T as $crate::ops::formula::Ternary>::ROW_MAJOR);
    };
    ($(#[doc = $doc:literal])* quaternary $T:ident, $name:ident, $node:expr, $rule:expr, $calls:tt $(, $choose:expr)?) => {
        $crate::ops::registry::operation!(@pointwise (a, b, c, d) [$($doc)*] $T, $name, $node, $rule, $calls $(, $choose)?);
        $crate::ops::registry::operation!(@formula $T, Quaternary, 4, [0 1 2 3], n, [[n]],
            <$T as $crate::ops::formula::Quaternary>::DOMAIN, None, 0, false);
    };
    (@formula $T:ident, $Trait:ident, $arity:literal, [$($i:literal)*], $n:ident, [$($pick:tt)*], $domain:expr, $special:expr, $exact:expr, $row_major:expr) => {
        impl $crate::ops::formula::Formula for $T {
            const ARITY: usize = $arity;
            const IN_PLACE: bool = <$T as $crate::ops::formula::$Trait>::IN_PLACE;
            const DOMAIN: [$crate::ops::formula::Domain; $crate::ops::formula::OPERANDS] =
                $crate::ops::formula::Domain::each($domain);
            const FORMS: &'static [$crate::ops::formula::Form] = <$T as $crate::ops::formula::$Trait>::FORMS;
            const SPECIAL: Option<$crate::ops::formula::Special> = $special;
            const EXACT: u8 = $exact;
            const ROW_MAJOR: bool = $row_major;
            const STEPS: Option<&'static str> = <$T as $crate::ops::formula::$Trait>::STEPS;
            const REPLAY: Option<$crate::ops::formula::Replay> = <$T as $crate::ops::formula::$Trait>::REPLAY;
            #[inline(always)]
            fn forward<L: $crate::kernels::lane::Real>(x: [L; $crate::ops::formula::OPERANDS]) -> L {
                <$T as $crate::ops::formula::$Trait>::forward($(x[$i]),*)
            }
            #[inline(always)]
            fn derivative<L: $crate::kernels::lane::Real>(
                $n: usize,
                g: L,
                x: [L; $crate::ops::formula::OPERANDS],
                y: L,
            ) -> L {
                <$T as $crate::ops::formula::$Trait>::derivative(g, $(x[$i],)* y)$($pick)*
            }
        }
    };
    (@pointwise ($($arg:ident),+) [$($doc:literal)*] $T:ident, $name:ident, $node:expr, $rule:expr, $calls:tt $(, $choose:expr)?) => {
        $crate::ops::registry::operation!(@spec ($($arg),+) [$($doc)*] $T, $name, $node, $rule, $calls);
        $crate::ops::registry::operation!(@entry [$($doc)*] $calls,
            $crate::ops::registry::Kind::Pointwise($T::spec),
            |n, a| $crate::ops::pointwise::chosen($crate::ops::registry::operation!(@choice $T, n, a $(, $choose)?)),
            if <$T as $crate::ops::formula::Formula>::IN_PLACE {
                Some(|n, a| $crate::ops::pointwise::chosen_in_place(
                    a.op, $crate::ops::registry::operation!(@choice $T, n, a $(, $choose)?)))
            } else {
                None
            });
    };
    (@spec ($($arg:ident),+) [$($doc:literal)*] $T:ident, $name:ident, $node:expr, $rule:expr, $calls:tt) => {
        $(#[doc = $doc])*
        pub struct $T;
        impl $T {
            /// What the table and the engine know of the operation.
            pub fn spec() -> &'static $crate::ops::formula::Pointwise {
                static SPEC: $crate::ops::formula::Pointwise = $crate::ops::formula::Pointwise::new::<$T>(
                    $crate::ops::registry::head($crate::ops::registry::operation!(@signatures $calls)), $node, $rule);
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
    };
    (@signatures [$($signature:literal),+ $(,)? $(; also $($alias:literal),+)?]) => { &[$($signature),+] };
    (@aliases [$($signature:literal),+ $(,)? $(; also $($alias:literal),+)?]) => { &[$($($alias),+)?] };
    (@choice $T:ident, $n:ident, $a:ident, $choose:expr) => {{
        let choose: $crate::ops::pointwise::Choose = $choose;
        choose($n, $a)?
    }};
    (@choice $T:ident, $n:ident, $a:ident) => {{
        let _ = $n;
        $crate::ops::pointwise::arguments($T::spec(), $a)?
    }};
    ($(#[doc = $doc:literal])* chooses $shapes:ident($takes:ident -> $gives:ident), $calls:tt, $choose:expr) => {
        $crate::ops::registry::operation!(@entry [$($doc)*] $calls,
            $crate::ops::registry::operation!(@terms $shapes $takes $gives),
            |n, a| {
                let choose: $crate::ops::pointwise::Choose = $choose;
                $crate::ops::pointwise::chosen(choose(n, a)?)
            },
            Some(|n, a| {
                let choose: $crate::ops::pointwise::Choose = $choose;
                $crate::ops::pointwise::chosen_in_place(a.op, choose(n, a)?)
            }));
    };
    ($(#[doc = $doc:literal])* function $shapes:ident($takes:ident -> $gives:ident), $calls:tt, in_place $in_place:expr, $call:expr) => {
        $crate::ops::registry::operation!(@entry [$($doc)*] $calls,
            $crate::ops::registry::operation!(@terms $shapes $takes $gives), $call, Some($in_place));
    };
    ($(#[doc = $doc:literal])* function $shapes:ident($takes:ident -> $gives:ident), $calls:tt, $call:expr) => {
        $crate::ops::registry::operation!(@entry [$($doc)*] $calls,
            $crate::ops::registry::operation!(@terms $shapes $takes $gives), $call, None);
    };
    (@terms $shapes:ident $takes:ident $gives:ident) => {
        $crate::ops::registry::Kind::Function($crate::ops::terms::Terms {
            shapes: $crate::ops::terms::Shapes::$shapes,
            takes: $crate::ops::terms::Takes::$takes,
            gives: $crate::ops::terms::Gives::$gives,
        })
    };
    (@entry [$($doc:literal)*] $calls:tt, $kind:expr, $call:expr, $in_place:expr) => {
        const _: () = {
            #[linkme::distributed_slice($crate::ops::registry::BLOCKS)]
            static ENTRY: $crate::ops::registry::Operation = $crate::ops::registry::Operation {
                name: $crate::ops::registry::head($crate::ops::registry::operation!(@signatures $calls)),
                doc: concat!($($doc, "\n"),*),
                signatures: $crate::ops::registry::operation!(@signatures $calls),
                aliases: $crate::ops::registry::operation!(@aliases $calls),
                kind: $kind,
                call: $call,
                in_place: $in_place,
                copies: false,
            };
        };
    };
}
pub(crate) use operation;
