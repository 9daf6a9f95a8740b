"""Image encoders here and in PyTorch, on the same cores, in turn.

    python3 -m venv venv && venv/bin/pip install -r benches/python/requirements.txt
    cargo bench --bench encoders --no-run        # prints the path of the binary
    venv/bin/python benches/python/encoders.py PATH-OF-THE-BINARY [--rounds 7]

Every round runs one pass here and one pass in PyTorch. Prints the medians and their ratio as a table:
below 1, this crate is faster.
"""

import argparse

import timm
import torch
from peer import compare, loaded
from segment_anything.build_sam import sam_model_registry


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
        rust = loaded(arguments.binary, name, model)
        compare(title, rust, command, run, arguments.rounds)
        rust.close()
        del model, run


if __name__ == "__main__":
    main()
