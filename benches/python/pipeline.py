"""The input pipeline here and PyTorch's DataLoader, on the same cores, in turn.

    python3 -m venv venv && venv/bin/pip install -r benches/python/requirements.txt
    cargo bench --bench pipeline --no-run        # prints the path of the binary
    venv/bin/python benches/python/pipeline.py PATH-OF-THE-BINARY [--rounds 5]

Makes 640 × 480 JPEGs like photographs (1/f noise, edges, grain), with a caption each. Each side then
decodes them, resizes them to a longer side of 384 pixels with antialiasing, pads them to 384 × 384,
tokenises the captions, and makes batches: 32-bit floats `[B, 3, 384, 384]` and padded ids `[B, L]`.

PyTorch does so in two ways: with Pillow, as most training code does, and with torchvision's own decoder
and resizing of tensors. Prints the medians of samples per second and the ratio to each: above 1, this
crate is faster.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torchvision
from peer import Rust
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torchvision.transforms.v2 import functional as F

WIDTH, HEIGHT, SIDE = 640, 480, 384
MAX_TOKENS = 128


def photograph(rng):
    """Noise with the spectrum of natural images, some objects with edges, and grain."""
    fy = np.fft.fftfreq(HEIGHT)[:, None]
    fx = np.fft.rfftfreq(WIDTH)[None]
    amplitude = 1 / np.maximum(np.hypot(fy, fx), 1 / WIDTH)
    shared = rng.standard_normal((HEIGHT, WIDTH))
    planes = []
    for _ in range(3):
        noise = 0.8 * shared + 0.4 * rng.standard_normal((HEIGHT, WIDTH))
        plane = np.fft.irfft2(np.fft.rfft2(noise) * amplitude, s=(HEIGHT, WIDTH))
        planes.append(128 + 50 * (plane - plane.mean()) / plane.std())
    image = np.stack(planes, axis=2)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for _ in range(12):
        cx, cy, r = rng.integers(WIDTH), rng.integers(HEIGHT), rng.integers(15, 110)
        inside = (x - cx) ** 2 + (y - cy) ** 2 < r**2
        image[inside] = 0.4 * image[inside] + 0.6 * rng.integers(0, 256, 3)
    image += rng.normal(0, 4, image.shape)
    return Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))


def make(folder, count, quality):
    rng = np.random.default_rng(0)
    words = random.Random(0)
    nouns = "man woman dog cat table car tree street boat plate horse window field sky cup".split()
    rest = "a the with on next to near red small large holding standing white of and two".split()
    captions = []
    for index in range(count):
        name = f"{index:06}.jpg"
        photograph(rng).save(folder / name, quality=quality)
        captions.append((name, " ".join(words.choice(words.choice([nouns, rest])) for _ in range(40))))
    (folder / "captions.json").write_text(json.dumps(captions))

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=special)
    tokenizer.train_from_iterator([text for _, text in captions], trainer)
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[SEP]", "[CLS]")]
    tokenizer.post_processor = processors.BertProcessing(*ends)
    tokenizer.save(str(folder / "tokenizer.json"))
    sizes = [(folder / name).stat().st_size for name, _ in captions]
    return statistics.mean(sizes)


class Captions(torch.utils.data.Dataset):
    def __init__(self, folder, decoder):
        self.folder = folder
        self.decoder = decoder
        self.captions = json.loads((folder / "captions.json").read_text())
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(MAX_TOKENS)

    def __len__(self):
        return len(self.captions)

    def __getitem__(self, index):
        name, text = self.captions[index]
        scale = SIDE / max(WIDTH, HEIGHT)
        size = [int(HEIGHT * scale), int(WIDTH * scale)]
        if self.decoder == "pillow":
            with Image.open(self.folder / name) as file:
                image = file.convert("RGB").resize(size[::-1], Image.Resampling.BILINEAR)
            image = F.pil_to_tensor(image)
        else:
            data = torchvision.io.read_file(str(self.folder / name))
            image = torchvision.io.decode_jpeg(data, mode=torchvision.io.ImageReadMode.RGB)
            image = F.resize(image, size, antialias=True)
        image = F.pad(image, [0, 0, SIDE - size[1], SIDE - size[0]])
        return image.float(), torch.tensor(self.tokenizer.encode(text).ids)


def collate(samples):
    images, ids = zip(*samples)
    return torch.stack(images), torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)


def loader(folder, decoder, workers, batch):
    return torch.utils.data.DataLoader(
        Captions(folder, decoder),
        batch_size=batch,
        shuffle=True,
        num_workers=workers,
        collate_fn=collate,
        persistent_workers=True,
    )


def epoch(batches):
    begun = time.perf_counter()
    count = sum(images.shape[0] for images, _ in batches)
    return time.perf_counter() - begun, count


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--quality", type=int, default=92)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        size = make(folder, arguments.images, arguments.quality)
        print(f"{arguments.images} JPEGs of {size / 1000:.0f} kB on average", flush=True)
        # Keeps freed memory, as the `pixelllm` command does.
        rust = Rust(arguments.binary, MIMALLOC_PURGE_DELAY="-1")
        rust.ask(f"load {folder} {arguments.workers} {arguments.batch}")
        loaders = {
            decoder: loader(folder, decoder, arguments.workers, arguments.batch)
            for decoder in ("pillow", "torchvision")
        }
        rates = {"pixelllm": [], "pillow": [], "torchvision": []}
        for round in range(arguments.rounds + 1):
            (seconds,) = rust.ask("epoch")
            found = {"pixelllm": arguments.images / seconds}
            for decoder, batches in loaders.items():
                seconds, count = epoch(batches)
                found[decoder] = count / seconds
            # The first round starts workers and fills the page cache.
            if round > 0:
                for name, rate in found.items():
                    rates[name].append(rate)
                print("  ".join(f"{name} {rate:.0f}/s" for name, rate in found.items()), flush=True)
        medians = {name: statistics.median(found) for name, found in rates.items()}
    print(f"\n| | samples per second, {arguments.workers} workers | pixelllm is faster by |")
    print("|---|---|---|")
    for name, rate in medians.items():
        print(f"| {name} | {rate:.0f} | {medians['pixelllm'] / rate:.2f} |")
    (memory,) = rust.ask("memory")
    print(f"\nmemory of pixelllm: {memory / 1e6:.0f} MB at most")
    rust.close()


if __name__ == "__main__":
    main()
