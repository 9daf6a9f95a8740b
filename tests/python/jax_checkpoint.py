"""A checkpoint of the JAX reference as safetensors, under the names that `layout = "jax"` knows.

By hand, with flax 0.12.8 and safetensors 0.8.0:

    python tests/python/jax_checkpoint.py CHECKPOINT OUT.safetensors

CHECKPOINT is the one file that flax's own checkpoints are, such as `checkpoint_10000` of Scenic: the
training state in msgpack. Only parameters are written, in float32.
"""

import sys
from pathlib import Path

import numpy as np
from flax.serialization import msgpack_restore
from flax.traverse_util import flatten_dict
from safetensors.numpy import save_file


def parameters(state):
    # Scenic's state has them under `params`, its older one under the optimiser's target.
    found = state["params"] if "params" in state else state["optimizer"]["target"]
    return found.get("params", found)


def main(checkpoint, out):
    state = msgpack_restore(Path(checkpoint).read_bytes())
    tensors = {
        f"params/{name}": np.ascontiguousarray(value, dtype=np.float32)
        for name, value in flatten_dict(parameters(state), sep="/").items()
    }
    save_file(tensors, out)
    print(f"{len(tensors)} tensors")


if __name__ == "__main__":
    main(*sys.argv[1:])
