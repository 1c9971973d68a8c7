//! The text of a tensor, torch's to the character: one number format for all elements, columns aligned, the middle of
//! large tensors left out.

use parking_lot::RwLock;

use super::Tensor;
use super::dtype::DType;
use super::read::Reader;
use super::scalar::Scalar;
use crate::error::Result;
use crate::graph::forward;

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
        let finite: Vec<f64> =
            values.iter().map(|s| s.as_f64()).filter(|v| v.is_finite() && *v != 0.0).map(f64::abs).collect();
        if finite.is_empty() {
            return Format::Whole;
        }
        let (low, high) = finite.iter().fold((f64::INFINITY, 0.0f64), |(l, h), &v| (l.min(v), h.max(v)));
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
    fn shown(&self, size: usize) -> Vec<Option<usize>> {
        let edge = self.options.edgeitems;
        if self.summarised && size > 2 * edge {
            (0..edge).map(Some).chain([None]).chain((size - edge..size).map(Some)).collect()
        } else {
            (0..size).map(Some).collect()
        }
    }

    /// The elements that are shown.
    fn values(&self, index: &mut Vec<usize>, out: &mut Vec<Scalar>) {
        if index.len() == self.shape.len() {
            return out.push(self.reader.get(index));
        }
        for i in self.shown(self.shape[index.len()]).into_iter().flatten() {
            index.push(i);
            self.values(index, out);
            index.pop();
        }
    }

    /// The innermost dimension: as many numbers on a line as fit.
    fn line(&self, index: &mut Vec<usize>, indent: usize, formatter: &Formatter) -> String {
        let width = formatter.width + 2;
        let per_line = ((self.options.linewidth.saturating_sub(indent)) / width).max(1);
        let mut texts = Vec::new();
        for i in self.shown(self.shape[index.len()]) {
            texts.push(match i {
                Some(i) => {
                    index.push(i);
                    let text = formatter.padded(self.reader.get(index));
                    index.pop();
                    text
                }
                None if self.options.edgeitems == 0 => "...".into(),
                None => " ...".into(),
            });
        }
        let lines: Vec<String> = texts.chunks(per_line).map(|line| line.join(", ")).collect();
        format!("[{}]", lines.join(&format!(",\n{}", " ".repeat(indent + 1))))
    }

    fn block(&self, index: &mut Vec<usize>, indent: usize, formatter: &Formatter) -> String {
        let left = self.shape.len() - index.len();
        if left == 0 {
            return formatter.padded(self.reader.get(index));
        }
        if left == 1 {
            return self.line(index, indent, formatter);
        }
        let parts: Vec<String> = self
            .shown(self.shape[index.len()])
            .into_iter()
            .map(|i| match i {
                Some(i) => {
                    index.push(i);
                    let text = self.block(index, indent + 1, formatter);
                    index.pop();
                    text
                }
                None => "...".into(),
            })
            .collect();
        let gap = format!(",{}{}", "\n".repeat(left - 1), " ".repeat(indent + 1));
        format!("[{}]", parts.join(&gap))
    }
}

const PREFIX: &str = "tensor(";

/// The text of a tensor with what distinguishes it: `tensor([1.], dtype=torch.float64, requires_grad=True)`.
///
/// # Errors
/// None today; reading elements may come to fail.
pub fn repr(tensor: &Tensor) -> Result<String> {
    if let Some(batch) = tensor.batch() {
        let value = repr(&batch.value)?.replace('\n', "\n    ");
        return Ok(format!("BatchedTensor(lvl={}, bdim=0, value=\n    {value}\n)", batch.level));
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
        "[]".to_string()
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
    Ok(with_suffixes(body, &suffixes, options.linewidth))
}

fn elements(tensor: &Tensor, options: Options) -> Result<String> {
    let summarised = tensor.numel() > options.threshold;
    let printer = Printer { reader: Reader::new(tensor)?, shape: tensor.shape(), summarised, options };
    let mut values = Vec::new();
    printer.values(&mut Vec::new(), &mut values);
    let formatter = Formatter::new(&values, tensor.dtype().is_floating_point(), &options);
    Ok(printer.block(&mut Vec::new(), PREFIX.len(), &formatter))
}

/// Suffixes stand on the last line where they fit, else on lines of their own.
fn with_suffixes(body: String, suffixes: &[String], linewidth: usize) -> String {
    let mut text = format!("{PREFIX}{body}");
    // Two more than there are characters, as torch counts.
    let mut last = text.len() - text.rfind('\n').map_or(0, |n| n + 1) + 2;
    for suffix in suffixes {
        if last + suffix.len() + 2 > linewidth {
            text.push_str(&format!(",\n{}{suffix}", " ".repeat(PREFIX.len())));
            last = PREFIX.len() + suffix.len();
        } else {
            text.push_str(&format!(", {suffix}"));
            last += suffix.len() + 2;
        }
    }
    text.push(')');
    text
}
