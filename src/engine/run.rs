//! Running a plan: one step after another, or, where several are ready and large, side by side.

use std::ops::Range;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::plan::{HEAVY, Plan, Step};
use super::{Options, accumulate, anomaly, hooks, piecewise};
use crate::error::Result;
use crate::graph::arena;
use crate::graph::node::{Backward, Edge, Gradients};
use crate::graph::{self, mode};
use crate::kernels::parallel;
use crate::memory::{self, listed, reserve, scratch};
use crate::profiler;
use crate::tensor::Tensor;

/// Steps for each thread in one wave, so that a pass can be ended between two.
const WAVE: usize = 8;

/// The gradients of one step's outputs.
type Incoming = SmallVec<[Option<Tensor>; 1]>;

/// Runs a plan; gives the captured gradients.
pub(super) fn run(plan: Plan, roots: SmallVec<[(Edge, Tensor); 1]>, options: Options) -> Result<Vec<Option<Tensor>>> {
    parallel::check_stop()?;
    let keep = options.retain_graph || options.create_graph;
    let mut run = Run::new(plan, keep);
    for (i, (edge, gradient)) in roots.iter().enumerate() {
        let step = run.plan.roots[i];
        let conformed = accumulate::conform(gradient.clone(), &edge.node, edge.output, &edge.node, i)?;
        run.deliver(step, edge.output, 0, Some(conformed))?;
    }
    // The order of the nodes that a recorded pass leaves is that of a pass over them: it must not depend on the threads.
    let in_waves = match options.create_graph {
        true => run.plan.has_width() && run.plan.is_alone() && !arena::has_numbers(),
        false => run.plan.is_wide(),
    };
    run.recorded = options.create_graph;
    run.hooks_of_idle_roots()?;
    if in_waves {
        run.in_waves()?
    } else {
        run.in_order()?
    }
    Ok(run.captured)
}

struct Run {
    plan: Plan,
    keep: bool,
    /// Whether the pass leaves nodes of its own.
    recorded: bool,
    /// In waves, what has arrived at every output with the place of its sender, the last first: summed in the order of the plan.
    late: Vec<Vec<(u32, Tensor)>>,
    /// In waves, which places of the order have sent, and how many have from the first without a gap.
    sent: Vec<bool>,
    passed: usize,
    /// In waves, the steps that became ready.
    ready: Vec<u32>,
    captured: Vec<Option<Tensor>>,
    /// What is captured, by steps: the step, its output, and the place among what is captured.
    wanted: Vec<(u32, u32, u32)>,
}

impl Run {
    fn new(plan: Plan, keep: bool) -> Run {
        let captures = plan.captures.as_deref().unwrap_or_default();
        let places = captures.iter().zip(0..).filter_map(|(found, at)| found.map(|(step, output)| (step, output, at)));
        let mut wanted = listed(captures.len(), places);
        wanted.sort_unstable();
        let captured = scratch(None, captures.len());
        Run {
            plan,
            keep,
            recorded: false,
            late: Vec::new(),
            sent: Vec::new(),
            passed: 0,
            ready: Vec::new(),
            captured,
            wanted,
        }
    }

    /// What a pass starts from and leads to nothing wanted does not run, but its tensors' hooks do, as torch's, and the outputs
    /// keep their gradients that were asked to.
    fn hooks_of_idle_roots(&mut self) -> Result<()> {
        for i in 0..self.plan.roots.len() {
            let step = self.plan.roots[i];
            // Where nothing is left it was there before: several roots are outputs of one node.
            let is_left = self.plan.sums[self.plan.outputs(step)].iter().any(Option::is_some);
            if self.plan.steps[step as usize].needed || !is_left {
                continue;
            }
            let incoming = self.take(step)?;
            let node = self.plan.steps[step as usize].node();
            if let Some(leaf) = node.leaf() {
                let (on_gradient, _) = leaf.leaf_hooks().unwrap_or_default();
                hooks::on_tensor(node, &on_gradient, incoming.into_iter().next().flatten())?;
            }
        }
        Ok(())
    }

    /// One step after another, on this thread. Large kernels use the others.
    fn in_order(&mut self) -> Result<()> {
        let mut patience = Patience::default();
        for place in 0..self.plan.order.len() {
            let step = self.plan.order[place];
            if self.plan.steps[step as usize].needed {
                patience.spend(&self.plan.steps[step as usize])?;
                let found = self.found(step)?;
                self.send(step, place as u32 + 1, found)?;
            }
        }
        Ok(())
    }

    /// What a step's derivative makes of the gradients that have arrived at it. They go before the results are sent: who
    /// receives a gradient may have it alone.
    #[inline]
    fn found(&mut self, step: u32) -> Result<Gradients> {
        if self.wanted.is_empty() && self.plan.steps[step as usize].node().extras().is_none() {
            let outputs = self.plan.outputs(step);
            let found = self.compute(step, &self.plan.sums[outputs.clone()]);
            match &mut self.plan.sums[outputs] {
                [one] => *one = None,
                several => several.fill(None),
            }
            return found;
        }
        let incoming = self.take(step)?;
        self.compute(step, &incoming)
    }

    /// All steps that are ready, side by side where several are large, then those that became ready. What they send is
    /// added in the order of the plan, so the bits are those of `in_order`.
    fn in_waves(&mut self) -> Result<()> {
        let mut places = scratch(0u32, self.plan.steps.len());
        self.plan.order.iter().enumerate().for_each(|(place, &s)| places[s as usize] = place as u32 + 1);
        self.late = listed(self.plan.sums.len(), self.plan.sums.iter().map(|_| Vec::new()));
        // What never runs has nothing to send.
        let is_idle = |&s: &u32| !self.plan.steps[s as usize].needed;
        self.sent = listed(self.plan.order.len(), self.plan.order.iter().map(is_idle));
        let starts = self.plan.roots.iter().copied().filter(|&r| self.plan.steps[r as usize].waiting == 0);
        let mut ready: Vec<u32> = listed(self.plan.roots.len(), starts);
        let mut patience = Patience::default();
        while !ready.is_empty() {
            ready.sort_unstable_by_key(|&s| places[s as usize]);
            ready.dedup();
            // For each step of the wave, the numbers of what it records before it sends, and of what sending records.
            let first = if self.recorded { arena::set_aside(2 * ready.len()) } else { 0 };
            let width = WAVE * parallel::num_threads();
            for (n, part) in ready.chunks(width).enumerate() {
                part.iter().try_for_each(|&s| patience.spend(&self.plan.steps[s as usize]))?;
                let number = |at: usize| if first == 0 { 0 } else { arena::number_of(first, 2 * (n * width + at)) };
                self.wave(part, &places, &number)?;
            }
            ready = std::mem::take(&mut self.ready);
        }
        Ok(())
    }

    fn wave(&mut self, ready: &[u32], places: &[u32], number: &dyn Fn(usize) -> u64) -> Result<()> {
        let mut numbers: Vec<u64> = listed(ready.len(), (0..ready.len()).map(number));
        let taken = |(&s, next): (&u32, &mut u64)| arena::numbered(next, || self.take(s));
        let incoming: Vec<Incoming> = ready.iter().zip(&mut numbers).map(taken).collect::<Result<_>>()?;
        let found = self.compute_wave(ready, &incoming, &numbers);
        drop(incoming);
        for (at, (&step, found)) in ready.iter().zip(found).enumerate() {
            let mut next = if number(at) == 0 { 0 } else { arena::number_of(number(at), 1) };
            arena::numbered(&mut next, || self.send(step, places[step as usize], found?))?;
            // What a recorded pass adds has its numbers where the sum is needed.
            if !self.recorded {
                self.pass(places[step as usize])?;
            }
        }
        Ok(())
    }

    /// Steps that call the host language stay on this thread: one of the pool's that waits for the host's lock could
    /// be one that the lock's owner waits for.
    fn compute_wave(&self, ready: &[u32], incoming: &[Incoming], numbers: &[u64]) -> Vec<Result<Gradients>> {
        let compute = |at: usize| arena::numbered(&mut { numbers[at] }, || self.compute(ready[at], &incoming[at]));
        let elements = |i: &Incoming| i.iter().flatten().map(Tensor::numel).max().unwrap_or(0);
        let shared = |at: &usize| {
            let node = self.plan.steps[ready[*at] as usize].node();
            elements(&incoming[*at]) >= HEAVY && !node.calls_host() && !node.is_light()
        };
        let side_by_side: Vec<usize> = (0..ready.len()).filter(shared).collect();
        let results: Vec<Mutex<Option<Result<Gradients>>>> = ready.iter().map(|_| Mutex::new(None)).collect();
        let may_spread = parallel::num_threads() > 1 && mode::is_multithreading_enabled();
        if may_spread && side_by_side.len() >= parallel::num_threads() {
            let mode = mode::Snapshot::take();
            parallel::for_each(side_by_side.len(), |i| {
                let at = side_by_side[i];
                let found = mode.run(|| parallel::serially(|| compute(at)));
                *results[at].lock() = Some(found);
            });
        }
        let rest = |(at, found): (usize, Mutex<Option<_>>)| found.into_inner().unwrap_or_else(|| compute(at));
        results.into_iter().enumerate().map(rest).collect()
    }

    /// The sums that have arrived at a step; captured on the way where they were asked for.
    fn take(&mut self, step: u32) -> Result<Incoming> {
        let outputs = self.plan.outputs(step);
        if !self.late.is_empty() {
            self.settle(outputs.clone())?;
        }
        let mut incoming = match &mut self.plan.sums[outputs] {
            [one] => Incoming::from_buf([one.take()]),
            several => several.iter_mut().map(Option::take).collect(),
        };
        match self.plan.steps[step as usize].node().extras() {
            None => self.capture(step, &incoming),
            Some(_) => self.watched(step, &mut incoming)?,
        }
        Ok(incoming)
    }

    /// What arrived at a step that somebody watches: hooks may replace it, it is captured, and outputs keep it that were asked to.
    fn watched(&mut self, step: u32, incoming: &mut Incoming) -> Result<()> {
        let node = self.plan.steps[step as usize].node();
        if let Some(extras) = node.extras() {
            hooks::at_outputs(node, extras, incoming)?;
        }
        self.capture(step, incoming);
        if let Some(extras) = self.plan.steps[step as usize].node().extras() {
            for (output, gradient) in incoming.iter().enumerate() {
                if let Some(gradient) = gradient.as_ref().filter(|_| extras.is_retained(output as u32)) {
                    accumulate::into_retained(extras, output as u32, gradient)?;
                }
            }
        }
        Ok(())
    }

    /// Adds what arrived at a step's outputs in waves, in the order of its senders.
    fn settle(&mut self, outputs: Range<usize>) -> Result<()> {
        outputs.into_iter().try_for_each(|at| self.fold(at, u32::MAX))
    }

    /// Adds what arrived at an output from senders up to a place, in their order.
    fn fold(&mut self, at: usize, last: u32) -> Result<()> {
        while let Some((_, gradient)) = self.late[at].pop_if(|&mut (place, _)| place <= last) {
            self.add(at, gradient)?;
        }
        Ok(())
    }

    /// Notes in waves that a place of the order has sent. What nothing can come before any more is added: a weight that many
    /// steps share has one gradient at a time, not those of all of them.
    fn pass(&mut self, place: u32) -> Result<()> {
        self.sent[place as usize - 1] = true;
        while self.sent.get(self.passed) == Some(&true) {
            let step = &self.plan.steps[self.plan.order[self.passed] as usize];
            self.passed += 1;
            let first = step.first_edge as usize;
            // SAFETY: the pass holds the node.
            let node = unsafe { step.lent() };
            for (index, edge) in node.edges().iter().enumerate() {
                if let Some(edge) = edge.as_ref().filter(|_| self.plan.needs[first + index]) {
                    let target = &self.plan.steps[self.plan.targets[first + index] as usize];
                    self.fold((target.first_output + edge.output) as usize, self.passed as u32)?;
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn capture(&mut self, step: u32, incoming: &[Option<Tensor>]) {
        if self.wanted.is_empty() {
            return;
        }
        let first = self.wanted.partition_point(|&(s, ..)| s < step);
        for &(_, output, at) in self.wanted[first..].iter().take_while(|&&(s, ..)| s == step) {
            self.captured[at as usize] = incoming[output as usize].clone();
        }
    }

    /// Runs a step's derivative.
    fn compute(&self, step: u32, incoming: &[Option<Tensor>]) -> Result<Gradients> {
        let (_, needs) = self.plan.edges(step);
        let step = &self.plan.steps[step as usize];
        let node = step.node();
        let is_undefined = |all: &[Option<Tensor>]| all.iter().all(Option::is_none) && !node.takes_undefined();
        if is_undefined(incoming) && node.extras().is_none() {
            return Ok(node.edges().iter().map(|_| None).collect());
        }
        if !needs.contains(&true) {
            return self.hooks_alone(step, incoming);
        }
        let Some(extras) = node.extras() else {
            return self.derive(&Backward { gradients: incoming, needs, node });
        };
        let incoming = hooks::before(node, extras, incoming)?;
        // The derivative may use up a gradient that nobody else has.
        let shown = incoming.clone();
        let found = if is_undefined(&incoming) {
            node.edges().iter().map(|_| None).collect()
        } else {
            self.derive(&Backward { gradients: &incoming, needs, node })?
        };
        hooks::after(node, extras, found, &shown)
    }

    /// A step that leads to nothing wanted: one that a pass was asked to end at runs its hooks, as torch's does.
    #[inline]
    fn hooks_alone(&self, step: &Step, incoming: &[Option<Tensor>]) -> Result<Gradients> {
        let node = step.node();
        match node.extras() {
            Some(extras) if step.needed && self.plan.captures.is_none() => {
                let incoming = hooks::before(node, extras, incoming)?;
                hooks::after(node, extras, node.edges().iter().map(|_| None).collect(), &incoming)
            }
            _ => Ok(Gradients::new()),
        }
    }

    #[inline(always)]
    fn derive(&self, call: &Backward) -> Result<Gradients> {
        let run = || match graph::anomaly::is_enabled() {
            true => anomaly::inspected(call.node, || call.node.run(self.keep, call)),
            false => call.node.run(self.keep, call),
        };
        if profiler::is_on() { profiler::derivative(call.node, call.gradients, run) } else { run() }
    }

    /// Hands a step's results on to the steps they belong to.
    #[inline]
    fn send(&mut self, step: u32, place: u32, mut found: Gradients) -> Result<()> {
        // SAFETY: the pass holds the node.
        let node = unsafe { self.plan.steps[step as usize].lent() };
        let first = self.plan.steps[step as usize].first_edge as usize;
        for (index, edge) in node.edges().iter().enumerate() {
            let gradient = found.get_mut(index).and_then(Option::take);
            let Some(edge) = edge.as_ref().filter(|_| self.plan.needs[first + index]) else { continue };
            let conformed = match gradient {
                Some(gradient) => {
                    let gradient = accumulate::conform(gradient, &edge.node, edge.output, &node, index)?;
                    Some(if self.recorded { piecewise::tied(gradient, &node, edge) } else { gradient })
                }
                None => None,
            };
            self.deliver(self.plan.targets[first + index], edge.output, place, conformed)?;
        }
        Ok(())
    }

    /// Adds a gradient to an output's sum, or in waves notes it for the sum.
    #[inline(always)]
    fn deliver(&mut self, target: u32, output: u32, place: u32, gradient: Option<Tensor>) -> Result<()> {
        let at = (self.plan.steps[target as usize].first_output + output) as usize;
        match (gradient, self.late.get_mut(at)) {
            (Some(gradient), Some(late)) => {
                let before = late.partition_point(|&(other, _)| other > place);
                memory::push(late, (place, gradient));
                late[before..].rotate_right(1);
            }
            (Some(gradient), None) => self.add(at, gradient)?,
            (None, _) => {}
        }
        self.arrive(target)
    }

    #[inline(always)]
    fn add(&mut self, at: usize, gradient: Tensor) -> Result<()> {
        let sum = &mut self.plan.sums[at];
        match sum.take() {
            None => *sum = Some(gradient),
            Some(before) => *sum = Some(accumulate::add(before, &gradient)?),
        }
        Ok(())
    }

    /// Counts an arrival.
    #[inline(always)]
    fn arrive(&mut self, target: u32) -> Result<()> {
        let step = &mut self.plan.steps[target as usize];
        step.waiting = step.waiting.saturating_sub(1);
        match (step.waiting, step.is_accumulator) {
            (0, true) => self.complete(target),
            (0, false) if !self.late.is_empty() => {
                memory::push(&mut self.ready, target);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A leaf whose last gradient has come accumulates it at once.
    #[inline(never)]
    fn complete(&mut self, target: u32) -> Result<()> {
        if !self.plan.steps[target as usize].needed {
            return Ok(());
        }
        let incoming = self.take(target)?;
        let node = self.plan.steps[target as usize].node();
        match (node.leaf(), incoming.into_iter().next().flatten()) {
            (Some(leaf), gradient) => self.arrive_at_leaf(target, &leaf, gradient),
            _ => Ok(()),
        }
    }

    /// Hands the whole gradient of a leaf to its hooks and to the leaf, or to whoever asked for it.
    fn arrive_at_leaf(&mut self, target: u32, leaf: &Tensor, gradient: Option<Tensor>) -> Result<()> {
        let (on_gradient, accumulated) = leaf.leaf_hooks().unwrap_or_default();
        let node = self.plan.steps[target as usize].node();
        let gradient = hooks::on_tensor(node, &on_gradient, gradient)?;
        if self.plan.captures.is_some() {
            self.capture(target, &[gradient]);
            return Ok(());
        }
        let gradient = match node.extras() {
            None => gradient,
            Some(extras) => hooks::before(node, extras, &[gradient])?.into_iter().next().flatten(),
        };
        // The first gradient becomes the leaf's own, and hooks see it there.
        let first = leaf.requires_grad() && !graph::mode::is_grad_enabled() && leaf.grad().is_none();
        let mut kept = if first || node.extras().is_none() { None } else { gradient.clone() };
        // A leaf that was frozen since gathers nothing; its hooks run.
        if let Some(gradient) = gradient.filter(|_| leaf.requires_grad()) {
            profiler::part("torch::autograd::AccumulateGrad", || accumulate::into_leaf(leaf, gradient))?;
            if first && node.extras().is_some() {
                kept = leaf.grad().map(|g| g.detach());
            }
        }
        accumulated.iter().try_for_each(|hook| hook(leaf))?;
        if let Some(extras) = self.plan.steps[target as usize].node().extras() {
            hooks::after(self.plan.steps[target as usize].node(), extras, Gradients::new(), &[kept])?;
        }
        Ok(())
    }
}

/// Counts work until it is time to ask whether the pass should end early.
#[derive(Default)]
struct Patience {
    work: usize,
    asked: Option<Instant>,
}

/// Elements of work between two looks at the clock; a tenth of a millisecond.
const GLANCE: usize = 1 << 18;
/// Time between two questions, each of which may have to wait for the host language's lock.
const PATIENCE: Duration = Duration::from_millis(50);

impl Patience {
    /// # Errors
    /// What the host language wants to raise, such as an interrupt from the keyboard.
    #[inline]
    fn spend(&mut self, step: &Step) -> Result<()> {
        reserve::check("backward")?;
        self.work += step.node().output_numel() + 256;
        if self.work < GLANCE { Ok(()) } else { self.ask() }
    }

    #[cold]
    fn ask(&mut self) -> Result<()> {
        self.work = 0;
        parallel::check_stop()?;
        let now = Instant::now();
        if now - *self.asked.get_or_insert(now) < PATIENCE {
            return Ok(());
        }
        self.asked = Some(now);
        super::interrupted()
    }
}
