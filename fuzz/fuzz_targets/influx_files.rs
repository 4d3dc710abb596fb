#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hyperbytedb_fuzz::influx_files(data));

#[cfg(not(fuzzing))]
fn main() {
    println!("a target of `make fuzz`");
}
