"""Makes a loadable DuckDB extension of a shared object: the object's bytes, then a footer of 534 bytes.

    offset  size  content
    0       4     00 93 04 10: a WebAssembly custom section of 531 bytes whose name has 16
    4       16    "duckdb_signature"
    20      2     80 04: 512 bytes follow
    22      256   eight fields of 32 bytes, zero-padded: three unused, ABI, extension version, C API version,
                  platform, "4" (the footer's own version)
    278     256   signature; zeroes when unsigned

DuckDB reads the last 512 bytes, so the file must end here. The ABI `C_STRUCT` promises that the extension uses only
the stable C API of the version named, which every later DuckDB keeps.
"""

import argparse
import os
import platform
import shutil

FIELD = 32
SIGNATURE = 256
HEADER = b"\x00\x93\x04\x10duckdb_signature\x80\x04"
ABI = "C_STRUCT"
C_API_VERSION = "v1.2.0"
FOOTER_VERSION = "4"


def footer(extension_version, platform_name):
    fields = ["", "", "", ABI, extension_version, C_API_VERSION, platform_name, FOOTER_VERSION]
    packed = b""
    for field in fields:
        raw = field.encode("ascii")
        if len(raw) > FIELD:
            raise ValueError(f"footer field longer than {FIELD} bytes: {field!r}")
        packed += raw.ljust(FIELD, b"\x00")
    return HEADER + packed + b"\x00" * SIGNATURE


def this_platform():
    machine = platform.machine()
    names = {"x86_64": "linux_amd64", "aarch64": "linux_arm64"}
    if platform.system() != "Linux" or machine not in names:
        raise SystemExit(f"duckdb_footer: no DuckDB platform name known for {platform.system()} {machine}")
    return names[machine]


def write(shared_object, extension, extension_version, platform_name):
    """Writes beside the target and renames: a process that has the old file mapped keeps it whole."""
    scratch = f"{extension}.new"
    shutil.copyfile(shared_object, scratch)
    with open(scratch, "ab") as out:
        out.write(footer(extension_version, platform_name))
    os.replace(scratch, extension)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shared_object")
    parser.add_argument("extension")
    parser.add_argument("--version", required=True)
    parser.add_argument("--platform", default=None)
    args = parser.parse_args()
    write(args.shared_object, args.extension, args.version, args.platform or this_platform())


if __name__ == "__main__":
    main()
