"""What the comparisons share: the bench binary as a process that answers commands, and passes of both in turn.

The other side is `benches/peer/mod.rs`.
"""

import os
import statistics
import subprocess
import sys
import time


class Rust:
    """The bench binary, which waits for commands."""

    def __init__(self, binary, **environment):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [binary, "--bench"], stdin=pipe, stdout=pipe, text=True, env=os.environ | environment
        )

    def ask(self, command):
        """The numbers of the answer."""
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if not answer:
            sys.exit(f"the bench binary ended at `{command}`")
        return [float(number) for number in answer]

    def close(self):
        # Not by the end of its standard input: workers of PyTorch hold that open, too.
        self.process.terminate()
        self.process.wait()


def loaded(binary, name, model):
    """The bench binary with the case `name`, which is as large as `model`."""
    rust = Rust(binary)
    (ours,) = rust.ask(f"load {name}")
    theirs = sum(parameter.numel() for parameter in model.parameters())
    assert abs(ours - theirs) < 0.01 * theirs, (ours, theirs)
    return rust


def clock(run):
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def compare(title, rust, command, run, rounds, steps=None):
    """Prints one line of the table; `steps`: how many a pass here must have had."""
    rust.ask(command), clock(run)  # the first pass of each makes its weights and buffers
    here, there = [], []
    for _ in range(rounds):
        seconds, *rest = rust.ask(command)
        assert steps is None or rest[0] == steps, (command, rest)
        here.append(seconds)
        there.append(clock(run))
    ours, theirs = statistics.median(here), statistics.median(there)
    fastest = min(here) / min(there)
    print(f"| {title} | {ours:.3f} | {theirs:.3f} | {ours / theirs:.2f} | {fastest:.2f} |", flush=True)
