//! Element-wise operations, programs of them, reductions and products by size: `cargo bench --bench kernels`.

#![allow(missing_docs, reason = "the group that criterion makes")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ferrograd::ops::{arithmetic, compare, contract, softmax, statistics, sum, unary, view};
use ferrograd::tensor::pending::set_fusion;
use ferrograd::{DType, Result, Tensor};

fn line(n: usize, dtype: DType) -> Tensor {
    ferrograd::ops::creation::linspace(-2.0, 2.0, n as isize, dtype).expect("a line")
}

fn square(n: usize) -> Tensor {
    view::reshape(&line(n * n, DType::F32), &[n as isize, n as isize]).expect("a square")
}

/// A result with its numbers, which may wait.
fn computed(y: Result<Tensor>) -> Result<()> {
    y?.settle()
}

type Unary = fn(&Tensor) -> Result<Tensor>;

fn pointwise(c: &mut Criterion) {
    let operations: [(&str, Unary); 8] = [
        ("add", |x| arithmetic::add(x, x)),
        ("relu", |x| unary::relu(x)),
        ("exp", |x| unary::exp(x)),
        ("sin", |x| unary::sin(x)),
        ("tanh", |x| unary::tanh(x)),
        ("sigmoid", |x| unary::sigmoid(x)),
        ("pow", |x| arithmetic::pow(x, 2.5)),
        ("where", |x| compare::where_(&compare::lt(x, 0.5)?, x, 0.0)),
    ];
    for dtype in [DType::F32, DType::F64] {
        let mut group = c.benchmark_group(format!("pointwise {dtype}"));
        for n in [1, 1_000, 1_000_000] {
            group.throughput(Throughput::Elements(n as u64));
            let x = line(n, dtype);
            for (name, run) in operations {
                group.bench_with_input(BenchmarkId::new(name, n), &x, |b, x| b.iter(|| computed(run(black_box(x)))));
            }
        }
        group.finish();
    }
}

/// `tanh(sin(x) exp(-x^2) + x^3)`, as one program and operation by operation.
fn fusion(c: &mut Criterion) {
    let formula = |x: &Tensor| -> Result<Tensor> {
        let cube = arithmetic::mul(&arithmetic::mul(x, x)?, x)?;
        let bell = unary::exp(&arithmetic::mul(&arithmetic::neg(x)?, x)?)?;
        unary::tanh(&arithmetic::add(&arithmetic::mul(&unary::sin(x)?, &bell)?, &cube)?)
    };
    let mut group = c.benchmark_group("program");
    for n in [100_000, 1_000_000] {
        group.throughput(Throughput::Elements(n as u64));
        let x = line(n, DType::F32);
        for (name, is_on) in [("fused", true), ("alone", false)] {
            group.bench_with_input(BenchmarkId::new(name, n), &x, |b, x| {
                set_fusion(is_on, None);
                b.iter(|| computed(formula(black_box(x))));
            });
        }
    }
    set_fusion(true, None);
    group.finish();
}

/// A matrix with a row, with a column, and with its transpose.
fn broadcast(c: &mut Criterion) {
    let mut group = c.benchmark_group("add to a matrix");
    let x = square(1000);
    let (row, column) = (line(1000, DType::F32), view::reshape(&line(1000, DType::F32), &[1000, 1]).expect("a column"));
    let turned = view::transpose(&x, 0, 1).expect("a transpose");
    group.throughput(Throughput::Elements(1_000_000));
    for (name, other) in [("row", &row), ("column", &column), ("transpose", &turned)] {
        group.bench_function(name, |b| b.iter(|| computed(arithmetic::add(black_box(&x), other))));
    }
    group.finish();
}

fn reductions(c: &mut Criterion) {
    let mut group = c.benchmark_group("reductions");
    let (x, matrix) = (line(1_000_000, DType::F32), square(1000));
    group.throughput(Throughput::Elements(1_000_000));
    group.bench_function("sum of all", |b| b.iter(|| sum::sum(black_box(&x), &[], false, None)));
    group.bench_function("sum of rows", |b| b.iter(|| sum::sum(black_box(&matrix), &[1], false, None)));
    group.bench_function("sum of columns", |b| b.iter(|| sum::sum(black_box(&matrix), &[0], false, None)));
    group.bench_function("variance of rows", |b| b.iter(|| statistics::var(black_box(&matrix), &[1], 1.0, false)));
    group.bench_function("logsumexp of rows", |b| b.iter(|| softmax::logsumexp(black_box(&matrix), &[1], false)));
    group.bench_function("softmax of rows", |b| b.iter(|| softmax::softmax(black_box(&matrix), 1, None)));
    group.finish();
}

fn products(c: &mut Criterion) {
    let mut group = c.benchmark_group("matmul");
    for n in [2usize, 8, 64, 256, 1024] {
        let x = square(n);
        group.throughput(Throughput::Elements(2 * (n * n * n) as u64));
        group.bench_with_input(BenchmarkId::from_parameter(n), &x, |b, x| b.iter(|| contract::matmul(black_box(x), x)));
    }
    group.finish();
}

criterion_group!(benches, pointwise, fusion, broadcast, reductions, products);
criterion_main!(benches);
