"""Whether PEFT computes with an exported adapter what pixelllm computes.

By hand, with torch 2.15.0, transformers 5.23.0 and peft 0.21.2:

    python tests/python/peft_parity.py make DIR
        writes a small T5 1.1 with random weights as Hugging Face does
    pixelllm train … (with `[[weights]] file = "DIR"` and `model.language` of its sizes)
    pixelllm weights export RUN --peft ADAPTER --probe PROBE.safetensors
    python tests/python/peft_parity.py compare DIR ADAPTER PROBE.safetensors
"""

import json
import sys
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import T5Config, T5ForConditionalGeneration

# Of logits whose size is about 1.
TOLERANCE = 1e-4


def make(directory):
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=160, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_decoder_layers=3,
        num_heads=2, feed_forward_proj="gated-gelu", tie_word_embeddings=False,
        decoder_start_token_id=0,
    )
    model = T5ForConditionalGeneration(config)
    # transformers 5 ties the output to the words in whatever it makes, and unties them where a file
    # has both, as those of T5 1.1 and Flan-T5 do.
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    tensors["lm_head.weight"] = torch.randn(160, 32) * 32**-0.5
    model.save_pretrained(directory)
    save_file(tensors, f"{directory}/model.safetensors", metadata={"format": "pt"})
    path = Path(directory) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tie_word_embeddings": False}))


def compare(directory, adapter, probe):
    probe = load_file(probe)

    def difference(model):
        with torch.no_grad():
            output = model.eval()(
                inputs_embeds=probe["inputs_embeds"],
                decoder_input_ids=probe["decoder_input_ids"].long(),
            )
        return (output.logits - probe["logits"]).abs().max().item()

    bare = difference(T5ForConditionalGeneration.from_pretrained(directory))
    base = T5ForConditionalGeneration.from_pretrained(directory)
    adapted = difference(PeftModel.from_pretrained(base, adapter))
    print(f"largest difference of logits: {adapted:.2e} with the adapter, {bare:.2e} without")
    if adapted > TOLERANCE:
        sys.exit("they differ")
    if bare <= TOLERANCE:
        sys.exit("the adapter changes nothing, so this shows nothing")


if __name__ == "__main__":
    {"make": make, "compare": compare}[sys.argv[1]](*sys.argv[2:])
