#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|text: &str| hyperbytedb_fuzz::credentials(text));

#[cfg(not(fuzzing))]
fn main() {
    println!("a target of `make fuzz`");
}
