//! Graphs: recording, differentiating and freeing them, each for itself and together: `cargo bench --bench engine`.

#![allow(missing_docs, reason = "the group that criterion makes")]

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ferrograd::ops::arithmetic::{add, mul};
use ferrograd::ops::{contract, sum, unary};
use ferrograd::{DType, Result, Tensor};

type Build = fn(&Tensor, usize) -> Result<Tensor>;

/// The graphs that are measured.
const GRAPHS: [(&str, Build); 3] = [("chain", chain), ("fan", fan), ("diamonds", diamonds)];

fn leaf() -> Tensor {
    Tensor::from_slice(&[1.0f32]).requiring_grad().expect("float32 can require gradients")
}

/// `x * 1.00001`, `depth` times.
fn chain(x: &Tensor, depth: usize) -> Result<Tensor> {
    (0..depth).try_fold(x.clone(), |y, _| mul(&y, 1.00001))
}

/// The sum of `width` products that share one leaf.
fn fan(x: &Tensor, width: usize) -> Result<Tensor> {
    (0..width / 2).try_fold(x.clone(), |sum, _| add(&sum, &mul(x, x)?))
}

/// Sums of a value with half of itself: two paths from each to the next.
fn diamonds(x: &Tensor, nodes: usize) -> Result<Tensor> {
    (0..nodes / 2).try_fold(x.clone(), |y, _| add(&y, &mul(&y, 0.5)?))
}

/// Runs a measurement for each graph and number of nodes.
fn for_graphs(
    c: &mut Criterion,
    name: &str,
    measure: impl Fn(&mut BenchmarkGroup<WallTime>, BenchmarkId, Build, usize),
) {
    let mut group = c.benchmark_group(name);
    for nodes in [2, 100, 10_000] {
        group.throughput(Throughput::Elements(nodes as u64));
        for (graph, build) in GRAPHS {
            measure(&mut group, BenchmarkId::new(graph, nodes), build, nodes);
        }
    }
    group.finish();
}

/// Nodes into the arena, and nothing else: results are freed outside of the measurement.
fn record(c: &mut Criterion) {
    for_graphs(c, "record", |group, id, build, nodes| {
        let x = leaf();
        group.bench_function(id, |b| b.iter_with_large_drop(|| build(&x, nodes)));
    });
}

/// The backward pass over a graph that is there.
fn backward(c: &mut Criterion) {
    for_graphs(c, "backward", |group, id, build, nodes| {
        let x = leaf();
        let graph = || build(&x, nodes).expect("a graph");
        group.bench_function(id, |b| b.iter_batched(graph, |y| y.backward(), BatchSize::LargeInput));
    });
}

/// The end of a graph that was never differentiated.
fn free(c: &mut Criterion) {
    for_graphs(c, "free", |group, id, build, nodes| {
        let x = leaf();
        group.bench_function(id, |b| b.iter_batched(|| build(&x, nodes), drop, BatchSize::LargeInput));
    });
}

fn together(c: &mut Criterion) {
    for_graphs(c, "record, backward and free", |group, id, build, nodes| {
        let x = leaf();
        let step = || build(&x, nodes).and_then(|y| y.backward()).and_then(|()| x.set_grad(None));
        group.bench_function(id, |b| b.iter(step));
    });
}

/// Branches whose kernels are worth a thread each.
fn wide(c: &mut Criterion) {
    const SIZE: isize = 256;
    let mut group = c.benchmark_group("wide");
    let line = ferrograd::ops::creation::linspace(-0.05, 0.05, SIZE * SIZE, DType::F32).expect("a line");
    let square = ferrograd::ops::view::reshape(&line, &[SIZE, SIZE]).expect("a square");
    for branches in [1usize, 8] {
        let weights: Vec<Tensor> = (0..branches)
            .map(|i| mul(&square, 1.0 + i as f64).and_then(|w| w.detach().requiring_grad()).expect("a weight"))
            .collect();
        let step = || -> Result<()> {
            let mut total = Tensor::scalar(0.0, DType::F32)?;
            for w in &weights {
                let y = unary::tanh(&contract::matmul(&unary::tanh(&contract::matmul(&square, w)?)?, w)?)?;
                total = add(&total, &sum::sum(&y, &[], false, None)?)?;
            }
            total.backward()?;
            weights.iter().try_for_each(|w| w.set_grad(None))
        };
        group.throughput(Throughput::Elements(branches as u64));
        group.bench_function(BenchmarkId::from_parameter(branches), |b| b.iter(step));
    }
    group.finish();
}

criterion_group!(benches, record, backward, free, together, wide);
criterion_main!(benches);
