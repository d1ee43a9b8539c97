//! Scenes as bytes, for files: numbers of variable length, compressed.

use std::io::Read;

use perfd::model::{AddressSpace, Avma, FileOffset, Mapping, ModuleId, MonoNs, Registers};
use perfd::unwind::{Rule, Table};
use ruzstd::decoding::StreamingDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::kinds::{CFA, FP, RA};
use crate::scene::{Code, Sample, Scene};

/// Writes a scene whose modules have tables, or none.
pub fn pack(scene: &Scene) -> Vec<u8> {
    let mut bytes = Packed(Vec::new());
    bytes.put(scene.modules.len() as u64);
    for code in &scene.modules {
        match code {
            Code::Table(table) => bytes.put_table(table),
            Code::None | Code::Pending => bytes.put(0),
        }
    }
    bytes.put(scene.spaces.len() as u64);
    for space in &scene.spaces {
        bytes.put(space.iter().count() as u64);
        for mapping in space.iter() {
            bytes.put(mapping.start.0);
            bytes.put(mapping.end.0 - mapping.start.0);
            bytes.put(mapping.file_offset.0);
            bytes.put(mapping.module.0.into());
        }
    }
    bytes.put(scene.samples.len() as u64);
    for sample in &scene.samples {
        bytes.put(sample.space as u64);
        let registers = &sample.registers;
        for register in [
            registers.pc,
            registers.sp,
            registers.fp,
            registers.drap,
            registers.link,
            registers.base,
            registers.in_syscall.into(),
        ] {
            bytes.put(register);
        }
        bytes.put(sample.stack.len() as u64);
        bytes.0.extend(&sample.stack);
    }
    compress_to_vec(bytes.0.as_slice(), CompressionLevel::Fastest)
}

/// Reads what [`pack`] wrote.
pub fn unpack(compressed: &[u8]) -> Scene {
    let mut bytes = Vec::new();
    StreamingDecoder::new(compressed)
        .expect("a frame")
        .read_to_end(&mut bytes)
        .expect("a whole frame");
    let mut bytes = Unpacked(&bytes);
    let modules = bytes.list(Unpacked::code);
    let spaces = bytes.list(|bytes| {
        let mut space = AddressSpace::new();
        for mapping in bytes.list(Unpacked::mapping) {
            space.insert(mapping);
        }
        space
    });
    let samples = bytes.list(|bytes| {
        let space = bytes.length();
        let [pc, sp, fp, drap, link, base, in_syscall] = [(); 7].map(|()| bytes.number());
        let registers = Registers {
            pc,
            sp,
            fp,
            drap,
            link,
            base,
            in_syscall: in_syscall != 0,
        };
        let n_stack = bytes.length();
        let (stack, rest) = bytes.0.split_at(n_stack);
        bytes.0 = rest;
        Sample {
            space,
            registers,
            stack: stack.to_vec(),
        }
    });
    Scene {
        modules,
        spaces,
        samples,
    }
}

struct Packed(Vec<u8>);

impl Packed {
    /// 7 bits a byte, the lowest first; the highest bit says that more follow.
    fn put(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(0x80 | number.to_le_bytes()[0]);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }

    /// Its rules, and its rows by their distance from the last one. There is always a rule: NONE.
    fn put_table(&mut self, table: &Table) {
        self.put(table.rules().len() as u64);
        for rule in table.rules() {
            self.0.extend(rule.cfa_offset.to_le_bytes());
            self.0.extend(rule.fp_offset.to_le_bytes());
            self.0.extend(rule.ra_offset.to_le_bytes());
            self.0
                .extend([rule.cfa as u8, rule.fp as u8, rule.ra as u8, rule.flags]);
        }
        let mut rows = Vec::new();
        for (page, entry) in (u64::from(table.first_page())..).zip(table.index()) {
            let (start, count) = (entry >> 8, entry & 0xff);
            for row in &table.rows()[start as usize..(start + count) as usize] {
                rows.push((page << 8 | u64::from(row >> 16), row & 0xffff));
            }
        }
        self.put(rows.len() as u64);
        let mut last = 0;
        for (offset, rule) in rows {
            self.put(offset - last);
            self.put(rule.into());
            last = offset;
        }
    }
}

struct Unpacked<'a>(&'a [u8]);

impl Unpacked<'_> {
    fn byte(&mut self) -> u8 {
        let (byte, rest) = self.0.split_first().expect("a whole recording");
        self.0 = rest;
        *byte
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        [(); N].map(|()| self.byte())
    }

    fn number(&mut self) -> u64 {
        let mut number = 0;
        for shift in (0..).step_by(7) {
            let byte = self.byte();
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        number
    }

    fn length(&mut self) -> usize {
        usize::try_from(self.number()).expect("a length")
    }

    fn list<T>(&mut self, one: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.length()).map(|_| one(self)).collect()
    }

    fn code(&mut self) -> Code {
        let rules = self.list(Unpacked::rule);
        if rules.is_empty() {
            return Code::None;
        }
        let mut offset = 0;
        let rows = self.list(|bytes| (bytes.number(), bytes.length()));
        let rows = rows.into_iter().map(|(distance, rule)| {
            offset += distance;
            (FileOffset(offset), rules[rule])
        });
        Code::Table(Table::from_rows(rows).expect("as it was"))
    }

    fn rule(&mut self) -> Rule {
        let cfa_offset = i32::from_le_bytes(self.bytes());
        let [fp_offset, ra_offset] = [(); 2].map(|()| i16::from_le_bytes(self.bytes()));
        let [cfa, fp, ra, flags] = self.bytes();
        Rule {
            cfa_offset,
            fp_offset,
            ra_offset,
            cfa: CFA[usize::from(cfa)],
            fp: FP[usize::from(fp)],
            ra: RA[usize::from(ra)],
            flags,
        }
    }

    fn mapping(&mut self) -> Mapping {
        let [start, size, file_offset] = [(); 3].map(|()| self.number());
        Mapping {
            start: Avma(start),
            end: Avma(start + size),
            file_offset: FileOffset(file_offset),
            module: ModuleId(u32::try_from(self.number()).expect("a module")),
            since: MonoNs(0),
        }
    }
}
