//! Writes the C header to the path that is given.

fn main() {
    let out = std::env::args().nth(1).expect("usage: header PATH");
    let crate_directory = env!("CARGO_MANIFEST_DIR");
    cbindgen::generate(crate_directory).expect("the interface can be said in C").write_to_file(out);
}
