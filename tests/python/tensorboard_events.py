"""Reads the event files of a run back with TensorBoard's own reader, and compares every number with
metrics.jsonl and evaluation.json.

    python3 -m venv venv && venv/bin/pip install tensorboard==2.21.0
    venv/bin/python tests/python/tensorboard_events.py runs/quickstart
"""

import json
import math
import pathlib
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

PARTS = ("detection_loss", "mask_loss")


def read(folder):
    """{(tag, step): value}; a step that a tag has twice is an error."""
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    accumulator.Reload()
    found = {}
    tags = accumulator.Tags()
    assert not tags["tensors"] and tags["scalars"], tags
    for tag in tags["scalars"]:
        for event in accumulator.Scalars(tag):
            assert (tag, event.step) not in found, f"{tag} has step {event.step} twice"
            assert event.wall_time > 1e9, event
            found[tag, event.step] = event.value
    return found


def expected(records):
    """The same from metrics.jsonl."""
    wanted = {}
    for record in records:
        task, step = record["task"], record["step"]
        for key, value in record.items():
            if key in ("kind", "step", "task", "time") or value is None:
                continue
            if key in PARTS:
                for part, number in value.items():
                    name = key if part == "total" else f"{key}_{part}"
                    wanted[f"{task}/{name}", step] = number
            elif key == "loss" or key.endswith("_loss"):
                wanted[f"{task}/{key}", step] = value
            else:
                wanted[f"step/{key}", step] = value
    return wanted


def compare(name, found, wanted):
    assert found.keys() == wanted.keys(), sorted(set(found) ^ set(wanted))[:10]
    # Event files have 32 bits a number.
    wrong = [key for key in wanted if not math.isclose(found[key], wanted[key], rel_tol=1e-6, abs_tol=1e-12)]
    assert not wrong, [(key, found[key], wanted[key]) for key in wrong[:10]]
    print(f"{name}: {len(wanted)} numbers, {len({tag for tag, _ in wanted})} tags, all equal")


def main(run):
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for name, kind in (("train", "step"), ("validation", "validation")):
        of_kind = [record for record in records if record["kind"] == kind]
        compare(name, read(run / "tensorboard" / name), expected(of_kind))
    evaluation = run / "evaluation.json"
    if evaluation.exists():
        last = max(record["step"] for record in records)
        wanted = {
            (f"{split}/{task}/{metric}", last): score["value"]
            for split, tasks in json.loads(evaluation.read_text()).items()
            for task, scores in tasks.items()
            for metric, score in scores.items()
        }
        compare("evaluation", read(run / "tensorboard" / "evaluation"), wanted)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
