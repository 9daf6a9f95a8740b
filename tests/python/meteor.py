"""METEOR's own program beside `pixelllm score captions`, on captions that are hard to align.

    python3 -m venv venv && venv/bin/pip install pycocoevalcap==1.2        (and Java)
    cargo build --release
    venv/bin/python tests/python/meteor.py target/release/pixelllm

Of two kinds: golden captions with words exchanged, and phrases of METEOR's table of paraphrases put together.
Prints of each how many scores of captions differ.
"""

import argparse
import contextlib
import gzip
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile

import pycocoevalcap.meteor.meteor
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

os.environ["JAVA_TOOL_OPTIONS"] = "-Dfile.encoding=UTF-8"

DATA = os.path.dirname(os.path.abspath(pycocoevalcap.meteor.meteor.__file__))
GOLDEN = os.path.join(os.path.dirname(__file__), "../golden/vectors/caption_metrics/tokenized.json")
# Every so many pairs of the table's first two million.
STEP = 401


def paraphrases():
    """Pairs of phrases of letters."""
    with gzip.open(os.path.join(DATA, "data", "paraphrase-en.gz"), "rt", encoding="utf-8") as file:
        lines = [line.strip() for line in itertools.islice(file, 6_000_000)]
    pairs = list(zip(lines[1::3], lines[2::3]))[::STEP]
    return [pair for pair in pairs if all(phrase.replace(" ", "").isalpha() for phrase in pair)]


def exchanged(draw, captions, images, pairs):
    """A golden caption with words taken out, put in, exchanged or bent, and one to five references."""
    words = [word for caption in captions for word in caption.split()]

    def scrambled(caption):
        of_caption = caption.split()
        for _ in range(draw.randint(0, 3)):
            of_caption = of_caption or ["a"]
            at, kind = draw.randrange(len(of_caption)), draw.randrange(5)
            if kind == 0:
                of_caption.insert(at, draw.choice(words))
            elif kind == 1:
                of_caption.pop(at)
            elif kind == 2:
                other = draw.randrange(len(of_caption))
                of_caption[at], of_caption[other] = of_caption[other], of_caption[at]
            elif kind == 3:
                of_caption[at] += draw.choice(["s", "ed", "ing"])
            else:
                of_caption[at:at] = draw.choice(draw.choice(pairs)).split()
        return " ".join(of_caption)

    while True:
        references = draw.choice(images)
        yield scrambled(draw.choice(references)), [scrambled(text) for text in references[:5]]


def put_together(draw, captions, pairs):
    """Phrases of the table, and others that say the same, with words between them."""
    words = [word for caption in captions for word in caption.split()]
    while True:
        said, reference = [], []
        for _ in range(draw.randint(1, 5)):
            pair = draw.sample(draw.choice(pairs), 2)
            said.append(pair[0])
            reference.append(pair[1])
            if draw.random() < 0.3:
                word = draw.choice(words)
                said.append(word)
                reference.append(word)
        if draw.random() < 0.5:
            draw.shuffle(reference)
        yield " ".join(said), [" ".join(reference)]


def their_scores(cases):
    gts = {i: [{"caption": text} for text in texts] for i, (_, texts) in enumerate(cases)}
    res = {i: [{"caption": said}] for i, (said, _) in enumerate(cases)}
    with contextlib.redirect_stdout(sys.stderr):
        tokenizer = PTBTokenizer()
        return Meteor().compute_score(tokenizer.tokenize(gts), tokenizer.tokenize(res))[1]


def our_scores(binary, cases):
    annotations = [
        {"image_id": i, "caption": text} for i, (_, texts) in enumerate(cases) for text in texts
    ]
    results = [{"image_id": i, "caption": said} for i, (said, _) in enumerate(cases)]
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, name) for name in ("references", "predictions", "scores")]
        for path, content in zip(paths, ({"annotations": annotations}, results)):
            with open(path, "w") as file:
                json.dump(content, file)
        command = [binary, "score", "captions", "--references", paths[0], "--predictions", paths[1]]
        command += ["--per-sample", paths[2], "--meteor-data", DATA]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        with open(paths[2]) as file:
            return [one["scores"]["METEOR"] for one in json.load(file)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("--count", type=int, default=1_500, help="captions of each kind")
    arguments = parser.parse_args()
    with open(GOLDEN) as file:
        images = list(json.load(file)["references"].values())
    captions = [caption for references in images for caption in references]
    draw, pairs = random.Random(0), paraphrases()
    kinds = {
        "words exchanged": exchanged(draw, captions, images, pairs),
        "phrases put together": put_together(draw, captions, pairs),
    }
    for kind, cases in kinds.items():
        cases = list(itertools.islice(cases, arguments.count))
        scores = zip(our_scores(arguments.binary, cases), their_scores(cases))
        differ = sum(abs(ours - theirs) > 1e-6 for ours, theirs in scores)
        print(f"{kind}: {differ} of {len(cases)} differ", flush=True)


if __name__ == "__main__":
    main()
