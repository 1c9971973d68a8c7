//! The one executor of element-wise programs: block by block, every instruction once a block, in the first-level cache.

mod blocks;
mod computed;
mod flat;
mod order;
mod place;
mod stream;
mod tiles;

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;

use super::convert::{Converter, converter};
use super::element::dispatch;
use super::expr::Program;
use super::gather::Walk;
use super::instructions::{Loop, Run, TwinLoop};
use super::parallel;
use crate::error::{Error, Result};
use crate::tensor::dtype::{DType, UNSUPPORTED};
use crate::tensor::scalar::Scalar;
use order::{Turned, order_in_memory};
use tiles::{COLUMNS, LINE, PITCH, TILE, Tiles, turn};

pub(crate) use computed::{Values, with_values};

/// Elements of a block where a program needs many registers. Eight of float64 fill 32 KiB, the smallest first-level cache in
/// use.
pub const BLOCK: usize = 512;
/// Elements of a block where it needs few, at the most.
const LONG_BLOCK: usize = 2048;
/// Bytes that the registers of longer blocks fill: half of that cache.
const REGISTER_BYTES: usize = 16 << 10;
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

/// Elements of the innermost dimension from which tiles pay.
const NARROW: usize = 64;
/// Elements of the innermost dimension from which blocks that end with it pay.
const ROW: usize = 32;

/// Where a value is found in a block: first come the inputs, for those that are read where they lie or in a tile, then the
/// registers.
type Slot = u16;

/// A program made ready for one type and one set of operands.
struct Plan<'a, T: Run> {
    steps: SmallVec<[Planned<T>; 8]>,
    /// The register of each splatted number, filled once a thread.
    splats: SmallVec<[(Slot, T); 4]>,
    registers: usize,
    /// Elements of a block, and from the start of a register to that of the next.
    block: usize,
    pitch: usize,
    /// Tells the plan from all others, where it has numbers in registers.
    number: u64,
    outputs: SmallVec<[Slot; 2]>,
    /// The inputs that are read where they lie.
    directs: SmallVec<[u8; 6]>,
    /// Those of them that are one number in each row, which their readers take from its first place.
    numbers: SmallVec<[u8; 2]>,
    /// True where a step reads a number from a block of it.
    reads_blocks: bool,
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
    Load { input: u8, to: Slot },
    /// Compute.
    Apply { run: Loop<T>, args: [Slot; 4], to: Slot },
    /// Compute two values of one.
    Twins { run: TwinLoop<T>, arg: Slot, to: [Slot; 2] },
}

/// # Safety
/// As [`run`].
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
    // SAFETY: the caller's.
    if unsafe { flat::run::<T>(program, numbers, inputs, params, outputs, shape) } {
        return Ok(());
    }
    let plan = Plan::<T>::new(op, program, numbers, inputs, params, outputs, shape)?;
    if let Some(across) = plan.across {
        let tiles = Tiles::new(&plan.walk, across);
        parallel::for_each_range(tiles.count(), (grain(program) / (TILE * COLUMNS)).max(1), |start, end| {
            plan.with_registers(|slots, room| {
                // SAFETY: the caller of `run` vouches for the operands; tiles lie in the shape.
                (start..end).for_each(|n| unsafe { plan.tile(slots, room, &tiles, n) });
            });
        });
        return Ok(());
    }
    let longest = if plan.needs_no_registers() { total } else { plan.block };
    let is_rows = plan.needs_no_registers() && plan.by_rows;
    parallel::for_each_range(total, grain(program), |start, end| {
        plan.with_registers(|slots, _| {
            if is_rows {
                // SAFETY: the caller of `run` vouches for the operands; the range lies in the shape.
                return unsafe { plan.rows_of_step(slots, (start, end)) };
            }
            plan.each_block(slots, (start, end), longest, |slots, at, stop, target| {
                // SAFETY: the caller of `run` vouches for the operands; the range lies in the shape, and its inputs were found.
                unsafe { plan.block(slots, at, stop, target) };
            });
        });
    });
    Ok(())
}

/// Elements a piece of parallel work should have: fewer where each costs more.
fn grain(program: &Program) -> usize {
    let heavy = |s: &super::expr::Instruction| {
        use super::expr::OpCode::*;
        matches!(s.op, Function(_) | Pow | FloorDivide | Remainder | Fmod | Gcd)
    };
    GRAIN / (1 + 3 * program.steps.iter().filter(|s| heavy(s)).count().min(3))
}

/// A thread's registers.
struct Registers {
    words: Vec<u64>,
    /// The plan whose numbers are in them.
    owner: u64,
}

thread_local! {
    static REGISTERS: RefCell<Registers> = const { RefCell::new(Registers { words: Vec::new(), owner: 0 }) };
}

impl Registers {
    /// Room for so many elements, aligned for vectors; and whether the plan's numbers are in it already.
    fn of<T>(&mut self, plan: u64, elements: usize) -> (*mut T, bool) {
        let words = elements * size_of::<T>() / 8 + 8;
        if self.words.len() < words {
            self.words.resize(words, 0);
            self.owner = 0;
        }
        let is_filled = std::mem::replace(&mut self.owner, plan) == plan;
        let start = self.words.as_mut_ptr().cast::<u8>();
        // Eight words more than needed leave room for the next 64-byte boundary.
        (start.wrapping_add(start.align_offset(64)).cast(), is_filled)
    }
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
            block: BLOCK,
            pitch: 0,
            number: 0,
            outputs: SmallVec::new(),
            directs: SmallVec::new(),
            numbers: SmallVec::new(),
            reads_blocks: false,
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
        plan.by_rows = plan.goes_by_rows();
        plan.streams = plan.may_stream();
        plan.size_registers(shape.iter().product());
        Ok(plan)
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
        !self.numbers.is_empty()
            || self.is_direct && is_row(0)
            || self.directs.iter().any(|&input| is_row(self.operand[input as usize]))
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
            if strides[last].unsigned_abs() < LINE {
                continue;
            }
            let near = (0..last).rev().find(|&d| strides[d] == 1 && self.walk.shape[d] >= LINE / 2);
            if near.is_some() && (self.across.is_none() || self.across == near) {
                self.across = near;
                self.tiled.push(n as u8);
            }
        }
    }

    /// Makes blocks as long as the cache holds with all registers, and no longer than the work.
    fn size_registers(&mut self, total: usize) {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let fitting = REGISTER_BYTES / (self.registers.max(1) * size_of::<T>());
        let longest = if fitting < LONG_BLOCK { fitting.next_power_of_two() / 2 } else { LONG_BLOCK };
        self.block = longest.max(BLOCK).min(total.next_multiple_of(LINE));
        self.pitch = self.block + GAP / size_of::<T>();
        if !self.splats.is_empty() {
            self.number = NUMBER.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Runs a closure with the addresses of the plan's slots, numbers and constants in theirs, and room for its tiles.
    fn with_registers(&self, body: impl FnOnce(&mut [*mut T], *mut T)) {
        REGISTERS.with_borrow_mut(|registers| {
            let room = self.registers * self.pitch + self.tiled.len() * TILE * PITCH;
            let (file, is_filled) = registers.of::<T>(self.number, room);
            let inputs = std::iter::repeat_n(std::ptr::null_mut(), self.inputs.len());
            let all = inputs.chain((0..self.registers).map(|r| file.wrapping_add(r * self.pitch)));
            let mut slots: SmallVec<[*mut T; 32]> = all.collect();
            for &(slot, value) in self.splats.iter().filter(|_| !is_filled) {
                // SAFETY: the register holds a block.
                unsafe { std::slice::from_raw_parts_mut(slots[slot as usize], self.block) }.fill(value);
            }
            body(&mut slots, file.wrapping_add(self.registers * self.pitch));
            if self.streams {
                stream::fence();
            }
        });
    }

    /// Reads a tile of the inputs that lie across, then runs the program on its rows.
    ///
    /// # Safety
    /// As [`run`]; `slots` are the plan's, and `room` is that of its tiles.
    unsafe fn tile(&self, slots: &mut [*mut T], room: *mut T, tiles: &Tiles, number: usize) {
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
                for (n, &input) in self.tiled.iter().enumerate() {
                    slots[input as usize] = room.add((n * TILE + row) * PITCH);
                }
                let start = first + row * tiles.pitch;
                let target = self.find(slots, start);
                self.block(slots, start, start + columns, target);
            }
        }
    }

    /// True for one step from memory and numbers to memory, which blocks would only interrupt.
    fn needs_no_registers(&self) -> bool {
        let holds_numbers = self.registers == 1 + self.splats.len() && !self.reads_blocks;
        self.steps.len() == 1 && holds_numbers && self.is_direct && !self.streams
    }

    /// Runs the program on elements `start..end`, at most one block where it needs registers. Where the only output is written in
    /// place, `target` is where.
    ///
    /// # Safety
    /// As [`run`]; `slots` are the plan's, with the rows of tiles where there are any, and the inputs were found.
    unsafe fn block(&self, slots: &mut [*mut T], start: usize, end: usize, target: *mut T) {
        // SAFETY: the caller's.
        unsafe {
            self.steps(slots, start, end, (self.is_direct && !self.streams).then_some(target));
            if self.streams {
                stream::copy(slots[self.outputs[0] as usize], target, end - start);
            } else if !self.is_direct {
                for (number, &slot) in self.outputs.iter().enumerate() {
                    self.store(number, slots[slot as usize], start, end);
                }
            }
        }
    }

    /// Runs the steps on elements `start..end`, the last into `direct` where that is given.
    ///
    /// # Safety
    /// As [`Self::block`], and the inputs were found.
    #[inline]
    unsafe fn steps(&self, slots: &[*mut T], start: usize, end: usize, direct: Option<*mut T>) {
        let n = end - start;
        let at = |slot: Slot| slots[slot as usize];
        // SAFETY: registers hold a block; a direct input has `n` elements from `start`.
        unsafe {
            for (i, step) in self.steps.iter().enumerate() {
                match *step {
                    Planned::Load { input, to } => self.load(input as usize, at(to), start, end),
                    Planned::Apply { run, args: [a, b, c, d], to } => {
                        let target = direct.filter(|_| i + 1 == self.steps.len()).unwrap_or(at(to));
                        run(target, at(a), at(b), at(c), at(d), n);
                    }
                    Planned::Twins { run, arg, to } => run(at(to[0]), at(to[1]), at(arg), n),
                }
            }
        }
    }

    /// True where the only output lies in rows and is of the type computed in, and the last step does not read it but as its
    /// first argument or its third: loops of three run in place of either.
    fn may_be_direct(&self) -> bool {
        let ([target], Some(Planned::Apply { args, .. })) = (self.targets, self.steps.last()) else { return false };
        let is_plain = self.lies_in_rows(0) && target.dtype == T::DTYPE;
        let is_read = [args[1], args[3]].iter().any(|&slot| {
            let input = self.directs.contains(&(slot as u8)).then(|| self.inputs.get(slot as usize)).flatten();
            matches!(input, Some(Input::Array { data, .. }) if *data == target.data)
        });
        is_plain && !is_read && self.ends_in_result()
    }

    /// True where the last step makes the only result.
    fn ends_in_result(&self) -> bool {
        matches!((&self.outputs[..], self.steps.last()), ([slot], Some(Planned::Apply { to, .. })) if slot == to)
    }

    /// Gathers and converts elements `start..end` of an input.
    ///
    /// # Safety
    /// `to` has room for the elements `start..end` of the shape, which the input has.
    unsafe fn load(&self, input: usize, to: *mut T, start: usize, end: usize) {
        let Input::Array { data, dtype, .. } = self.inputs[input] else { return };
        let convert = self.loads[input].convert;
        let operand = self.operand[input];
        if dtype == T::DTYPE && self.walk.inner() < ROW {
            // SAFETY: the caller's.
            unsafe { self.load_short_rows(operand, data.cast(), to, (start, end)) };
        } else {
            let (step, size) = (self.walk.inner_stride(operand), dtype.size() as isize);
            let mut target = to;
            self.walk.each([operand], start, end, |[offset], length| {
                // SAFETY: the walk stays within the input; the register holds a block.
                unsafe {
                    convert(data.offset(offset * size), step, target.cast(), 1, length);
                    target = target.add(length);
                }
            });
        }
        // SAFETY: the register holds a block.
        unsafe { self.narrow(input, to, end - start) };
    }

    /// Takes `n` elements of an input to the narrower type that numbers have, and back.
    ///
    /// # Safety
    /// The elements are at `at`.
    unsafe fn narrow(&self, input: usize, at: *mut T, n: usize) {
        let Some([narrow, widen]) = self.loads[input].narrow else { return };
        let mut narrowed = [0u32; BLOCK];
        let narrowed = narrowed.as_mut_ptr().cast::<u8>();
        for start in (0..n).step_by(BLOCK) {
            let (at, n) = (at.wrapping_add(start), BLOCK.min(n - start));
            // SAFETY: both hold so many elements, of which narrow ones have 4 bytes at most.
            unsafe {
                narrow(at.cast(), 1, narrowed, 1, n);
                widen(narrowed, 1, at.cast(), 1, n);
            }
        }
    }

    /// Converts and scatters a block's values to an output.
    ///
    /// # Safety
    /// `from` has the elements `start..end` of the shape, which the output has room for and nobody else writes.
    unsafe fn store(&self, number: usize, mut from: *const T, start: usize, end: usize) {
        let target = self.targets[number];
        let (step, size) = (self.walk.inner_stride(number), target.dtype.size() as isize);
        self.walk.each([number], start, end, |[offset], length| {
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
