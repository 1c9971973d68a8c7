//! What the values and the settings that a node keeps are called: as the parameters and results of its operation are.

use super::recorded::Settings;
use super::registry::{Operation, operations};
use crate::graph::NodeRef;
use crate::graph::node::{Label, Setting};
use crate::graph::saved::Saved;

/// The values that a node keeps, or that other nodes of its operation keep, by name.
pub fn saved(node: &NodeRef) -> Vec<(String, Saved)> {
    let all = node.labelled();
    let operation = operation(node.name());
    let operands = all.iter().filter(|(label, _)| matches!(label, Label::Operand(_))).count();
    let named = |(label, saved): (Label, Saved)| (name(operation, node, label, operands), saved);
    all.into_iter().map(named).collect()
}

/// True of the nodes of operations whose gradients depend on an input by choices alone, such as which element was the greatest.
pub fn is_piecewise(node: &NodeRef) -> bool {
    const KINDS: [&str; 8] = [
        "AvgPool",
        "MaxPool",
        "AdaptiveAvgPool",
        "AdaptiveMaxPool",
        "FractionalMaxPool",
        "ReflectionPad",
        "ReplicationPad",
        "NllLoss",
    ];
    let name = node.name();
    KINDS.iter().any(|kind| name.starts_with(kind)) && !name.contains("BackwardBackward") && !node.is_host_function()
}

/// The operation that a node is named after: `log_softmax` of `LogSoftmaxBackward0`.
fn operation(node: &str) -> Option<&'static Operation> {
    let head = match node.split_once("Backward")?.0 {
        "ScaledDotProductFlashAttentionForCpu" => "ScaledDotProductAttention",
        "GridSampler2D" | "GridSampler3D" => "GridSample",
        "PreluKernel" => "Prelu",
        "NllLoss2D" => "NllLoss",
        head => head,
    };
    let mut name = String::new();
    for (n, letter) in head.char_indices() {
        if n > 0 && letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    let plain = name.split_once('_').filter(|(home, _)| matches!(*home, "linalg" | "special")).map(|(_, name)| name);
    let is = |o: &&Operation| o.name == name || Some(o.name) == plain || o.aliases.contains(&&*name);
    operations().iter().find(is)
}

fn name(operation: Option<&Operation>, node: &NodeRef, label: Label, operands: usize) -> String {
    let fallback = || match label {
        Label::Operand(0) => "self",
        Label::Operand(_) => "other",
        Label::Other(_) => "indices",
        Label::Result(_) => "result",
    };
    let known = operation.and_then(|o| match label {
        Label::Operand(n) => o.signatures.iter().find_map(|s| parameters(s).nth(n)),
        // What is no operand stands behind them, or is a result that is found on the way.
        Label::Other(n) => {
            let behind = |s: &&'static str| parameters(s).filter(|p| p.starts_with("ind")).nth(n);
            o.signatures.iter().find_map(behind).or_else(|| result(o, operands.max(1) + n))
        }
        Label::Result(n) => result(o, n),
    });
    match given(node.name(), label).or(known) {
        // The functions of `nn` and `special` have another name for it than their nodes.
        Some("input")
            if !is_normalisation(node.name())
                && !["Convolution", "GridSampler"].iter().any(|head| node.name().starts_with(head)) =>
        {
            "self".into()
        }
        known => known.map_or_else(|| fallback().into(), str::to_string),
    }
}

/// The name of a value where the operation does not tell it as torch's node does.
fn given(node: &str, label: Label) -> Option<&'static str> {
    match label {
        Label::Result(_) if is_whole(node) => Some("result"),
        Label::Result(1) | Label::Other(0) if is_normalisation(node) => Some("result1"),
        Label::Result(2) | Label::Other(1) if is_normalisation(node) => Some("result2"),
        Label::Other(0) if node.contains("MaxPool") || node.starts_with("NativeDropout") => Some("result1"),
        Label::Other(0) if node.starts_with("RreluWithNoise") => Some("noise"),
        _ => None,
    }
}

/// True for the nodes of normalisations, whose second and third results are what they normalised by.
fn is_normalisation(node: &str) -> bool {
    matches!(node, "NativeLayerNormBackward0" | "NativeGroupNormBackward0" | "NativeBatchNormBackward0")
}

/// True for the nodes of reductions of all elements whose operations have other forms with two results.
fn is_whole(node: &str) -> bool {
    matches!(node, "MaxBackward1" | "MinBackward1" | "MedianBackward0" | "NanmedianBackward0")
}

/// What a node without dimensions says of them, where torch has one node for both.
fn of_all(node: &str, keepdim: bool) -> Vec<(&'static str, Setting)> {
    let dim = match node {
        "AmaxBackward0" | "AminBackward0" => Setting::Ints(Vec::new()),
        "VarBackward0" | "StdBackward0" | "LinalgVectorNormBackward0" | "NansumBackward0" | "AminmaxBackward0" => {
            Setting::Nothing
        }
        _ => return Vec::new(),
    };
    vec![("dim", dim), ("keepdim", Setting::Bool(keepdim))]
}

/// The sizes and strides of the factors of a product.
/// `has_gradient` tells of an input whether its gradient is wanted: else torch keeps no strides of it.
pub(super) fn of_factors(
    node: &str,
    settings: &Settings,
    has_gradient: impl Fn(usize) -> bool,
) -> Vec<(&'static str, Setting)> {
    let (names, first) = match node {
        "MmBackward0" => ([["self_sym_sizes", "self_sym_strides"], ["mat2_sym_sizes", "mat2_sym_strides"]], 0),
        "AddmmBackward0" => ([["mat1_sym_sizes", "mat1_sym_strides"], ["mat2_sym_sizes", "mat2_sym_strides"]], 1),
        "AddbmmBackward0" => {
            let names = ["batch1_sym_argsize_0", "batch1_sym_argsize_1", "batch2_sym_argsize_2"];
            return names.into_iter().zip(&settings.shape).map(|(name, &n)| (name, Setting::Int(n as i64))).collect();
        }
        _ => return Vec::new(),
    };
    let mut all = Vec::new();
    for (n, [sizes, strides]) in names.into_iter().enumerate() {
        let part = 2 * n..2 * n + 2;
        let known =
            if has_gradient(first + n) { Setting::ints(&settings.dims[part.clone()]) } else { Setting::Ints(vec![]) };
        all.extend([(sizes, Setting::ints(&settings.shape[part])), (strides, known)]);
    }
    all
}

/// The settings of a node by the parameters of its operation. The sizes of the input are one where the input is not kept.
pub(super) fn settings(node: &str, settings: &Settings, keeps_input: bool) -> Vec<(&'static str, Setting)> {
    let Some(operation) = operation(node) else { return settings.told.to_vec() };
    let mut all: Vec<(&'static str, Setting)> = settings.told.to_vec();
    if settings.whole {
        all.extend(of_all(node, settings.keepdim));
    }
    for (kind, name) in operation.signatures.iter().flat_map(|s| typed(s)) {
        let value = match (kind.trim_end_matches('?'), name, &settings.dims[..]) {
            ("int[]", "dim" | "dims", dims) if !settings.whole => Setting::ints(dims),
            ("int", "dim", &[dim]) if !settings.whole => Setting::Int(dim as i64),
            ("bool", "keepdim", _) if !settings.whole && !is_whole(node) => Setting::Bool(settings.keepdim),
            (_, "p", _) => Setting::Float(settings.number),
            (_, "correction", _) if settings.number.fract() == 0.0 => Setting::Int(settings.number as i64),
            (_, "correction", _) => Setting::Float(settings.number),
            ("Tensor", "self", _) if !keeps_input && !settings.shape.is_empty() && settings.factors.is_none() => {
                if operation.name == "mean" {
                    all.push(("self_sym_numel", Setting::Int(settings.shape.iter().product::<usize>() as i64)));
                }
                all.push(("self_sym_sizes", Setting::ints(&settings.shape)));
                continue;
            }
            _ => continue,
        };
        all.push((name, value));
    }
    all.sort_by_key(|(name, _)| *name);
    all.dedup_by_key(|(name, _)| *name);
    all
}

/// The kinds and names of the parameters.
fn typed(signature: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let call = signature.split_once(" -> ").map_or(signature, |(call, _)| call);
    let inside = call.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).map_or("", |(inside, _)| inside);
    let parts = |parameter: &'static str| {
        let (kind, name) = parameter.split_once(' ')?;
        Some((kind, name.split_once('=').map_or(name, |(name, _)| name)))
    };
    inside.split(", ").filter_map(parts)
}

/// The names of the parameters that take tensors or numbers in a tensor's place.
fn parameters(signature: &'static str) -> impl Iterator<Item = &'static str> {
    let is_operand = |kind: &str| ["Tensor", "Operand", "Number"].iter().any(|k| kind.starts_with(k));
    typed(signature).filter(move |(kind, _)| is_operand(kind)).map(|(_, name)| name)
}

/// The name of a result, where the results have names.
fn result(operation: &Operation, n: usize) -> Option<&'static str> {
    let of = |signature: &&'static str| {
        let (_, results) = signature.split_once("-> (")?;
        results.trim_end_matches(')').split(", ").nth(n)?.split_once(' ').map(|(_, name)| name)
    };
    operation.signatures.iter().find_map(of)
}
