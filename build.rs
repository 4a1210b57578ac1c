//! The library exports its entry point and nothing else: what the crates and C libraries inside it export must not meet
//! the copies of them that another library in the same process may have.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
        // Without the symbol table the file is a fifth smaller; a profiler wants it.
        println!("cargo:rerun-if-env-changed=LAZYCOGS_SYMBOLS");
        if std::env::var_os("LAZYCOGS_SYMBOLS").is_none() {
            println!("cargo:rustc-cdylib-link-arg=-Wl,--strip-all");
        }
    }
}
