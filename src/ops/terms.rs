//! What a docstring says that follows from what its block is: the shapes and dtypes that an operation takes and gives, and
//! the errors that it raises.
//!
//! A block writes its terms as `Same(Floats -> Kept)`; those of an element-wise operation follow from its dtype rule. What
//! they cannot say, lines of the documentation say that begin with `Shapes:`, `Dtypes:` or `Raises:`.

use super::formula::Rule;
use super::registry::{Kind, Operation};

/// The shapes that an operation takes and gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shapes {
    /// Any; the result has the same.
    Same,
    /// The operands broadcast.
    Broadcast,
    /// Any; the result is without the dimensions that `dim` names.
    Reduced,
    /// The operands broadcast, and `reduction` says whether the result does.
    Loss,
    /// What the argument `size` says.
    Size,
    /// As the documentation says.
    Noted,
    /// As the documentation says; the result is a view, and the form in place changes the tensor's layout.
    View,
}

/// The dtypes that an operation takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Takes {
    /// All.
    Any,
    /// All but bool.
    Numbers,
    /// Floating-point dtypes.
    Floats,
    /// Floating-point dtypes of 32 and 64 bits.
    Wide,
    /// Bool and integers.
    Whole,
    /// Integers.
    Integers,
    /// Floating-point dtypes and int64.
    Averaged,
    /// Floating-point dtypes and bool.
    Folded,
    /// As the documentation says.
    Noted,
}

/// The dtype of what an operation gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gives {
    /// That of the operand.
    Kept,
    /// That of the operand; a tensor that results are written into may have another.
    Like,
    /// The one that all operands must have.
    Shared,
    /// That of the first operand, whatever the others have.
    First,
    /// What the operands promote to.
    Promoted,
    /// The promoted one; of integers and bool the default float.
    Float,
    /// That of the operand; of integers and bool int64.
    Sum,
    /// Bool.
    Bool,
    /// Int64.
    Index,
    /// That of the operand, beside indices in int64.
    Indexed,
    /// The one asked for, else the default float.
    Asked,
    /// The one asked for, else that of the operand.
    AskedLike,
    /// As the documentation says.
    Noted,
}

/// The shapes and dtypes that an operation takes and gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// The shapes.
    pub shapes: Shapes,
    /// The dtypes taken.
    pub takes: Takes,
    /// The dtype given.
    pub gives: Gives,
}

impl Terms {
    /// The terms of an element-wise operation.
    fn of(rule: Rule, operands: usize) -> Terms {
        let (takes, gives) = match rule {
            Rule::Promote => (Takes::Any, Gives::Promoted),
            Rule::Number | Rule::Bounds | Rule::Signed | Rule::Quotient | Rule::Power | Rule::Subtract => {
                (Takes::Numbers, Gives::Promoted)
            }
            Rule::Float => (Takes::Any, Gives::Float),
            Rule::Real => (Takes::Floats, Gives::Promoted),
            Rule::Bits => (Takes::Whole, Gives::Promoted),
            Rule::Integer => (Takes::Integers, Gives::Promoted),
            Rule::Compare | Rule::Logical => (Takes::Any, Gives::Bool),
            Rule::Where => (Takes::Noted, Gives::Noted),
        };
        Terms { shapes: if operands > 1 { Shapes::Broadcast } else { Shapes::Same }, takes, gives }
    }
}

/// What a block's documentation consists of.
#[derive(Default)]
struct Parts {
    prose: String,
    shapes: Option<String>,
    dtypes: Option<String>,
    raises: Option<String>,
    example: String,
}

impl Parts {
    fn of(doc: &str) -> Parts {
        let lines: Vec<&str> = doc.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
        let example = lines.iter().position(|line| line.starts_with(">>>")).unwrap_or(lines.len());
        let mut parts = Parts { example: lines[example..].join("\n"), ..Parts::default() };
        for paragraph in lines[..example].split(|line| line.is_empty()).filter(|p| !p.is_empty()) {
            let mut noted: Option<&mut String> = None;
            for line in paragraph {
                let tag = [("Shapes: ", 0), ("Dtypes: ", 1), ("Raises: ", 2)]
                    .into_iter()
                    .find_map(|(tag, n)| line.strip_prefix(tag).map(|text| (text, n)));
                match (tag, &mut noted) {
                    (Some((text, n)), _) => {
                        let place = match n {
                            0 => &mut parts.shapes,
                            1 => &mut parts.dtypes,
                            _ => &mut parts.raises,
                        };
                        noted = Some(place.insert(text.into()));
                    }
                    (None, Some(text)) => {
                        text.push(' ');
                        text.push_str(line);
                    }
                    (None, None) => {
                        parts.prose.push_str(line);
                        parts.prose.push('\n');
                    }
                }
            }
            if noted.is_none() {
                parts.prose.push('\n');
            }
        }
        parts
    }
}

impl Operation {
    /// The shapes and dtypes that it takes and gives.
    pub fn terms(&self) -> Terms {
        match self.kind {
            Kind::Pointwise(spec) => Terms::of(spec().rule, self.tensors()),
            Kind::Function(terms) => terms,
        }
    }

    /// True where each of so many results is written into tensors of its own dtype only; else it is cast, as far as it can be.
    pub fn fixes_dtype(&self, results: usize) -> bool {
        match self.kind {
            Kind::Pointwise(spec) => match spec().rule {
                Rule::Where => true,
                Rule::Promote | Rule::Signed | Rule::Real | Rule::Compare => spec().arity == 1,
                _ => false,
            },
            Kind::Function(terms) => match terms.gives {
                Gives::Bool | Gives::Index | Gives::Shared | Gives::Kept | Gives::Asked => true,
                Gives::Indexed => results > 1,
                _ => false,
            },
        }
    }

    /// How many tensors it takes, where any other number than one is two.
    fn tensors(&self) -> usize {
        let inside =
            |s: &&str| s.matches("Tensor ").count() + s.matches("Tensor? ").count() + s.matches("Operand ").count();
        let many = self.signatures.iter().any(|s| s.contains("Tensor[] ") || s.contains("Tensor... "));
        if many { 2 } else { self.signatures.iter().map(inside).max().unwrap_or(0) }
    }
}

/// The shapes as a sentence without its point.
fn shapes(terms: Terms, tensors: usize) -> &'static str {
    match terms.shapes {
        Shapes::Same => "any, kept",
        Shapes::Broadcast if tensors > 1 => "the operands broadcast",
        Shapes::Broadcast => "any, kept",
        Shapes::Reduced => "any; without the dimensions of `dim`, or with size 1 where `keepdim`",
        Shapes::Loss => "the operands broadcast; `()`, or theirs where `reduction='none'`",
        Shapes::Size => "`size`",
        Shapes::Noted | Shapes::View => "",
    }
}

/// The dtypes as a sentence without its point.
fn dtypes(terms: Terms, tensors: usize) -> String {
    let takes = match terms.takes {
        Takes::Any => "any",
        Takes::Numbers => "any but bool",
        Takes::Floats => "floating-point",
        Takes::Wide => "float32 and float64",
        Takes::Whole => "bool and integers",
        Takes::Integers => "integers",
        Takes::Averaged => "floating-point and int64",
        Takes::Folded => "floating-point and bool",
        Takes::Noted => "",
    };
    let whole = if terms.takes == Takes::Any { "bool and integers" } else { "integers" };
    let promoted = if tensors > 1 { ", promoted" } else { "" };
    let gives = match terms.gives {
        Gives::Promoted if tensors > 1 => promoted.into(),
        Gives::Shared if tensors > 1 => ", one for all, kept".into(),
        Gives::Kept | Gives::Like | Gives::Promoted | Gives::Shared => ", kept".into(),
        Gives::First => "; the result has the first one's".into(),
        Gives::Float => format!("{promoted}; {whole} give the default float"),
        Gives::Sum => format!("; {whole} give int64"),
        Gives::Bool => "; the result is bool".into(),
        Gives::Index => "; the result is int64".into(),
        Gives::Indexed => ", kept; indices are int64".into(),
        Gives::Asked => "; `dtype`, else the default float".into(),
        Gives::AskedLike => "; `dtype`, else the input's".into(),
        Gives::Noted => String::new(),
    };
    format!("{takes}{gives}")
}

/// How parameters are called that name dimensions.
const DIMENSIONS: [&str; 9] =
    ["dim", "dim0", "dim1", "dim2", "axis0", "start_dim", "dimension", "source", "destination"];

/// True where a parameter names a dimension.
fn names_dimensions(signatures: &[&str]) -> bool {
    let parameters = signatures.iter().flat_map(|s| s.split(['(', ')']).nth(1).unwrap_or("").split(", "));
    parameters
        .filter_map(|p| p.split_once(' '))
        .any(|(kind, name)| kind.starts_with("int") && DIMENSIONS.contains(&name.split('=').next().unwrap_or("")))
}

/// The errors as clauses: those of the documentation, then those that follow.
fn raises(operation: &Operation, parts: &Parts, notes: &str) -> String {
    let own = parts.raises.as_deref().unwrap_or("").trim_end_matches('.');
    let says = |words: &[&str]| words.iter().any(|word| own.contains(word));
    let terms = operation.terms();
    let mut runtime: Vec<&str> = Vec::new();
    let takes_any = terms.takes == Takes::Any || notes.starts_with("any") && !notes.starts_with("any but");
    if !takes_any && !says(&["dtype", "integers"]) {
        runtime.push("for other dtypes");
    }
    if !says(&["shape", "sizes", "ranks", "dimensions"]) {
        let noted = parts.shapes.as_deref().is_some_and(|text| text.starts_with('`') && text.contains("->"));
        let broadcast = matches!(terms.shapes, Shapes::Broadcast | Shapes::Loss) && operation.tensors() > 1;
        if broadcast {
            runtime.push("for shapes that do not broadcast");
        } else if noted && !parts.shapes.as_deref().is_some_and(|text| text.starts_with("`(...)")) {
            runtime.push("for other shapes");
        }
    }
    if terms.shapes == Shapes::Size && !says(&["negative"]) {
        runtime.push("for negative sizes");
    }
    if operation.name.ends_with('_') {
        runtime.push("where the tensor cannot hold the result");
        runtime.push("for a leaf that requires a gradient");
    }
    let mut all: Vec<String> = Vec::new();
    if !own.is_empty() {
        all.push(own.into());
    }
    if !runtime.is_empty() {
        all.push(format!("RuntimeError {}", listed(&runtime)));
    }
    if names_dimensions(operation.signatures) && !says(&["IndexError"]) {
        all.push("IndexError for dimensions that there are not".into());
    }
    if operation.signatures[0].contains("str reduction='mean'") && !says(&["reduction"]) {
        all.push("ValueError for another reduction".into());
    }
    all.push("TypeError for other arguments".into());
    all.join("; ")
}

/// Clauses as people list them: `a, b and c`.
fn listed(clauses: &[&str]) -> String {
    match clauses {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => clauses.join(""),
    }
}

/// A paragraph in lines of at most 110 characters.
fn wrapped(text: &str) -> String {
    let (mut lines, mut width) = (String::new(), 0);
    for word in text.split(' ') {
        if width > 0 && width + word.len() + 1 > 110 {
            lines.push('\n');
            width = 0;
        } else if width > 0 {
            lines.push(' ');
            width += 1;
        }
        lines.push_str(word);
        width += word.len();
    }
    lines.push('\n');
    lines
}

/// The example of a view, with the function that copies in the place of the method.
fn copied(example: &str, name: &str) -> String {
    let method = format!(".{name}(");
    let lines = example.lines().map(|line| match line.strip_prefix(">>> ").and_then(|l| l.split_once(&method)) {
        Some(("ferrograd", rest)) => format!(">>> ferrograd.{name}_copy({rest}"),
        Some((x, rest)) => {
            let comma = if rest.starts_with(')') { "" } else { ", " };
            format!(">>> ferrograd.{name}_copy({x}{comma}{rest}")
        }
        None => line.to_string(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Where an operation comes from: a block, or the operation of a name.
pub(super) enum Made<'a> {
    /// A block.
    Written,
    /// It writes into its first operand.
    InPlace(&'a str),
    /// It gives copies of views.
    Copy(&'a str),
}

/// The docstring of an operation: the prose of its block, what it takes, gives and raises, and the example. An operation that
/// is made of another has the documentation of that one.
pub(super) fn docstring(operation: &Operation, made: Made) -> String {
    let parts = Parts::of(operation.doc);
    let (terms, tensors) = (operation.terms(), operation.tensors());
    let point = |text: &str| text.trim_end_matches('.').to_string();
    let noted = parts.dtypes.as_deref().unwrap_or("").to_string();
    let mut shape = parts.shapes.as_deref().map_or_else(|| shapes(terms, tensors).into(), point);
    let mut dtype = if noted.is_empty() { dtypes(terms, tensors) } else { point(&noted) };
    let mut text = String::new();
    if let Made::Copy(name) = made {
        text = format!("`{name}` as a copy, in row-major order.\n\n");
    }
    if let Made::InPlace(name) = made {
        text = format!("`{name}` in place.\n\n");
        dtype = format!("those of `{name}`; the tensor keeps its own");
        if terms.shapes != Shapes::View {
            shape = format!("those of `{name}`; the tensor keeps its own");
        }
    }
    text.push_str(&parts.prose);
    text.push_str(&wrapped(&format!("Shapes: {shape}.")));
    text.push_str(&wrapped(&format!("Dtypes: {dtype}.")));
    text.push_str(&wrapped(&format!("Raises: {}.", raises(operation, &parts, &noted))));
    let example = match made {
        Made::Copy(name) => copied(&parts.example, name),
        _ => parts.example,
    };
    format!("{text}\n{example}\n")
}
