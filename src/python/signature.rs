//! The signatures in the table of operations, parsed once: what each parameter is called, takes, and is by default.

use std::sync::OnceLock;

use super::arguments::expected;
use crate::ops::{Operation, operations};

/// What a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A tensor.
    Tensor,
    /// A tensor, a number, or what NumPy makes of one.
    Operand,
    /// Several tensors.
    Tensors,
    /// Several tensors: the arguments themselves.
    ManyTensors,
    /// A number.
    Number,
    /// A number, as a float.
    Float,
    /// An integer.
    Int,
    /// Integers: one, a sequence, or, where nothing else can follow, the arguments themselves.
    Ints,
    /// A sequence of integers, also where one alone would do elsewhere.
    Size,
    /// Integers, of which some may be None.
    MaybeInts,
    /// Sequences of integers, in a sequence.
    Lists,
    /// Numbers: one or a sequence.
    Numbers,
    /// The order of a norm: a number or a word.
    Order,
    /// A truth value.
    Bool,
    /// An element type.
    DType,
    /// A word.
    Text,
    /// A device: there is one.
    Device,
    /// How elements lie in memory: by strides.
    Layout,
    /// The order of elements in memory.
    MemoryFormat,
    /// A stream of random numbers.
    Generator,
}

/// A default as the signature writes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Default {
    /// There is none: the argument must be given.
    Required,
    /// `None`, or an empty tuple.
    None,
    /// An integer.
    Int(i64),
    /// Another number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A word.
    Text(&'static str),
}

/// One parameter.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Whether None is taken.
    pub optional: bool,
    /// What it is where not given.
    pub default: Default,
    /// Whether it can only be given by name.
    pub keyword_only: bool,
}

impl Parameter {
    /// Its name in messages: torch calls the tensor of a function `input`.
    pub fn shown_name(&self) -> &'static str {
        if self.name == "self" { "input" } else { self.name }
    }

    /// True for the sizes and dimensions that may be written as separate arguments.
    pub fn is_variadic(&self) -> bool {
        self.kind == Kind::Ints && matches!(self.name, "size" | "shape" | "dims" | "repeats")
    }

    /// True for tensors that may be written as separate arguments.
    pub fn is_variadic_tensors(&self) -> bool {
        self.kind == Kind::Tensors && matches!(self.name, "operands" | "matrices")
    }
}

/// One way to call an operation.
#[derive(Debug)]
pub struct Signature {
    /// The parameters in order.
    pub parameters: Vec<Parameter>,
    /// Whether there are several results, and these have names.
    pub names_results: bool,
}

impl Signature {
    /// True for the last parameter that can be given by position.
    pub fn is_last(&self, parameter: &Parameter) -> bool {
        self.parameters.iter().rfind(|p| !p.keyword_only).is_some_and(|p| p.name == parameter.name)
    }

    /// The parameters as messages write them; a method's without its tensor.
    pub fn shown(&self, is_method: bool) -> String {
        let mut all = Vec::new();
        let mut by_name = false;
        for p in self.parameters.iter().skip(usize::from(is_method)) {
            if p.keyword_only && !by_name {
                by_name = true;
                all.push("*".into());
            }
            let default = match p.default {
                Default::Required => String::new(),
                Default::None => " = None".into(),
                Default::Int(i) => format!(" = {i}"),
                Default::Float(x) => format!(" = {x:?}"),
                Default::Bool(b) => format!(" = {}", if b { "True" } else { "False" }),
                Default::Text(word) => format!(" = '{word}'"),
            };
            all.push(format!("{} {}{default}", expected(p.kind), p.shown_name()));
        }
        format!("({})", all.join(", "))
    }
}

fn kind(text: &str) -> (Kind, bool) {
    let (name, optional) = text.strip_suffix('?').map_or((text, false), |n| (n, true));
    let kind = match name {
        "Operand" => Kind::Operand,
        "Tensor[]" => Kind::Tensors,
        "Tensor..." => Kind::ManyTensors,
        "Number" => Kind::Number,
        "float" => Kind::Float,
        "Number[]" => Kind::Numbers,
        "int" => Kind::Int,
        "int[]" => Kind::Ints,
        "Size" => Kind::Size,
        "int?[]" => Kind::MaybeInts,
        "int[][]" => Kind::Lists,
        "Order" => Kind::Order,
        "bool" => Kind::Bool,
        "DType" => Kind::DType,
        "str" => Kind::Text,
        "Device" => Kind::Device,
        "Layout" => Kind::Layout,
        "MemoryFormat" => Kind::MemoryFormat,
        "Generator" => Kind::Generator,
        _ => Kind::Tensor,
    };
    (kind, optional)
}

fn default(text: &'static str) -> Default {
    match text {
        "None" | "()" => Default::None,
        "True" => Default::Bool(true),
        "False" => Default::Bool(false),
        word if word.starts_with('\'') => Default::Text(word.trim_matches('\'')),
        number => match number.parse() {
            Ok(whole) => Default::Int(whole),
            Err(_) => number.parse().map_or(Default::None, Default::Float),
        },
    }
}

fn parse(text: &'static str) -> Signature {
    let (call, results) = text.split_once(" -> ").unwrap_or((text, ""));
    let inner = call.split_once('(').map_or("", |(_, rest)| rest.strip_suffix(')').unwrap_or(rest));
    let mut keyword_only = false;
    let mut parameters = Vec::new();
    for part in inner.split(", ").filter(|p| !p.is_empty()) {
        if part == "*" {
            keyword_only = true;
            continue;
        }
        let (head, default) = part.split_once('=').map_or((part, Default::Required), |(h, d)| (h, default(d)));
        let (type_name, name) = head.split_once(' ').unwrap_or(("Tensor", head));
        let (kind, optional) = kind(type_name);
        parameters.push(Parameter { name, kind, optional, default, keyword_only });
    }
    Signature { parameters, names_results: results.starts_with("(Tensor ") }
}

/// An operation with its signatures parsed.
pub struct Entry {
    /// The operation.
    pub operation: &'static Operation,
    /// Its signatures.
    pub signatures: Vec<Signature>,
}

/// All operations, by name.
pub fn entries() -> &'static [Entry] {
    static ENTRIES: OnceLock<Vec<Entry>> = OnceLock::new();
    ENTRIES.get_or_init(|| {
        let entry =
            |o: &'static Operation| Entry { operation: o, signatures: o.signatures.iter().map(|s| parse(s)).collect() };
        operations().iter().map(entry).collect()
    })
}
