//! `ferrograd.Generator`: streams of random numbers.

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyInt, PyTuple, PyType};

use super::convert::ok;
use super::device::{self, PyDevice};
use super::tensor::{PyTensor, wrap};
use crate::random::{self, Generator, Stream};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;

/// A stream of random numbers, for the argument `generator` of all random functions.
///
/// `kind="mersenne"`, torch's generator, gives torch's numbers for the same seed. `kind="philox"` is an addition to torch:
/// Philox 4x32-10, whose numbers are functions of the seed, the number of the stream and the place in it. Threads draw them
/// side by side, the same ones whatever their number; `set_offset` goes to any place at once, and `stream` gives
/// independent streams of one seed.
///
/// >>> import ferrograd
/// >>> g = ferrograd.Generator().manual_seed(0)
/// >>> ferrograd.rand(3, generator=g)
/// tensor([0.4963, 0.7682, 0.0885])
/// >>> p = ferrograd.Generator(kind="philox").manual_seed(0)
/// >>> first = ferrograd.rand(3, generator=p)
/// >>> p.get_offset()
/// 3
/// >>> bool((ferrograd.rand(3, generator=p.set_offset(0)) == first).all())
/// True
#[pyclass(name = "Generator", module = "ferrograd", frozen, subclass, weakref)]
pub struct PyGenerator(pub Generator);

/// A seed of 64 bits, where negative numbers wrap.
fn seed_of(seed: &Bound<'_, PyAny>) -> PyResult<u64> {
    if !seed.is_instance_of::<PyInt>() || seed.is_instance_of::<PyBool>() {
        let given = seed.get_type().name()?;
        return Err(PyRuntimeError::new_err(format!("manual_seed expected a long, but got {given}")));
    }
    let wide: Option<i128> = seed.extract().ok();
    let fits = wide.filter(|s| (-(1i128 << 63)..(1i128 << 64)).contains(s));
    let message = "Overflow when unpacking long long: the seed must fit 64 bits";
    fits.map(|s| s as u64).ok_or_else(|| PyValueError::new_err(message))
}

/// A seed that nobody knows before.
fn unknown_seed(py: Python<'_>) -> PyResult<u64> {
    py.import("secrets")?.call_method1("randbits", (64,))?.extract()
}

const NO_OFFSET: &str = "a Generator of kind 'mersenne' does not use offset: only one of kind 'philox' does";

#[pymethods]
impl PyGenerator {
    #[new]
    #[pyo3(signature = (device=None, *, kind="mersenne"))]
    fn new(device: Option<&Bound<'_, PyAny>>, kind: &str) -> PyResult<Self> {
        device.map_or(Ok(()), |d| device::take_cpu("Generator", d))?;
        let seed = random::DEFAULT_SEED;
        match kind {
            "mersenne" => Ok(PyGenerator(Stream::new(seed).into())),
            "philox" => Ok(PyGenerator(Stream::philox(seed, 0).into())),
            other => Err(PyValueError::new_err(format!(
                "Generator: kind must be 'mersenne', torch's generator, or 'philox', got {other:?}"
            ))),
        }
    }

    /// Begin anew with a seed; give the generator itself.
    ///
    /// RuntimeError for what is no integer, ValueError for integers that do not fit 64 bits.
    ///
    /// >>> import ferrograd
    /// >>> ferrograd.rand(3, generator=ferrograd.Generator().manual_seed(0))
    /// tensor([0.4963, 0.7682, 0.0885])
    fn manual_seed<'py>(slf: Bound<'py, Self>, seed: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        slf.get().reseed(seed_of(seed)?);
        Ok(slf)
    }

    /// Begin anew with a seed that nobody knows before, and give the seed.
    ///
    /// >>> import ferrograd
    /// >>> g = ferrograd.Generator()
    /// >>> g.seed() == g.initial_seed()
    /// True
    fn seed(&self, py: Python<'_>) -> PyResult<u64> {
        let seed = unknown_seed(py)?;
        self.reseed(seed);
        Ok(seed)
    }

    /// The seed that the stream started from.
    ///
    /// >>> import ferrograd
    /// >>> ferrograd.Generator().manual_seed(7).initial_seed()
    /// 7
    fn initial_seed(&self) -> u64 {
        self.0.lock().initial_seed()
    }

    /// All that later numbers depend on, as bytes: of the kind "mersenne" in the order that torch has them in.
    ///
    /// >>> import ferrograd
    /// >>> ferrograd.Generator().get_state().dtype
    /// torch.uint8
    fn get_state(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let state = self.0.lock().state();
        wrap(py, ok(Tensor::from_bytes(&state, &[state.len()], DType::U8))?)
    }

    /// Go on from a state that `get_state` of a generator of this kind gave, here or in torch; give the generator itself.
    ///
    /// TypeError for what is no tensor of bytes, RuntimeError for bytes that are no state of this kind.
    ///
    /// >>> import ferrograd
    /// >>> g = ferrograd.Generator()
    /// >>> state = g.get_state()
    /// >>> first = ferrograd.rand(3, generator=g)
    /// >>> bool((ferrograd.rand(3, generator=g.set_state(state)) == first).all())
    /// True
    fn set_state<'py>(slf: Bound<'py, Self>, new_state: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        let Ok(state) = new_state.cast::<PyTensor>() else {
            let given = new_state.get_type().name()?;
            return Err(PyTypeError::new_err(format!("expected a torch.ByteTensor, but got {given}")));
        };
        let state = state.get().get();
        if state.dtype() != DType::U8 {
            return Err(PyTypeError::new_err(format!("RNG state must be a torch.ByteTensor, got {}", state.dtype())));
        }
        let bytes = ok(state.to_bytes())?;
        let mut stream = slf.get().0.lock();
        *stream = ok(stream.restored(&bytes))?;
        drop(stream);
        Ok(slf)
    }

    /// Another generator in the same state.
    ///
    /// >>> import ferrograd
    /// >>> g = ferrograd.Generator()
    /// >>> h = g.clone_state()
    /// >>> bool((ferrograd.rand(3, generator=g) == ferrograd.rand(3, generator=h)).all())
    /// True
    fn clone_state(&self) -> Self {
        PyGenerator(self.0.lock().clone().into())
    }

    /// How many words of 32 bits a generator of kind "philox" has drawn.
    ///
    /// RuntimeError for the kind "mersenne".
    ///
    /// >>> import ferrograd
    /// >>> g = ferrograd.Generator(kind="philox")
    /// >>> _ = ferrograd.rand(3, generator=g)
    /// >>> g.get_offset()
    /// 3
    fn get_offset(&self) -> PyResult<u64> {
        let position = self.0.lock().position();
        position.map(|(_, offset)| offset).ok_or_else(|| PyRuntimeError::new_err(NO_OFFSET))
    }

    /// Let a generator of kind "philox" go on behind so many words of 32 bits; give the generator itself. A float32 takes
    /// one word, a float64 two.
    ///
    /// RuntimeError for the kind "mersenne".
    ///
    /// >>> import ferrograd
    /// >>> g = ferrograd.Generator(kind="philox")
    /// >>> a, b = (ferrograd.rand(3, generator=g.set_offset(100)) for _ in range(2))
    /// >>> bool((a == b).all())
    /// True
    fn set_offset<'py>(slf: Bound<'py, Self>, offset: u64) -> PyResult<Bound<'py, Self>> {
        let mut stream = slf.get().0.lock();
        let moved = stream.position().is_some_and(|(number, _)| stream.go_to(number, offset));
        drop(stream);
        if moved { Ok(slf) } else { Err(PyRuntimeError::new_err(NO_OFFSET)) }
    }

    /// Another generator of kind "philox" with the same seed, at the beginning of another of its 2^64 independent streams.
    ///
    /// Raises RuntimeError for a generator of another kind.
    ///
    /// >>> import ferrograd
    /// >>> g = ferrograd.Generator(kind="philox").manual_seed(0)
    /// >>> a, b = (ferrograd.rand(3, generator=g.stream(n)) for n in (1, 2))
    /// >>> bool((a == b).any())
    /// False
    fn stream(&self, number: u64) -> PyResult<Self> {
        let mut stream = self.0.lock().clone();
        if stream.go_to(number, 0) { Ok(PyGenerator(stream.into())) } else { Err(PyRuntimeError::new_err(NO_OFFSET)) }
    }

    /// Where the numbers are drawn: the CPU.
    ///
    /// >>> import ferrograd
    /// >>> ferrograd.Generator().device
    /// device(type='cpu')
    #[getter]
    fn device(&self) -> PyDevice {
        PyDevice::CPU
    }

    /// The kind of generator: "mersenne" or "philox".
    ///
    /// >>> import ferrograd
    /// >>> ferrograd.default_generator.kind
    /// 'mersenne'
    #[getter]
    fn kind(&self) -> &'static str {
        if self.0.lock().position().is_some() { "philox" } else { "mersenne" }
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let py = slf.py();
        let named = PyDict::new(py);
        named.set_item("kind", slf.get().kind())?;
        let class: Bound<'py, PyType> = slf.get_type();
        let make = py.import("functools")?.getattr("partial")?.call((class,), Some(&named))?;
        (make, PyTuple::empty(py), slf.get().get_state(py)?).into_pyobject(py)
    }

    fn __setstate__(slf: Bound<'_, Self>, state: &Bound<'_, PyAny>) -> PyResult<()> {
        PyGenerator::set_state(slf, state).map(drop)
    }
}

impl PyGenerator {
    fn reseed(&self, seed: u64) {
        let mut stream = self.0.lock();
        *stream = stream.reseeded(seed);
    }
}

/// Adds the default stream to the module.
pub fn install(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyGenerator>()?;
    module.add("default_generator", Py::new(module.py(), PyGenerator(random::default().clone()))?)
}
