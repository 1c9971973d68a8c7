//! Running a plan: one step after another, or, where several are ready and large, side by side.

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::plan::Plan;
use super::{Options, accumulate};
use crate::error::{Error, Result};
use crate::graph::mode::{GradMode, is_grad_enabled};
use crate::graph::node::{Backward, Edge, Gradients};
use crate::kernels::parallel;
use crate::tensor::Tensor;

/// Elements from which a step is worth a thread of its own.
const HEAVY: usize = 1 << 14;

/// The gradients of one step's outputs.
type Incoming = SmallVec<[Option<Tensor>; 1]>;

/// Runs a plan; gives the captured gradients.
pub(super) fn run(plan: Plan, roots: SmallVec<[(Edge, Tensor); 1]>, options: Options) -> Result<Vec<Option<Tensor>>> {
    let keep = options.retain_graph || options.create_graph;
    let mut run = Run::new(plan, keep);
    for (i, (edge, gradient)) in roots.iter().enumerate() {
        let step = run.plan.roots[i];
        let conformed = accumulate::conform(gradient.clone(), &edge.node, edge.output, &edge.node, i)?;
        run.deliver(step, edge.output, 0, Some(conformed))?;
    }
    if run.is_wide() {
        run.in_waves()?
    } else {
        run.in_order()?
    }
    Ok(run.captured)
}

struct Run {
    plan: Plan,
    keep: bool,
    /// For every output of every step, the sum of what has arrived.
    sums: Vec<Option<Tensor>>,
    /// In waves, what has arrived at every output with the place of its sender: summed in the order of the plan.
    late: Vec<Vec<(u32, Tensor)>>,
    /// In waves, the steps that became ready.
    ready: Vec<u32>,
    captured: Vec<Option<Tensor>>,
}

impl Run {
    fn new(plan: Plan, keep: bool) -> Run {
        let outputs = plan.outputs as usize;
        let captured = vec![None; plan.captures.as_ref().map_or(0, Vec::len)];
        Run { plan, keep, sums: vec![None; outputs], late: Vec::new(), ready: Vec::new(), captured }
    }

    /// True where at least two steps are large and the graph is more than a chain of them.
    fn is_wide(&self) -> bool {
        if parallel::num_threads() == 1 || self.plan.order.len() < 4 {
            return false;
        }
        let heavy = |i: &u32| {
            let node = self.plan.steps[*i as usize].node();
            node.edges().len() > 1 && node.output(0).0.iter().product::<usize>() >= HEAVY
        };
        self.plan.order.iter().filter(|i| heavy(i)).nth(1).is_some()
    }

    /// One step after another, on this thread. Large kernels use the others.
    fn in_order(&mut self) -> Result<()> {
        for place in 0..self.plan.order.len() {
            let step = self.plan.order[place];
            if self.plan.steps[step as usize].needed {
                let incoming = self.take(step)?;
                let found = self.compute(step, &incoming);
                self.send(step, place as u32 + 1, found?)?;
            }
        }
        Ok(())
    }

    /// All steps that are ready, side by side where several are large, then those that became ready. What they send is
    /// added in the order of the plan, so the bits are those of `in_order`.
    fn in_waves(&mut self) -> Result<()> {
        let mut places = vec![0u32; self.plan.steps.len()];
        self.plan.order.iter().enumerate().for_each(|(place, &s)| places[s as usize] = place as u32 + 1);
        self.late.resize_with(self.sums.len(), Vec::new);
        let starts = self.plan.roots.iter().copied().filter(|&r| self.plan.steps[r as usize].waiting == 0);
        let mut ready: Vec<u32> = starts.collect();
        while !ready.is_empty() {
            ready.sort_unstable_by_key(|&s| places[s as usize]);
            ready.dedup();
            let incoming: Vec<Incoming> = ready.iter().map(|&s| self.take(s)).collect::<Result<_>>()?;
            let found = self.compute_wave(&ready, &incoming);
            drop(incoming);
            for (&step, found) in ready.iter().zip(found) {
                self.send(step, places[step as usize], found?)?;
            }
            ready = std::mem::take(&mut self.ready);
        }
        Ok(())
    }

    fn compute_wave(&self, ready: &[u32], incoming: &[Incoming]) -> Vec<Result<Gradients>> {
        let elements = |i: &Incoming| i.iter().flatten().map(Tensor::numel).max().unwrap_or(0);
        let heavy = incoming.iter().filter(|i| elements(i) >= HEAVY).count();
        if heavy < parallel::num_threads().max(2) {
            return ready.iter().zip(incoming).map(|(&s, i)| self.compute(s, i)).collect();
        }
        let results: Vec<Mutex<Option<Result<Gradients>>>> = ready.iter().map(|_| Mutex::new(None)).collect();
        let recording = is_grad_enabled();
        parallel::for_each(ready.len(), |i| {
            let _mode = GradMode::set(recording);
            let found = parallel::serially(|| self.compute(ready[i], &incoming[i]));
            *results[i].lock() = Some(found);
        });
        let missing = || Err(Error::Internal { op: "backward", what: "a step did not run".into() });
        results.into_iter().map(|r| r.into_inner().unwrap_or_else(missing)).collect()
    }

    /// The sums that have arrived at a step; captured on the way where they were asked for.
    fn take(&mut self, step: u32) -> Result<Incoming> {
        let first = self.plan.steps[step as usize].first_output as usize;
        let count = self.plan.steps[step as usize].node().output_count();
        self.settle(first, count)?;
        let incoming: Incoming = self.sums[first..first + count].iter_mut().map(Option::take).collect();
        self.capture(step, &incoming);
        for (output, gradient) in incoming.iter().enumerate() {
            if gradient.is_some() {
                self.plan.steps[step as usize].node().store_retained(output as u32, gradient.clone());
            }
        }
        Ok(incoming)
    }

    /// Adds what arrived at a step's outputs in waves, in the order of its senders.
    fn settle(&mut self, first: usize, count: usize) -> Result<()> {
        for at in first..first + count {
            let Some(late) = self.late.get_mut(at) else { break };
            let mut arrived = std::mem::take(late);
            arrived.sort_by_key(|&(place, _)| place);
            for (_, gradient) in arrived {
                self.add(at, gradient)?;
            }
        }
        Ok(())
    }

    fn capture(&mut self, step: u32, incoming: &[Option<Tensor>]) {
        let Some(captures) = &self.plan.captures else { return };
        for (slot, capture) in self.captured.iter_mut().zip(captures) {
            if let Some((s, output)) = capture
                && *s == step
            {
                *slot = incoming[*output as usize].clone();
            }
        }
    }

    /// Runs a step's derivative.
    fn compute(&self, step: u32, incoming: &[Option<Tensor>]) -> Result<Gradients> {
        let step = &self.plan.steps[step as usize];
        let node = step.node();
        if incoming.iter().all(Option::is_none) {
            return Ok(node.edges().iter().map(|_| None).collect());
        }
        let first = step.first_edge as usize;
        let wanted = |t: &u32| *t != u32::MAX && self.plan.steps[*t as usize].needed;
        let needs: SmallVec<[bool; 4]> =
            self.plan.targets[first..first + node.edges().len()].iter().map(wanted).collect();
        if !needs.contains(&true) {
            return Ok(Gradients::new());
        }
        let call = Backward { gradients: incoming, needs: &needs, node };
        node.take(self.keep).backward(&call)
    }

    /// Hands a step's results on to the steps they belong to.
    fn send(&mut self, step: u32, place: u32, found: Gradients) -> Result<()> {
        let first = self.plan.steps[step as usize].first_edge as usize;
        let mut found = found.into_iter();
        for index in 0..self.plan.steps[step as usize].node().edges().len() {
            let gradient = found.next().flatten();
            let target = self.plan.targets[first + index];
            if target == u32::MAX || !self.plan.steps[target as usize].needed {
                continue;
            }
            let node = self.plan.steps[step as usize].node();
            let Some(Some(edge)) = node.edges().get(index) else { continue };
            let output = edge.output;
            let conformed = gradient.map(|g| accumulate::conform(g, &edge.node, output, node, index)).transpose()?;
            self.deliver(target, output, place, conformed)?;
        }
        Ok(())
    }

    /// Adds a gradient to an output's sum, or in waves notes it for the sum.
    fn deliver(&mut self, target: u32, output: u32, place: u32, gradient: Option<Tensor>) -> Result<()> {
        let at = (self.plan.steps[target as usize].first_output + output) as usize;
        match gradient {
            Some(gradient) if !self.late.is_empty() => self.late[at].push((place, gradient)),
            Some(gradient) => self.add(at, gradient)?,
            None => {}
        }
        self.arrive(target)
    }

    #[inline]
    fn add(&mut self, at: usize, gradient: Tensor) -> Result<()> {
        self.sums[at] = Some(match self.sums[at].take() {
            None => gradient,
            Some(sum) => accumulate::add(sum, &gradient)?,
        });
        Ok(())
    }

    /// Counts an arrival; a leaf whose last gradient has come accumulates it at once.
    #[inline]
    fn arrive(&mut self, target: u32) -> Result<()> {
        let step = &mut self.plan.steps[target as usize];
        step.waiting = step.waiting.saturating_sub(1);
        if step.waiting > 0 {
            return Ok(());
        }
        if !step.is_accumulator {
            if !self.late.is_empty() {
                self.ready.push(target);
            }
            return Ok(());
        }
        let mut incoming = self.take(target)?;
        if self.plan.captures.is_none()
            && let Some(Some(gradient)) = incoming.pop()
            && let Some(leaf) = self.plan.steps[target as usize].node().leaf()
        {
            accumulate::into_leaf(&leaf, gradient)?;
        }
        Ok(())
    }
}
