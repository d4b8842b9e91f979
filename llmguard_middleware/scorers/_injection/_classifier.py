"""A text classifier from a folder, as Hugging Face's models are exported to ONNX: no PyTorch, no network."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any, Final

from ...errors import ConfigurationError

__all__ = ["Classifier"]

_MODELS: Final = ("model.onnx", "onnx/model.onnx", "model_quantized.onnx", "onnx/model_quantized.onnx")
# How models call an attack. "LABEL_1" is what a model of two classes has if nobody named them.
_ATTACKS: Final = ("injection", "jailbreak", "malicious", "unsafe", "attack", "label_1")
_MOST_TOKENS: Final = 512
_AT_ONCE: Final = 8  # windows


class Classifier:
    """The probability that a text belongs to one of some classes.

    Args:
        folder: has `model.onnx` (or `onnx/model.onnx`), `tokenizer.json` and `config.json` with `id2label`.
        labels: the classes, whatever the case; those of usual names if there is none.

    Raises:
        ConfigurationError: if the folder lacks one of these, or the model has no class of these names.
    """

    def __init__(self, folder: str, labels: Sequence[str]) -> None:
        self._folder = Path(folder)
        self._model = next((file for name in _MODELS if (file := self._folder / name).is_file()), None)
        self._config = self._read("config.json")
        if self._model is None or not (self._folder / "tokenizer.json").is_file():
            raise ConfigurationError(_LACKS.format(folder=folder))
        self._classes = _classes(self._config.get("id2label"), labels, folder)
        self._session: Any = None

    def _read(self, name: str) -> Mapping[str, Any]:
        try:
            found = json.loads((self._folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict):
            raise ConfigurationError(_LACKS.format(folder=self._folder))
        return found

    def load(self) -> None:
        """Load the model, which takes seconds.

        Raises:
            ConfigurationError: if the extra is missing, or these files are no model.
        """
        if self._session is not None:
            return
        if find_spec("onnxruntime") is None or find_spec("tokenizers") is None:
            msg = 'a model needs onnxruntime and tokenizers: pip install "llmguard-middleware[onnx]"'
            raise ConfigurationError(msg)
        runtime, self._numpy = import_module("onnxruntime"), import_module("numpy")
        try:
            self._tokenizer = import_module("tokenizers").Tokenizer.from_file(str(self._folder / "tokenizer.json"))
            session = runtime.InferenceSession(str(self._model), providers=["CPUExecutionProvider"])
        except Exception as error:  # each library has its own kinds
            msg = f'what is in "{self._folder}" cannot be loaded as an ONNX model and its tokenizer'
            raise ConfigurationError(msg) from error
        most = self._most_tokens()
        self._tokenizer.enable_truncation(most, stride=most // 4)  # windows that overlap, each with its special tokens
        self._tokenizer.no_padding()
        self._asks = [one.name for one in session.get_inputs()]
        self._session = session

    def _most_tokens(self) -> int:
        """As long as the model's positions go, less the two that some models keep for themselves."""
        positions = self._config.get("max_position_embeddings")
        return min(_MOST_TOKENS, positions - 2) if isinstance(positions, int) and positions > 8 else _MOST_TOKENS  # noqa: PLR2004 - anything less is no length

    def probability(self, text: str) -> float:
        """From 0 to 1, that of the window which says it most; the model must be loaded."""
        # A tokenizer is written in Rust, whose texts have no lone surrogates.
        encoded = self._tokenizer.encode(text.encode("utf-8", "replace").decode())
        windows = [encoded, *encoded.overflowing]
        batches = (windows[at : at + _AT_ONCE] for at in range(0, len(windows), _AT_ONCE))
        return max(chain.from_iterable(map(self._batch, batches)), default=0.0)

    def _batch(self, windows: Sequence[Any]) -> Iterator[float]:
        longest = max(1, *(len(one.ids) for one in windows))

        def padded(rows: list[list[int]]) -> Any:
            return self._numpy.array([row + [0] * (longest - len(row)) for row in rows], dtype="int64")

        offered = {
            "input_ids": padded([one.ids for one in windows]),
            "attention_mask": padded([one.attention_mask for one in windows]),
            "token_type_ids": padded([one.type_ids for one in windows]),
        }
        logits = self._session.run(None, {name: offered[name] for name in self._asks if name in offered})[0]
        return (self._of(row) for row in logits.tolist())

    def _of(self, row: list[float]) -> float:
        if len(row) == 1 or self._config.get("problem_type") == "multi_label_classification":
            return max(1 / (1 + math.exp(-max(-500.0, row[at]))) for at in self._classes if at < len(row))
        top = max(row)
        parts = [math.exp(one - top) for one in row]
        return sum(parts[at] for at in self._classes if at < len(row)) / sum(parts)


_LACKS: Final = (
    'model is "{folder}", which is no folder of an exported classifier; it must hold model.onnx, tokenizer.json and '
    "config.json (optimum-cli export onnx writes them)"
)


def _classes(id2label: Any, labels: Sequence[str], folder: str) -> list[int]:
    """The places of the classes that count."""
    named = id2label if isinstance(id2label, dict) else {}
    known = {int(at): str(name) for at, name in named.items() if str(at).isdecimal()}
    wanted = [one.lower() for one in labels] or _ATTACKS
    found = [at for at, name in known.items() if name.lower() in wanted]
    if not found and not labels:
        found = [at for at, name in known.items() if any(one in name.lower() for one in _ATTACKS)]
    if not found:
        msg = (
            f'the model in "{folder}" has no class called {" or ".join(labels or _ATTACKS)}; say which of its classes '
            f"are attacks, for example labels={tuple(known.values())[-1:]!r}; it has: "
            f"{', '.join(known.values()) or 'none'}"
        )
        raise ConfigurationError(msg)
    return found
