"""What goes through a guard's rules: messages, answers, and answers that arrive in pieces."""

from ._answers import released
from ._gate import AnswerGate
from ._messages import admitted, edited, judged_message, read, text_of
from ._so_far import THOUGHT

__all__ = ["THOUGHT", "AnswerGate", "admitted", "edited", "judged_message", "read", "released", "text_of"]
