//! Which nodes a backward pass runs, found by marks stamped into the nodes: no hash map, no recursion.

use std::cell::Cell;
use std::collections::HashMap;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::Result;
use crate::graph::arena::NodeRef;
use crate::graph::mode;
use crate::graph::node::Edge;
use crate::graph::transform;
use crate::kernels::parallel;
use crate::memory::{ask, filled, grow, reserved};
use crate::tensor::Tensor;

/// The operation that errors name.
const OP: &str = "backward";

/// Elements from which a step is worth a thread of its own.
pub(super) const HEAVY: usize = 1 << 14;

/// Passes that are running, by number, so that their marks are left alone by others.
static LIVE: [AtomicU32; 64] = [const { AtomicU32::new(0) }; 64];
static LIVE_COUNT: AtomicU32 = AtomicU32::new(0);
/// How many of them rest: see [`Rest`](super::Rest).
static RESTING: AtomicU32 = AtomicU32::new(0);
static NEXT: AtomicU32 = AtomicU32::new(1);

/// True while a pass moves what others could look at. For who has the host language's lock passes come to rest, and none of
/// those that rest goes on: their number is read first.
pub(crate) fn are_moving() -> bool {
    let resting = RESTING.load(Ordering::SeqCst);
    LIVE_COUNT.load(Ordering::SeqCst) > resting
}

/// Notes that some of the passes rest.
pub(super) fn rest(count: u32) {
    RESTING.fetch_add(count, Ordering::SeqCst);
}

/// Notes that as many go on.
pub(super) fn go_on(count: u32) {
    RESTING.fetch_sub(count, Ordering::SeqCst);
}

/// Forgets the passes of threads that a forked child does not have.
pub(crate) fn forget_others() {
    LIVE.iter().for_each(|cell| cell.store(0, Ordering::SeqCst));
    LIVE_COUNT.store(super::depth(), Ordering::SeqCst);
    RESTING.store(super::resting(), Ordering::SeqCst);
}

/// The number of a running pass, given back when it drops.
struct Number {
    pass: u32,
    /// `None` where 64 passes run already: this one then keeps its marks in a map.
    cell: Option<usize>,
}

impl Number {
    fn take() -> Number {
        let pass = loop {
            match NEXT.fetch_add(1, Ordering::Relaxed) {
                0 => continue,
                pass => break pass,
            }
        };
        LIVE_COUNT.fetch_add(1, Ordering::SeqCst);
        let claim = |c: &AtomicU32| c.compare_exchange(0, pass, Ordering::SeqCst, Ordering::Relaxed).is_ok();
        Number { pass, cell: LIVE.iter().position(claim) }
    }

    /// True where the mark of another pass is still in use.
    #[inline]
    fn is_other_live(&self, pass: u32) -> bool {
        pass != 0
            && pass != self.pass
            && LIVE_COUNT.load(Ordering::SeqCst) > 1
            && LIVE.iter().any(|c| c.load(Ordering::SeqCst) == pass)
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        if let Some(cell) = self.cell {
            LIVE[cell].store(0, Ordering::SeqCst);
        }
        LIVE_COUNT.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A node of the plan.
pub(super) struct Step {
    /// Borrowed: the roots that the pass holds keep it alive, since edges never change.
    node: ManuallyDrop<NodeRef>,
    sequence: u64,
    /// Edges that still have to bring their gradient.
    pub waiting: u32,
    /// Its first output, where the outputs of all steps are numbered through.
    pub first_output: u32,
    /// Its first edge in [`Plan::targets`].
    pub first_edge: u32,
    /// False where nothing that is asked for lies beyond.
    pub needed: bool,
    pub is_accumulator: bool,
}

/// The lists of a pass, kept by each thread for its next one.
#[derive(Default)]
struct Lists {
    steps: Vec<Step>,
    targets: Vec<u32>,
    needs: Vec<bool>,
    order: Vec<u32>,
    roots: Vec<u32>,
    sums: Vec<Option<Tensor>>,
}

/// Longer lists than these are given back to the system.
const KEPT: usize = 1 << 14;

thread_local! {
    static SPARE: Cell<Option<Lists>> = const { Cell::new(None) };
}

/// The nodes of a pass.
pub struct Plan {
    number: Number,
    pub(super) steps: Vec<Step>,
    /// For every edge of every step, the step it leads to; `u32::MAX` for none.
    pub(super) targets: Vec<u32>,
    /// For every such edge, whether the gradient along it is wanted.
    pub(super) needs: Vec<bool>,
    /// The steps in the order to run them; leaves are not in it: they run when their last gradient is there.
    pub(super) order: Vec<u32>,
    /// For every root, its step.
    pub(super) roots: Vec<u32>,
    /// For every input asked for, its step and output; `None` for inputs that are not reached.
    pub(super) captures: Option<Vec<Option<(u32, u32)>>>,
    pub(super) outputs: u32,
    /// Nodes recorded before this lead to nothing that is asked for.
    floor: u64,
    /// True where such nodes were left out.
    is_cut: bool,
    /// For every output of every step, the sum of what has arrived.
    pub(super) sums: Vec<Option<Tensor>>,
    overflow: HashMap<usize, u32>,
}

impl Drop for Plan {
    /// Keeps the lists, empty, for the next pass.
    fn drop(&mut self) {
        fn kept<T>(list: &mut Vec<T>) -> Vec<T> {
            let mut list = std::mem::take(list);
            list.clear();
            if list.capacity() <= KEPT { list } else { Vec::new() }
        }
        let lists = Lists {
            steps: kept(&mut self.steps),
            targets: kept(&mut self.targets),
            needs: kept(&mut self.needs),
            order: kept(&mut self.order),
            roots: kept(&mut self.roots),
            sums: kept(&mut self.sums),
        };
        // At the end of a thread there is no next pass.
        let _ = SPARE.try_with(|spare| spare.set(Some(lists)));
    }
}

/// The reference without its count.
///
/// # Safety
/// The node outlives what is returned.
unsafe fn borrowed(node: &NodeRef) -> ManuallyDrop<NodeRef> {
    // SAFETY: the copy is never dropped, so the count stays right.
    ManuallyDrop::new(unsafe { std::ptr::read(node) })
}

impl Step {
    /// The node.
    #[inline]
    pub fn node(&self) -> &NodeRef {
        &self.node
    }

    /// The node, beside changes of the plan.
    ///
    /// # Safety
    /// It is used while the pass holds its roots.
    #[inline]
    pub(super) unsafe fn lent(&self) -> ManuallyDrop<NodeRef> {
        // SAFETY: as the caller says.
        unsafe { borrowed(&self.node) }
    }
}

impl Plan {
    /// Finds all nodes behind the roots. With `captures`, marks those that lead to them.
    ///
    /// # Errors
    /// Where there is no memory for the lists.
    pub(crate) fn new<'a>(roots: impl Iterator<Item = &'a Edge>, captures: Option<&[Edge]>) -> Result<Plan> {
        let Lists { steps, targets, needs, order, roots: starts, sums } =
            SPARE.try_with(Cell::take).ok().flatten().unwrap_or_default();
        let mut plan = Plan {
            number: Number::take(),
            steps,
            targets,
            needs,
            order,
            roots: starts,
            captures: None,
            sums,
            outputs: 0,
            // Edges lead to earlier records: what was recorded before all that is asked for cannot lead there.
            floor: captures.and_then(|all| all.iter().map(|e| e.node.sequence()).min()).unwrap_or(0),
            is_cut: false,
            overflow: HashMap::new(),
        };
        for root in roots {
            let step = plan.visit(&root.node)?;
            plan.steps[step as usize].waiting += 1;
            grow(OP, &mut plan.roots, 1)?;
            plan.roots.push(step);
        }
        plan.explore()?;
        let outputs = plan.outputs as usize;
        grow(OP, &mut plan.sums, outputs)?;
        plan.sums.resize_with(outputs, || None);
        plan.sort()?;
        if let Some(captures) = captures {
            plan.limit(captures)?;
        }
        Ok(plan)
    }

    /// The edges of a step: where each leads, and whether its gradient is wanted.
    #[inline]
    pub(super) fn edges(&self, step: u32) -> (&[u32], &[bool]) {
        let step = &self.steps[step as usize];
        let edges = step.first_edge as usize..step.first_edge as usize + step.node().edges().len();
        (&self.targets[edges.clone()], &self.needs[edges])
    }

    /// The outputs of a step among those of all.
    #[inline]
    pub(super) fn outputs(&self, step: u32) -> Range<usize> {
        let step = &self.steps[step as usize];
        let first = step.first_output as usize;
        first..first + step.node().output_count()
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// True without nodes.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// True where the graph may lead to a leaf that somebody wants the gradient of: not to those alone that transforms
    /// made for themselves. What was left out counts as if it did.
    pub fn has_open_leaves(&self) -> bool {
        let open = |s: &Step| s.node().leaf().is_none_or(|leaf| !transform::is_closed(&leaf));
        self.is_cut || self.steps.iter().any(|s| s.is_accumulator && open(s))
    }

    /// True where the pass may call functions of the host language.
    pub fn calls_host(&self) -> bool {
        self.steps.iter().any(|s| s.node().calls_host())
    }

    /// The number of the pass.
    pub fn number(&self) -> u32 {
        self.number.pass
    }

    /// True where steps may run side by side.
    pub fn is_wide(&self) -> bool {
        parallel::num_threads() > 1 && mode::is_multithreading_enabled() && self.has_width()
    }

    /// True where no step may call the host language, and no hook.
    pub(super) fn is_alone(&self) -> bool {
        let is_hooked = |s: &Step| s.is_accumulator && s.node().leaf().is_some_and(|leaf| leaf.leaf_hooks().is_some());
        !self.calls_host() && !self.steps.iter().any(is_hooked)
    }

    /// True where at least two steps are large and the graph is more than a chain of them.
    pub(super) fn has_width(&self) -> bool {
        if self.order.len() < 4 {
            return false;
        }
        let heavy = |i: &&u32| {
            let node = self.steps[**i as usize].node();
            node.edges().len() > 1 && node.output_numel() >= HEAVY && !node.is_light()
        };
        self.order.iter().filter(heavy).nth(1).is_some()
    }

    /// The number of elements of the largest output: how much work a step is.
    pub fn elements(&self) -> usize {
        let sizes = self.steps.iter().map(|s| s.node().output_numel());
        sizes.max().unwrap_or(0)
    }

    /// Visits every node once. Steps are explored in the order of discovery, so the list itself is the queue.
    fn explore(&mut self) -> Result<()> {
        let mut next = 0;
        while next < self.steps.len() {
            // SAFETY: the pass has just begun.
            let node = unsafe { self.steps[next].lent() };
            self.steps[next].first_edge = self.targets.len() as u32;
            grow(OP, &mut self.targets, node.edges().len())?;
            grow(OP, &mut self.needs, node.edges().len())?;
            for edge in node.edges() {
                let target = match edge {
                    Some(edge) if edge.node.sequence() >= self.floor => {
                        let target = self.visit(&edge.node)?;
                        self.steps[target as usize].waiting += 1;
                        target
                    }
                    Some(_) => {
                        self.is_cut = true;
                        u32::MAX
                    }
                    None => u32::MAX,
                };
                self.targets.push(target);
                self.needs.push(target != u32::MAX);
            }
            next += 1;
        }
        Ok(())
    }

    /// The step of a node: the one its mark names, or a new one.
    #[inline]
    fn visit(&mut self, node: &NodeRef) -> Result<u32> {
        // Acquire and release: who sees the mark of another pass sees that pass among those that live.
        let before = node.slot().mark.load(Ordering::Acquire);
        match self.marked(node, before) {
            Some(step) => Ok(step),
            None => self.begin(node, before),
        }
    }

    /// A new step, for a node with the mark `before`.
    fn begin(&mut self, node: &NodeRef, before: u64) -> Result<u32> {
        grow(OP, &mut self.steps, 1)?;
        let step = self.steps.len() as u32;
        let mark = &node.slot().mark;
        let mine = (self.number.pass as u64) << 32 | step as u64;
        let free = self.number.cell.is_some() && !self.number.is_other_live((before >> 32) as u32);
        if !free || mark.compare_exchange(before, mine, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            let bytes = self.overflow.len() * size_of::<(usize, u32)>();
            ask(OP, bytes, || self.overflow.try_reserve(1))?;
            self.overflow.insert(node.address(), step);
        }
        self.steps.push(Step {
            // SAFETY: `node` is an edge of a root or of a step's node.
            node: unsafe { borrowed(node) },
            sequence: node.sequence(),
            waiting: 0,
            first_output: self.outputs,
            first_edge: 0,
            needed: true,
            is_accumulator: node.is_accumulator(),
        });
        self.outputs += node.output_count() as u32;
        Ok(step)
    }

    fn find(&self, node: &NodeRef) -> Option<u32> {
        self.marked(node, node.slot().mark.load(Ordering::Relaxed))
    }

    /// The step of a node with this mark.
    #[inline]
    fn marked(&self, node: &NodeRef, mark: u64) -> Option<u32> {
        let step = mark as u32;
        // A mark may be left from a pass of the same number long ago: it counts only where it names this very node.
        if (mark >> 32) as u32 == self.number.pass && self.steps.get(step as usize).is_some_and(|s| s.node().same(node))
        {
            return Some(step);
        }
        if self.overflow.is_empty() { None } else { self.overflow.get(&node.address()).copied() }
    }

    /// Orders the steps from the last recorded to the first. Edges lead to earlier records, so this is an order in
    /// which every node runs after all that send it gradients; in a chain it is the order of discovery already.
    fn sort(&mut self) -> Result<()> {
        let steps = &self.steps;
        grow(OP, &mut self.order, steps.len())?;
        self.order.extend((0..steps.len() as u32).filter(|&i| !steps[i as usize].is_accumulator));
        let key = |i: &u32| std::cmp::Reverse(steps[*i as usize].sequence);
        if !self.order.is_sorted_by_key(key) {
            self.order.sort_unstable_by_key(key);
        }
        Ok(())
    }

    /// Marks the steps from which a captured one is reached, from the first recorded to the last.
    fn limit(&mut self, captures: &[Edge]) -> Result<()> {
        self.steps.iter_mut().for_each(|s| s.needed = false);
        let mut found = reserved(OP, captures.len())?;
        found.extend(captures.iter().map(|e| self.find(&e.node).map(|s| (s, e.output))));
        found.iter().flatten().for_each(|&(s, _)| self.steps[s as usize].needed = true);
        for &i in self.order.iter().rev() {
            let (targets, _) = self.edges(i);
            if targets.iter().any(|&t| t != u32::MAX && self.steps[t as usize].needed) {
                self.steps[i as usize].needed = true;
            }
        }
        self.captures = Some(found);
        let steps = &self.steps;
        let leads = |&t: &u32| t != u32::MAX && steps[t as usize].needed;
        self.needs.iter_mut().zip(&self.targets).for_each(|(need, t)| *need = leads(t));
        // So that whoever asks finds only the nodes that run.
        for step in self.steps.iter().filter(|s| !s.needed) {
            step.node().slot().mark.store(0, Ordering::Relaxed);
        }
        self.recount()
    }

    /// Counts anew what every step waits for: the edges of steps that run, and the roots.
    fn recount(&mut self) -> Result<()> {
        let mut waiting = filled(OP, 0u32, self.steps.len())?;
        self.roots.iter().for_each(|&r| waiting[r as usize] += 1);
        for &i in &self.order {
            let (targets, _) = self.edges(i);
            let running = targets.iter().filter(|&&t| t != u32::MAX && self.steps[i as usize].needed);
            running.for_each(|&t| waiting[t as usize] += 1);
        }
        self.steps.iter_mut().zip(waiting).for_each(|(s, w)| s.waiting = w);
        Ok(())
    }
}
