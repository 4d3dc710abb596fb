#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(
    // A panic that is caught is none; libfuzzer's hook would end with it.
    init: drop(std::panic::take_hook()),
    |body: &[u8]| hyperbytedb_fuzz::columns(body)
);

#[cfg(not(fuzzing))]
fn main() {
    println!("a target of `make fuzz`");
}
