//! Programs over memory in the order in which an output lies: what was turned is turned back.

use smallvec::SmallVec;

use super::{Input, Output};

type Dims = SmallVec<[usize; 6]>;
type Strides = SmallVec<[isize; 6]>;

/// The dimensions of an output from the outermost in memory to the innermost; `None` where that is the order they have.
pub(super) fn order_in_memory(shape: &[usize], strides: &[isize]) -> Option<Dims> {
    let mut order: Dims = (0..shape.len()).filter(|&d| shape[d] != 1).collect();
    if order.windows(2).all(|pair| strides[pair[0]].abs() >= strides[pair[1]].abs()) {
        return None;
    }
    order.sort_by_key(|&d| std::cmp::Reverse(strides[d].abs()));
    Some(order)
}

/// The shape and the strides of a program's operands in another order of the dimensions.
pub(super) struct Turned {
    pub shape: Dims,
    /// The strides of the inputs (none for numbers), then of the outputs.
    strides: SmallVec<[Strides; 4]>,
}

impl Turned {
    pub fn new(order: &[usize], inputs: &[Input], outputs: &[Output], shape: &[usize]) -> Turned {
        let turn = |strides: &[isize]| order.iter().map(|&d| strides[d]).collect();
        let of_input = |input: &Input| match input {
            Input::Array { strides, .. } => turn(strides),
            Input::Number(_) => Strides::new(),
        };
        let strides = inputs.iter().map(of_input).chain(outputs.iter().map(|o| turn(o.strides))).collect();
        Turned { shape: order.iter().map(|&d| shape[d]).collect(), strides }
    }

    pub fn inputs<'a>(&'a self, inputs: &[Input<'a>]) -> SmallVec<[Input<'a>; 6]> {
        let turn = |(input, strides): (&Input<'a>, &'a Strides)| match *input {
            Input::Array { data, dtype, .. } => Input::Array { data, dtype, strides },
            number => number,
        };
        inputs.iter().zip(&self.strides).map(turn).collect()
    }

    pub fn outputs<'a>(&'a self, outputs: &[Output<'a>]) -> SmallVec<[Output<'a>; 2]> {
        let own = &self.strides[self.strides.len() - outputs.len()..];
        outputs.iter().zip(own).map(|(output, strides)| Output { strides, ..*output }).collect()
    }
}
