//! Circles of references: a gradient with a history that leads to its own leaf, a tensor that its own history keeps, a
//! hook that holds what it is a hook on. Counting references does not free them; a search finds them.
//!
//! The search starts where circles can close: at nodes with hooks, custom functions and kept gradients that have a
//! history, and at the hooks of leaves. It goes through all that is reached from there, also through the objects of the
//! host language, and counts how many references to each it meets. Who has more references than those is held by
//! somebody outside, and so is all that he leads to. The rest nobody has: its references are cut.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::arena::{NodeId, NodeRef};
use super::meta::Meta;
use crate::engine::{self, plan};
use crate::error::Result;
use crate::host::host;
use crate::memory::shared::Shared;
use crate::memory::spin::Spin;
use crate::memory::{ask, grow, reserved};
use crate::tensor::{Batch, Duality, Tensor, ViewOf};

/// Something that counts the references to it. Each of these is one.
pub enum Object {
    /// A tensor.
    Tensor(Tensor),
    /// A tensor's place in the graph.
    Meta(Shared<Meta>),
    /// What a view is a view of.
    View(Shared<ViewOf>),
    /// What a batched tensor is an example of.
    Batch(Shared<Batch>),
    /// A node.
    Node(NodeRef),
    /// What nodes share.
    Holder(Arc<dyn Holder>),
    /// An object of the host language, by its address. It counts references of its own.
    Host(usize),
}

/// What nodes share and what refers to other objects.
pub trait Holder: Send + Sync {
    /// Adds what it refers to.
    fn links(&self, _to: &mut Vec<Object>) {}
}

impl Object {
    /// What tells the object from all others.
    fn address(&self) -> usize {
        match self {
            Object::Tensor(t) => t.address(),
            Object::Meta(m) => m.address(),
            Object::View(v) => v.address(),
            Object::Batch(b) => b.address(),
            Object::Node(n) => n.address(),
            Object::Holder(h) => Arc::as_ptr(h).cast::<()>().addr(),
            Object::Host(object) => *object,
        }
    }

    /// How many references there are beside this one.
    fn owners(&self) -> usize {
        let all = match self {
            Object::Tensor(t) => t.owners(),
            Object::Meta(m) => m.count() as usize,
            Object::View(v) => v.count() as usize,
            Object::Batch(b) => b.count() as usize,
            Object::Node(n) => n.owners(),
            Object::Holder(h) => Arc::strong_count(h),
            Object::Host(object) => return host().map_or(usize::MAX, |host| (host.owners)(*object)),
        };
        all - 1
    }

    /// Adds what the object refers to.
    fn links(&self, to: &mut Vec<Object>) {
        match self {
            Object::Tensor(t) => t.links(to),
            Object::Meta(m) => m.links(to),
            Object::View(v) => {
                to.push(Object::Tensor(v.base.clone()));
                if let Duality::Of(dual) = &v.duality {
                    to.push(Object::Tensor(dual.clone()));
                }
            }
            Object::Batch(b) => to.push(Object::Tensor(b.value.clone())),
            Object::Node(n) => n.links(to),
            Object::Holder(h) => h.links(to),
            Object::Host(object) => host().into_iter().for_each(|host| (host.links)(*object, to)),
        }
    }

    /// Cuts the references that circles are made of.
    fn clear(&self) {
        match self {
            Object::Meta(m) => m.clear(),
            Object::Node(n) => n.clear(),
            Object::Host(object) => host().into_iter().for_each(|host| (host.clear)(*object)),
            Object::Tensor(_) | Object::View(_) | Object::Batch(_) | Object::Holder(_) => {}
        }
    }
}

/// Hooks of a leaf, where a search may start.
pub(super) trait Start: Send + Sync {
    /// Adds the objects of the host language that the hooks are.
    fn starts(&self, to: &mut Vec<Object>);
}

/// Where circles can close.
struct Starts {
    nodes: Vec<NodeId>,
    leaves: Vec<Weak<dyn Start>>,
}

static STARTS: Spin<Starts> = Spin::new(Starts { nodes: Vec::new(), leaves: Vec::new() });
/// How many starts there may be before those that are gone are taken out.
static ROOM: AtomicUsize = AtomicUsize::new(LEAST);
/// How many may be left then before it is time to search.
static PATIENCE: AtomicUsize = AtomicUsize::new(LEAST);
static DUE: AtomicBool = AtomicBool::new(false);
const LEAST: usize = 1 << 10;
/// How long a search waits for passes.
const LONGEST_WAIT: Duration = Duration::from_millis(10);
/// The operation that errors name.
const OP: &str = "backward";

impl Starts {
    fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.leaves.is_empty()
    }

    fn tidy(&mut self) {
        if self.nodes.len() + self.leaves.len() < ROOM.load(Ordering::Relaxed) {
            return;
        }
        let left = self.prune();
        ROOM.store(LEAST + 2 * left, Ordering::Relaxed);
        if left > PATIENCE.load(Ordering::Relaxed) {
            DUE.store(true, Ordering::Relaxed);
        }
    }

    fn prune(&mut self) -> usize {
        self.nodes.retain(|id| id.is_alive());
        self.leaves.retain(|list| list.strong_count() > 0);
        self.nodes.len() + self.leaves.len()
    }
}

/// Notes that a circle may close at a node.
pub fn note(node: &NodeRef) {
    let mut starts = STARTS.lock();
    // Without room for it the circle is not found, and stays.
    if grow(OP, &mut starts.nodes, 1).is_err() {
        return;
    }
    starts.nodes.push(node.id());
    starts.tidy();
}

/// Notes that a circle may close at what holds a gradient, if that has a history.
pub(super) fn note_gradient(gradient: &Tensor) {
    if let Some(edge) = gradient.grad_fn() {
        note(&edge.node);
    }
}

/// Notes that a circle may close at the hooks of a leaf.
pub(super) fn note_hooks(hooks: Weak<dyn Start>) {
    let mut starts = STARTS.lock();
    starts.leaves.push(hooks);
    starts.tidy();
}

/// Searches where so much has gathered since the last search that it may be worth it.
#[inline]
pub(crate) fn collect_where_due() {
    // A thread that works for a pass must not wait for the host language's lock.
    if DUE.load(Ordering::Relaxed) && !plan::are_moving() && DUE.swap(false, Ordering::Relaxed) {
        collect();
    }
}

/// Frees what only circles of references keep; gives the number of objects in them. Backward passes of other threads are waited
/// for until they end or call the host language, but not for long: while they move what they have, nothing is searched.
///
/// ```
/// use ferrograd::{Tensor, engine, graph};
/// let x = Tensor::from_slice(&[2.0f32]).requiring_grad()?;
/// let options = engine::Options { create_graph: true, ..Default::default() };
/// engine::backward(&[(&x * &x)?], &[], None, options)?;
/// drop(x);
/// assert!(graph::cycles::collect() > 0);
/// assert_eq!(graph::cycles::collect(), 0);
/// # Ok::<(), ferrograd::Error>(())
/// ```
pub fn collect() -> usize {
    if engine::is_moving_here() || STARTS.lock().is_empty() {
        return 0;
    }
    let mut found = 0;
    // Where there is no memory for the search nothing is found.
    let mut search = || found = if come_to_rest() { Search::default().run().unwrap_or(0) } else { 0 };
    match host() {
        Some(host) => (host.attached)(&mut search),
        None => search(),
    }
    found
}

/// Waits until no pass moves; false where one still does after the time that others may be kept waiting.
fn come_to_rest() -> bool {
    let begun = Instant::now();
    while plan::are_moving() {
        if begun.elapsed() > LONGEST_WAIT {
            return false;
        }
        std::thread::sleep(LONGEST_WAIT / 200);
    }
    true
}

/// What was met, and how often.
#[derive(Default)]
struct Search {
    objects: Vec<Object>,
    /// References met; [`LIVE`] for what is held from outside.
    met: Vec<u32>,
    places: HashMap<usize, u32>,
}

const LIVE: u32 = u32::MAX;

impl Search {
    fn run(mut self) -> Result<usize> {
        let mut links = Vec::new();
        {
            let starts = STARTS.lock();
            grow(OP, &mut links, starts.nodes.len())?;
            links.extend(starts.nodes.iter().filter_map(|id| id.upgrade()).map(Object::Node));
            starts.leaves.iter().filter_map(Weak::upgrade).for_each(|list| list.starts(&mut links));
        }
        for object in links.drain(..) {
            self.place(object)?;
        }
        let mut next = 0;
        while next < self.objects.len() {
            self.objects[next].links(&mut links);
            for object in links.drain(..) {
                let place = self.place(object)?;
                self.met[place] = self.met[place].saturating_add(1).min(LIVE - 1);
            }
            next += 1;
        }
        self.spread()?;
        let count = self.cut()?;
        let left = STARTS.lock().prune();
        ROOM.store(LEAST + 2 * left, Ordering::Relaxed);
        PATIENCE.store(LEAST + left, Ordering::Relaxed);
        Ok(count)
    }

    /// Where an object stands in the list.
    fn place(&mut self, object: Object) -> Result<usize> {
        let next = self.objects.len();
        ask(OP, 2 * next * size_of::<(usize, u32)>(), || self.places.try_reserve(1))?;
        grow(OP, &mut self.objects, 1)?;
        grow(OP, &mut self.met, 1)?;
        let place = *self.places.entry(object.address()).or_insert(next as u32) as usize;
        if place == next {
            self.objects.push(object);
            self.met.push(0);
        }
        Ok(place)
    }

    /// Marks what is held from outside, and all that it leads to.
    fn spread(&mut self) -> Result<()> {
        let held = |&n: &usize| self.objects[n].owners() != self.met[n] as usize;
        // No object comes twice.
        let mut queue = reserved(OP, self.objects.len())?;
        queue.extend((0..self.objects.len()).filter(held));
        queue.iter().for_each(|&n| self.met[n] = LIVE);
        let mut links = Vec::new();
        while let Some(n) = queue.pop() {
            self.objects[n].links(&mut links);
            for object in links.drain(..) {
                // What was not met before came since, and somebody who is not lost has it.
                if let Some(&place) = self.places.get(&object.address())
                    && self.met[place as usize] != LIVE
                {
                    self.met[place as usize] = LIVE;
                    queue.push(place as usize);
                }
            }
        }
        Ok(())
    }

    /// Cuts the references between what is left.
    fn cut(self) -> Result<usize> {
        let lost = |(object, met): (Object, u32)| (met != LIVE).then_some(object);
        let mut all = reserved(OP, self.objects.len())?;
        let mut kept = reserved(OP, self.objects.len())?;
        all.extend(self.objects.into_iter().zip(self.met).filter_map(lost));
        let lost: Vec<Object> = all;
        // Objects of the host language may go while others are cut.
        kept.extend(lost.iter().filter_map(|object| match object {
            Object::Host(object) => host().map(|host| (host.keep)(*object)),
            _ => None,
        }));
        lost.iter().for_each(Object::clear);
        let count = lost.len();
        drop(lost);
        drop(kept);
        Ok(count)
    }
}
