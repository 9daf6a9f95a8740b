"""The models of `training_step.py` in PyTorch: what `src/model` computes, written plainly, with its names of
parameters. Scores of attention are left to `scaled_dot_product_attention`.

Letters: `B` images, `M` prompts and `N` rows of an image, `R` rows of all, `L` tokens, `P` prefix, `D` width.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

QUICKSTART = {
    "canvas": 64,
    "vocabulary": 256,
    "eva": {"width": 96, "depth": 2, "heads": 4, "patch": 8, "hidden": 192, "inner_norm": True, "stem": [24, 48, 96]},
    "sam": {"width": 64, "heads": 4, "patch": 8, "hidden": 128, "output": 32, "stem": [16, 32, 64]},
    "location": 64,
    "adapter": {"depth": 2, "width": 96, "heads": 4, "hidden": 192, "queries": 8, "output": 128, "cells": True},
    "git": {"width": 128, "depth": 2, "heads": 4, "hidden": 256, "positions": 96, "activation": "relu"},
    "points": {"depth": 3, "hidden": 128, "activation": "relu"},
    "weights": {"text": 1.0, "point": 5.0},
}

GIT_100M = {
    "canvas": 224,
    "vocabulary": 30_522,
    "eva": {"width": 384, "depth": 4, "heads": 6, "patch": 14, "hidden": 1024, "inner_norm": False, "stem": None},
    "sam": None,
    "location": 256,
    "adapter": {"depth": 2, "width": 256, "heads": 8, "hidden": 1024, "queries": 16, "output": 768, "cells": False},
    "git": {"width": 768, "depth": 6, "heads": 12, "hidden": 3072, "positions": 128, "activation": "gelu"},
    "points": {"depth": 4, "hidden": 512, "activation": "gelu"},
    "weights": {"text": 1.0, "point": 5.0},
}

EVA_PIXELS = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.2613026, 0.2757771], 255.0)
SAM_PIXELS = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375], 1.0)


def split(x, heads):
    """`[R, L, D]` → `[R, heads, L, D / heads]`"""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge(x):
    return x.transpose(1, 2).flatten(2)


class PatchEmbedding(nn.Module):
    def __init__(self, width, patch, stem):
        super().__init__()
        if stem is None:
            layers = [nn.Conv2d(3, width, patch, patch)]
        else:
            layers = [nn.Conv2d(a, b, 3, 2, 1) for a, b in zip([3, *stem], stem)] + [nn.Conv2d(width, width, 1)]
        self.convolutions = nn.ModuleList(layers)

    def forward(self, x):
        for layer in self.convolutions[:-1]:
            x = F.relu(layer(x))
        return self.convolutions[-1](x)


class EvaAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.query, self.value, self.output = (nn.Linear(width, width) for _ in range(3))
        self.key = nn.Linear(width, width, bias=False)

    def forward(self, x, rotary):
        query, key = (rotate(split(layer(x), self.heads), rotary) for layer in (self.query, self.key))
        value = split(self.value(x), self.heads)
        return self.output(merge(F.scaled_dot_product_attention(query, key, value)))


def rotate(x, rotary):
    cos, sin = rotary
    turned = torch.stack([-x[..., 1::2], x[..., ::2]], -1).flatten(-2)
    return x * cos + turned * sin


def rotary_tables(side, head):
    rates = 10_000.0 ** (-torch.arange(head // 4) / (head // 4))
    angles = torch.arange(side)[:, None] * rates.repeat_interleave(2)
    rows = angles[:, None].expand(side, side, head // 2)
    angles = torch.cat([rows, rows.transpose(0, 1)], -1).reshape(side * side, head)
    angles = torch.cat([torch.zeros(1, head), angles])
    return angles.cos(), angles.sin()


class SwiGlu(nn.Module):
    def __init__(self, width, hidden, inner_norm):
        super().__init__()
        self.gate, self.up = nn.Linear(width, hidden), nn.Linear(width, hidden)
        self.norm = nn.LayerNorm(hidden, 1e-5) if inner_norm else nn.Identity()
        self.down = nn.Linear(hidden, width)

    def forward(self, x):
        return self.down(self.norm(F.silu(self.gate(x)) * self.up(x)))


class EvaBlock(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        width = sizes["width"]
        self.norm_1, self.norm_2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.attention = EvaAttention(width, sizes["heads"])
        self.feed_forward = SwiGlu(width, sizes["hidden"], sizes["inner_norm"])

    def forward(self, x, rotary):
        x = x + self.attention(self.norm_1(x), rotary)
        return x + self.feed_forward(self.norm_2(x))


class Eva(nn.Module):
    def __init__(self, sizes, canvas):
        super().__init__()
        width, side = sizes["width"], canvas // sizes["patch"]
        self.patch_embedding = PatchEmbedding(width, sizes["patch"], sizes["stem"])
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, 1 + side * side, width))
        self.blocks = nn.ModuleList(EvaBlock(sizes) for _ in range(sizes["depth"]))
        self.norm = nn.LayerNorm(width, 1e-6)
        self.rotary = rotary_tables(side, width // sizes["heads"])

    def forward(self, images):
        patches = self.patch_embedding(images)
        x = torch.cat([self.class_token.expand(len(images), -1, -1), patches.flatten(2).transpose(1, 2)], 1)
        x = x + self.positions
        for block in self.blocks:
            x = block(x, self.rotary)
        return self.norm(x)[:, 1:].transpose(1, 2).unflatten(2, patches.shape[2:])


class SamAttention(nn.Module):
    def __init__(self, width, heads, side):
        super().__init__()
        self.heads, self.side = heads, side
        self.qkv, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.relative_rows = nn.Parameter(torch.zeros(2 * side - 1, width // heads))
        self.relative_columns = nn.Parameter(torch.zeros(2 * side - 1, width // heads))
        place = torch.arange(side)
        self.distances = place[:, None] - place[None] + side - 1

    def forward(self, x):
        qkv = self.qkv(x.flatten(1, 2)).unflatten(-1, (3, self.heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        places = query.unflatten(2, (self.side, self.side))
        rows = torch.einsum("bnhwc,hkc->bnhwk", places, self.relative_rows[self.distances])
        columns = torch.einsum("bnhwc,wkc->bnhwk", places, self.relative_columns[self.distances])
        bias = (rows[..., None] + columns[..., None, :]).flatten(4).flatten(2, 3)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return self.output(merge(attended)).view(x.shape)


class SamBlock(nn.Module):
    def __init__(self, sizes, side):
        super().__init__()
        width = sizes["width"]
        self.norm_1, self.norm_2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.attention = SamAttention(width, sizes["heads"], side)
        self.expand, self.contract = nn.Linear(width, sizes["hidden"]), nn.Linear(sizes["hidden"], width)

    def forward(self, x):
        x = x + self.attention(self.norm_1(x))
        return x + self.contract(F.relu(self.expand(self.norm_2(x))))


class SamNeck(nn.Module):
    def __init__(self, width, channels):
        super().__init__()
        self.reduce = nn.Conv2d(width, channels, 1, bias=False)
        self.mix = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm_1, self.norm_2 = nn.LayerNorm(channels, 1e-6), nn.LayerNorm(channels, 1e-6)

    def forward(self, x):
        x = self.norm_1(self.reduce(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        return self.norm_2(self.mix(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Sam(nn.Module):
    """One block over the whole map."""

    def __init__(self, sizes, canvas):
        super().__init__()
        width, side = sizes["width"], canvas // sizes["patch"]
        self.patch_embedding = PatchEmbedding(width, sizes["patch"], sizes["stem"])
        self.positions = nn.Parameter(torch.zeros(1, width, side, side))
        self.blocks = nn.ModuleList([SamBlock(sizes, side)])
        self.neck = SamNeck(width, sizes["output"])

    def forward(self, images):
        x = (self.patch_embedding(images) + self.positions).permute(0, 2, 3, 1)
        for block in self.blocks:
            x = block(x)
        return self.neck(x)


class Vision(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.encoders = []
        for name, kind, (mean, deviation, unit) in (("eva", Eva, EVA_PIXELS), ("sam", Sam, SAM_PIXELS)):
            if sizes[name]:
                setattr(self, name, kind(sizes[name], sizes["canvas"]))
                pixels = [torch.tensor(values).view(3, 1, 1) * unit for values in (mean, deviation)]
                self.encoders.append((name, pixels))

    def forward(self, images, mask):
        maps = []
        for name, (mean, deviation) in self.encoders:
            maps.append(getattr(self, name)((images - mean) / deviation * mask))
        return torch.cat(maps, 1)


class Location(nn.Module):
    def __init__(self, width, canvas):
        super().__init__()
        self.canvas = canvas
        self.register_buffer("frequencies", torch.zeros(2, width // 2))
        self.kinds = nn.Parameter(torch.zeros(4, width))
        self.not_a_point = nn.Parameter(torch.zeros(1, width))
        self.no_mask = nn.Parameter(torch.zeros(1, width))

    def encode(self, points):
        angles = (points * 2 - 1) @ self.frequencies * (2 * math.pi)
        return torch.cat([angles.sin(), angles.cos()], -1)

    def boxes(self, boxes):
        """`[B, M, 4]` → `[B, M, 5, W]`"""
        count = boxes.shape[:2]
        corners = self.encode((boxes.unflatten(-1, (2, 2)) + 0.5) / self.canvas) + self.kinds[2:]
        fillers = self.no_mask.expand(*count, 3, -1)
        x0, y0, x1, y1 = boxes.unbind(-1)
        grid = torch.stack([x0, y0, x1, y0, x0, y1, x1, y1], -1).unflatten(-1, (4, 2))
        points = self.encode((grid + 0.5) / self.canvas) + self.kinds[1]
        as_points = torch.cat([points, self.not_a_point.expand(*count, 1, -1)], 2)
        is_box = (boxes.amax(-1) > 0)[..., None, None]
        return torch.where(is_box, torch.cat([corners, fillers], 2), as_points)

    def grid(self, side):
        place = (torch.arange(side) + 0.5) / side
        y, x = torch.meshgrid(place, place, indexing="ij")
        return self.encode(torch.stack([x, y], -1).flatten(0, 1))


class CrossAttention(nn.Module):
    def __init__(self, width, inner, heads):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, inner) for _ in range(3))
        self.output = nn.Linear(inner, width)

    def forward(self, query, key, value):
        query, key, value = (
            split(layer(x), self.heads)
            for layer, x in ((self.query, query), (self.key, key), (self.value, value))
        )
        return self.output(merge(F.scaled_dot_product_attention(query, key, value)))


class TwoWayLayer(nn.Module):
    def __init__(self, width, heads, hidden, is_first):
        super().__init__()
        self.is_first = is_first
        self.self_attention = CrossAttention(width, width, heads)
        self.token_to_image = CrossAttention(width, width // 2, heads)
        self.image_to_token = CrossAttention(width, width // 2, heads)
        self.norm_1, self.norm_2, self.norm_3, self.norm_4 = (nn.LayerNorm(width) for _ in range(4))
        self.expand, self.contract = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, queries, keys, query_positions, key_positions):
        if self.is_first:
            queries = self.self_attention(queries, queries, queries)
        else:
            placed = queries + query_positions
            queries = queries + self.self_attention(placed, placed, queries)
        queries = self.norm_1(queries)
        placed_keys = keys + key_positions
        queries = self.norm_2(queries + self.token_to_image(queries + query_positions, placed_keys, keys))
        queries = self.norm_3(queries + self.contract(F.relu(self.expand(queries))))
        written = self.image_to_token(placed_keys, queries + query_positions, queries)
        return queries, self.norm_4(keys + written)


class TwoWay(nn.Module):
    def __init__(self, width, heads, hidden, depth):
        super().__init__()
        self.layers = nn.ModuleList(TwoWayLayer(width, heads, hidden, i == 0) for i in range(depth))
        self.final_attention = CrossAttention(width, width // 2, heads)
        self.final_norm = nn.LayerNorm(width)

    def forward(self, queries, keys, key_positions):
        query_positions = queries
        for layer in self.layers:
            queries, keys = layer(queries, keys, query_positions, key_positions)
        read = self.final_attention(queries + query_positions, keys + key_positions, keys)
        return self.final_norm(queries + read), keys


class QueryHeads(nn.Module):
    def __init__(self, queries, width, output):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(queries, width, output))
        self.bias = nn.Parameter(torch.zeros(queries, 1, output))

    def forward(self, queries):
        return torch.baddbmm(self.bias, queries.transpose(0, 1), self.weight).transpose(0, 1)


class Adapter(nn.Module):
    def __init__(self, sizes, channels, prompt_width):
        super().__init__()
        width, output = sizes["width"], sizes["output"]
        self.queries = nn.Parameter(torch.zeros(sizes["queries"], width))
        self.image_projection = nn.Linear(channels, width)
        if prompt_width != width:
            self.prompt_projection, self.position_projection = (
                nn.Linear(prompt_width, width) for _ in range(2)
            )
        else:
            self.prompt_projection = self.position_projection = nn.Identity()
        self.two_way = TwoWay(width, sizes["heads"], sizes["hidden"], sizes["depth"])
        self.query_heads = QueryHeads(sizes["queries"], width, output)
        self.cell_head = nn.Linear(width, output) if sizes["cells"] else None

    def forward(self, features, prompts, grid, no_mask, is_whole):
        """`features` `[B, C, H, W]`, `prompts` `[B, M, K, W]` → `[B·M, Q, D]`"""
        prompts_of_image, prompts = prompts.shape[1], prompts.flatten(0, 1)
        queries = torch.cat([self.queries.expand(len(prompts), -1, -1), self.prompt_projection(prompts)], 1)
        keys = self.image_projection(features.flatten(2).transpose(1, 2)) + self.prompt_projection(no_mask)
        keys = keys.repeat_interleave(prompts_of_image, 0)
        queries, keys = self.two_way(queries, keys, self.position_projection(grid))
        tokens = self.query_heads(queries[:, : len(self.queries)])
        return torch.cat([tokens, self.cell_head(keys)], 1) if self.cell_head and is_whole else tokens


class GitLayer(nn.Module):
    def __init__(self, sizes, dropout):
        super().__init__()
        width, hidden = sizes["width"], sizes["hidden"]
        self.heads, self.dropout = sizes["heads"], dropout
        self.query, self.key, self.value, self.attention_output = (nn.Linear(width, width) for _ in range(4))
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width, 1e-5), nn.LayerNorm(width, 1e-12)
        self.mlp_hidden, self.mlp_output = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.activation = {"gelu": F.gelu, "relu": F.relu}[sizes["activation"]]

    def remember(self, rows):
        return split(self.key(rows), self.heads), split(self.value(rows), self.heads)

    def forward(self, rows, memory, mask):
        query = split(self.query(rows), self.heads)
        attended = F.scaled_dot_product_attention(query, *memory, attn_mask=mask, dropout_p=self.dropout)
        attended = F.dropout(self.attention_output(merge(attended)), self.dropout)
        rows = self.attention_norm(rows + attended)
        hidden = self.mlp_output(self.activation(self.mlp_hidden(rows)))
        return self.mlp_norm(rows + F.dropout(hidden, self.dropout))


class Git(nn.Module):
    def __init__(self, sizes, visual_width, vocabulary, dropout):
        super().__init__()
        width = sizes["width"]
        self.dropout = dropout
        self.visual_projection = nn.Linear(visual_width, width)
        self.visual_norm = nn.LayerNorm(width, 1e-5)
        self.words, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(sizes["positions"], width)
        self.embedding_norm = nn.LayerNorm(width, 1e-8)
        self.layers = nn.ModuleList(GitLayer(sizes, dropout) for _ in range(sizes["depth"]))
        self.output = nn.Linear(width, vocabulary)

    def embed(self, tokens):
        embedding = self.words(tokens) + self.positions.weight[: tokens.shape[1]]
        return F.dropout(self.embedding_norm(embedding), self.dropout)

    def forward(self, visual, context, text, rows):
        """`visual` `[B·M, Q, D]`, `context` `[B·M, C]`, `text` `[R, L]` → `[R, L, D]`; the prefix never sees
        text, so that it is read once for the `rows` texts that share it."""
        prefix = torch.cat([self.visual_norm(self.visual_projection(visual)), self.embed(context)], 1)
        length = text.shape[1]
        mask = torch.cat([torch.ones(length, prefix.shape[1]), torch.ones(length, length).tril()], 1).bool()
        text = self.embed(text)
        for index, layer in enumerate(self.layers):
            of_prefix = layer.remember(prefix)
            of_text = layer.remember(text)
            memory = [
                torch.cat([one.repeat_interleave(rows, 0) if rows > 1 else one, other], 2)
                for one, other in zip(of_prefix, of_text)
            ]
            if index + 1 < len(self.layers):
                prefix = layer(prefix, of_prefix, None)
            text = layer(text, memory, mask)
        return text


class Points(nn.Module):
    def __init__(self, sizes, width):
        super().__init__()
        widths = [width, *[sizes["hidden"]] * (sizes["depth"] - 1), 8]
        self.norm = nn.LayerNorm(width, 1e-6)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))
        self.activation = {"gelu": F.gelu, "relu": F.relu}[sizes["activation"]]

    def forward(self, features):
        """`[…, D]` → `[…, 2, 2]`"""
        x = self.norm(features)
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return (self.layers[-1](x).unflatten(-1, (2, 4))[..., :2] + 1) / 2


class PixelLlm(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        channels = sizes["eva"]["width"] + (sizes["sam"]["output"] if sizes["sam"] else 0)
        self.weights = sizes["weights"]
        self.vision = Vision(sizes)
        self.location = Location(sizes["location"], sizes["canvas"])
        self.adapter = Adapter(sizes["adapter"], channels, sizes["location"])
        self.language = Git(sizes["git"], sizes["adapter"]["output"], sizes["vocabulary"], sizes["dropout"])
        self.points = Points(sizes["points"], sizes["git"]["width"])

    def forward(self, batch):
        """Features of every token, `[B, N, L, D]`."""
        features = self.vision(batch["images"], batch["mask"])
        prompts = self.location.boxes(batch["boxes"])
        grid = self.location.grid(features.shape[-1])
        is_whole = batch["task"] != "describe"
        visual = self.adapter(features, prompts, grid, self.location.no_mask, is_whole)
        images, rows, _ = batch["text"].shape
        repeat = rows // prompts.shape[1]
        text = self.language(visual, batch["context"].flatten(0, 1), batch["text"].flatten(0, 1), repeat)
        return text.unflatten(0, (images, rows))


def losses(model, batch):
    """The weighted sum that the task learns from."""
    features, tokens = model(batch), batch["text"]
    text = point = 0.0
    if batch["task"] in ("narrate", "describe"):
        logits = model.language.output(features)[:, :, :-1]
        text = F.cross_entropy(logits.flatten(0, 2), tokens[:, :, 1:].flatten(), ignore_index=0)
    if batch["task"] in ("narrate", "locate"):
        is_word = tokens > 2
        if batch["task"] == "locate":
            ends_next = F.pad(tokens[:, :, 1:] == 2, (0, 1))
            is_word = is_word & ends_next
        errors = (model.points(features) - batch["points"]).abs().mean((-2, -1))
        point = (errors * is_word).sum() / is_word.sum()
    return model.weights["text"] * text + model.weights["point"] * point
