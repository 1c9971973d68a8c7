//! The text of a tensor, torch's to the character: one number format for all elements, columns aligned, the middle of
//! large tensors left out.

use std::sync::atomic::Ordering;

use parking_lot::RwLock;

use super::Tensor;
use super::batch::Batch;
use super::dtype::DType;
use super::read::Reader;
use super::scalar::Scalar;
use crate::error::{Error, Result};
use crate::graph::forward;
use crate::memory::{ask, grow};
use crate::ops::batch::lay;

/// How tensors are printed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Digits after the point.
    pub precision: usize,
    /// Elements above which the middle is left out.
    pub threshold: usize,
    /// How many elements are shown at each end then.
    pub edgeitems: usize,
    /// Characters of a line.
    pub linewidth: usize,
    /// Scientific notation on or off; `None` lets the numbers decide.
    pub sci_mode: Option<bool>,
}

impl Options {
    /// torch's.
    pub const DEFAULT: Options = Options { precision: 4, threshold: 1000, edgeitems: 3, linewidth: 80, sci_mode: None };
}

static OPTIONS: RwLock<Options> = RwLock::new(Options::DEFAULT);

/// How tensors are printed now.
pub fn options() -> Options {
    *OPTIONS.read()
}

/// Sets how tensors are printed.
pub fn set_options(options: Options) {
    *OPTIONS.write() = options;
}

/// How the numbers of one tensor are written: all alike.
enum Format {
    /// Integers and truth values, right-aligned.
    Plain,
    /// Whole floats: `3.`
    Whole,
    /// `digits` after the point.
    Fixed(usize),
    /// `1.0000e-05`
    Scientific(usize),
}

struct Formatter {
    format: Format,
    width: usize,
}

/// `value` as `d.dddde+xx`, with at least two digits in the exponent.
fn scientific(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => {
            let (sign, number) = exponent.strip_prefix('-').map_or(('+', exponent), |n| ('-', n));
            format!("{mantissa}e{sign}{number:0>2}")
        }
        None => text,
    }
}

fn special(value: f64) -> Option<&'static str> {
    match value {
        v if v.is_nan() => Some("nan"),
        f64::INFINITY => Some("inf"),
        f64::NEG_INFINITY => Some("-inf"),
        _ => None,
    }
}

impl Formatter {
    /// The format for these numbers: scientific where the smallest or the span is extreme, whole where all are.
    fn new(values: &[Scalar], is_float: bool, options: &Options) -> Formatter {
        let format = if is_float { Formatter::of_floats(values, options) } else { Format::Plain };
        let mut formatter = Formatter { format, width: 1 };
        let counts = |s: &&Scalar| !is_float || s.as_f64().is_finite() && s.as_f64() != 0.0;
        let any_nonzero = values.iter().any(|s| counts(&s));
        let longest = |all: &mut dyn Iterator<Item = &Scalar>| all.map(|&s| formatter.text(s).len()).max().unwrap_or(1);
        // As torch: the width is that of the finite numbers other than zero, or of all where there are none.
        let width = match (is_float, any_nonzero) {
            (true, true) => longest(&mut values.iter().filter(counts)),
            (true, false) => 1,
            _ => longest(&mut values.iter()),
        };
        formatter.width = width;
        formatter
    }

    fn of_floats(values: &[Scalar], options: &Options) -> Format {
        let finite = values.iter().map(|s| s.as_f64().abs()).filter(|v| v.is_finite() && *v != 0.0);
        let (low, high) = finite.fold((f64::INFINITY, 0.0f64), |(l, h), v| (l.min(v), h.max(v)));
        if high == 0.0 {
            return Format::Whole;
        }
        let whole = values.iter().map(|s| s.as_f64()).filter(|v| v.is_finite()).all(|v| v.ceil() == v);
        let extreme =
            if whole { high / low > 1000.0 || high > 1e8 } else { high / low > 1000.0 || high > 1e8 || low < 1e-4 };
        match (options.sci_mode.unwrap_or(extreme), whole) {
            (true, _) => Format::Scientific(options.precision),
            (false, true) => Format::Whole,
            (false, false) => Format::Fixed(options.precision),
        }
    }

    fn text(&self, value: Scalar) -> String {
        let float = match value {
            Scalar::Bool(b) => return if b { "True".into() } else { "False".into() },
            Scalar::Int(i) => return i.to_string(),
            Scalar::Unsigned(u) => return u.to_string(),
            Scalar::Float(v) => v,
        };
        match (special(float), &self.format) {
            (Some(name), _) => name.into(),
            (None, Format::Whole | Format::Plain) => format!("{float:.0}."),
            (None, Format::Fixed(digits)) => format!("{float:.digits$}"),
            (None, Format::Scientific(digits)) => scientific(float, *digits),
        }
    }

    fn padded(&self, value: Scalar) -> String {
        format!("{:>width$}", self.text(value), width = self.width)
    }
}

struct Printer<'a> {
    reader: Reader<'a>,
    shape: &'a [usize],
    summarised: bool,
    options: Options,
}

impl Printer<'_> {
    /// The indices of a dimension that are shown; `None` stands for those left out.
    fn shown(&self, size: usize) -> impl Iterator<Item = Option<usize>> + use<> {
        let edge = self.options.edgeitems;
        let (head, tail) = if self.summarised && size > 2 * edge { (edge, size - edge) } else { (size, size) };
        let gap = (head < tail).then_some(None);
        (0..head).map(Some).chain(gap).chain((tail..size).map(Some))
    }

    /// The elements that are shown.
    fn values(&self, index: &mut Vec<usize>, out: &mut Vec<Scalar>) -> Result<()> {
        if index.len() == self.shape.len() {
            grow(OP, out, 1)?;
            out.push(self.reader.get(index));
            return Ok(());
        }
        for i in self.shown(self.shape[index.len()]).flatten() {
            index.push(i);
            self.values(index, out)?;
            index.pop();
        }
        Ok(())
    }

    /// The innermost dimension: as many numbers on a line as fit.
    fn line(&self, index: &mut Vec<usize>, indent: usize, formatter: &Formatter, text: &mut String) -> Result<()> {
        let width = formatter.width + 2;
        let per_line = ((self.options.linewidth.saturating_sub(indent)) / width).max(1);
        let end = format!(",\n{}", " ".repeat(indent + 1));
        add(text, "[")?;
        for (n, i) in self.shown(self.shape[index.len()]).enumerate() {
            if n > 0 {
                add(text, if n.is_multiple_of(per_line) { &end } else { ", " })?;
            }
            match i {
                Some(i) => {
                    index.push(i);
                    add(text, &formatter.padded(self.reader.get(index)))?;
                    index.pop();
                }
                None => add(text, if self.options.edgeitems == 0 { "..." } else { " ..." })?,
            }
        }
        add(text, "]")
    }

    fn block(&self, index: &mut Vec<usize>, indent: usize, formatter: &Formatter, text: &mut String) -> Result<()> {
        let left = self.shape.len() - index.len();
        if left == 0 {
            return add(text, &formatter.padded(self.reader.get(index)));
        }
        if left == 1 {
            return self.line(index, indent, formatter, text);
        }
        let gap = format!(",{}{}", "\n".repeat(left - 1), " ".repeat(indent + 1));
        add(text, "[")?;
        for (n, i) in self.shown(self.shape[index.len()]).enumerate() {
            if n > 0 {
                add(text, &gap)?;
            }
            match i {
                Some(i) => {
                    index.push(i);
                    self.block(index, indent + 1, formatter, text)?;
                    index.pop();
                }
                None => add(text, "...")?,
            }
        }
        add(text, "]")
    }
}

/// Adds to a text that may become as long as a tensor is large.
fn add(text: &mut String, part: &str) -> Result<()> {
    ask(OP, text.len() + part.len(), || text.try_reserve(part.len()))?;
    text.push_str(part);
    Ok(())
}

/// The operation that errors name.
const OP: &str = "repr";
const PREFIX: &str = "tensor(";

/// The most brackets within one another that a text or a list has.
const DEEPEST: usize = 1000;

/// An error for a tensor of more dimensions than brackets are nested.
///
/// # Errors
/// For more than a thousand dimensions.
pub fn check_depth(op: &'static str, tensor: &Tensor) -> Result<()> {
    if tensor.rank() <= DEEPEST {
        return Ok(());
    }
    let what = format!("maximum recursion depth exceeded: the tensor has {} dimensions", tensor.rank());
    Err(Error::Invalid { op, what })
}

/// The text of a tensor with what distinguishes it: `tensor([1.], dtype=torch.float64, requires_grad=True)`.
///
/// # Errors
/// Where there is no memory for it.
pub fn repr(tensor: &Tensor) -> Result<String> {
    if let Some(batch) = tensor.batch() {
        return repr_of_example(batch);
    }
    let options = options();
    let default = super::default_dtype();
    let shows_dtype = ![default, DType::I64, DType::Bool].contains(&tensor.dtype());
    let mut suffixes: Vec<String> = Vec::new();
    // Where the elements do not tell the shape, it is written out.
    let shows_size = if tensor.numel() == 0 { tensor.rank() != 1 } else { options.edgeitems == 0 };
    if shows_size {
        let sizes: Vec<String> = tensor.shape().iter().map(usize::to_string).collect();
        let comma = if sizes.len() == 1 { "," } else { "" };
        suffixes.push(format!("size=({}{comma})", sizes.join(", ")));
    }
    let body = if tensor.numel() == 0 {
        if tensor.dtype() != default {
            suffixes.push(format!("dtype=torch.{}", tensor.dtype()));
        }
        format!("{PREFIX}[]")
    } else {
        if shows_dtype {
            suffixes.push(format!("dtype=torch.{}", tensor.dtype()));
        }
        elements(tensor, options)?
    };
    match tensor.grad_fn().filter(|_| tensor.requires_grad()) {
        Some(edge) => suffixes.push(format!("grad_fn=<{}>", edge.node.name())),
        None if tensor.requires_grad() => suffixes.push("requires_grad=True".into()),
        None => {}
    }
    if let Some(level) = forward::current_level()
        && let Some(tangent) = tensor.tangent(level)?
    {
        suffixes.push(format!("tangent={}", forward::outside(level, || repr(&tangent))?));
    }
    with_suffixes(body, &suffixes, options.linewidth)
}

/// The text of an example: the tensor that its map was given, or what an operation gave for all examples.
fn repr_of_example(batch: &Batch) -> Result<String> {
    let place = batch.place.load(Ordering::Relaxed);
    let value = repr(&lay(&batch.value, 0, place as isize)?)?;
    let indented: String =
        value.lines().map(|l| if l.is_empty() { "\n".into() } else { format!("\n    {l}") }).collect();
    Ok(format!("BatchedTensor(lvl={}, bdim={place}, value={indented}\n)", batch.level))
}

fn elements(tensor: &Tensor, options: Options) -> Result<String> {
    check_depth(OP, tensor)?;
    let summarised = tensor.numel() > options.threshold;
    let printer = Printer { reader: Reader::new(tensor)?, shape: tensor.shape(), summarised, options };
    let mut values = Vec::new();
    printer.values(&mut Vec::new(), &mut values)?;
    let formatter = Formatter::new(&values, tensor.dtype().is_floating_point(), &options);
    drop(values);
    let mut text = String::from(PREFIX);
    printer.block(&mut Vec::new(), PREFIX.len(), &formatter, &mut text)?;
    Ok(text)
}

/// Suffixes stand on the last line where they fit, else on lines of their own.
fn with_suffixes(mut text: String, suffixes: &[String], linewidth: usize) -> Result<String> {
    // Two more than there are characters, as torch counts.
    let mut last = text.len() - text.rfind('\n').map_or(0, |n| n + 1) + 2;
    for suffix in suffixes {
        if last + suffix.len() + 2 > linewidth {
            add(&mut text, &format!(",\n{}{suffix}", " ".repeat(PREFIX.len())))?;
            last = PREFIX.len() + suffix.len();
        } else {
            add(&mut text, &format!(", {suffix}"))?;
            last += suffix.len() + 2;
        }
    }
    add(&mut text, ")")?;
    Ok(text)
}
