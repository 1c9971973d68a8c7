//! The example of the READMEs, as it stands there.

#[test]
fn the_example_runs() -> ferrograd::Result<()> {
    // The example:
    use ferrograd::Tensor;

    let x = Tensor::from_slice(&[2.0f32]).requiring_grad()?;
    let y = (&x * &x)?;
    y.backward()?;
    assert_eq!(x.grad().unwrap().to_vec::<f32>()?, [4.0]);
    // Its end.
    Ok(())
}

#[test]
fn the_readmes_show_it() {
    let this = include_str!("readme.rs");
    let (_, from_it) = this.split_once("// The example:\n").unwrap();
    let (example, _) = from_it.split_once("    // Its end.\n").unwrap();
    let example: String = example.split_inclusive('\n').map(|line| line.strip_prefix("    ").unwrap_or(line)).collect();
    let block = format!("```rust\n{example}```\n");
    for readme in [include_str!("../README.md"), include_str!("../README.zh.md")] {
        assert!(readme.contains(&block), "expected the README to hold\n{block}");
    }
}
