"""Image encoders here and in PyTorch, on the same cores, in turn.

    python3 -m venv venv && venv/bin/pip install -r benches/python/requirements.txt
    cargo bench --bench encoders --no-run        # prints the path of the binary
    venv/bin/python benches/python/encoders.py PATH-OF-THE-BINARY [--rounds 7]

Every round runs one pass here and one pass in PyTorch. Prints the medians and their ratio as a table:
below 1, this crate is faster.
"""

import argparse
import statistics
import subprocess
import sys
import time

import timm
import torch
from segment_anything.build_sam import sam_model_registry


class Rust:
    """The bench binary, which waits for commands."""

    def __init__(self, binary):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([binary, "--bench"], stdin=pipe, stdout=pipe, text=True)

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if not answer:
            sys.exit(f"the bench binary ended at `{command}`")
        return float(answer[0])

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def eva(size, image_px):
    model = timm.create_model(
        f"eva02_{size}_patch14_224",
        img_size=image_px,
        num_classes=0,
        global_pool="",
        dynamic_img_size=True,
    )
    return model.forward_features, model


def sam_b():
    model = sam_model_registry["vit_b"]().image_encoder
    return model, model


def clock(run):
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def forward_of(run, images):
    def forward():
        with torch.inference_mode():
            run(images).sum().item()

    return forward


def step_of(run, model, images):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = run(images).square().mean()
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def cases():
    """Name here, what it is, command here, and the same in PyTorch."""
    # timm wants whole patches: 378 pixels are the 27 × 27 patches that 384 pixels have here.
    run, model = eva("large", 378)
    yield "eva02-l-384", "EVA-02-L forward, 1 × 384²", "forward", forward_of(
        run, torch.randn(1, 3, 378, 378)
    ), model
    run, model = sam_b()
    yield "sam-b-1024", "SAM ViT-B forward, 1 × 1024²", "forward", forward_of(
        run, torch.randn(1, 3, 1024, 1024)
    ), model
    run, model = eva("base", 224)
    yield "eva02-b-224-train", "EVA-02-B training step, 4 × 224²", "train", step_of(
        run, model, torch.randn(4, 3, 224, 224)
    ), model


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("binary")
    arguments.add_argument("--rounds", type=int, default=7)
    arguments = arguments.parse_args()
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, timm {timm.__version__}")
    print("| case | here, s | PyTorch, s | ratio | fastest ratio |")
    print("|---|---|---|---|---|")
    for name, title, command, run, model in cases():
        rust = Rust(arguments.binary)
        ours = rust.ask(f"load {name}")
        theirs = sum(parameter.numel() for parameter in model.parameters())
        assert abs(ours - theirs) < 0.01 * theirs, (ours, theirs)
        rust.ask(command), clock(run)  # the first pass of each makes its weights and buffers
        here, there = [], []
        for _ in range(arguments.rounds):
            here.append(rust.ask(command))
            there.append(clock(run))
        rust.close()
        ours, theirs = statistics.median(here), statistics.median(there)
        fastest = min(here) / min(there)
        print(f"| {title} | {ours:.3f} | {theirs:.3f} | {ours / theirs:.2f} | {fastest:.2f} |", flush=True)
        del model, run


if __name__ == "__main__":
    main()
