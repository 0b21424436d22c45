"""CMASG-Bi-LSTM in numpy, float64, step by step and case by case: what the torch network is held against."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcaf_export.networks.cmasg import CmasgConfig

Array = NDArray[np.float64]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_erf = np.vectorize(math.erf, otypes=[np.float64])


class Oracle:
    """The network with the weights of a state_dict."""

    def __init__(self, config: CmasgConfig, state: Mapping[str, NDArray[Any]]) -> None:
        self.config = config
        self.weights = {name: np.asarray(value, np.float64) for name, value in state.items()}

    def logits(self, grey: Array, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> Array:
        """grey [N, H, W], values from 0 to 1; ids, mask [N, L] -> [N, classes]."""
        return np.stack([self._one(*case) for case in zip(grey, ids, mask, strict=True)])

    def tokens(self, grey: Array, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> Array:
        """What the LSTM reads of one case: its regions and its words without padding, [n, d]."""
        image = np.stack([(grey - mean) / std for mean, std in zip(MEAN, STD, strict=True)])
        regions = self._linear("image_projection", self._resnet(image).reshape(-1, (grey.shape[0] // 32) ** 2).T)
        words = self._linear("text_projection", self._bert(ids[mask == 1]))
        if self.config.cross_attention:
            regions, words = self._enhanced(regions, words)
        if self.config.modality_softmax:
            scores = [
                float(self.weights["modality_softmax.weight"][0] @ part.mean(axis=0)) for part in (regions, words)
            ]
            image_share, text_share = _softmax(np.array(scores))
            regions, words = regions * image_share, words * text_share
        return np.concatenate([regions, words])

    def outputs(self, tokens: Array) -> tuple[Array, Array]:
        """The LSTM's outputs of both directions, [n, H] each; and `opened`, the share of their gates above 0."""
        self.opened = {"": 0.0, "_reverse": 0.0}
        return self._direction(tokens, ""), self._direction(tokens[::-1], "_reverse")[::-1]

    def _one(self, grey: Array, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> Array:
        forward, backward = self.outputs(self.tokens(grey, ids, mask))
        if self.config.pooling == "mean":
            pooled = np.concatenate([forward.mean(axis=0), backward.mean(axis=0)])
        else:
            pooled = np.concatenate([forward[-1], backward[0]])
        return self._linear("classifier", pooled)

    def _enhanced(self, regions: Array, words: Array) -> tuple[Array, Array]:
        scale = 1 / math.sqrt(regions.shape[1])
        if self.config.attention_projections:
            query, key, value = (
                {"i": self._linear(name, regions), "t": self._linear(name, words)}
                for name in (f"cross_attention.{role}_projection" for role in ("query", "key", "value"))
            )
        else:
            query = key = value = {"i": regions, "t": words}
        new_regions, new_words = np.empty_like(regions), np.empty_like(words)
        for row in range(len(regions)):
            shares = _softmax(np.array([query["i"][row] @ other for other in key["t"]]) * scale)
            new_regions[row] = regions[row] + sum(s * v for s, v in zip(shares, value["t"], strict=True))
        for row in range(len(words)):
            shares = _softmax(np.array([query["t"][row] @ other for other in key["i"]]) * scale)
            new_words[row] = words[row] + sum(s * v for s, v in zip(shares, value["i"], strict=True))
        return (
            self._norm("cross_attention.image_norm", new_regions, 1e-5),
            self._norm("cross_attention.text_norm", new_words, 1e-5),
        )

    def _direction(self, tokens: Array, ending: str) -> Array:
        """Outputs in the order of `tokens`, the order in which this direction reads them."""
        config, w = self.config, self.weights
        w_ih, w_hh = w[f"bilstm.weight_ih_l0{ending}"], w[f"bilstm.weight_hh_l0{ending}"]
        b = w[f"bilstm.bias_ih_l0{ending}"] + w[f"bilstm.bias_hh_l0{ending}"]
        hidden = w_hh.shape[1]
        h, c = np.zeros(hidden), np.zeros(hidden)
        outputs = []
        for at, x in enumerate(tokens):
            z = w_ih @ x + w_hh @ h + b
            i, f, o = (_sigmoid(z[part * hidden : (part + 1) * hidden]) for part in (0, 1, 3))
            candidate = np.tanh(z[2 * hidden : 3 * hidden])
            g = np.ones(hidden)
            if config.sparse_gate:
                u = w[f"sparse_gate.weight_l0{ending}"] @ x + w[f"sparse_gate.bias_l0{ending}"]
                if config.gate_input == "xh":
                    u = u + w[f"sparse_gate.hidden_weight_l0{ending}"] @ h
                value = _sigmoid(u)
                g = (value > 0.5).astype(np.float64) if config.gate_value == "hard" else value
                g = g * w[f"sparse_gate.keep_l0{ending}"]
                if config.keep_steps:
                    g = g * w[f"sparse_gate.keep_steps_l0{ending}"][at if ending == "" else len(tokens) - 1 - at]
                self.opened[ending] += float((g > 0).mean()) / len(tokens)
            forget = f * g + (1 - g) if config.gate_state == "hold" else f * g
            out = (i if config.output_gate_source == "i" else o) * g
            c = forget * c + i * g * candidate
            h = out * np.tanh(c)
            outputs.append(h)
        return np.stack(outputs)

    def _resnet(self, image: Array) -> Array:
        """[3, H, W] -> [C, H / 32, W / 32]."""
        x = np.maximum(self._batch_norm("bn1", self._conv("conv1", image, 2, 3)), 0)
        x = _max_pool(x)
        for level, blocks in enumerate((3, 4, 6, 3), start=1):
            for index in range(blocks):
                stride = 2 if level > 1 and index == 0 else 1
                at = f"layer{level}.{index}"
                skip = x
                if index == 0:
                    skip = self._batch_norm(f"{at}.downsample.1", self._conv(f"{at}.downsample.0", x, stride, 0))
                y = np.maximum(self._batch_norm(f"{at}.bn1", self._conv(f"{at}.conv1", x, 1, 0)), 0)
                y = np.maximum(self._batch_norm(f"{at}.bn2", self._conv(f"{at}.conv2", y, stride, 1)), 0)
                x = np.maximum(self._batch_norm(f"{at}.bn3", self._conv(f"{at}.conv3", y, 1, 0)) + skip, 0)
        return x

    def _conv(self, name: str, x: Array, stride: int, padding: int) -> Array:
        kernel = self.weights[f"image_encoder.{name}.weight"]
        x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
        rows, columns = ((size - kernel.shape[2]) // stride + 1 for size in x.shape[1:])
        total = np.zeros((len(kernel), rows, columns))
        for dy in range(kernel.shape[2]):
            for dx in range(kernel.shape[3]):
                seen = x[:, dy : dy + stride * rows : stride, dx : dx + stride * columns : stride]
                total += np.einsum("oc,cyx->oyx", kernel[:, :, dy, dx], seen)
        return total

    def _batch_norm(self, name: str, x: Array) -> Array:
        scale, shift, mean, var = (
            self.weights[f"image_encoder.{name}.{part}"][:, None, None]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(var + 1e-5) * scale + shift

    def _bert(self, ids: NDArray[np.int64]) -> Array:
        """A text without padding, [L] -> [L, width]."""
        at, heads = "text_encoder.", self.config.text_heads
        x = self.weights[f"{at}embeddings.word_embeddings.weight"][ids]
        x = x + self.weights[f"{at}embeddings.position_embeddings.weight"][: len(ids)]
        x = x + self.weights[f"{at}embeddings.token_type_embeddings.weight"][0]
        x = self._norm(f"{at}embeddings.LayerNorm", x, 1e-12)
        for layer in range(self.config.text_layers):
            here = f"{at}encoder.layer.{layer}"
            query, key, value = (self._linear(f"{here}.attention.self.{role}", x) for role in ("query", "key", "value"))
            width = x.shape[1] // heads
            mixed = np.empty_like(x)
            for head in range(heads):
                own = slice(head * width, (head + 1) * width)
                scores = query[:, own] @ key[:, own].T / math.sqrt(width)
                mixed[:, own] = np.stack([_softmax(row) for row in scores]) @ value[:, own]
            attended = self._linear(f"{here}.attention.output.dense", mixed) + x
            x = self._norm(f"{here}.attention.output.LayerNorm", attended, 1e-12)
            inner = self._linear(f"{here}.intermediate.dense", x)
            inner = inner * 0.5 * (1 + _erf(inner / math.sqrt(2)))
            x = self._norm(f"{here}.output.LayerNorm", self._linear(f"{here}.output.dense", inner) + x, 1e-12)
        return x

    def _linear(self, name: str, x: Array) -> Array:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _norm(self, name: str, x: Array, epsilon: float) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


def _max_pool(x: Array) -> Array:
    """3 x 3, every other pixel, one pixel of padding that never wins."""
    x = np.pad(x, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    rows, columns = ((size - 3) // 2 + 1 for size in x.shape[1:])
    taps = [x[:, dy : dy + 2 * rows : 2, dx : dx + 2 * columns : 2] for dy in range(3) for dx in range(3)]
    return np.max(taps, axis=0)


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _softmax(scores: Array) -> Array:
    exponents = np.exp(scores - scores.max())
    return exponents / exponents.sum()
