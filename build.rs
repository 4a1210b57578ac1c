//! The library exports its entry point and nothing else: what the crates and C libraries inside it export must not meet
//! the copies of them that another library in the same process may have.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
        // Without the symbol table, which a release has no use for, the file is a third smaller.
        println!("cargo:rustc-cdylib-link-arg=-Wl,--strip-all");
    }
}
