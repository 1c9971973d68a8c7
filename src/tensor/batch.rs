//! Tensors that show a single example of a batch.

use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use super::layout::Layout;
use super::{Inner, Tensor};
use crate::memory::shared::Shared;

/// What a batched tensor is a single example of.
pub struct Batch {
    /// Which of the nested batches.
    pub level: u32,
    /// All examples: the first dimension is the batch.
    pub value: Tensor,
    /// Where the batch was among the dimensions before it was hidden, for functions that say how they are mapped.
    pub(crate) place: AtomicUsize,
    /// Whether a map was given it: its place in the graph is that of the caller's tensor, which others may use too.
    pub(crate) is_argument: AtomicBool,
}

impl Tensor {
    /// A tensor that shows a single example of `value`, whose first dimension is the batch of a level.
    pub(crate) fn batched(value: &Tensor, level: u32) -> Tensor {
        let full = value.layout();
        let layout = Layout { shape: full.shape[1..].into(), strides: full.strides[1..].into(), offset: full.offset };
        let v = &value.0;
        let (place, is_argument) = (AtomicUsize::new(0), AtomicBool::new(false));
        Tensor(Shared::new(Inner {
            storage: v.storage.clone(),
            contiguous: layout.is_contiguous(),
            layout,
            dtype: v.dtype,
            versioning: v.versioning,
            made_at: 0,
            view: None,
            batch: Some(Shared::new(Batch { level, value: value.clone(), place, is_argument })),
            meta: AtomicPtr::new(null_mut()),
            host: AtomicPtr::new(null_mut()),
        }))
    }

    /// Notes that the examples lay where those of another tensor did.
    pub(crate) fn lie_as(&self, other: &Tensor) {
        if let (Some(own), Some(other)) = (self.batch(), other.batch()) {
            own.place.store(other.place.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// What this tensor is a single example of, where it is batched.
    #[inline]
    pub(crate) fn batch(&self) -> Option<&Batch> {
        self.0.batch.as_deref()
    }
}
