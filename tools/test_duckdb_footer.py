"""The footer's layout, field by field, and the file that `write` makes."""

import pathlib
import tempfile
import unittest

import duckdb_footer


class Footer(unittest.TestCase):
    def test_layout(self):
        made = duckdb_footer.footer("v0.1.0", "linux_amd64")
        self.assertEqual(len(made), 534)
        self.assertEqual(made[:22], b"\x00\x93\x04\x10duckdb_signature\x80\x04")
        fields = [made[at : at + 32].rstrip(b"\x00") for at in range(22, 278, 32)]
        self.assertEqual(fields, [b"", b"", b"", b"C_STRUCT", b"v0.1.0", b"v1.2.0", b"linux_amd64", b"4"])
        self.assertEqual(made[278:], b"\x00" * 256)

    def test_lengths_in_the_section_header_are_true(self):
        made = duckdb_footer.footer("v0.1.0", "linux_amd64")
        section_length = (made[1] & 0x7F) | made[2] << 7
        content_length = (made[20] & 0x7F) | made[21] << 7
        self.assertEqual(section_length, len(made) - 3)
        self.assertEqual(content_length, len(made) - 22)

    def test_a_field_that_is_too_long_is_refused(self):
        with self.assertRaises(ValueError):
            duckdb_footer.footer("v" * 33, "linux_amd64")

    def test_write_keeps_the_object_and_appends(self):
        with tempfile.TemporaryDirectory() as scratch:
            source = pathlib.Path(scratch, "lib.so")
            target = pathlib.Path(scratch, "x.duckdb_extension")
            source.write_bytes(b"\x7fELF...")
            for _ in range(2):
                duckdb_footer.write(source, target, "v1", "linux_amd64")
            self.assertEqual(target.read_bytes(), b"\x7fELF..." + duckdb_footer.footer("v1", "linux_amd64"))
            self.assertEqual(sorted(p.name for p in pathlib.Path(scratch).iterdir()), ["lib.so", "x.duckdb_extension"])


if __name__ == "__main__":
    unittest.main()
