//! What a program takes from the system: nothing in a steady loop of training, and little for each node of a long chain.
// The bindings bring an allocator of their own.
#![cfg(not(feature = "python"))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use ferrograd::ops::arithmetic::{Sub, add, mul, sub};
use ferrograd::ops::contract::matmul;
use ferrograd::ops::formula::Operand;
use ferrograd::ops::{pointwise, sum, unary};
use ferrograd::{Result, Tensor, no_grad};
use parking_lot::Mutex;

/// The system's allocator, counted.
struct Counting;

thread_local! {
    /// Of this thread: those of the harness do not count.
    static CALLS: Cell<usize> = const { Cell::new(0) };
}
static BYTES: AtomicUsize = AtomicUsize::new(0);
/// The tests of this file run one after another: they share the counter of bytes.
static ALONE: Mutex<()> = Mutex::new(());

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        BYTES.fetch_add(layout.size(), Relaxed);
        // SAFETY: as for this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as for this function.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Two layers and the mean of the squared error.
struct Network {
    parameters: [Tensor; 4],
    x: Tensor,
    y: Tensor,
}

impl Network {
    fn new() -> Result<Network> {
        let leaf = |shape: &[usize], scale: f64| -> Result<Tensor> {
            let n = shape.iter().product::<usize>();
            let values: Vec<f32> = (0..n).map(|i| ((i as f64 * 0.7).sin() * scale) as f32).collect();
            ferrograd::ops::view::reshape(
                &Tensor::from_slice(&values),
                &shape.iter().map(|&s| s as isize).collect::<Vec<_>>(),
            )
        };
        let parameters =
            [leaf(&[8, 16], 0.3)?, leaf(&[16], 0.1)?, leaf(&[16, 4], 0.3)?, leaf(&[4], 0.1)?].map(|p| p.detach());
        for p in &parameters {
            p.set_requires_grad(true)?;
        }
        Ok(Network { parameters, x: leaf(&[32, 8], 1.0)?, y: leaf(&[32, 4], 1.0)? })
    }

    /// A step of gradient descent.
    fn step(&self) -> Result<()> {
        let [w1, b1, w2, b2] = &self.parameters;
        let hidden = unary::tanh(&add(&matmul(&self.x, w1)?, b1)?)?;
        let error = sub(&add(&matmul(&hidden, w2)?, b2)?, &self.y)?;
        sum::mean(&mul(&error, &error)?, &[], false, None)?.backward()?;
        no_grad(|| {
            for p in &self.parameters {
                if let Some(g) = p.grad() {
                    let scaled = mul(&g, 0.01)?;
                    pointwise::apply_in_place(Sub::spec(), "sub_", &[Operand::from(p), (&scaled).into()])?;
                }
                p.set_grad(None)?;
            }
            Ok(())
        })
    }
}

#[test]
fn a_steady_loop_of_training_takes_nothing_from_the_system() {
    let _alone = ALONE.lock();
    let network = Network::new().unwrap();
    network.step().unwrap();
    let before = CALLS.get();
    for _ in 0..100 {
        network.step().unwrap();
    }
    assert_eq!(CALLS.get() - before, 0);
}

/// Builds, differentiates and frees a chain in a small stack; gives the bytes taken for each node beyond the values.
fn chain(nodes: usize) -> f64 {
    let work = move || {
        let x = Tensor::from_slice(&[1.0f32]).requiring_grad().unwrap();
        let before = BYTES.load(Relaxed);
        let mut y = x.clone();
        for _ in 0..nodes {
            y = mul(&y, 1.0).unwrap();
        }
        let taken = BYTES.load(Relaxed) - before;
        y.backward().unwrap();
        assert_eq!(x.grad().unwrap().to_vec::<f32>().unwrap(), [1.0]);
        drop(y);
        taken as f64 / nodes as f64
    };
    std::thread::Builder::new().stack_size(128 << 10).spawn(work).unwrap().join().unwrap()
}

#[test]
fn a_node_of_a_chain_takes_little_memory() {
    let _alone = ALONE.lock();
    let bytes = chain(1_000_000);
    assert!(bytes <= 200.0, "{bytes} bytes a node");
}

#[test]
#[ignore = "takes gigabytes and some seconds"]
fn a_chain_of_ten_million_nodes() {
    let _alone = ALONE.lock();
    let bytes = chain(10_000_000);
    println!("{bytes:.1} bytes a node");
    assert!(bytes <= 200.0, "{bytes} bytes a node");
}
