//! What an error is about: its class, and the operation that it names.

use super::Error;

/// The class of an error; named after the Python exception it becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A valid call that these values do not allow.
    Runtime,
    /// An argument of the wrong type.
    Type,
    /// An argument of the right type and an impossible value.
    Value,
    /// An index or a dimension out of range.
    Index,
    /// Something torch has and this crate does not.
    NotImplemented,
    /// An allocation that could not be had.
    Memory,
}

/// A mutable reference to the operation of an error, where its variant is one of these.
macro_rules! operation_of {
    ($error:expr; $($variant:ident)*) => {
        match $error {
            $(Error::$variant { op, .. })|* => Some(op),
            _ => None,
        }
    };
}

impl Error {
    /// The operation that the error names, unless that is what it is about.
    pub(super) fn op_mut(&mut self) -> Option<&mut &'static str> {
        operation_of! { self;
            Broadcast InnerSizes Rank Shape DimRange NoDimensions DimRepeated IndexRange NothingToIndex GatherRange
            IndexShape TooManyIndices IndexDType IndexScalar ReshapeSize ReshapeAmbiguous ViewNeedsCopy Expand ExpandRank
            PermuteRank SizeOverflow StorageBounds DTypeUnsupported DTypeInvalid DTypeMismatch ResultCast InPlaceShape
            Overlap SharedMemory ReadOnly IntegerDivisionByZero NegativeIntegerPower EmptyReduction EmptyTotal EmptyPlaces Escaped
            NotScalar AmbiguousTruth Range RandomState PinMemory Invalid Argument ArgumentType Alpha RoundingMode Overflow
            IndexShapes Stretch IndexedShape MaskShape NoBounds Data EmptyList NothingToJoin NotImplemented OutOfMemory InPlaceLeaf
            InPlaceLeafView InPlaceUnrecordedView InPlaceMultiView InPlaceInference BatchedInPlace BatchedRandom
            BatchedRandomGradient BatchedSize NoTangent InPlaceCaptured Internal
        }
    }

    /// The class of this error.
    pub fn kind(&self) -> Kind {
        use Error::*;
        match self {
            DimRange { .. }
            | NoDimensions { .. }
            | IndexShapes { .. }
            | EmptyPlaces { .. }
            | IndexRange { .. }
            | NothingToIndex { .. }
            | TooManyIndices { .. }
            | IndexDType { .. }
            | MaskShape { .. }
            | IndexScalar { .. }
            | IndexShape { .. }
            | EmptyReduction { .. } => Kind::Index,
            ArgumentType { .. } | Assignment { what: "grad", property: "type", .. } => Kind::Type,
            Argument { .. } | Data { .. } | DualDType { .. } | NothingToJoin { .. } => Kind::Value,
            NotImplemented { .. } | NoDerivative { .. } | NoTangent { .. } | DTypeUnsupported { .. } => {
                Kind::NotImplemented
            }
            OutOfMemory { .. } => Kind::Memory,
            _ => Kind::Runtime,
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_operation_in_an_error_can_be_that_which_was_called() {
        let named = |before: &str| {
            before.rsplit(|c: char| !c.is_alphanumeric()).find(|word| !word.is_empty()).map(str::to_string)
        };
        let catalogue = include_str!("mod.rs");
        let mut expected: Vec<String> =
            catalogue.match_indices("{ op: &'static str").filter_map(|(at, _)| named(&catalogue[..at])).collect();
        expected.retain(|variant| variant != "NoDerivative");
        expected.sort();
        let listed = include_str!("class.rs").split_once("operation_of! { self;").unwrap().1.split_once('}').unwrap().0;
        let mut listed: Vec<&str> = listed.split_whitespace().collect();
        listed.sort();
        assert_eq!(listed, expected);
    }
}
