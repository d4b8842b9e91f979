"""Chains: the root is a span and so is an agent, what lies inside passes them on."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from llmguard_middleware import Call
from llmguard_middleware._unjudged import unheard, unjudged

from .. import _convert as convert
from .._handoff import claimed, concealed, spoken_for
from .._middleware._state import answer
from .._session import NODE, agent_of, named, shows_agent
from ._base import RunEvents
from ._runs import Run

__all__ = ["ChainEvents"]


class ChainEvents(RunEvents):
    """Runs of chains, agents and graphs."""

    every_runnable: bool

    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Open the span of a root chain or an agent; most runs are neither, and pass on what lies above them."""
        live = self._live
        if not live and unheard(self.guard):
            return
        above = live.get(parent_run_id) or self._runs.above(parent_run_id)  # type: ignore[arg-type]  # None is no key
        agent = agent_of(metadata, name) if metadata else None
        node = name is not None and name.startswith(NODE) and shows_agent(metadata)
        if above is not None and agent is None and not (node or self.every_runnable or spoken_for(run_id)):
            live.setdefault(run_id, above)
            return
        if run_id in live:  # the same handler given twice
            return
        if above is not None and node and above.identity == parent_run_id:
            above.found_agent()
        run = self._begun(named(serialized, name, "chain"), inputs, run_id, above, agent, metadata, tags)
        if run is not None and run is not above:
            self._runs.start(run)
        elif above is not None:
            live[run_id] = above

    def _begun(
        self,
        name: str,
        inputs: Any,
        run_id: UUID,
        above: Run | None,
        agent: str | None,
        metadata: dict[str, Any] | None,
        tags: list[str] | None,
    ) -> Run | None:
        """The run of a root, an agent, or something protected, which has not started; `above` if it has no call."""
        if (theirs := claimed(run_id)) is not None:
            if above is not None and above.inner is theirs:  # the same call's run inside
                return above
            call = Call("invoke_workflow", name=name, inputs=convert.inputs(inputs))
            run = self._joined(theirs, self.guard, call, run_id, above)
            run.agent = agent or ""
            return run
        if concealed(run_id):
            return above
        if agent is not None and (above is None or agent != above.agent):
            asked = {} if unjudged(self.guard) else convert.inputs(inputs)
            call = Call.made("invoke_agent", name=agent, inputs=asked)
            run = self._opened(self.guard, call, run_id, above, metadata, tags)
            run.agent = agent
            return run
        if above is not None and not self.every_runnable:
            return above
        asked = {} if unjudged(self.guard) else convert.inputs(inputs)
        call = self._called("invoke_workflow", name, asked)
        return self._opened(self.guard, call, run_id, above, metadata, tags)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, inputs: Any = None, **kwargs: Any) -> None:
        """End the span of a root chain and give it to the monitors.

        Raises:
            GuardrailViolation: if something inside swallowed one.
        """
        run = self._runs.take(run_id) if self._live else None
        if run is None:
            if self._runs.given_up and (before := self._runs.take_late(run_id)[1]) is not None:
                before.check()
            return
        if run.bare is not None:
            run.bare.answered()
        if run.flow is None:
            return
        if run.flow.policy.idle:
            run.flow.answered()
        elif run.flow.relays:  # a GuardMiddleware told what was asked
            run.flow.answered(output=answer(outputs), context=run.flow.root.documents)
        else:
            # A streamed chain is started with an empty input and told what it was only now.
            late = {"inputs": convert.inputs(inputs)} if inputs is not None else {}
            run.flow.answered(output=convert.plain(outputs), context=run.flow.root.documents, **late)
