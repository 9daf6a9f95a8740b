"""T5's decoding, training step and tokenisation here and in Hugging Face, on the same cores, in turn.

    python3 -m venv venv && venv/bin/pip install -r benches/python/requirements.txt
    cargo bench --bench decoding --no-run        # prints the path of the binary
    venv/bin/python benches/python/decoding.py PATH-OF-THE-BINARY [--rounds 5] [--only CASE ...]

Every round runs one pass here and one there. Prints the medians and their ratio as a table: below 1, this
crate is faster. Then the time of a step over the length of a text, and, with `--only xl-bf16` or
`--only xl-f16`, memory and time of a model of the size of Flan-T5-XL, which runs here alone.
"""

import argparse
import glob
import os
import tempfile

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import tokenizers
import torch
import transformers
from peer import Rust, compare, loaded
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

STEPS = 64
PREFIX = 32
VOCABULARY = 32128
# A training step: rows, tokens each.
TRAIN = (4, 64)
LONGEST = 256
BLOCK = 32
CASES = ["greedy-1", "greedy-16", "beam-4", "train-lora", "train-all", "tokenize", "steps"]


class Adapted(torch.nn.Module):
    """A frozen linear layer with an adapter of rank 32 and scale 2."""

    def __init__(self, base):
        super().__init__()
        self.base = base
        self.down = torch.nn.Linear(base.in_features, 32, bias=False)
        self.up = torch.nn.Linear(32, base.out_features, bias=False)
        torch.nn.init.zeros_(self.up.weight)

    def forward(self, x):
        return self.base(x) + self.up(self.down(x) * 2)


def t5_base():
    config = transformers.T5Config(
        vocab_size=VOCABULARY, d_model=768, d_kv=64, d_ff=2048, num_layers=12, num_decoder_layers=12,
        num_heads=12, feed_forward_proj="gated-gelu", tie_word_embeddings=False, dropout_rate=0.0,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=None,
    )
    model = transformers.T5ForConditionalGeneration(config)
    # Since version 5, transformers begins with tied matrices whatever the configuration says.
    model.lm_head.weight = torch.nn.Parameter(torch.randn(VOCABULARY, 768) / 768**0.5)
    return model.eval()


def adapt(model):
    model.requires_grad_(False)
    for module in list(model.modules()):
        if type(module).__name__ == "T5Attention":
            module.q, module.v = Adapted(module.q), Adapted(module.v)
    return model


def generate(model, rows, beams):
    options = transformers.GenerationConfig(
        max_new_tokens=STEPS, num_beams=beams, do_sample=False, use_cache=True,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=None,
        **({"length_penalty": 0.6} if beams > 1 else {}),
    )
    prefix = torch.randn(rows, PREFIX, 768)

    def run():
        with torch.inference_mode():
            encoded = model.encoder(inputs_embeds=prefix)
            text = model.generate(encoder_outputs=encoded, generation_config=options)
        assert text.shape == (rows, STEPS + 1), text.shape

    return run


def train(model):
    model.train()
    rows, length = TRAIN
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4)

    def run():
        labels = torch.randint(2, VOCABULARY, (rows, length))
        optimizer.zero_grad(set_to_none=True)
        loss = model(inputs_embeds=torch.randn(rows, PREFIX, 768), labels=labels).loss
        loss.backward()
        optimizer.step()
        loss.item()

    return run


def tokenizer_and_texts(folder):
    """A WordPiece trained on this book, and its lines, ten times over."""
    root = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "src", "*.md")
    lines = [line.strip() for page in sorted(glob.glob(root)) for line in open(page, encoding="utf-8")]
    lines = [line for line in lines if len(line) > 20]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=4000, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    ends = [(token, tokenizer.token_to_id(token)) for token in ["[CLS]", "[SEP]"]]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=ends
    )
    file, texts = os.path.join(folder, "tokenizer.json"), os.path.join(folder, "texts.txt")
    tokenizer.save(file)
    with open(texts, "w", encoding="utf-8") as out:
        out.write("\n".join(lines * 10))
    return tokenizer, lines * 10, f"tokenizer {file} {texts}"


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("binary")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--only", nargs="+", default=CASES, choices=CASES + ["xl-bf16", "xl-f16"])
    arguments = arguments.parse_args()
    torch.manual_seed(0)
    binary, rounds, only = arguments.binary, arguments.rounds, arguments.only
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, "
        f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}"
    )
    print("| case | here, s | Hugging Face, s | ratio | fastest ratio |")
    print("|---|---|---|---|---|")
    for rows, beams, case in [(1, 1, "greedy-1"), (16, 1, "greedy-16"), (1, 4, "beam-4")]:
        if case in only:
            model = t5_base()
            rust = loaded(binary, "base", model)
            how = f"beam {beams}" if beams > 1 else f"greedy {rows}"
            title = f"T5-base, {'beam 4' if beams > 1 else 'greedy'}, batch {rows}, {STEPS} steps"
            compare(title, rust, f"{how} {STEPS}", generate(model, rows, beams), rounds, STEPS)
            rust.close()
    for case, name in [("train-lora", "base-lora"), ("train-all", "base-all")]:
        if case in only:
            model = adapt(t5_base()) if case == "train-lora" else t5_base()
            rust = loaded(binary, name, model)
            title = f"T5-base training step, {case[6:]}, {TRAIN[0]} × {TRAIN[1]} tokens"
            compare(title, rust, f"train {TRAIN[0]} {TRAIN[1]}", train(model), rounds)
            rust.close()
    if "tokenize" in only:
        with tempfile.TemporaryDirectory() as folder:
            tokenizer, texts, command = tokenizer_and_texts(folder)
            rust = Rust(binary)
            rust.ask(command)
            run = lambda: [tokenizer.encode(text).ids for text in texts]
            compare(f"WordPiece, {len(texts)} texts, one by one", rust, "tokenize", run, rounds)
            rust.close()
    if "steps" in only:
        rust = Rust(binary)
        rust.ask("load base")
        rust.ask(f"greedy 1 {BLOCK}")
        for rows in [1, 16]:
            blocks = rust.ask(f"steps {rows} {LONGEST} {BLOCK}")
            print(f"\nmilliseconds of a step, batch {rows}, for each {BLOCK} steps:")
            print(" ".join(f"{1000 * seconds:.1f}" for seconds in blocks), flush=True)
        rust.close()
    for case in ["xl-bf16", "xl-f16"]:
        if case in only:
            rust = Rust(binary)
            (parameters,) = rust.ask(f"load {case}")
            first, _ = rust.ask("greedy 1 16")
            seconds, steps = rust.ask("greedy 1 16")
            (memory,) = rust.ask("memory")
            print(
                f"\n{case}: {parameters:.0f} parameters; 16 steps: {first:.1f} s with the making of the "
                f"weights, then {seconds:.2f} s ({steps:.0f} steps); peak {memory / 1e9:.2f} GB"
            )
            rust.close()


if __name__ == "__main__":
    main()
