//! Element-wise operations, reductions and products by size: `cargo bench --bench kernels`.

#![allow(missing_docs, reason = "the group that criterion makes")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ferrograd::ops::{arithmetic, contract, sum, unary};
use ferrograd::{DType, Tensor};

fn line(n: usize, dtype: DType) -> Tensor {
    ferrograd::ops::creation::linspace(-2.0, 2.0, n as isize, dtype).expect("a line")
}

fn pointwise(c: &mut Criterion) {
    let mut group = c.benchmark_group("pointwise");
    for n in [1, 1_000, 1_000_000] {
        group.throughput(Throughput::Elements(n as u64));
        let x = line(n, DType::F32);
        group.bench_with_input(BenchmarkId::new("add", n), &x, |b, x| b.iter(|| arithmetic::add(black_box(x), x)));
        group.bench_with_input(BenchmarkId::new("exp", n), &x, |b, x| b.iter(|| unary::exp(black_box(x))));
        group.bench_with_input(BenchmarkId::new("tanh", n), &x, |b, x| b.iter(|| unary::tanh(black_box(x))));
    }
    group.finish();
}

fn reductions(c: &mut Criterion) {
    let mut group = c.benchmark_group("sum");
    let x = line(1_000_000, DType::F32);
    let square = ferrograd::ops::view::reshape(&x, &[1000, 1000]).expect("a square");
    group.throughput(Throughput::Elements(1_000_000));
    group.bench_function("all", |b| b.iter(|| sum::sum(black_box(&x), &[], false, None)));
    group.bench_function("rows", |b| b.iter(|| sum::sum(black_box(&square), &[1], false, None)));
    group.bench_function("columns", |b| b.iter(|| sum::sum(black_box(&square), &[0], false, None)));
    group.finish();
}

fn products(c: &mut Criterion) {
    let mut group = c.benchmark_group("matmul");
    for n in [8usize, 64, 256, 1024] {
        let x = ferrograd::ops::view::reshape(&line(n * n, DType::F32), &[n as isize, n as isize]).expect("a square");
        group.throughput(Throughput::Elements(2 * (n * n * n) as u64));
        group.bench_with_input(BenchmarkId::from_parameter(n), &x, |b, x| b.iter(|| contract::matmul(black_box(x), x)));
    }
    group.finish();
}

criterion_group!(benches, pointwise, reductions, products);
criterion_main!(benches);
