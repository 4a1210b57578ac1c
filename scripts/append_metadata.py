"""Turns a shared library into a DuckDB extension: copies it and appends the footer that DuckDB looks for.

The footer is a WebAssembly custom section, so that one layout serves every platform: a section header with the name
`duckdb_signature`, then 512 bytes: eight 32-byte NUL-padded fields and room for a 256-byte signature (zero: unsigned).
DuckDB reads the fields from the last to the first: magic, platform, C API version, extension version, ABI, and three
that are not used.
"""

import argparse
import os
import platform
import sys
from pathlib import Path

FIELD = 32
SIGNATURE = 256
# Section id 0, the payload's length 531 and the content's length 512 as LEB128, a name of 16 bytes.
HEADER = b"\x00\x93\x04\x10" + b"duckdb_signature" + b"\x80\x04"
MAGIC = "4"


def detect_platform():
    """DuckDB's name of the machine this runs on, as `PRAGMA platform` gives it."""
    systems = {"Linux": "linux", "Darwin": "osx"}
    machines = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
    system, machine = platform.system(), platform.machine().lower()
    if system not in systems or machine not in machines:
        sys.exit(f"append_metadata: no DuckDB platform is known for {system} on {machine}; pass --platform")
    libc = "_musl" if system == "Linux" and list(Path("/lib").glob("ld-musl-*")) else ""
    return f"{systems[system]}_{machines[machine]}{libc}"


def footer(abi, extension_version, c_api_version, platform_name):
    """The bytes that follow the library."""

    def field(text):
        data = text.encode()
        if len(data) > FIELD:
            sys.exit(f"append_metadata: {text!r} is longer than the {FIELD} bytes of a footer field")
        return data.ljust(FIELD, b"\0")

    fields = ["", "", "", abi, extension_version, c_api_version, platform_name, MAGIC]
    return HEADER + b"".join(map(field, fields)) + bytes(SIGNATURE)


def append(library, output, **values):
    """Writes `output` = `library` + footer. A reader sees the old file or the whole new one, never a part."""
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        partial.write_bytes(Path(library).read_bytes() + footer(**values))
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("library")
    parser.add_argument("output")
    parser.add_argument("--abi", required=True, help="C_STRUCT for the stable C API")
    parser.add_argument("--extension-version", required=True)
    parser.add_argument("--c-api-version", required=True, help="lowest C API version needed, such as v1.5.6")
    parser.add_argument("--platform", default=None, help="default: this machine's")
    args = parser.parse_args()
    append(
        args.library,
        args.output,
        abi=args.abi,
        extension_version=args.extension_version,
        c_api_version=args.c_api_version,
        platform_name=args.platform or detect_platform(),
    )


if __name__ == "__main__":
    main()
