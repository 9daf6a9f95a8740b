"""Which words keep their period, and which end a sentence before them: the lists of
src/metrics/penn_treebank/rules.rs, asked of the tokeniser in pycocoevalcap.

    pip install pycocoevalcap==1.2        (and Java)
    python tests/python/penn_treebank.py
"""

import itertools
import os
import string
import subprocess
import tempfile
import zipfile

import pycocoevalcap.tokenizer.ptbtokenizer

PACKAGE = pycocoevalcap.tokenizer.ptbtokenizer.__file__
FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(PACKAGE)))
TOKENIZER = os.path.join(FOLDER, "tokenizer", "stanford-corenlp-3.4.1.jar")
METEOR = os.path.join(FOLDER, "meteor", "meteor-1.5.jar")

# Titles, units, states and more that WordNet does not have.
EXTRA = """mrs messrs govs profs sens reps attys capt lieut comdr supts insp mlle mme msgr asst assoc blvd bldg
corp ptys ltds bancorp assn univ intl bros dept invt elec natl treas calif colo conn mich minn miss okla penn
tenn wisc kans ariz mass wash sept tues thurs viz approx apt lb lbs oz hr hrs min mins sec tbsp tsp pkg qty misc
max temp yrs yr prof gen col sgt ste hwy pkwy pres gov sen rep bull inc plc bhd additionally this that these
those they their them then there when while what where who why how which we you your our his hers its since
although though however furthermore meanwhile therefore according""".split()


def tokens(lines):
    with tempfile.NamedTemporaryFile("w", suffix=".txt", delete=False) as file:
        file.write("\n".join(lines) + "\n")
    command = ["java", "-Dfile.encoding=UTF-8", "-cp", TOKENIZER]
    command += ["edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", file.name]
    answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    os.remove(file.name)
    return [line.split() for line in answer.stdout.decode().split("\n")[: len(lines)]]


def words():
    """WordNet's words, as METEOR has them, and every combination of up to three letters."""
    with zipfile.ZipFile(METEOR) as jar:
        listed = jar.read("synonym/english.synsets").decode().split("\n")[::2]
        listed += jar.read("synonym/english.exceptions").decode().split()
    found = {word for word in listed if word.isalpha() and word.isascii() and len(word) <= 12}
    for length in (1, 2, 3):
        found |= {"".join(letters) for letters in itertools.product(string.ascii_lowercase, repeat=length)}
    return sorted(found | set(EXTRA))


def main():
    asked = words()
    capital = [word.capitalize() for word in asked]
    keeps = [word for word, line in zip(asked, tokens([f"x {w}. the" for w in asked])) if f"{word}." in line]
    keeps_capital = [
        word for word, line in zip(capital, tokens([f"x {w}. The" for w in capital])) if f"{word}." in line
    ]
    starts = [
        word for word, line in zip(capital, tokens([f"x I. {w} y" for w in capital])) if line[1:3] == ["I", "."]
    ]
    print("ABBREVIATIONS", "|".join(word for word in keeps if len(word) > 1))
    print("CAPITALS", "|".join(word for word in keeps_capital if word.lower() not in keeps))
    print("SENTENCE_STARTS", "|".join(starts))


if __name__ == "__main__":
    main()
