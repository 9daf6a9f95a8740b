"""Cases for tests/golden/pycocoevalcap.json: what pycocoevalcap makes of odd captions.

    pip install pycocoevalcap==1.2        (and Java)
    python tests/python/caption_metrics.py > tests/golden/pycocoevalcap.json

Of every caption the tokens, and of every image BLEU, METEOR, ROUGE-L and CIDEr, as COCOEvalCap computes them.
"""

import contextlib
import json
import os
import sys

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

# Java reads and writes UTF-8 whatever the machine's language.
os.environ["JAVA_TOOL_OPTIONS"] = "-Dfile.encoding=UTF-8"

CASES = [
    ("A man rides a horse.", ["The person is riding a horse!", "Someone on a horse"]),
    ("dogs", ["A dog"]),
    ("", ["A cat sits on a mat."]),
    ("cat", ["A cat sits on a mat."]),
    ("...", ["Nothing to see here..."]),
    ("Two men's bikes, and a boy's.", ["The mens' bicycles; a boy's bike"]),
    ("She doesn't smile, it's cold.", ["It is cold and she does not smile"]),
    ('A sign says "STOP" in red', ["A red sign that says 'stop'", "“Stop” sign"]),
    ("A 2-year-old with a T-shirt", ["A two year old in a t shirt", "2 year olds"]),
    ("10,000 people at 7:30 p.m.", ["Ten thousand people at half past seven", "7.30pm crowd"]),
    ("A $5.99 sandwich (50% off)", ["A sandwich for $ 5.99", "a half-price sandwich [photo]"]),
    ("A dog \U0001f436 runs", ["a dog runs \U0001f600\U0001f600", "running dog"]),
    ("Café — naïve señor", ["A cafe", "the café of a señor"]),
    ("a black-and-white photo of a well-known street", ["black and white picture of a street"]),
    ("the the the the", ["the cat", "the dog and the cat"]),
    ("a child is playing with a toy on the floor", ["a kid plays with toys on the ground"]),
    ("the large sofa is next to the tv", ["a big couch beside a television"]),
    ("a person a person a person", ["a person and a person"]),
    ("on a table a plate of food is placed", ["a plate of food is placed on a table"]),
    ("I can't believe it's not butter!!!", ["I cannot believe that it is not butter ?!"]),
    ("Mr. Smith and Dr. Jones of the U.S. walk", ["Two men of the US walk", "mr smith walks"]),
    ("A plate -- with food - and a half-eaten , co-op pie -", ["A plate -- half eaten pie---", "re-heated pie"]),
    ("3 cats, 2.5 dogs, 1/2 a bird & #4 of 1,234.", ["3 cats 2.5 dogs 1/2 bird", "no. 4 of 1234"]),
    ("'Tis the dogs' \"'best'\" bowl ‘n’ “mat”", ["`` it 's '' the dog's bowl", "«best» bowl and mat"]),
    ("🐶🐱", ["a dog and a cat", "🐶"]),
    ("cat❤️dog café… ½ —", ["cat dog cafe", "cat ❤ dog café 1/2"]),
    ("a cat", ["", "a cat on a mat"]),
    ("stop", ["Stop!", "STOP."]),
    ("see www.example.com/a?b=c or mail a.b@c.org; 50° C*, [sic] {x} <y>", ["see example.com", "mail a.b@c.org 50 C"]),
    ("word " * 150, ["word " * 140, "a word"]),
    (
        " ".join(["a man in a red shirt and a woman in a blue dress walk along the beach"] * 10),
        ["a man and a woman walk along the beach", " ".join(["people walk on a beach"] * 12)],
    ),
]


def main():
    gts = {i: [{"caption": text} for text in texts] for i, (_, texts) in enumerate(CASES)}
    res = {i: [{"caption": said}] for i, (said, _) in enumerate(CASES)}
    tokenizer = PTBTokenizer()
    gts, res = tokenizer.tokenize(gts), tokenizer.tokenize(res)
    corpus, images = {}, [{} for _ in CASES]
    scorers = [
        (Bleu(4), ["Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4"]),
        (Meteor(), ["METEOR"]),
        (Rouge(), ["ROUGE_L"]),
        (Cider(), ["CIDEr"]),
    ]
    for scorer, names in scorers:
        with contextlib.redirect_stdout(sys.stderr):
            score, scores = scorer.compute_score(gts, res)
        if len(names) == 1:
            score, scores = [score], [scores]
        for name, value, values in zip(names, score, scores):
            corpus[name] = float(value)
            for image, of_image in zip(images, values):
                image[name] = float(of_image)
    cases = [
        {
            "candidate": said,
            "references": texts,
            "tokens": {"candidate": res[i][0], "references": gts[i]},
            "scores": images[i],
        }
        for i, (said, texts) in enumerate(CASES)
    ]
    json.dump({"corpus": corpus, "cases": cases}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
