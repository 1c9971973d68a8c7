//! What the values that a node keeps are called: as the parameters and results of its operation are.

use super::registry::{Operation, operations};
use crate::graph::NodeRef;
use crate::graph::node::Label;
use crate::graph::saved::Saved;

/// The values that a node keeps, or that other nodes of its operation keep, by name.
pub fn saved(node: &NodeRef) -> Vec<(String, Saved)> {
    let all = node.labelled();
    let operation = operation(node.name());
    let operands = all.iter().filter(|(label, _)| matches!(label, Label::Operand(_))).count();
    let named = |(label, saved): (Label, Saved)| (name(operation, node, label, operands), saved);
    all.into_iter().map(named).collect()
}

/// The operation that a node is named after: `log_softmax` of `LogSoftmaxBackward0`.
fn operation(node: &str) -> Option<&'static Operation> {
    let (head, _) = node.split_once("Backward")?;
    let mut name = String::new();
    for (n, letter) in head.char_indices() {
        if n > 0 && letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    operations().iter().find(|o| o.name == name || o.aliases.contains(&&*name))
}

fn name(operation: Option<&Operation>, node: &NodeRef, label: Label, operands: usize) -> String {
    let fallback = || match label {
        Label::Operand(0) => "self",
        Label::Operand(_) => "other",
        Label::Other(_) if node.name().starts_with("Index") => "indices",
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
    known.map_or_else(|| fallback().into(), str::to_string)
}

/// The names of the parameters that take tensors or numbers in a tensor's place.
fn parameters(signature: &'static str) -> impl Iterator<Item = &'static str> {
    let inside = signature.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(inside, _)| inside);
    let named = |parameter: &'static str| {
        let (kind, name) = parameter.split_once(' ')?;
        let is_operand = ["Tensor", "Operand", "Number"].iter().any(|k| kind.starts_with(k));
        is_operand.then(|| name.split_once('=').map_or(name, |(name, _)| name))
    };
    inside.split(", ").filter_map(named)
}

/// The name of a result, where the results have names.
fn result(operation: &Operation, n: usize) -> Option<&'static str> {
    let of = |signature: &&'static str| {
        let (_, results) = signature.split_once("-> (")?;
        results.trim_end_matches(')').split(", ").nth(n)?.split_once(' ').map(|(_, name)| name)
    };
    operation.signatures.iter().find_map(of)
}
