//! Building and differentiating graphs: `cargo bench --bench engine`.

#![allow(missing_docs, reason = "the group that criterion makes")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ferrograd::ops::arithmetic::{add, mul};
use ferrograd::{Result, Tensor};

fn leaf() -> Tensor {
    Tensor::from_slice(&[1.0f32]).requiring_grad().expect("float32 can require gradients")
}

/// `x * 1.00001`, `depth` times.
fn chain(x: &Tensor, depth: usize) -> Result<Tensor> {
    (0..depth).try_fold(x.clone(), |y, _| mul(&y, 1.00001))
}

/// The sum of `width` products that share one leaf.
fn fan(x: &Tensor, width: usize) -> Result<Tensor> {
    (0..width).try_fold(x.clone(), |sum, _| add(&sum, &mul(x, x)?))
}

fn engine(c: &mut Criterion) {
    let mut group = c.benchmark_group("forward and backward");
    for n in [1, 100, 10_000] {
        group.throughput(Throughput::Elements(n as u64));
        for (name, build) in [("chain", chain as fn(&Tensor, usize) -> Result<Tensor>), ("fan", fan)] {
            let x = leaf();
            group.bench_with_input(BenchmarkId::new(name, n), &n, |b, &n| {
                b.iter(|| build(&x, n).and_then(|y| y.backward()).and_then(|()| x.set_grad(None)))
            });
        }
    }
    group.finish();
}

criterion_group!(benches, engine);
criterion_main!(benches);
