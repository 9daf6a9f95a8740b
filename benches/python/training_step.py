"""Training steps here and in PyTorch, on the same cores, in turn.

    python3 -m venv venv && venv/bin/pip install -r benches/python/requirements.txt
    cargo bench --bench training_step --no-run        # prints the path of the binary
    venv/bin/python benches/python/training_step.py PATH-OF-THE-BINARY [--rounds 7]

The model in PyTorch (`training_step_model.py`) starts from the weights of the one here. First, without
dropout, both take two steps: losses and norms of the gradients must agree, before and after AdamW has moved
the weights. Then every round runs one step here and one in PyTorch. Prints the medians and their ratio as a
table: below 1, this crate is faster.

Where the cores are not idle, the threads of a step wait for each other as much as they compute, and such a ratio
says little. `--one-thread` gives each side one thread and compares processor time.
"""

import argparse
import os
import tempfile
import time

import numpy as np
import torch
from peer import Rust, compare
from safetensors.torch import load_file
from training_step_model import GIT_100M, QUICKSTART, PixelLlm, losses

CONTEXT = [5, 6, 7]
# Rows of an image, prompts of an image, tokens of a text.
SHAPES = {"narrate": (1, 1, 64), "describe": (4, 4, 12), "locate": (4, 1, 12)}
# Case: sizes, images of a batch, dropout while times are taken, parts of a batch at the same time here, tasks.
CASES = {
    "quickstart": (QUICKSTART, 32, 0.0, 2, ["describe", "narrate", "locate"]),
    "git-100m": (GIT_100M, 8, 0.1, 1, ["narrate"]),
}


def noise(count, seed):
    """As in `training_step.rs`."""
    place = (np.arange(count, dtype=np.uint64) + np.uint64(1 + seed * 1_000_003)) * np.uint64(2_654_435_761)
    place = (place % np.uint64(2**32)) >> np.uint64(8)
    return torch.from_numpy(place.astype(np.float32) / np.float32(2**24))


def batch_of(task, sizes, images):
    rows, prompts, length = SHAPES[task]
    side = sizes["canvas"]
    whole = torch.tensor([0.0, 0.0, side, side]).repeat(images, prompts, 1)
    if task == "describe":
        x0, y0, x1, y1 = noise(images * prompts * 4, 1).reshape(images, prompts, 4).unbind(-1)
        half = side / 2
        x0, y0 = half * x0, half * y0
        boxes = torch.stack([x0, y0, x0 + half * x1 + 1, y0 + half * y1 + 1], -1)
    else:
        boxes = whole
    words = noise(images * rows * length, 2) * (sizes["vocabulary"] - 3)
    text = (3 + words.long()).reshape(images, rows, length)
    text[..., 0], text[..., -1] = 1, 2
    return {
        "task": task,
        "images": (noise(images * 3 * side * side, 3) * 255).reshape(images, 3, side, side),
        "mask": torch.ones(images, 1, side, side),
        "boxes": boxes,
        "context": torch.tensor(CONTEXT).repeat(images, prompts, 1),
        "text": text,
        "points": noise(images * rows * length * 4, 4).reshape(images, rows, length, 2, 2),
    }


def optimizer_of(model, fused):
    """The quickstart's: matrices decay, vectors do not."""
    parameters = [parameter for parameter in model.parameters()]
    groups = [
        {"params": [one for one in parameters if one.dim() > 1], "weight_decay": 0.01},
        {"params": [one for one in parameters if one.dim() == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, fused=fused)


def step_of(model, optimizer, batch):
    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = losses(model, batch)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item(), norm.item()

    return step


def twin(rust, sizes):
    """The model in PyTorch with the weights of the one here: every tensor, and of the same shape."""
    model = PixelLlm(sizes).train()
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "weights.safetensors")
        rust.ask(f"export {path}")
        model.load_state_dict(load_file(path), strict=True)
    return model


def check(binary, name):
    """Two steps of both, which must have the same losses and gradients."""
    sizes, images, _, parts, tasks = CASES[name]
    rust = Rust(binary)
    for task in tasks:
        (count,) = rust.ask(f"load {name} 0 {parts}")
        model = twin(rust, sizes | {"dropout": 0.0})
        assert count == sum(tensor.numel() for tensor in model.state_dict().values())
        step = step_of(model, optimizer_of(model, False), batch_of(task, sizes, images))
        for number in range(2):
            _, *ours = rust.ask(f"step {task}")
            theirs = step()
            off = [abs(one - other) / abs(other) for one, other in zip(ours, theirs)]
            print(f"{name}, {task}, step {number}: loss and norm {theirs}, relative difference {off}")
            assert off[0] < 1e-4 and off[1] < 1e-3, (ours, theirs)
    rust.close()
    return int(count)


def processor_seconds(process):
    """Of all threads of a process so far."""
    with open(f"/proc/{process}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def compare_processor_time(title, rust, command, run, rounds):
    """As `peer.compare`, by processor time. The batch that is made here before each step counts, too."""
    rust.ask(command), run()
    here, there = [], []
    for _ in range(rounds):
        begun = processor_seconds(rust.process.pid)
        rust.ask(command)
        here.append(processor_seconds(rust.process.pid) - begun)
        begun = time.process_time()
        run()
        there.append(time.process_time() - begun)
    ours, theirs = np.median(here), np.median(there)
    fastest = min(here) / min(there)
    print(f"| {title} | {ours:.3f} | {theirs:.3f} | {ours / theirs:.2f} | {fastest:.2f} |", flush=True)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("binary")
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--only", nargs="*", default=list(CASES))
    arguments.add_argument("--parts", type=int, help="parts of a batch at the same time here")
    arguments.add_argument("--fused", action="store_true", help="PyTorch's fused AdamW")
    arguments.add_argument("--one-thread", action="store_true", help="processor time of one thread each")
    arguments = arguments.parse_args()
    torch.manual_seed(0)
    if arguments.one_thread:
        torch.set_num_threads(1)
        os.environ["RAYON_NUM_THREADS"] = "1"
        arguments.parts = 1
    counts = {name: check(arguments.binary, name) for name in arguments.only}
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print("| case | here, s | PyTorch, s | ratio | fastest ratio |")
    print("|---|---|---|---|---|")
    for name in arguments.only:
        sizes, images, dropout, parts, tasks = CASES[name]
        rust = Rust(arguments.binary)
        rust.ask(f"load {name} {dropout} {arguments.parts or parts}")
        model = twin(rust, sizes | {"dropout": dropout})
        optimizer = optimizer_of(model, arguments.fused)
        for task in tasks:
            step = step_of(model, optimizer, batch_of(task, sizes, images))
            title = f"{name} ({counts[name]:,} parameters), {task}, {images} images"
            measure = compare_processor_time if arguments.one_thread else compare
            measure(title, rust, f"step {task}", step, arguments.rounds)
        rust.close()


if __name__ == "__main__":
    main()
