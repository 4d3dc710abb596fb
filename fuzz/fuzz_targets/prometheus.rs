#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|body: &[u8]| hyperbytedb_fuzz::prometheus(body));

#[cfg(not(fuzzing))]
fn main() {
    println!("a target of `make fuzz`");
}
