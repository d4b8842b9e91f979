"""The conformance suite: one set of scenarios that any adapter runs, by giving a few hooks.

An adapter's author subclasses `Adapter` around a fake model of the framework:

    class MyAdapter(Adapter):
        name = "my framework"
        modes = (Mode("ask"), Mode("ask_stream", streamed=True), Mode("aask", is_async=True))

        def build(self, guard, script):
            return protect(FakeModel(script), guard)  # whose methods return script.reply(text) and the like

        def again(self, subject, guard):
            return protect(subject, guard)

        def call(self, subject, mode, text):
            return getattr(subject, mode.name)(text)

        def text(self, reply):
            return reply.content

and runs every scenario, here with pytest:

    ADAPTER = MyAdapter()

    @pytest.mark.parametrize("scenario", scenarios(ADAPTER), ids=str)
    async def test_it_conforms(scenario):
        await scenario.run(ADAPTER)

`hunts(ADAPTER)` are run likewise (`await hunt.run()`): a secret in all that the adapter is given must be in nothing
that telemetry writes.

What the adapter refuses is declared in `cannot` and must be refused; what does not hold yet is declared in `gaps` and
must fail. `table(adapter, await report(adapter))` tells people about both; `matrix(adapter)`, in short, what each call
mode enforces, which `check_matrix` keeps in step with a README. Needs the OpenTelemetry SDK (extra `otlp`).
"""

from ._adapter import Adapter, Mode
from ._hunting import Hunt, hunts
from ._matrix import check_matrix, matrix
from ._scenario import Claim, Result, Scenario
from ._script import Gate, Script
from ._suite import scenarios
from ._table import report, table

__all__ = [
    "Adapter",
    "Claim",
    "Gate",
    "Hunt",
    "Mode",
    "Result",
    "Scenario",
    "Script",
    "check_matrix",
    "hunts",
    "matrix",
    "report",
    "scenarios",
    "table",
]
