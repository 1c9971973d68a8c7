//! Calls in the forms that torch had before factors were given by name.

use std::sync::atomic::AtomicBool;

use pyo3::prelude::*;

use super::arguments::{Given, Values, matched};
use super::host::warn_once;
use super::signature::{Default, Entry, Parameter, Signature};
use crate::ops::Value;
use crate::tensor::scalar::Scalar;

/// The operations of which torch still takes calls in an old form, with a warning; so are their forms in place.
const OF_OLD_FORMS: [&str; 9] = ["add", "sub", "addcmul", "addcdiv", "addmm", "addmv", "addr", "addbmm", "baddbmm"];

/// Whether a call in an old form was warned of.
static WARNED: AtomicBool = AtomicBool::new(false);

/// The forms that a signature had before its factors were given by name, and which parameter of today each parameter was: the
/// factor stands behind the first tensor (`add(x, alpha, other)`), and `beta` before the tensor that it is for, with `alpha` or
/// without (`addmm(beta, x, alpha, a, b)`, as a method `x.addmm(beta, alpha, a, b)`).
fn old_forms(signature: &Signature, is_method: bool) -> Vec<(Signature, Vec<usize>)> {
    let of_today = &signature.parameters;
    let place = |name: &str| of_today.iter().position(|p| p.name == name);
    let tensors = (1..of_today.len()).filter(|&n| !of_today[n].keyword_only);
    let orders: Vec<Vec<usize>> = match (place("beta"), place("alpha").or(place("value"))) {
        (Some(beta), Some(alpha)) if is_method => vec![vec![0, beta], vec![0, beta, alpha]],
        (Some(beta), Some(alpha)) => vec![vec![beta, 0], vec![beta, 0, alpha]],
        (_, factor) => factor.map(|factor| vec![0, factor]).into_iter().collect(),
    };
    let given = |n: &usize| Parameter { default: Default::Required, keyword_only: false, ..of_today[*n] };
    let form = |start: Vec<usize>| {
        let order: Vec<usize> = start.into_iter().chain(tensors.clone()).collect();
        let parameters = order.iter().map(given).collect();
        (Signature { parameters, names_results: signature.names_results }, order)
    };
    orders.into_iter().map(form).collect()
}

/// Writes the values of a call in one of the old forms, in the order of the signature that it became, and gives its number.
#[cold]
pub(super) fn of_old_form(entry: &Entry, given: &Given, values: &mut Values) -> PyResult<Option<usize>> {
    let name = entry.operation.name;
    if !OF_OLD_FORMS.contains(&name.trim_end_matches('_')) {
        return Ok(None);
    }
    let is_method = given.receiver.is_some();
    for (n, signature) in entry.signatures.iter().enumerate() {
        for (form, order) in old_forms(signature, is_method) {
            let mut found = Values::new();
            if matched(&form, given, &mut found).is_err() {
                continue;
            }
            let message = format!(
                "This overload of {name} is deprecated:\n\t{name}{}\nConsider using one of the following signatures \
                 instead:\n\t{name}{}",
                form.shown(is_method),
                signature.shown(is_method)
            );
            let objects = given.receiver.iter().chain(given.positional).chain(given.named.iter().map(|(_, o)| o));
            if let Some(py) = objects.map(|o| o.py()).next() {
                warn_once(py, &WARNED, &message)?;
            }
            values.clear();
            for place in 0..signature.parameters.len() {
                values.push(match order.iter().position(|&of| of == place) {
                    Some(at) => found[at].clone(),
                    // The factor that the form has no place for.
                    None => Value::Number(Scalar::Int(1)),
                });
            }
            return Ok(Some(n));
        }
    }
    Ok(None)
}
