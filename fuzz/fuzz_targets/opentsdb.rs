#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hyperbytedb_fuzz::opentsdb(bytes));

#[cfg(not(fuzzing))]
fn main() {
    println!("a target of `make fuzz`");
}
