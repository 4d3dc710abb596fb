//! Writes what the tests read: blocks in their encodings, TSM files, WAL records.

use std::path::{Path, PathBuf};

use crate::{Points, Values, block};

/// Bits, the highest of each byte first.
#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    free: u32,
}

impl BitWriter {
    fn push(&mut self, value: u64, count: u32) {
        for at in (0..count).rev() {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            self.free -= 1;
            *self.bytes.last_mut().unwrap() |= ((value >> at & 1) as u8) << self.free;
        }
    }
}

pub fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

pub fn floats(values: &[f64]) -> Vec<u8> {
    let mut bits = BitWriter::default();
    let mut previous = None::<u64>;
    let (mut leading, mut trailing) = (u32::MAX, 0);
    let end = f64::from_bits(0x7ff8_0000_0000_0001);
    for value in values.iter().chain([&end]).map(|value| value.to_bits()) {
        let Some(before) = previous.replace(value) else {
            bits.push(value, 64);
            continue;
        };
        let difference = value ^ before;
        if difference == 0 {
            bits.push(0, 1);
            continue;
        }
        bits.push(1, 1);
        let zeros = (difference.leading_zeros() & 0x1f, difference.trailing_zeros());
        if leading != u32::MAX && zeros.0 >= leading && zeros.1 >= trailing {
            bits.push(0, 1);
        } else {
            (leading, trailing) = zeros;
            bits.push(1, 1);
            bits.push(leading.into(), 5);
            bits.push((64 - leading - trailing).into(), 6);
        }
        bits.push(difference >> trailing, 64 - leading - trailing);
    }
    [&[0x10], &bits.bytes[..]].concat()
}

/// Words that each hold one integer of up to 60 bits; of eight small ones that follow each other, one word.
fn simple8b(values: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = values;
    while let Some(&first) = rest.first() {
        let small = rest.iter().take(8).filter(|value| **value < 128).count();
        let (word, taken) = if rest.len() >= 120 && rest[..120].iter().all(|value| *value == 1) {
            (1 << 60, 120)
        } else if small == 8 {
            let packed = rest[..8].iter().enumerate().fold(0, |word, (at, value)| word | value << (7 * at));
            (8 << 60 | packed, 8)
        } else {
            assert!(first < 1 << 60);
            (15 << 60 | first, 1)
        };
        out.extend(u64::to_be_bytes(word));
        rest = &rest[taken..];
    }
    out
}

#[derive(Debug, Clone, Copy)]
pub enum Encoding {
    Plain,
    Packed,
    Run,
}

/// Those values in that encoding where it can hold them, else plain.
pub fn integers(values: &[i64], encoding: Encoding) -> Vec<u8> {
    let mut before = 0i64;
    let differences: Vec<u64> = values
        .iter()
        .map(|value| zigzag(value.wrapping_sub(std::mem::replace(&mut before, *value))))
        .collect();
    let (first, others) = differences.split_first().unwrap();
    match encoding {
        Encoding::Packed if others.iter().all(|value| *value < 1 << 60) => {
            [&[0x10], &first.to_be_bytes()[..], &simple8b(others)].concat()
        }
        Encoding::Run if !others.is_empty() && others.iter().all(|value| *value == others[0]) => {
            [&[0x20], &first.to_be_bytes()[..], &varint(others[0]), &varint(others.len() as u64)].concat()
        }
        _ => [&[0x00], &differences.iter().flat_map(|value| value.to_be_bytes()).collect::<Vec<_>>()[..]]
            .concat(),
    }
}

/// The exponent of ten that divides all differences.
fn scale(differences: &[u64]) -> u32 {
    (0..=12).rev().find(|scale| differences.iter().all(|value| value % 10u64.pow(*scale) == 0)).unwrap()
}

pub fn times(values: &[i64], encoding: Encoding) -> Vec<u8> {
    let differences: Vec<u64> =
        values.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]).cast_unsigned()).collect();
    let scale = scale(&differences);
    let unit = 10u64.pow(scale);
    let first = values[0].to_be_bytes();
    let scaled: Vec<u64> = differences.iter().map(|value| value / unit).collect();
    match encoding {
        Encoding::Packed if scaled.iter().all(|value| *value < 1 << 60) => {
            [&[0x10 | scale as u8], &first[..], &simple8b(&scaled)].concat()
        }
        Encoding::Run if !scaled.is_empty() && scaled.iter().all(|value| *value == scaled[0]) => {
            [&[0x20 | scale as u8], &first[..], &varint(scaled[0]), &varint(values.len() as u64)].concat()
        }
        _ => {
            let plain: Vec<u8> = differences.iter().flat_map(|value| value.to_be_bytes()).collect();
            [&[0x00], &first[..], &plain].concat()
        }
    }
}

pub fn booleans(values: &[bool]) -> Vec<u8> {
    let mut bits = BitWriter::default();
    values.iter().for_each(|value| bits.push((*value).into(), 1));
    [&[0x10], &varint(values.len() as u64)[..], &bits.bytes].concat()
}

fn strings(values: &crate::Strings) -> Vec<u8> {
    let texts = (0..values.len()).flat_map(|at| {
        let text = values.get(at).unwrap();
        [varint(text.len() as u64), text.to_vec()].concat()
    });
    let packed = snap::raw::Encoder::new().compress_vec(&texts.collect::<Vec<_>>()).unwrap();
    [&[0x10], &packed[..]].concat()
}

/// A block without its checksum.
pub fn block(points: &Points, encoding: Encoding) -> Vec<u8> {
    let times = times(&points.times, encoding);
    let (kind, values) = match &points.values {
        Values::Float(values) => (block::FLOAT, floats(values)),
        Values::Integer(values) => (block::INTEGER, integers(values, encoding)),
        Values::Unsigned(values) => {
            let signed: Vec<i64> = values.iter().map(|value| value.cast_signed()).collect();
            (block::UNSIGNED, integers(&signed, encoding))
        }
        Values::Boolean(values) => (block::BOOLEAN, booleans(values)),
        Values::String(values) => (block::STRING, strings(values)),
    };
    [&[kind], &varint(times.len() as u64)[..], &times, &values].concat()
}

/// A TSM file with the blocks of its keys, which must be in order.
pub fn tsm(keys: &[(&str, Vec<Points>)]) -> Vec<u8> {
    let mut out = [&0x16d1_16d1u32.to_be_bytes()[..], &[1]].concat();
    let mut index = Vec::new();
    for (key, blocks) in keys {
        index.extend((key.len() as u16).to_be_bytes());
        index.extend(key.as_bytes());
        index.push(blocks.first().map_or(0, |points| block(points, Encoding::Packed)[0]));
        index.extend((blocks.len() as u16).to_be_bytes());
        for points in blocks {
            let block = block(points, Encoding::Packed);
            index.extend(points.times[0].to_be_bytes());
            index.extend(points.times.last().unwrap().to_be_bytes());
            index.extend((out.len() as u64).to_be_bytes());
            index.extend((block.len() as u32 + 4).to_be_bytes());
            out.extend(crc32fast::hash(&block).to_be_bytes());
            out.extend(block);
        }
    }
    let start = out.len() as u64;
    out.extend(index);
    out.extend(start.to_be_bytes());
    out
}

pub fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path
}

/// A record of the WAL.
pub fn wal_record(kind: u8, content: &[u8]) -> Vec<u8> {
    let packed = snap::raw::Encoder::new().compress_vec(content).unwrap();
    [&[kind], &(packed.len() as u32).to_be_bytes()[..], &packed].concat()
}

/// A WAL record that writes integers.
pub fn wal_write(key: &str, points: &[(i64, i64)]) -> Vec<u8> {
    let mut content = vec![2];
    content.extend((key.len() as u16).to_be_bytes());
    content.extend(key.as_bytes());
    content.extend((points.len() as u32).to_be_bytes());
    for (time, value) in points {
        content.extend(time.to_be_bytes());
        content.extend(value.to_be_bytes());
    }
    wal_record(1, &content)
}

/// A WAL record that removes a range of time.
pub fn wal_delete(key: &str, min: i64, max: i64) -> Vec<u8> {
    let mut content = [min.to_be_bytes(), max.to_be_bytes()].concat();
    content.extend((key.len() as u32).to_be_bytes());
    content.extend(key.as_bytes());
    wal_record(3, &content)
}

pub fn integer_points(points: &[(i64, i64)]) -> Points {
    let (times, values) = points.iter().copied().unzip();
    Points { times, values: Values::Integer(values) }
}
