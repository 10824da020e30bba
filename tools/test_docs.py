"""The pages that people read: links lead somewhere."""

import pathlib
import re
import subprocess
import unittest

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    if (ROOT / name).exists()
]


def prose(page):
    """The lines of a page with their numbers, without those of code."""
    fenced = False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield number, line


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


class Docs(unittest.TestCase):
    def test_links_lead_somewhere(self):
        self.assertIn(ROOT / "README.md", PAGES)
        self.assertEqual([dead for page in PAGES for dead in dead_links(page)], [])


if __name__ == "__main__":
    unittest.main()
