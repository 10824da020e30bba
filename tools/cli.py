"""A command line kept open: statements go in over a pipe, what it prints comes back. For the demo."""

import itertools
import subprocess
import time


class Failed(Exception):
    """The program ended, or refused a statement."""


class Shell:
    """One `sqlite3` or `duckdb` process. `run` returns what it printed, errors included, without the last line break."""

    def __init__(self, program, *arguments, cwd):
        self.name = str(program).rsplit("/", 1)[-1]
        self.process = subprocess.Popen(
            [str(program), *arguments],
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Into the same pipe: an error stands where it happened.
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.numbers = itertools.count(1)

    def run(self, sql):
        marker = f"@@answered {next(self.numbers)}@@"
        self.process.stdin.write(f'{sql}\n.print "{marker}"\n')
        self.process.stdin.flush()
        lines = []
        while True:
            line = self.process.stdout.readline()
            if not line:
                raise Failed(f"{self.name} ended after: {sql}\n{''.join(lines)}")
            if line.rstrip("\n") == marker:
                break
            lines.append(line)
        printed = "".join(lines).rstrip("\n")
        if "Error:" in printed or "error near line" in printed:
            raise Failed(f"{self.name}: {sql}\n{printed}")
        return printed

    def timed(self, sql):
        """What it printed, and the seconds that it took."""
        start = time.perf_counter()
        printed = self.run(sql)
        return printed, time.perf_counter() - start

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)
