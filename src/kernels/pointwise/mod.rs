//! The one executor of element-wise programs: block by block, every instruction once a block, in the first-level cache.

mod computed;
mod order;
mod stream;
mod tiles;

use std::cell::RefCell;

use smallvec::SmallVec;

use super::convert::{Converter, converter};
use super::dispatch::{Tier, tier};
use super::element::{convert, dispatch, number};
use super::expr::{OpCode, Program};
use super::gather::Walk;
use super::instructions::{Loop, Run};
use super::parallel;
use crate::error::{Error, Result};
use crate::tensor::dtype::{DType, UNSUPPORTED};
use crate::tensor::scalar::Scalar;
use order::{Turned, order_in_memory};
use tiles::{PITCH, TILE, Tiles, turn};

pub(crate) use computed::{Values, with_values};

/// Elements of a block. Eight registers of float64 fill 32 KiB, the smallest first-level cache in use.
pub const BLOCK: usize = 512;
/// Elements from which a second thread pays: about 10 us of work, what waking a thread costs.
const GRAIN: usize = 16 * 1024;

/// What a program reads.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Elements in memory; the strides are those of the program's shape.
    #[allow(missing_docs, reason = "the fields of a view of memory")]
    Array { data: *const u8, dtype: DType, strides: &'a [isize] },
    /// The same number for all elements.
    Number(Scalar),
}

/// What a program writes: elements in memory under the strides of the program's shape.
#[derive(Clone, Copy, Debug)]
pub struct Output<'a> {
    /// The first element.
    pub data: *mut u8,
    /// Its type: what is computed is converted to it.
    pub dtype: DType,
    /// Steps in elements.
    pub strides: &'a [isize],
}

// SAFETY: the caller of `run` vouches for the memory, which threads read together.
unsafe impl Sync for Input<'_> {}
// SAFETY: threads write to ranges of their own.
unsafe impl Sync for Output<'_> {}

/// The numbers that a program computes with.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    /// Their type. Types of 16 bits and fewer are computed with in wider ones, and results converted back.
    pub dtype: DType,
    /// Which inputs are taken as they are, bit by bit, where numbers are floats of 16 bits. All others are rounded to the
    /// numbers' type first, as integers wrap to theirs.
    pub exact: u8,
}

impl Numbers {
    /// Whether an input has to become one of these numbers before it is computed with.
    fn narrow(self, input: usize) -> bool {
        self.dtype != self.dtype.computed_in() && !(self.dtype.is_floating_point() && self.exact & 1 << input != 0)
    }
}

/// Runs a program over all elements of a shape, computing with `numbers`.
///
/// # Safety
/// Inputs and outputs are valid for the shape under their strides, and an output overlaps an input only element on
/// element.
pub unsafe fn run(
    op: &'static str,
    program: &Program,
    numbers: Numbers,
    inputs: &[Input],
    params: &[f64],
    outputs: &[Output],
    shape: &[usize],
) -> Result<()> {
    if let Some(order) = outputs.first().and_then(|target| order_in_memory(shape, target.strides)) {
        let turned = Turned::new(&order, inputs, outputs, shape);
        let (inputs, outputs) = (turned.inputs(inputs), turned.outputs(outputs));
        // SAFETY: the same elements, in an order that is the output's in memory.
        return unsafe { run(op, program, numbers, &inputs, params, &outputs, &turned.shape) };
    }
    // SAFETY: the caller vouches for the operands.
    unsafe {
        match numbers.dtype.computed_in() {
            DType::F32 => run_as::<f32>(op, program, numbers, inputs, params, outputs, shape),
            DType::F64 => run_as::<f64>(op, program, numbers, inputs, params, outputs, shape),
            DType::I64 => run_as::<i64>(op, program, numbers, inputs, params, outputs, shape),
            DType::I32 => run_as::<i32>(op, program, numbers, inputs, params, outputs, shape),
            DType::U8 | DType::Bool => run_as::<u8>(op, program, numbers, inputs, params, outputs, shape),
            other => Err(Error::DTypeUnsupported { op, dtype: other, hint: UNSUPPORTED }),
        }
    }
}

/// Bytes between two registers. A store and a load whose addresses differ by a multiple of 4 KiB wait for each other, and
/// share their places in the cache: with these, only every sixteenth register lies so.
const GAP: usize = 256;

/// Elements from the start of a register to that of the next.
const fn pitch<T>() -> usize {
    BLOCK + GAP / size_of::<T>()
}

/// Elements of the innermost dimension from which tiles pay.
const NARROW: usize = 64;
/// Elements of the innermost dimension from which blocks that end with it pay.
const ROW: usize = 128;

/// Where a step's value is found in a block.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// In a row of a tile that was read beforehand.
    Tile(u16),
    /// In memory already: input `n` read in place.
    Direct(u8),
    /// In a register of the block.
    Register(u16),
}

/// A program made ready for one type and one set of operands.
struct Plan<'a, T: Run> {
    steps: SmallVec<[Planned<T>; 8]>,
    /// The register of each splatted number, filled once a thread.
    splats: SmallVec<[(u16, T); 4]>,
    registers: usize,
    outputs: SmallVec<[Place; 2]>,
    /// True where the last step's result goes straight to the only output.
    is_direct: bool,
    /// True where the result goes around the caches.
    streams: bool,
    /// True where what is read or written in place lies side by side along the innermost dimension only, so that no block
    /// reaches from one row into the next.
    by_rows: bool,
    inputs: &'a [Input<'a>],
    targets: &'a [Output<'a>],
    walk: Walk,
    /// For each input, the operand of `walk` that it is.
    operand: SmallVec<[usize; 6]>,
    /// The dimension along which some inputs lie side by side, and not along the innermost, and these inputs.
    across: Option<usize>,
    tiled: SmallVec<[u8; 2]>,
    /// What takes each input to the type computed in, and that to each output's.
    loads: SmallVec<[Load<T>; 6]>,
    stores: SmallVec<[Converter; 2]>,
}

/// Reads elements that lie side by side for each of many columns, and writes them as columns.
type Turn<T> = unsafe fn(data: *const u8, offset: isize, step: isize, to: *mut T, rows: usize, columns: usize);

/// How an input gets into a register.
#[derive(Clone, Copy)]
struct Load<T> {
    convert: Converter,
    turn: Turn<T>,
    /// To the narrower type that the program's numbers have, and back.
    narrow: Option<[Converter; 2]>,
}

/// One step of a plan.
enum Planned<T: Run> {
    /// Fetch an input into a register, converted.
    Load { input: u8, to: u16 },
    /// Compute.
    Apply { run: Loop<T>, args: [Place; 3], to: u16 },
}

unsafe fn run_as<T: Run>(
    op: &'static str,
    program: &Program,
    numbers: Numbers,
    inputs: &[Input],
    params: &[f64],
    outputs: &[Output],
    shape: &[usize],
) -> Result<()> {
    let total: usize = shape.iter().product();
    if total == 0 {
        return Ok(());
    }
    let plan = Plan::<T>::new(op, program, numbers, inputs, params, outputs, shape)?;
    if let Some(across) = plan.across {
        let tiles = Tiles::new(&plan.walk, across);
        parallel::for_each_range(tiles.count(), (grain(program) / (TILE * BLOCK)).max(1), |start, end| {
            plan.with_registers(|file, room| {
                // SAFETY: the caller of `run` vouches for the operands; tiles lie in the shape.
                (start..end).for_each(|n| unsafe { plan.tile(file, room, &tiles, n) });
            });
        });
        return Ok(());
    }
    let longest = if plan.needs_no_registers() { total } else { BLOCK };
    parallel::for_each_range(total, grain(program), |start, end| {
        plan.with_registers(|file, _| {
            let mut at = start;
            while at < end {
                let stop = plan.stop(at, longest, end);
                // SAFETY: the caller of `run` vouches for the operands; the range lies in the shape.
                unsafe { plan.block(file, std::ptr::null(), at, stop) };
                at = stop;
            }
        });
    });
    Ok(())
}

/// Elements a piece of parallel work should have: fewer where each costs more.
fn grain(program: &Program) -> usize {
    let heavy = |s: &super::expr::Instruction| {
        use OpCode::*;
        matches!(s.op, Function(_) | Pow | FloorDivide | Remainder | Fmod | Gcd)
    };
    GRAIN / (1 + 3 * program.steps.iter().filter(|s| heavy(s)).count().min(3))
}

thread_local! {
    static REGISTERS: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Room for so many elements, aligned for vectors.
fn registers<T>(bytes: &mut Vec<u64>, elements: usize) -> *mut T {
    let words = elements * size_of::<T>() / 8 + 8;
    if bytes.len() < words {
        bytes.resize(words, 0);
    }
    let start = bytes.as_mut_ptr().cast::<u8>();
    // Eight words more than needed leave room for the next 64-byte boundary.
    start.wrapping_add(start.align_offset(64)).cast()
}

impl<'a, T: Run> Plan<'a, T> {
    fn new(
        op: &'static str,
        program: &Program,
        numbers: Numbers,
        inputs: &'a [Input<'a>],
        params: &[f64],
        targets: &'a [Output<'a>],
        shape: &[usize],
    ) -> Result<Self> {
        let mut arrays: SmallVec<[&[isize]; 6]> = targets.iter().map(|t| t.strides).collect();
        let mut operand: SmallVec<[usize; 6]> = SmallVec::new();
        for input in inputs {
            operand.push(arrays.len());
            if let Input::Array { strides, .. } = input {
                arrays.push(strides);
            }
        }
        let walk = Walk::new(shape, &arrays);
        let mut plan = Plan {
            steps: SmallVec::new(),
            splats: SmallVec::new(),
            registers: 0,
            outputs: SmallVec::new(),
            is_direct: false,
            streams: false,
            by_rows: false,
            inputs,
            targets,
            walk,
            operand,
            across: None,
            tiled: SmallVec::new(),
            loads: (0..inputs.len()).map(|n| Load::new(op, &inputs[n], numbers, n)).collect::<Result<_>>()?,
            stores: targets.iter().map(|t| converter(op, T::DTYPE, t.dtype)).collect::<Result<_>>()?,
        };
        plan.find_tiled();
        plan.place(op, program, numbers, params)?;
        plan.is_direct = plan.may_be_direct();
        plan.streams = plan.may_stream();
        plan.by_rows = plan.goes_by_rows();
        Ok(plan)
    }

    /// Gives every step a place: numbers and constants a register of their own, inputs their memory where it can be
    /// read as it is, and computed values registers that are used again after their last reader.
    fn place(&mut self, op: &'static str, program: &Program, numbers: Numbers, params: &[f64]) -> Result<()> {
        let tier = tier();
        let mut last_use: SmallVec<[usize; 16]> = SmallVec::from_elem(0, program.steps.len());
        for (i, step) in program.steps.iter().enumerate() {
            step.args[..step.op.arity()].iter().for_each(|&a| last_use[a as usize] = i);
        }
        program.outputs.iter().for_each(|&o| last_use[o as usize] = usize::MAX);
        let mut places: SmallVec<[Place; 16]> = SmallVec::new();
        let mut free: SmallVec<[u16; 8]> = SmallVec::new();
        for (i, step) in program.steps.iter().enumerate() {
            let splat = match step.op {
                OpCode::Constant(value) => Some(T::from_f64(value)),
                OpCode::Param(n) => Some(T::from_f64(params[n as usize])),
                OpCode::Input(n) => match self.inputs[n as usize] {
                    Input::Number(number) if numbers.narrow(n as usize) => Some(narrowed(op, number, numbers.dtype)?),
                    Input::Number(value) => Some(number(value)),
                    Input::Array { .. } => self.repeated(n as usize),
                },
                _ => None,
            };
            let place = if let Some(value) = splat {
                let register = self.fresh();
                self.splats.push((register, value));
                Place::Register(register)
            } else if let OpCode::Input(n) = step.op {
                if let Some(tile) = self.tiled.iter().position(|&t| t == n) {
                    Place::Tile(tile as u16)
                } else if self.reads_directly(n as usize) {
                    Place::Direct(n)
                } else {
                    let to = free.pop().unwrap_or_else(|| self.fresh());
                    self.steps.push(Planned::Load { input: n, to });
                    Place::Register(to)
                }
            } else {
                let run = self.instruction(op, step.op, tier)?;
                let mut args = [Place::Register(0); 3];
                for (arg, &a) in args.iter_mut().zip(&step.args[..step.op.arity()]) {
                    *arg = places[a as usize];
                }
                let to = free.pop().unwrap_or_else(|| self.fresh());
                self.steps.push(Planned::Apply { run, args, to });
                for &a in &step.args[..step.op.arity()] {
                    if let Place::Register(r) = places[a as usize]
                        && last_use[a as usize] == i
                        && !self.splats.iter().any(|s| s.0 == r)
                        && !free.contains(&r)
                    {
                        free.push(r);
                    }
                }
                Place::Register(to)
            };
            places.push(place);
        }
        self.outputs = program.outputs.iter().map(|&o| places[o as usize]).collect();
        Ok(())
    }

    /// The one element of an input that is the same everywhere.
    fn repeated(&self, input: usize) -> Option<T> {
        let Input::Array { data, .. } = self.inputs[input] else { return None };
        let is_repeated = self.walk.strides[self.operand[input]].iter().all(|&stride| stride == 0);
        is_repeated.then(|| {
            let mut value = T::from_f64(0.0);
            // SAFETY: the caller of `run` vouches for the input, which has an element as the shape has.
            unsafe {
                (self.loads[input].convert)(data, 0, (&raw mut value).cast(), 1, 1);
                self.narrow(input, &raw mut value, 1);
            }
            value
        })
    }

    fn fresh(&mut self) -> u16 {
        self.registers += 1;
        (self.registers - 1) as u16
    }

    fn instruction(&self, op: &'static str, code: OpCode, tier: Tier) -> Result<Loop<T>> {
        T::instruction(code, tier).ok_or(Error::DTypeUnsupported {
            op,
            dtype: T::DTYPE,
            hint: "the operation needs floating-point numbers",
        })
    }

    /// True where an input's blocks are contiguous elements of the right type.
    fn reads_directly(&self, input: usize) -> bool {
        match self.inputs[input] {
            Input::Array { dtype, .. } => {
                dtype == T::DTYPE && self.loads[input].narrow.is_none() && self.lies_in_rows(self.operand[input])
            }
            Input::Number(_) => false,
        }
    }

    /// True where an operand's elements lie side by side along the innermost dimension, and all of them do or that is long.
    fn lies_in_rows(&self, operand: usize) -> bool {
        let is_row = self.walk.inner_stride(operand) == 1 && self.walk.inner() >= ROW;
        is_row || self.walk.is_row_major(operand)
    }

    fn goes_by_rows(&self) -> bool {
        let is_row = |operand: usize| !self.walk.is_row_major(operand);
        let reads = |input: usize| self.reads_directly(input) && is_row(self.operand[input]);
        self.is_direct && is_row(0) || (0..self.inputs.len()).any(reads)
    }

    /// The end of a block from `start`, of at most so many elements.
    #[inline]
    fn stop(&self, start: usize, longest: usize, end: usize) -> usize {
        let stop = (start + longest).min(end);
        let inner = self.walk.inner();
        if self.by_rows { stop.min(start - start % inner + inner) } else { stop }
    }

    /// Where an operand's element with the given row-major number lies, for one that is read or written in place.
    #[inline]
    fn offset(&self, operand: usize, start: usize) -> isize {
        if self.by_rows { self.walk.offset(operand, start) } else { start as isize }
    }

    /// Finds the inputs that are read by tiles: those whose innermost elements lie far apart and those of another dimension
    /// side by side, where both are long.
    fn find_tiled(&mut self) {
        let last = self.walk.shape.len() - 1;
        if self.walk.shape[last] < NARROW {
            return;
        }
        for (n, input) in self.inputs.iter().enumerate() {
            let Input::Array { .. } = input else { continue };
            let strides = &self.walk.strides[self.operand[n]];
            if strides[last].unsigned_abs() < TILE {
                continue;
            }
            let near = (0..last).rev().find(|&d| strides[d] == 1 && self.walk.shape[d] >= TILE / 2);
            if near.is_some() && (self.across.is_none() || self.across == near) {
                self.across = near;
                self.tiled.push(n as u8);
            }
        }
    }

    /// Runs a closure with the plan's registers, numbers and constants in theirs, and room for its tiles.
    fn with_registers(&self, body: impl FnOnce(*mut T, *mut T)) {
        REGISTERS.with_borrow_mut(|bytes| {
            let file = registers::<T>(bytes, self.registers * pitch::<T>() + self.tiled.len() * TILE * PITCH);
            for &(register, value) in &self.splats {
                // SAFETY: the register lies in the file.
                unsafe { std::slice::from_raw_parts_mut(file.add(register as usize * pitch::<T>()), BLOCK) }
                    .fill(value);
            }
            body(file, file.wrapping_add(self.registers * pitch::<T>()));
            if self.streams {
                stream::fence();
            }
        });
    }

    /// Reads a tile of the inputs that lie across, then runs the program on its rows.
    ///
    /// # Safety
    /// As [`run`]; `file` has the plan's registers, and `room` is that of its tiles.
    unsafe fn tile(&self, file: *mut T, room: *mut T, tiles: &Tiles, number: usize) {
        let (first, rows, columns) = tiles.at(number);
        // SAFETY: as in `block`; the tile lies in the shape.
        unsafe {
            for (n, &input) in self.tiled.iter().enumerate() {
                let Input::Array { data, .. } = self.inputs[input as usize] else { continue };
                let (operand, to) = (self.operand[input as usize], room.add(n * TILE * PITCH));
                let (offset, step) = (self.walk.offset(operand, first), self.walk.inner_stride(operand));
                (self.loads[input as usize].turn)(data, offset, step, to, rows, columns);
                (0..rows).for_each(|row| self.narrow(input as usize, to.add(row * PITCH), columns));
            }
            for row in 0..rows {
                let start = first + row * tiles.pitch;
                self.block(file, room.add(row * PITCH), start, start + columns);
            }
        }
    }

    /// True for one step from memory to memory, which blocks would only interrupt.
    fn needs_no_registers(&self) -> bool {
        self.steps.len() == 1 && self.registers == 1 && self.is_direct && !self.streams
    }

    /// Runs the program on elements `start..end`, at most one block where it needs registers.
    ///
    /// # Safety
    /// As [`run`]; `file` has the plan's registers, and `tile` is the row of the first tile where there are any.
    unsafe fn block(&self, file: *mut T, tile: *const T, start: usize, end: usize) {
        let target = self.is_direct.then(|| self.targets[0].data.cast::<T>().wrapping_offset(self.offset(0, start)));
        let direct = target.filter(|_| !self.streams);
        // SAFETY: the caller's.
        unsafe {
            let address = self.steps(file, tile, start, end, direct);
            match target {
                Some(target) if self.streams => stream::copy(address(self.outputs[0]), target, end - start),
                Some(_) => {}
                None => {
                    for (number, &place) in self.outputs.iter().enumerate() {
                        self.store(number, address(place), start, end);
                    }
                }
            }
        }
    }

    /// Runs the steps on elements `start..end`, the last into `direct` where that is given; gives the address of what is in
    /// a place.
    ///
    /// # Safety
    /// As [`Self::block`].
    #[inline]
    unsafe fn steps(
        &self,
        file: *mut T,
        tile: *const T,
        start: usize,
        end: usize,
        direct: Option<*mut T>,
    ) -> impl Fn(Place) -> *const T {
        let n = end - start;
        let address = move |place: Place| match place {
            Place::Tile(t) => tile.wrapping_add(t as usize * TILE * PITCH),
            Place::Register(r) => file.wrapping_add(r as usize * pitch::<T>()).cast_const(),
            Place::Direct(i) => match self.inputs[i as usize] {
                Input::Array { data, .. } => {
                    data.cast::<T>().wrapping_offset(self.offset(self.operand[i as usize], start))
                }
                Input::Number(_) => file,
            },
        };
        // SAFETY: registers lie in the file; a direct input has `n` elements from `start`.
        unsafe {
            for (i, step) in self.steps.iter().enumerate() {
                match *step {
                    Planned::Load { input, to } => {
                        self.load(input as usize, file.add(to as usize * pitch::<T>()), start, end)
                    }
                    Planned::Apply { run, args, to } => {
                        let target = match direct {
                            Some(out) if i + 1 == self.steps.len() => out,
                            _ => file.add(to as usize * pitch::<T>()),
                        };
                        run(target, address(args[0]), address(args[1]), address(args[2]), n);
                    }
                }
            }
        }
        address
    }

    /// True where the only output lies in rows and is of the type computed in, and the last step does not read it but as its
    /// first argument.
    fn may_be_direct(&self) -> bool {
        let ([target], Some(Planned::Apply { args, .. })) = (self.targets, self.steps.last()) else { return false };
        let is_plain = self.lies_in_rows(0) && target.dtype == T::DTYPE;
        let is_read = args[1..].iter().any(|place| match *place {
            Place::Direct(i) => matches!(self.inputs[i as usize], Input::Array { data, .. } if data == target.data),
            _ => false,
        });
        is_plain && !is_read && self.ends_in_result()
    }

    /// True where the last step makes the only result.
    fn ends_in_result(&self) -> bool {
        matches!((&self.outputs[..], self.steps.last()), ([Place::Register(r)], Some(Planned::Apply { to, .. })) if r == to)
    }

    /// Gathers and converts elements `start..end` of an input.
    unsafe fn load(&self, input: usize, to: *mut T, start: usize, end: usize) {
        let Input::Array { data, dtype, .. } = self.inputs[input] else { return };
        let convert = self.loads[input].convert;
        let operand = self.operand[input];
        let (step, size) = (self.walk.inner_stride(operand), dtype.size() as isize);
        let mut target = to;
        self.walk.runs(operand, start, end, |offset, length| {
            // SAFETY: the walk stays within the input; the register holds a block.
            unsafe {
                convert(data.offset(offset * size), step, target.cast(), 1, length);
                target = target.add(length);
            }
        });
        // SAFETY: the register holds a block.
        unsafe { self.narrow(input, to, end - start) };
    }

    /// Takes `n` elements of an input, at most a block, to the narrower type that numbers have, and back.
    ///
    /// # Safety
    /// The elements are at `at`.
    unsafe fn narrow(&self, input: usize, at: *mut T, n: usize) {
        let Some([narrow, widen]) = self.loads[input].narrow else { return };
        let mut narrowed = [0u32; BLOCK];
        let narrowed = narrowed.as_mut_ptr().cast::<u8>();
        // SAFETY: both hold a block, whose narrow elements are of 4 bytes at most.
        unsafe {
            narrow(at.cast(), 1, narrowed, 1, n);
            widen(narrowed, 1, at.cast(), 1, n);
        }
    }

    /// Converts and scatters a block's values to an output.
    unsafe fn store(&self, number: usize, mut from: *const T, start: usize, end: usize) {
        let target = self.targets[number];
        let (step, size) = (self.walk.inner_stride(number), target.dtype.size() as isize);
        self.walk.runs(number, start, end, |offset, length| {
            // SAFETY: the walk stays within the output; the register holds a block.
            unsafe {
                (self.stores[number])(from.cast(), 1, target.data.offset(offset * size), step, length);
                from = from.add(length);
            }
        });
    }
}

impl<T: Run> Load<T> {
    fn new(op: &'static str, input: &Input, numbers: Numbers, n: usize) -> Result<Self> {
        let dtype = if let Input::Array { dtype, .. } = *input { dtype } else { T::DTYPE };
        let own = numbers.dtype;
        let is_array = matches!(input, Input::Array { .. });
        let narrow = if is_array && dtype != own && numbers.narrow(n) {
            Some([converter(op, T::DTYPE, own)?, converter(op, own, T::DTYPE)?])
        } else {
            None
        };
        let turn = dispatch!(op, dtype, S => turn::<S, T> as Turn<T>);
        Ok(Load { convert: converter(op, dtype, T::DTYPE)?, turn, narrow })
    }
}

/// A number as the dtype holds it.
fn narrowed<T: Run>(op: &'static str, value: Scalar, dtype: DType) -> Result<T> {
    Ok(dispatch!(op, dtype, N => convert::<N, T>(number::<N>(value))))
}
