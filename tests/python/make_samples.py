"""Makes data/samples of every public format but `shapes`: a few records each, as the published files
have them, and `faulty` ones with one planted fault per record.

By hand, with Pillow 13.0.0; the same again makes the same bytes:

    python tests/python/make_samples.py
"""

import json
import math
import shutil
import struct
from pathlib import Path

from PIL import Image

SAMPLES = Path(__file__).resolve().parents[2] / "data/samples"
SHAPES = SAMPLES / "shapes/images/train"


def image(path, number, size=(64, 48)):
    """Image `number` of the shapes, smaller, as a JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.open(SHAPES / f"{number:012d}.png").convert("RGB")
    picture.resize(size, Image.Resampling.BILINEAR).save(path, "JPEG", quality=75)


def write(path, text, newline="\n", mark=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.replace("\n", newline).encode()
    path.write_bytes(b"\xef\xbb\xbf" * mark + data)


def write_json(path, document, **how):
    write(path, json.dumps(document, indent=1) + "\n", **how)


def lines(records):
    return "".join(record if isinstance(record, str) else json.dumps(record) for record in
                   [part for record in records for part in (record, "\n")])


# Localized Narratives ------------------------------------------------------------------------------

def narrative(image_id, annotator, utterances, dataset="mscoco_train2017"):
    """The mouse draws an arc; an utterance takes a second, and a fifth of one passes between two."""
    timed, t = [], 0.5
    for text in utterances:
        timed.append({"utterance": text, "start_time": round(t, 3), "end_time": round(t + 1, 3)})
        t += 1.2
    moments = [round(0.4 + 0.1 * k, 3) for k in range(int(10 * t))]
    point = lambda m: {"x": round(0.5 + 0.4 * math.sin(m), 4),
                       "y": round(0.5 - 0.3 * math.cos(m), 4), "t": m}
    half = len(moments) // 2
    return {
        "dataset_id": dataset, "image_id": image_id, "annotator_id": annotator,
        "caption": " ".join(utterances), "timed_caption": timed,
        "traces": [[point(m) for m in moments[:half]], [point(m) for m in moments[half:]]],
        "voice_recording": f"{dataset}/{dataset}_{image_id}_{annotator}.ogg",
    }


def localized_narratives():
    root = SAMPLES / "localized_narratives"
    say = ["In this image there is", "a large shape,", "and behind it", "a background."]
    for number in (1, 2, 3):
        image(root / f"coco/train2017/{number:012d}.jpg", number)
    name = "coco_train_localized_narratives-0000{}-of-00002.jsonl"
    # The second shard has been through Windows; in its last narrative the mouse leaves the image.
    outside = narrative("3", 12, say)
    for point in outside["traces"][1][-8:]:
        point["x"] = round(1 + point["x"], 4)
    write(root / name.format(0), lines([narrative("1", 10, say), narrative("2", 10, say[:3])]))
    write(root / name.format(1), lines([narrative("1", 11, say), outside]), "\r\n", mark=True)
    others = [
        ("flickr30k_train", "1000092795", "flickr30k/1000092795.jpg"),
        ("ADE20k_train", "ADE_train_00000001", "ade20k/training/a/abbey/ADE_train_00000001.jpg"),
        ("open_images_train", "000a1249af2bc5f0", "open_images/train_0/000a1249af2bc5f0.jpg"),
    ]
    for number, (dataset, image_id, file) in enumerate(others):
        image(root / file, 4 + number)
        path = root / f"{dataset}_localized_narratives.jsonl"
        write(path, lines([narrative(image_id, 20, say, dataset)]))
    base = lambda annotator: narrative("1", annotator, say)
    faults = [base(k) for k in range(100, 110)]
    faults[1] = json.dumps(faults[1])[:200]                            # cut off
    del faults[2]["traces"]                                            # a field is missing
    faults[3]["image_id"] = "9"                                        # no such image
    faults[4]["image_id"] = "../../etc/passwd"
    faults[5]["traces"] = [[]]
    faults[6]["timed_caption"][1].update(start_time=3.0, end_time=2.0)
    faults[7]["timed_caption"][2].update(start_time=0.0)               # before the one before it
    faults[8]["timed_caption"] = []
    faults[9]["timed_caption"][1]["utterance"] = "a small shape,"      # not what the caption says
    more = [base(110), base(111), base(100)]                           # the last is there already
    more[0]["caption"] = ""
    more[1]["timed_caption"][0]["utterance"] = ""
    write(root / "faulty.jsonl", lines(faults + more))


# COCO ----------------------------------------------------------------------------------------------

def coco_image(number, file_name=None, width=64, height=48):
    return {"license": 1, "file_name": file_name or f"{number:012d}.jpg", "height": height,
            "width": width, "id": number, "date_captured": "2013-11-14 17:02:52"}


CATEGORIES = [{"supercategory": "shape", "id": 1, "name": "circle"},
              {"supercategory": "shape", "id": 2, "name": "square"}]


def coco_captions():
    root = SAMPLES / "coco_captions"
    for number in (1, 2):
        image(root / f"train2017/{number:012d}.jpg", number)
    caption = lambda id, image_id, text: {"image_id": image_id, "id": id, "caption": text}
    images = [coco_image(1), coco_image(2)]
    whole = [caption(37, 1, "A large cross at the top."), caption(38, 1, "Two crosses and a triangle. "),
             caption(40, 2, "A picture with shapes.\n")]
    write_json(root / "captions_train2017.json",
               {"info": {"year": 2017}, "images": images, "licenses": [], "annotations": whole})
    faulty = whole + [
        caption(41, 2, ""), caption(42, 7, "An image that is not listed."),
        caption(37, 2, "An id that stands above."), {"id": 43, "image_id": 2},
        caption(44, 3, "An image that is not there."),
    ]
    write_json(root / "faulty.json", {"images": images + [coco_image(3)], "annotations": faulty})


def instance(id, image_id, bbox, segmentation, category=1, iscrowd=0):
    return {"segmentation": segmentation, "area": bbox[2] * bbox[-1], "iscrowd": iscrowd,
            "image_id": image_id, "bbox": bbox, "category_id": category, "id": id}


def polygon(x, y, w, h):
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def runs(x, y, w, h, width=64, height=48):
    """Lengths of runs outside and inside the box, column by column."""
    counts = [x * height + y]
    for _ in range(w):
        counts += [h, height - h]
    counts[-1] = width * height - sum(counts[:-1])
    return counts


def compressed(counts):
    """COCO's text of runs: five bits a character, differences to the run before the last."""
    text = ""
    for index, count in enumerate(counts):
        rest, more = count - (counts[index - 2] if index > 2 else 0), True
        while more:
            bits, rest = rest & 0x1F, rest >> 5
            more = rest != (-1 if bits & 0x10 else 0)
            text += chr((bits | (0x20 if more else 0)) + 48)
    return text


def coco_instances():
    root = SAMPLES / "coco_instances"
    for number in (1, 2):
        image(root / f"train2017/{number:012d}.jpg", number)
    box, size = (8, 6, 20, 12), [48, 64]
    whole = [
        instance(101, 1, list(box), polygon(*box)),
        instance(102, 1, list(box), {"size": size, "counts": runs(*box)}, 2),
        instance(103, 2, list(box), {"size": size, "counts": compressed(runs(*box))}, 2),
        # Rounded: half a pixel beyond the right edge.
        instance(104, 2, [50.25, 10.0, 14.25, 20.0], polygon(50.25, 10.0, 13.75, 20.0)),
        # A crowd, with its runs uncompressed as always.
        instance(900100000105, 2, list(box), {"size": size, "counts": runs(*box)}, 1, iscrowd=1),
    ]
    images = [coco_image(1), coco_image(2)]
    write_json(root / "instances_train2017.json",
               {"images": images, "annotations": whole, "categories": CATEGORIES})
    faulty = whole[:1] + [
        instance(201, 1, [50, 10, 30, 20], polygon(50, 10, 14, 20)),    # 16 pixels out
        instance(202, 1, [80, 10, 5, 5], polygon(8, 6, 5, 5)),          # outside
        instance(203, 1, [8, 6, 0, 5], polygon(8, 6, 1, 5)),            # no width
        instance(204, 1, [8, 6, 5], polygon(8, 6, 5, 5)),               # three numbers
        instance(205, 1, list(box), polygon(*box), category=90),        # no such category
        instance(206, 9, list(box), polygon(*box)),                     # no such image
        instance(101, 1, list(box), polygon(*box)),                     # the id stands above
        instance(207, 3, list(box), polygon(*box)),
        instance(208, 4, list(box), polygon(*box)),
        instance(209, 1, [float("nan"), 6, 5, 5], polygon(*box)),       # as Python writes it
        instance(210, 1, list(box), {"size": size, "counts": [5, 4000]}),  # beyond the image
    ]
    unsafe = coco_image(3, "../../../etc/passwd")
    absurd = coco_image(4, "000000000002.jpg", width=2_000_000_000)
    write_json(root / "faulty.json",
               {"images": images + [unsafe, absurd], "annotations": faulty,
                "categories": CATEGORIES})


# Referring expressions -----------------------------------------------------------------------------

def python2_pickle(value):
    """What `pickle.dump(value, file)` of Python 2.7 writes: protocol 0, texts as byte strings."""
    out, memo = [], [0]

    def put():
        out.append(f"p{memo[0]}\n")
        memo[0] += 1

    def dump(value):
        if isinstance(value, (bool, int)):
            out.append(f"I{int(value)}\n")
        elif isinstance(value, bytes):
            out.append("S" + repr(value)[1:] + "\n")
            put()
        elif isinstance(value, str):
            if value.isascii():
                out.append("S" + repr(value) + "\n")
            else:
                out.append("V" + value + "\n")
            put()
        elif isinstance(value, list):
            out.append("(l")
            put()
            for item in value:
                dump(item)
                out.append("a")
        elif isinstance(value, dict):
            out.append("(d")
            put()
            for key, item in value.items():
                dump(key)
                dump(item)
                out.append("s")

    dump(value)
    return ("".join(out) + ".").encode("latin-1")


def ref(ref_id, ann_id, image_id, split, sentences):
    texts = [text.decode("latin-1") if isinstance(text, bytes) else text for text in sentences]
    return {
        "sent_ids": [10 * ref_id + k for k in range(len(sentences))],
        "file_name": f"COCO_train2014_{image_id:012d}_{ann_id}.jpg",
        "ann_id": ann_id,
        "sentences": [
            {"tokens": text.split(), "raw": raw, "sent_id": 10 * ref_id + k, "sent": raw}
            for k, (raw, text) in enumerate(zip(sentences, texts))
        ],
        "split": split, "image_id": image_id, "category_id": 1, "ref_id": ref_id,
    }


def refer():
    root = SAMPLES / "refexp_refer"
    for number in (1, 2, 3):
        image(root / f"train2014/COCO_train2014_{number:012d}.jpg", number)
    images = [coco_image(n, f"COCO_train2014_{n:012d}.jpg") for n in (1, 2, 3, 4)]
    boxes = {11: [8.5, 6.0, 20.0, 12.25], 12: [40.0, 8.0, 10.0, 10.0], 21: [0.0, 0.0, 63.75, 47.5],
             31: [4.0, 4.0, 30.0, 30.0], 41: [4.0, 4.0, 30.0, 30.0], 13: [60.0, 40.0, 40.0, 20.0]}
    annotations = [instance(id, id // 10, bbox, polygon(*bbox)) for id, bbox in boxes.items()]
    write_json(root / "instances.json",
               {"info": {"version": "1.0"}, "images": images, "licenses": [],
                "annotations": annotations, "categories": CATEGORIES})
    refs = [
        ref(0, 11, 1, "train", ["the large cross", "top cross"]),
        # A byte that is not UTF-8, and text that is Unicode.
        ref(1, 12, 1, "train", [b"the caf\xe9 sign", "the caf\u00e9 sign on the right"]),
        ref(2, 21, 2, "val", ["whole picture"]),
        ref(3, 31, 3, "testA", ["triangle"]),
    ]
    (root / "refs(unc).p").write_bytes(python2_pickle(refs))
    faulty = [
        ref(0, 11, 1, "train", ["the large cross", ""]),
        ref(1, 99, 1, "train", ["an object that has no box"]),
        ref(2, 41, 4, "train", ["an image that is not there"]),
        ref(3, 31, 9, "train", ["an image that is not listed"]),
        ref(0, 12, 1, "train", ["an id that stands above"]),
        ref(5, 13, 1, "train", ["a box of which most is outside"]),
        ref(6, 12, 1, "train", []),
        {"ref_id": 7, "ann_id": 12, "image_id": 1, "split": "train", "sentences": "left"},
    ]
    (root / "faulty.p").write_bytes(python2_pickle(faulty))


def mdetr():
    root = SAMPLES / "refexp_mdetr"
    for number in (1, 2):
        image(root / f"train2014/COCO_train2014_{number:012d}.jpg", number)

    def expression(id, number, caption):
        found = coco_image(number, f"COCO_train2014_{number:012d}.jpg")
        return found | {"id": id, "original_id": number, "caption": caption,
                        "dataset_name": "refcoco", "tokens_negative": [[0, len(caption)]]}

    def box(id, image_id, bbox):
        return instance(id, image_id, bbox, polygon(*bbox)) | {"tokens_positive": [[0, 3]]}

    images = [expression(0, 1, "the large cross"), expression(1, 1, "top cross"),
              expression(2, 2, "whole picture")]
    boxes = [box(0, 0, [8.5, 6.0, 20.0, 12.25]), box(1, 1, [8.5, 6.0, 20.0, 12.25]),
             box(2, 2, [0.0, 0.0, 64.75, 48.0])]
    write_json(root / "finetune_refcoco_train.json",
               {"info": [], "licenses": [], "images": images, "annotations": boxes,
                "categories": CATEGORIES})
    faulty = images + [expression(3, 3, "an image that is not there"), expression(4, 1, ""),
                       expression(5, 1, "an expression without a box")]
    write_json(root / "faulty.json",
               {"images": faulty, "categories": CATEGORIES,
                "annotations": boxes + [box(3, 3, [1, 1, 5, 5]), box(4, 4, [1, 1, 5, 5])]})


def uninext():
    root = SAMPLES / "refexp_uninext"
    image(root / "images/COCO_train2014_000000000001.jpg", 1)
    image(root / "images/2317429.jpg", 2)

    def found(image_id, bbox, expressions, source):
        return {"bbox": bbox, "mask": polygon(*bbox), "image_id": image_id, "iscrowd": 0,
                "category_id": 0, "expressions": expressions, "width": 64, "height": 48,
                "data_source": source}

    whole = [found(1, [8.5, 6.0, 20.0, 12.25], ["the large cross", "top cross"], "coco"),
             found(2317429, [0, 0, 64, 48], ["the whole picture"], "vg")]
    write_json(root / "instances.json", {"train": whole, "val": whole[1:]})
    faulty = whole + [found(1, [70, 6, 20, 12], ["outside"], "coco"), found(1, [1, 1, 5, 5], [" "], "coco"),
                      found(5, [1, 1, 5, 5], ["not there"], "vg"), whole[0],
                      {"image_id": 1, "bbox": [1, 1, 5, 5]}]
    write_json(root / "faulty.json", {"train": faulty})


# Visual Genome -------------------------------------------------------------------------------------

def visual_genome():
    root = SAMPLES / "visual_genome"
    image(root / "VG_100K_2/1.jpg", 1)
    image(root / "VG_100K/2315000.jpg", 2)
    url = "https://cs.stanford.edu/people/rak248/{}/{}.jpg"
    data = lambda id, folder, coco_id: {"width": 64, "url": url.format(folder, id), "height": 48,
                                        "image_id": id, "coco_id": coco_id, "flickr_id": None}
    region = lambda id, image_id, x, y, w, h, phrase: {
        "region_id": id, "width": w, "height": h, "image_id": image_id, "phrase": phrase, "y": y,
        "x": x}
    whole = [
        {"regions": [region(1382, 1, 8, 6, 20, 12, "the large cross"),
                     # One pixel out on the left, as annotators' boxes are.
                     region(1383, 1, -1, 0, 20, 12, " a corner of the picture")], "id": 1},
        {"regions": [region(4091, 2315000, 0, 0, 64, 48, "a picture with shapes")], "id": 2315000},
        {"regions": [], "id": 3},
    ]
    images = [data(1, "VG_100K_2", None), data(2315000, "VG_100K", 2), data(3, "VG_100K", None),
              data(4, "VG_100K", None)]
    write_json(root / "region_descriptions.json", whole)
    write_json(root / "image_data.json", images)
    faulty = [
        {"regions": [region(1, 1, 8, 6, 20, 12, "fine"), region(2, 1, 8, 6, 20, 12, ""),
                     region(3, 1, 30, 30, 60, 10, "far out"), region(4, 1, 8, 6, -2, 12, "narrow"),
                     region(1, 1, 8, 6, 20, 12, "an id that stands above"),
                     {"region_id": 5, "x": 1, "y": 1, "width": 4, "height": 4}], "id": 1},
        {"regions": [region(6, 4, 0, 0, 9, 9, "an image that is not there")], "id": 4},
        {"regions": [region(7, 5, 0, 0, 9, 9, "an image without a size")], "id": 5},
    ]
    write_json(root / "faulty.json", faulty)


def visual_genome_coco():
    root = SAMPLES / "visual_genome_coco"
    image(root / "images/1.jpg", 1)
    region = lambda id, bbox, caption: {"id": id, "image_id": 1, "bbox": bbox, "caption": caption,
                                        "category_id": 1, "iscrowd": 0, "area": bbox[2] * bbox[3]}
    document = {"images": [{"id": 1, "file_name": "1.jpg", "width": 64, "height": 48}],
                "annotations": [region(1, [8, 6, 20, 12], "the large cross"),
                                region(2, [-1, 0, 20, 12], "a corner of the picture")],
                "categories": [{"id": 1, "name": "object"}]}
    write_json(root / "train.json", document)
    document["annotations"] += [region(3, [8, 6, 20, 12], ""), region(4, [-30, 6, 20, 12], "outside")]
    write_json(root / "faulty.json", document)


# Flickr30k Entities --------------------------------------------------------------------------------

def flickr30k():
    root = SAMPLES / "flickr30k_entities"
    sentences = ["[/EN#1/other A large cross] and [/EN#2/other two shapes] in [/EN#3/scene a picture] .",
                 "[/EN#1/other It] is above [/EN#0/notvisual the others] .",
                 "Nothing that is marked here ."]

    def entry(name, box=None, scene=0):
        corners = zip(("xmin", "ymin", "xmax", "ymax"), box or ())
        body = (f"<bndbox>{''.join(f'<{k}>{v}</{k}>' for k, v in corners)}</bndbox>" if box else
                f"<scene>{scene}</scene><nobndbox>1</nobndbox>")
        return f"\t<object><name>{name}</name>{body}</object>\n"

    def annotation(name, entries):
        return (f"<annotation>\n\t<filename>{name}.jpg</filename>\n\t<size><width>64</width>"
                f"<height>48</height><depth>3</depth></size>\n{''.join(entries)}</annotation>\n")

    entries = [entry(1, (9, 7, 28, 18)), entry(2, (40, 8, 50, 18)), entry(2, (50, 20, 64, 48)),
               entry(3, scene=1)]
    for number, (name, newline) in enumerate([("1000092795", "\n"), ("36979", "\r\n")], start=1):
        image(root / f"flickr30k-images/{name}.jpg", number)
        write(root / f"Sentences/{name}.txt", "\n".join(sentences) + "\n", newline)
        write(root / f"Annotations/{name}.xml", annotation(name, entries), newline)
    write(root / "train.txt", "1000092795\n")
    write(root / "val.txt", "36979\n", "\r\n")
    faulty = root / "faulty"
    for name in ("1", "2", "3", "4"):
        write(faulty / f"Sentences/{name}.txt", "\n".join(sentences[:1]) + "\n")
        write(faulty / f"Annotations/{name}.xml", annotation(name, entries))
    for name in ("1", "2", "3"):
        image(faulty / f"images/{name}.jpg", 1)
    write(faulty / "Sentences/1.txt", "[/EN#1/other A cross\n" + sentences[0] + "\n\n.\n")
    out = [entry(1, (9, 7, 100, 18)), entry(2, (28, 7, 9, 18)), entry(3, (5, 5, 9, 9)),
           entry(3, (5, 5, 9, 9))]
    write(faulty / "Annotations/2.xml", annotation("2", out))
    write(faulty / "Annotations/3.xml", annotation("3", entries)[:150])


# LLaVA ---------------------------------------------------------------------------------------------

def llava():
    root = SAMPLES / "llava"
    for number in (1, 2):
        image(root / f"images/coco/train2017/{number:012d}.jpg", number)
    turn = lambda who, text: {"from": who, "value": text}
    talk = lambda id, file, *texts: {
        "id": id, "image": file,
        "conversations": [turn(("human", "gpt")[k % 2], text) for k, text in enumerate(texts)]}
    one, two = (f"coco/train2017/{n:012d}.jpg" for n in (1, 2))
    whole = [
        talk("000000000001", one, "<image>\nWhat is at the top?", "A large cross.",
             "What colour is it?", "It is green."),
        talk("000000000002", two, "Describe the picture.\n<image>", "There are shapes in it."),
        {"id": "VBEq9Wn_0", "conversations": [turn("human", "Hello."), turn("gpt", "Hello!")]},
    ]
    write_json(root / "llava_instruct.json", whole)
    faulty = whole + [
        talk("1", one, "<image>\nNobody answers."), talk("2", one, "<image>\nAnd?", ""),
        talk("3", "coco/train2017/000000000009.jpg", "<image>\nWhere is it?", "It is not there."),
        talk("4", "../llava_instruct.json", "<image>\nWhere is it?", "It is out of the folder."),
        whole[0], {"id": "5", "image": one},
    ]
    write_json(root / "faulty.json", faulty)


# TFRecords -----------------------------------------------------------------------------------------

def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def frame(record):
    length = struct.pack("<Q", len(record))
    return length + masked(length) + record + masked(record)


def varint(value):
    value &= (1 << 64) - 1
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def message(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def feature(values):
    """Floats and integers packed, as TensorFlow writes them."""
    values = values if isinstance(values, list) else [values]
    if values and isinstance(values[0], float):
        return message(2, message(1, struct.pack(f"<{len(values)}f", *values)))
    if values and isinstance(values[0], int):
        return message(3, message(1, b"".join(map(varint, values))))
    texts = [value.encode() if isinstance(value, str) else value for value in values]
    return message(1, b"".join(message(1, text) for text in texts))


def features(values):
    return b"".join(message(1, message(1, key.encode()) + message(2, feature(value)))
                    for key, value in values.items())


def example(values):
    return message(1, features(values))


def sequence(context, lists):
    entries = b"".join(
        message(1, message(1, key.encode()) + message(2, b"".join(message(1, feature(v)) for v in values)))
        for key, values in lists.items())
    return message(1, features(context)) + message(2, entries)


def tfrecord():
    root = SAMPLES / "tfrecord"
    root.mkdir(parents=True, exist_ok=True)
    picture = lambda n: (SAMPLES / f"coco_captions/train2017/{n:012d}.jpg").read_bytes()
    say = ["In this image there is", "a large shape."]

    def narratives(number, utterances=say):
        count = len(utterances)
        return sequence(
            {"image/encoded": picture(number), "image/id": str(number),
             "meta/dataset_id": "mscoco_train2017", "caption/string": [" ".join(say)]},
            {"caption/center": [[0.5, 0.25] * count], "caption/bbox": [[0.25, 0.125, 0.75, 0.5] * count],
             "caption/point": [[0.5] * (32 * count)], "caption/utterance": [utterances]})

    def expressions(number, counts=(2, 1)):
        ragged = lambda name, values: {
            f"objects/refexp/{name}/ragged_row_lengths_0": list(counts),
            f"objects/refexp/{name}/ragged_flat_values": values}
        texts = ["the large cross", "top cross", "whole picture"]
        return example(
            {"image": picture(number), "image/id": number, "objects/id": [11, 12],
             "objects/area": [240.0, 3072.0], "objects/bbox": [0.125, 0.25, 0.5, 0.75, 0.0, 0.0, 1.0, 1.0],
             "objects/label": [0, 0]}
            | ragged("refexp_id", [1, 2, 3]) | ragged("raw", texts) | ragged("sent", texts))

    def regions(number, boxes=(0.125, 0.25, 0.5, 0.75)):
        return example({"image": picture(number), "img_id": number, "regions/bbox": list(boxes),
                        "regions/id": [1382], "regions/phrase": ["the large cross"]})

    def conversation(number):
        return example({"image/encoded": picture(number), "image/id": f"{number:012d}",
                        "conversations/human": ["<image>\nWhat is it?", "And?"],
                        "conversations/agent": ["A cross.", "Two more."]})

    for shard in (0, 1):
        path = root / f"narratives.tfrecord-0000{shard}-of-00002"
        path.write_bytes(frame(narratives(shard + 1)))
    for name, record in [("expressions", expressions), ("regions", regions),
                         ("conversations", conversation)]:
        (root / f"{name}.tfrecord").write_bytes(frame(record(1)) + frame(record(2)))
    broken = bytearray(frame(regions(1)))
    broken[200] ^= 0xFF
    records = [frame(regions(1)), bytes(broken), frame(regions(2, (0.5, 0.25, 0.125, 0.75))),
               frame(regions(2)[:400]), frame(conversation(1)), frame(regions(1)),
               frame(regions(2))[:500]]
    (root / "faulty.tfrecord").write_bytes(b"".join(records))


if __name__ == "__main__":
    for folder in SAMPLES.iterdir():
        if folder.is_dir() and folder.name != "shapes":
            shutil.rmtree(folder)
    for make in (localized_narratives, coco_captions, coco_instances, refer, mdetr, uninext,
                 visual_genome, visual_genome_coco, flickr30k, llava, tfrecord):
        make()
