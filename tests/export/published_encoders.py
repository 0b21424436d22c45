"""Names and shapes of checkpoints as image and text encoders are published, with values that cost no memory."""

import torch
from torch import Tensor

BLOCKS = (3, 4, 6, 3)


def torchvision_resnet50(prefix: str = "") -> dict[str, Tensor]:
    """What torchvision's resnet50 saves, its classifier and counters included."""
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7), **_norm("bn1", 64)}
    inputs = 64
    for level, blocks in enumerate(BLOCKS):
        width = 64 * 2**level
        for index in range(blocks):
            at = f"layer{level + 1}.{index}"
            shapes |= {f"{at}.conv1.weight": (width, inputs, 1, 1), **_norm(f"{at}.bn1", width)}
            shapes |= {f"{at}.conv2.weight": (width, width, 3, 3), **_norm(f"{at}.bn2", width)}
            shapes |= {f"{at}.conv3.weight": (4 * width, width, 1, 1), **_norm(f"{at}.bn3", 4 * width)}
            if index == 0:
                shapes |= {f"{at}.downsample.0.weight": (4 * width, inputs, 1, 1)}
                shapes |= _norm(f"{at}.downsample.1", 4 * width)
            inputs = 4 * width
    shapes |= {"fc.weight": (1000, inputs), "fc.bias": (1000,)}
    return _filled(shapes, prefix)


def hugging_face_bert(prefix: str = "", *, older: bool = False) -> dict[str, Tensor]:
    """What Hugging Face's BertModel of bert-base-uncased saves, its pooler included.

    older: as BertForPreTraining of the first releases saved it, with "bert." before each name, gamma and beta, and the
    heads of the pretraining.
    """
    norm, width = ("gamma", "beta") if older else ("weight", "bias"), 768
    start = "bert." if older else ""
    shapes: dict[str, tuple[int, ...]] = {"embeddings.position_ids": (1, 512)}
    for name, rows in (("word", 30_522), ("position", 512), ("token_type", 2)):
        shapes[f"embeddings.{name}_embeddings.weight"] = (rows, width)
    shapes |= {f"embeddings.LayerNorm.{part}": (width,) for part in norm}
    for layer in range(12):
        at = f"encoder.layer.{layer}"
        sizes = {f"attention.self.{role}": (width, width) for role in ("query", "key", "value")}
        sizes |= {"attention.output.dense": (width, width), "intermediate.dense": (3072, width)}
        sizes |= {"output.dense": (width, 3072)}
        for part, (rows, columns) in sizes.items():
            shapes |= {f"{at}.{part}.weight": (rows, columns), f"{at}.{part}.bias": (rows,)}
        for part in ("attention.output", "output"):
            shapes |= {f"{at}.{part}.LayerNorm.{own}": (width,) for own in norm}
    shapes |= {"pooler.dense.weight": (width, width), "pooler.dense.bias": (width,)}
    found = {f"{start}{name}": shape for name, shape in shapes.items()}
    if older:
        found |= {"cls.predictions.bias": (30_522,), "cls.seq_relationship.weight": (2, width)}
    return _filled(found, prefix)


def _norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {**{f"{name}.{part}": (channels,) for part in parts}, f"{name}.num_batches_tracked": ()}


def _filled(shapes: dict[str, tuple[int, ...]], prefix: str) -> dict[str, Tensor]:
    whole = ("num_batches_tracked", "position_ids")
    return {
        f"{prefix}{name}": torch.ones((), dtype=torch.int64 if name.endswith(whole) else torch.float32).expand(shape)
        for name, shape in shapes.items()
    }
