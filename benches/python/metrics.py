"""Scores of 40,000 captions with 5 references each, here and by pycocoevalcap, on the same machine in turn.

    python3 -m venv venv && venv/bin/pip install pycocoevalcap==1.2        (and Java)
    cargo bench --bench metrics --no-run        # prints the path of the binary
    venv/bin/python benches/python/metrics.py PATH-OF-THE-BINARY [--images 40000]

Both read the same files and end with the same scores. Prints the seconds of both, with METEOR and without,
and how many times less this crate takes.
"""

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time

import pycocoevalcap.meteor.meteor
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

os.environ["JAVA_TOOL_OPTIONS"] = "-Dfile.encoding=UTF-8"

# Captions in the manner of COCO's: a subject, what it does, and where.
SUBJECTS = """a man|a woman|two dogs|a cat|a group of people|a young boy|a little girl|three horses|a bird|a train
a bus|a black and white cow|several elephants|a baseball player|a skateboarder|a surfer|a red fire hydrant
a bowl of soup|a slice of pizza|a wooden bench|an old clock tower|a zebra|a couple|a police officer|a child"""
ACTIONS = """is sitting|sits|is standing|stands|riding a bicycle|is riding a wave|holding an umbrella|lying down
is eating|eats a sandwich|is jumping|runs|is walking|walks slowly|parked|is looking at the camera|smiling
playing with a ball|is talking on a phone|that is very large|with its mouth open|waiting|is being pulled"""
PLACES = """on a wooden table|in front of a building|next to a street|near the ocean|in a large field of grass
under a tree|on the beach|at a train station|beside the road|in a small kitchen|behind a white fence
on top of a snow covered mountain|in the middle of the city|by the window|at night|with other people around"""


def captions(count, seed):
    draw = random.Random(seed)
    parts = [text.replace("\n", "|").split("|") for text in (SUBJECTS, ACTIONS, PLACES)]
    for _ in range(count):
        chosen = [draw.choice(part) for part in parts]
        references = []
        for _ in range(6):
            words = [p if draw.random() < 0.6 else draw.choice(part) for p, part in zip(chosen, parts)]
            text = " ".join(words)
            if draw.random() < 0.3:
                text += " " + draw.choice(PLACES.replace("\n", "|").split("|"))
            references.append(text[0].upper() + text[1:] + draw.choice([".", ".", "", " ."]))
        yield references[0], references[1:]


def write(folder, count):
    annotations, results = [], []
    for image, (said, texts) in enumerate(captions(count, 0)):
        results.append({"image_id": image, "caption": said})
        annotations += [
            {"id": 5 * image + i, "image_id": image, "caption": text} for i, text in enumerate(texts)
        ]
    paths = [os.path.join(folder, name) for name in ("references.json", "predictions.json")]
    images = [{"id": image} for image in range(count)]
    for path, content in zip(paths, ({"images": images, "annotations": annotations}, results)):
        with open(path, "w") as file:
            json.dump(content, file)
    return paths


def pycocoevalcap_scores(paths, with_meteor):
    """Scores, and seconds from reading the files on."""
    start = time.perf_counter()
    with open(paths[0]) as file:
        annotations = json.load(file)["annotations"]
    with open(paths[1]) as file:
        results = json.load(file)
    gts, res = {}, {}
    for one in annotations:
        gts.setdefault(one["image_id"], []).append(one)
    for one in results:
        res[one["image_id"]] = [one]
    scores = {}
    with contextlib.redirect_stdout(sys.stderr):
        tokenizer = PTBTokenizer()
        gts, res = tokenizer.tokenize(gts), tokenizer.tokenize(res)
        scores["Bleu_4"] = Bleu(4).compute_score(gts, res)[0][3]
        scores["ROUGE_L"] = Rouge().compute_score(gts, res)[0]
        scores["CIDEr"] = Cider().compute_score(gts, res)[0]
        if with_meteor:
            scores["METEOR"] = Meteor().compute_score(gts, res)[0]
    return scores, time.perf_counter() - start


def rust_scores(binary, paths, data):
    start = time.perf_counter()
    command = [binary, *paths, *([data] if data else [])]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds = time.perf_counter() - start
    scores = dict(line.split() for line in answer.splitlines())
    return {name: float(value) for name, value in scores.items()}, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("--images", type=int, default=40_000)
    arguments = parser.parse_args()
    data = os.path.dirname(os.path.abspath(pycocoevalcap.meteor.meteor.__file__))
    with tempfile.TemporaryDirectory() as folder:
        paths = write(folder, arguments.images)
        print(f"{arguments.images} captions, 5 references each, {os.cpu_count()} cores")
        print("| METEOR | pycocoevalcap, s | here, s | ratio |\n|---|---|---|---|")
        for with_meteor in (False, True):
            ours, seconds = rust_scores(arguments.binary, paths, data if with_meteor else None)
            theirs, their_seconds = pycocoevalcap_scores(paths, with_meteor)
            for name, value in theirs.items():
                assert abs(ours[name] - value) < 1e-4, (name, ours[name], value)
            name = "with" if with_meteor else "without"
            ratio = their_seconds / seconds
            print(f"| {name} | {their_seconds:.1f} | {seconds:.2f} | {ratio:.1f} |", flush=True)


if __name__ == "__main__":
    main()
