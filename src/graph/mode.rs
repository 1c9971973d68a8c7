//! What this thread does with operations beside computing them: record them, watch over what they keep, refuse to.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::forward;
use super::saved::SavedHooks;
use crate::error::{Error, Result};

const GRAD: u64 = 1;
const INFERENCE: u64 = 2;
const SAVED_HOOKS: u64 = 4;
const ONE_THREAD: u64 = 8;
const MAPPING: u64 = 16;
const GUARDED: u64 = 32;
const ANY_LAYOUT: u64 = 64;
const NO_TANGENTS: u64 = 128;
/// Where the number of the levels of forward mode that are seen begins.
const LEVELS: u32 = 32;

/// Which random numbers the examples of a batch see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Randomness {
    /// None: asking for them is an error.
    Error,
    /// None either: the examples are gradients of one pass, or tangents.
    Unsupported,
    /// All the same.
    Same,
    /// Each their own.
    Different,
}

/// A `vmap` that is running.
#[derive(Clone, Copy, Debug)]
pub struct Mapping {
    /// The number of examples.
    pub size: usize,
    /// Which random numbers they see.
    pub randomness: Randomness,
    /// A number that no other map has, ever.
    number: u64,
    /// How many transforms that differentiate run within this map and not within one further in.
    transforms: u32,
    /// As many levels of forward mode.
    duals: u32,
}

static NEXT_MAPPING: AtomicU64 = AtomicU64::new(1);
/// True once a thread has entered inference mode.
static INFERENCE_ENTERED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The maps that run, the innermost last; a map's level is its place, counted from 1.
    static MAPPINGS: RefCell<Vec<Mapping>> = const { RefCell::new(Vec::new()) };
    /// Transforms that differentiate, within maps and outside of them.
    static TRANSFORMS: Cell<u32> = const { Cell::new(0) };
    /// How many maps [`outside_mapping`] hides.
    static HIDDEN: Cell<u32> = const { Cell::new(0) };
    /// How many transforms that differentiate, and levels of forward mode, run within these maps.
    static HIDDEN_WITHIN: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
    /// All that an operation asks for, in one place: the bits, and above them the levels of forward mode that are seen.
    static MODE: Cell<u64> = const { Cell::new(GRAD) };
    static HOOKS: RefCell<Stack> = const { RefCell::new(Stack { hooks: Vec::new(), disabled: None }) };
}

/// The hooks on saved values, the innermost last, and why there may be none.
#[derive(Clone)]
struct Stack {
    hooks: Vec<Arc<dyn SavedHooks>>,
    disabled: Option<String>,
}

#[inline]
fn has(bit: u64) -> bool {
    MODE.get() & bit != 0
}

/// Sets or clears a bit; gives what it was.
#[inline]
fn set(bit: u64, on: bool) -> bool {
    let before = MODE.get();
    MODE.set(if on { before | bit } else { before & !bit });
    before & bit != 0
}

/// True where operations are recorded.
#[inline]
pub fn is_grad_enabled() -> bool {
    has(GRAD)
}

/// True where operations are neither recorded nor carry tangents.
#[inline]
pub fn records_nothing() -> bool {
    let mode = MODE.get();
    mode & GRAD == 0 && mode >> LEVELS == 0
}

/// Turns recording on or off for this thread; gives what it was.
#[inline]
pub fn set_grad_enabled(enabled: bool) -> bool {
    set(GRAD, enabled)
}

/// True where new tensors never take part in recording.
#[inline]
pub fn is_inference_mode_enabled() -> bool {
    has(INFERENCE)
}

/// Turns inference mode alone on or off, recording apart; gives what it was.
pub(super) fn set_inference(enabled: bool) -> bool {
    if enabled {
        INFERENCE_ENTERED.store(true, Ordering::Relaxed);
    }
    set(INFERENCE, enabled)
}

/// False where there cannot be a tensor that was made in inference mode. One that comes from another thread comes with what that
/// thread wrote before.
#[inline]
pub(super) fn may_have_inference_tensors() -> bool {
    INFERENCE_ENTERED.load(Ordering::Relaxed)
}

/// Turns inference mode on or off for this thread, and recording the other way; gives what both were.
pub fn set_inference_mode(enabled: bool) -> (bool, bool) {
    (set_inference(enabled), set(GRAD, !enabled))
}

/// Ends what [`set_inference_mode`] began.
pub fn restore_inference_mode((inference, grad): (bool, bool)) {
    set_inference(inference);
    set(GRAD, grad);
}

/// Lets backward passes of this thread use others, or not; gives what it was.
pub fn set_multithreading_enabled(enabled: bool) -> bool {
    !set(ONE_THREAD, !enabled)
}

/// True where backward passes of this thread may use others.
pub fn is_multithreading_enabled() -> bool {
    !has(ONE_THREAD)
}

/// Has leaves keep the first gradient in their own layout, or in whichever it comes; gives what it was.
pub fn set_layout_enforced(enforced: bool) -> bool {
    !set(ANY_LAYOUT, !enforced)
}

/// True where leaves keep the first gradient in their own layout.
#[inline]
pub(crate) fn is_layout_enforced() -> bool {
    !has(ANY_LAYOUT)
}

/// Begins a map over examples; gives its level.
pub fn enter_mapping(size: usize, randomness: Randomness) -> u32 {
    set(MAPPING, true);
    let number = NEXT_MAPPING.fetch_add(1, Ordering::Relaxed);
    MAPPINGS.with_borrow_mut(|all| {
        all.push(Mapping { size, randomness, number, transforms: 0, duals: 0 });
        all.len() as u32
    })
}

/// Ends the innermost map.
pub fn exit_mapping() {
    let left = MAPPINGS.with_borrow_mut(|all| {
        all.pop();
        all.len()
    });
    set(MAPPING, left > 0);
}

/// Runs a closure outside of the map of a level and of those within it.
pub fn outside_mapping<R>(level: u32, f: impl FnOnce() -> R) -> R {
    struct Restore(Vec<Mapping>, (u32, u32));
    impl Drop for Restore {
        fn drop(&mut self) {
            HIDDEN.set(HIDDEN.get() - self.0.len() as u32);
            HIDDEN_WITHIN.set(self.1);
            MAPPINGS.with_borrow_mut(|all| all.append(&mut self.0));
            set(MAPPING, true);
        }
    }
    let outer = (level as usize).saturating_sub(1);
    let hidden = MAPPINGS.with_borrow_mut(|all| all.split_off(outer.min(all.len())));
    set(MAPPING, outer > 0);
    HIDDEN.set(HIDDEN.get() + hidden.len() as u32);
    let before = HIDDEN_WITHIN.get();
    HIDDEN_WITHIN.set(hidden.iter().fold(before, |(t, d), m| (t + m.transforms, d + m.duals)));
    let _restore = Restore(hidden, before);
    f()
}

/// The number of the map of a level, by which it is known after its end.
pub(crate) fn mapping_number(level: u32) -> Option<u64> {
    MAPPINGS.with_borrow(|all| all.get((level as usize).checked_sub(1)?).map(|m| m.number))
}

/// True while the map of a level runs on this thread, also where it is hidden by [`outside_mapping`].
pub fn is_mapping(level: u32) -> bool {
    MAPPINGS.with_borrow(|all| all.len() + HIDDEN.get() as usize >= level as usize)
}

/// The level of a map by its number, while it runs.
pub(crate) fn mapping_level(number: u64) -> Option<u32> {
    if !has(MAPPING) {
        return None;
    }
    MAPPINGS.with_borrow(|all| all.iter().position(|m| m.number == number).map(|n| n as u32 + 1))
}

/// Begins a transform that differentiates a function.
pub fn enter_transform() {
    TRANSFORMS.set(TRANSFORMS.get() + 1);
    MAPPINGS.with_borrow_mut(|all| all.last_mut().into_iter().for_each(|m| m.transforms += 1));
}

/// Ends the innermost such transform.
pub fn exit_transform() {
    TRANSFORMS.set(TRANSFORMS.get().saturating_sub(1));
    MAPPINGS
        .with_borrow_mut(|all| all.last_mut().into_iter().for_each(|m| m.transforms = m.transforms.saturating_sub(1)));
}

/// True where a transform on this thread watches over what was there before it.
#[inline]
pub(super) fn is_guarded() -> bool {
    has(GUARDED)
}

/// Sets whether a transform on this thread watches over what was there before it.
pub(super) fn set_guarded(guarded: bool) {
    set(GUARDED, guarded);
}

/// How many levels of forward mode are seen.
#[inline]
pub(super) fn visible_levels() -> usize {
    (MODE.get() >> LEVELS) as usize
}

/// Sets how many levels of forward mode are seen; gives what it was.
pub(super) fn set_visible_levels(count: usize) -> usize {
    let before = MODE.get();
    MODE.set(before & ((1 << LEVELS) - 1) | (count as u64) << LEVELS);
    (before >> LEVELS) as usize
}

/// Has operations carry tangents, or not; gives what it was.
pub(super) fn set_tangents_enabled(enabled: bool) -> bool {
    !set(NO_TANGENTS, !enabled)
}

/// True where operations carry the tangents of levels that are seen.
pub fn are_tangents_enabled() -> bool {
    !has(NO_TANGENTS)
}

/// Notes that a level of forward mode begins.
pub(super) fn enter_dual() {
    MAPPINGS.with_borrow_mut(|all| all.last_mut().into_iter().for_each(|m| m.duals += 1));
}

/// Notes that a level of forward mode has ended.
pub(super) fn exit_dual() {
    MAPPINGS.with_borrow_mut(|all| all.last_mut().into_iter().for_each(|m| m.duals = m.duals.saturating_sub(1)));
}

/// True where a level of forward mode lives within the map of a level.
pub fn is_carried(level: u32) -> bool {
    let within = |all: &Vec<Mapping>| all.iter().skip((level as usize).saturating_sub(1)).any(|m| m.duals > 0);
    HIDDEN_WITHIN.get().1 > 0 || MAPPINGS.with_borrow(within)
}

/// True where a transform that differentiates runs within the map of a level.
pub(crate) fn is_differentiated(level: u32) -> bool {
    let within = |all: &Vec<Mapping>| all.iter().skip((level as usize).saturating_sub(1)).any(|m| m.transforms > 0);
    // What is hidden lies within all maps that are seen.
    TRANSFORMS.get() > 0 && (HIDDEN_WITHIN.get().0 > 0 || MAPPINGS.with_borrow(within))
}

/// True within a map or a transform that differentiates.
pub fn is_transforming() -> bool {
    has(MAPPING) || TRANSFORMS.get() > 0
}

/// The maps that run, with their levels, the innermost last.
pub fn mappings() -> Vec<(u32, Mapping)> {
    if !has(MAPPING) {
        return Vec::new();
    }
    MAPPINGS.with_borrow(|all| all.iter().enumerate().map(|(n, m)| (n as u32 + 1, *m)).collect())
}

/// Hooks that see what nodes keep from now on, until [`pop_saved_hooks`].
///
/// # Errors
/// Where such hooks are disabled.
pub fn push_saved_hooks(hooks: Arc<dyn SavedHooks>) -> Result<()> {
    HOOKS.with_borrow_mut(|stack| match &stack.disabled {
        Some(message) => Err(Error::SavedHooksDisabled { message: message.clone() }),
        None => {
            stack.hooks.push(hooks);
            set(SAVED_HOOKS, true);
            Ok(())
        }
    })
}

/// Takes the innermost hooks away.
pub fn pop_saved_hooks() {
    let popped = HOOKS.with_borrow_mut(|stack| {
        let popped = stack.hooks.pop();
        set(SAVED_HOOKS, !stack.hooks.is_empty());
        popped
    });
    drop(popped);
}

/// Refuses hooks on saved values with this message, or with `None` allows them; gives the message before.
///
/// # Errors
/// Where there are such hooks now.
pub fn disable_saved_hooks(message: Option<String>) -> Result<Option<String>> {
    HOOKS.with_borrow_mut(|stack| match &message {
        Some(message) if !stack.hooks.is_empty() => Err(Error::SavedHooksDisabled { message: message.clone() }),
        _ => Ok(std::mem::replace(&mut stack.disabled, message)),
    })
}

/// True where there are hooks on saved values.
#[inline]
pub(crate) fn has_saved_hooks() -> bool {
    has(SAVED_HOOKS)
}

/// The innermost hooks on saved values.
#[inline]
pub(crate) fn saved_hooks() -> Option<Arc<dyn SavedHooks>> {
    if has(SAVED_HOOKS) { HOOKS.with_borrow(|stack| stack.hooks.last().cloned()) } else { None }
}

/// The modes of a thread, to be those of another that works for it.
pub struct Snapshot {
    mode: u64,
    hooks: Option<Stack>,
    mappings: Option<Vec<Mapping>>,
    transforms: u32,
    hidden: u32,
    hidden_within: (u32, u32),
    levels: Option<Vec<forward::Entered>>,
}

impl Snapshot {
    /// The modes of this thread.
    pub fn take() -> Snapshot {
        Snapshot {
            mode: MODE.get(),
            hooks: has(SAVED_HOOKS).then(|| HOOKS.with_borrow(Stack::clone)),
            mappings: has(MAPPING).then(|| MAPPINGS.with_borrow(Vec::clone)),
            transforms: TRANSFORMS.get(),
            hidden: HIDDEN.get(),
            hidden_within: HIDDEN_WITHIN.get(),
            levels: forward::snapshot(),
        }
    }

    /// Runs a closure on this thread in these modes.
    pub fn run<R>(&self, f: impl FnOnce() -> R) -> R {
        let before = Snapshot {
            mode: MODE.replace(self.mode),
            hooks: self.hooks.clone().map(|h| HOOKS.replace(h)),
            mappings: self.mappings.clone().map(|m| MAPPINGS.replace(m)),
            transforms: TRANSFORMS.replace(self.transforms),
            hidden: HIDDEN.replace(self.hidden),
            hidden_within: HIDDEN_WITHIN.replace(self.hidden_within),
            levels: self.levels.clone().map(forward::restore),
        };
        struct Restore(Snapshot);
        impl Drop for Restore {
            fn drop(&mut self) {
                MODE.set(self.0.mode);
                TRANSFORMS.set(self.0.transforms);
                HIDDEN.set(self.0.hidden);
                HIDDEN_WITHIN.set(self.0.hidden_within);
                if let Some(hooks) = self.0.hooks.take() {
                    HOOKS.set(hooks);
                }
                if let Some(mappings) = self.0.mappings.take() {
                    MAPPINGS.set(mappings);
                }
                if let Some(levels) = self.0.levels.take() {
                    forward::restore(levels);
                }
            }
        }
        let _restore = Restore(before);
        f()
    }
}

/// The hooks on saved values of this thread, as they are now again when this drops.
#[must_use = "the hooks are put back when the guard drops"]
pub struct HooksKept(Option<Stack>);

impl HooksKept {
    /// Notes the hooks.
    #[inline]
    pub fn note() -> HooksKept {
        HooksKept(has(SAVED_HOOKS).then(|| HOOKS.with_borrow(Stack::clone)))
    }
}

impl Drop for HooksKept {
    #[inline]
    fn drop(&mut self) {
        if self.0.is_none() && !has(SAVED_HOOKS) {
            return;
        }
        let disabled = HOOKS.with_borrow(|stack| stack.disabled.clone());
        let before = self.0.take().unwrap_or(Stack { hooks: Vec::new(), disabled });
        set(SAVED_HOOKS, !before.hooks.is_empty());
        drop(HOOKS.replace(before));
    }
}

/// Recording turned on or off until this drops.
#[must_use = "the mode ends when the guard drops"]
pub struct GradMode {
    before: bool,
}

impl GradMode {
    /// Turns recording on or off.
    #[inline]
    pub fn set(enabled: bool) -> Self {
        GradMode { before: set_grad_enabled(enabled) }
    }
}

impl Drop for GradMode {
    #[inline]
    fn drop(&mut self) {
        set_grad_enabled(self.before);
    }
}

/// Runs a closure without recording.
///
/// ```
/// use ferrograd::{Tensor, no_grad};
/// let x = Tensor::from_slice(&[2.0f32]).requiring_grad()?;
/// assert!(!no_grad(|| &x * &x)?.requires_grad());
/// # Ok::<(), ferrograd::Error>(())
/// ```
pub fn no_grad<R>(f: impl FnOnce() -> R) -> R {
    let _mode = GradMode::set(false);
    f()
}

/// Runs a closure with recording.
pub fn enable_grad<R>(f: impl FnOnce() -> R) -> R {
    let _mode = GradMode::set(true);
    f()
}
