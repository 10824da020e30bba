"""The pages that people read: links lead somewhere, lines and design notes are short."""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).parent.parent
LONGEST_LINE = 100
LONGEST_DESIGN_NOTE = 80
# Written by bench/run.sh.
GENERATED = ROOT / "bench" / "results"


def pages():
    """Those of the project: not what builds and tools leave in hidden folders and in target/."""
    folders = [ROOT, *(folder for folder in ROOT.glob("[!.]*") if folder.is_dir())]
    deep = [ROOT / "docs", ROOT / "bench" / "results"]
    flat = {page for folder in folders for page in folder.glob("*.md")}
    return sorted(flat | {page for folder in deep for page in folder.rglob("*.md")})


def lines(page):
    """The lines of a page, each with its number and the label of the code block that it is in."""
    block = None
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.lstrip().startswith("```"):
            block = line.lstrip("` ") if block is None else None
        else:
            yield number, line, block


def prose(page):
    return ((number, line) for number, line, block in lines(page) if block is None)


def anchors(page):
    """The names that a page's headings have in links, as GitHub makes them."""
    headings = [line.lstrip("#").strip().lower() for _, line in prose(page) if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}


def dead_links(page):
    for number, line in prose(page):
        for target in re.findall(r"\]\(([^)\s]+)\)", line):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            there = page.parent / path if path else page
            if not there.exists():
                yield f"{page.relative_to(ROOT)}:{number}: {target} is not there"
            elif anchor and anchor not in anchors(there):
                yield f"{page.relative_to(ROOT)}:{number}: {path or page.name} has no heading #{anchor}"


def long_lines(page):
    """A row of a table can't be broken, nor can a link, nor what a program prints."""
    for number, line, block in lines(page):
        unbroken = line.startswith("|") or "](" in line or "://" in line or (block or "").startswith("text")
        if len(line) > LONGEST_LINE and not unbroken:
            yield f"{page.relative_to(ROOT)}:{number}: {len(line)} characters"


class Docs(unittest.TestCase):
    def test_links_lead_somewhere(self):
        self.assertIn(ROOT / "README.md", pages())
        self.assertEqual([dead for page in pages() for dead in dead_links(page)], [])

    def test_lines_are_short(self):
        written = [page for page in pages() if page.parent != GENERATED]
        self.assertEqual([line for page in written for line in long_lines(page)], [])

    def test_design_notes_can_be_read_at_once(self):
        notes = [page for page in pages() if page.match("docs/design/[0-9]*.md")]
        self.assertGreater(len(notes), 0)
        lengths = {page.name: len(page.read_text().splitlines()) for page in notes}
        self.assertEqual({name: lines for name, lines in lengths.items() if lines > LONGEST_DESIGN_NOTE}, {})

    def test_every_design_note_is_in_the_index(self):
        folder = ROOT / "docs" / "design"
        index = (folder / "README.md").read_text()
        self.assertEqual([note.name for note in folder.glob("[0-9]*.md") if f"({note.name})" not in index], [])

    def test_numbers_of_design_notes_are_unique(self):
        numbers = [note.name[:3] for note in (ROOT / "docs" / "design").glob("[0-9]*.md")]
        self.assertEqual(sorted(numbers), sorted(set(numbers)))


if __name__ == "__main__":
    unittest.main()
