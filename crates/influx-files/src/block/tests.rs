use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::fixtures::{self, Encoding};

fn times() -> impl Strategy<Value = Vec<i64>> {
    let irregular = prop::collection::btree_set(any::<i64>(), 1..300);
    let near = prop::collection::btree_set(0..1_000_000i64, 1..300);
    let regular = (-1_000_000..1_000_000i64, 1..5_000i64, 1..1000usize, 0..12u32).prop_map(
        |(start, step, count, scale)| {
            (0..count as i64).map(|at| start + at * step * 10i64.pow(scale)).collect::<BTreeSet<_>>()
        },
    );
    prop_oneof![irregular, near, regular].prop_map(|times| times.into_iter().collect())
}

fn values(count: usize) -> impl Strategy<Value = Values> {
    let strings = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), count).prop_map(|texts| {
        let mut strings = Strings::default();
        texts.iter().for_each(|text| strings.push(text));
        Values::String(strings)
    });
    let float = any::<f64>().prop_filter("NaN is the end", |value| !value.is_nan());
    prop_oneof![
        prop::collection::vec(prop_oneof![float, (0..10u8).prop_map(f64::from)], count)
            .prop_map(Values::Float),
        prop::collection::vec(any::<i64>(), count).prop_map(Values::Integer),
        prop::collection::vec(-60..60i64, count).prop_map(Values::Integer),
        (any::<i64>(), any::<i64>()).prop_map(move |(start, step)| Values::Integer(
            (0..count as i64).map(|at| start.wrapping_add(at.wrapping_mul(step))).collect()
        )),
        prop::collection::vec(any::<u64>(), count).prop_map(Values::Unsigned),
        prop::collection::vec(any::<bool>(), count).prop_map(Values::Boolean),
        strings,
    ]
}

fn points() -> impl Strategy<Value = Points> {
    times().prop_flat_map(|times| {
        values(times.len()).prop_map(move |values| Points { times: times.clone(), values })
    })
}

fn encoding() -> impl Strategy<Value = Encoding> {
    prop_oneof![Just(Encoding::Plain), Just(Encoding::Packed), Just(Encoding::Run)]
}

fn decoded(block: &[u8]) -> Result<Points, Malformed> {
    let mut points = Points { times: vec![7], values: Values::Boolean(vec![true]) };
    decode(block, &mut points).map(|()| points)
}

proptest! {
    #[test]
    fn blocks_read_back(points in points(), encoding in encoding()) {
        prop_assert_eq!(decoded(&fixtures::block(&points, encoding)), Ok(points));
    }

    /// Such a block has no right checksum, so only that it does no harm matters.
    #[test]
    fn altered_blocks_do_no_harm(points in points(), encoding in encoding(), at: prop::sample::Index, byte: u8) {
        let mut block = fixtures::block(&points, encoding);
        let at = at.index(block.len());
        block[at] = byte;
        let _ = decoded(&block);
        prop_assert!(decoded(&block[..at]).is_err() || at == 0 || byte == 0 || decoded(&block[..at]).unwrap().len() <= points.len());
    }

    #[test]
    fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decoded(&bytes);
    }
}

#[test]
fn impossible_counts_are_refused_before_memory_is_reserved() {
    let run = [&[0x20], &[0; 8][..], &fixtures::varint(1), &fixtures::varint(u64::MAX >> 1)].concat();
    let block = [&[INTEGER], &fixtures::varint(run.len() as u64)[..], &run].concat();
    assert_eq!(decoded(&block), Err(Malformed("a block states too many points")));
    let packed = [&[0x10], &[0; 8][..], &[0; 80_000]].concat();
    let block = [&[INTEGER], &fixtures::varint(packed.len() as u64)[..], &packed].concat();
    assert_eq!(decoded(&block), Err(Malformed("a block states too many points")));
    let snappy = [&[0x10], &fixtures::varint(1 << 31)[..], &[0; 20]].concat();
    let times = fixtures::times(&[1], Encoding::Plain);
    let block = [&[STRING], &fixtures::varint(times.len() as u64)[..], &times, &snappy].concat();
    assert_eq!(decoded(&block), Err(Malformed("Snappy data states an impossible length")));
}
