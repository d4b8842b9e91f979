"""guard.yaml: the rules of a guard in a file.

    guard = Guard.from_config("guard.yaml")                 # once
    guard = Guard.from_config("guard.yaml", reload=1.0)     # and again whenever the file changes

`llmguard config check FILE` says what is wrong with a file, `llmguard config explain FILE` what it means, and
`llmguard config schema` prints its JSON schema. `examples/guard.yaml` is a file to start from.

The file (YAML 1.2; every key is optional except `scorer` and `stage`)

    version: 1
    name: support-bot              # of the guard
    extends: base.yaml             # relative to this file; that file may extend another
    unenforceable: raise           # or warn, as `Guard(unenforceable=...)`
    refusal: Sorry, I cannot.      # as `Guard(refusal=...)`
    queue: {size: 1000, drop: newest, wait: 0.05}                  # as `MonitorQueue`
    defaults: {timeout: 5, on_error: block, cache: {}, breaker: {failures: 3}}    # of the file's guardrails
    disable: [name]                # rules of the base that are removed
    override: {name: {action: redact}}                             # and what changes in others
    guardrails:
      - scorer: pii                # an entry point, or "package.module:attribute"
        options: {kinds: [EMAIL_ADDRESS]}   # keyword arguments of what makes the scorer; `args: [...]` positional ones
        name: pii-input            # that of the scorer if not given
        stage: input               # a list makes one rule for each, called NAME-STAGE
        action: {mask: {keep_last: 4}}      # a word, or one action with its options
        above: 0.8                 # `below` likewise
        on_error: block
        timeout: 5                 # seconds
        where: {tenant.id: [acme, "beta-*"]}
        allow: [help@example.com, {pattern: "test-.*"}]            # regular expressions, of whole texts
        roles: [user]
        race: false
        stream: hold
        cache: {size: 1000, ttl: 60}        # or false
        breaker: {failures: 5, cooldown: 30}                       # or false
        active: true
        description: Card numbers never reach the model
        locked: true
    monitors:                      # with `where`, `on`, `timeout`, `batch_size`, `batch_wait`, `active` as `Monitor`
      - scorer: my_app.scorers:length
        sample: 0.1
    tenants:
      attribute: tenant.id         # the call attribute that holds the tenant's name
      acme:
        disable: [pii-output]
        override: {pii-input: {action: redact}}
        guardrails: [{scorer: secrets, stage: output}]

What the keys of a rule mean is in `Guardrail` and `Monitor`. Where the factory of a scorer takes any number of
positional arguments, `*kinds` say, `options` may give them as a list by that name.

Merging. Rules have names, and a rule of a name that there is already changes that one, field by field; others are
added at the end. First comes the base, then the file that extends it, then what a tenant changes, then the
environment. `defaults` are for the guardrails that the file adds, and for those of files that extend it; `on_error`
is not for shadow rules (`log`). A call belongs to a tenant if its attribute (`guard.attributes(...)`, or what the
framework's adapter gives) has the tenant's name; other calls have the common rules. A rule for several stages goes by
its own name in the file, not by that of one stage.

Locks. A rule with `locked: true` cannot be removed or weakened by a file that extends this one, a tenant or the
environment; what is weaker is defined in `llmguard_middleware.config._locks`: a milder action, `on_error: allow`, a
higher `above`, a longer `allow`, fewer roles, stages or calls, another scorer, and so on. While a rule is locked, nor
can `unenforceable` become `warn`. To make it stronger is always allowed. Options that the program itself gives to
`from_config` are beyond the file.

Environment. `LLMGUARD__<RULE>__<FIELD>=value` changes one field of one rule: `LLMGUARD__PII_INPUT__ABOVE=0.9`. The
rule's name is in capitals with `_` for `-`, the value is YAML. All guards of a process read the same variables, and
one that names no rule is an error. In values, `${NAME}` and `${NAME:-default}` stand for variables, `$${` for `${`;
what is not in quotes is then read as YAML reads it, so that `timeout: ${TIMEOUT:-5}` is a number. Keys of `hash` and
`encrypt` are only ever named: `action: {hash: {key_env: NAME}}`.

Mistakes. A configuration without any rule is one, and so are aliases that stand for more than 10,000 values. All of
them are in one ConfigurationError, one a line: `file:line:column: sentence`. What came from the
environment is never quoted.
"""

from __future__ import annotations

from ._explain import check, explain, schema
from ._reload import Watch, watch

__all__ = ["Watch", "check", "explain", "schema", "watch"]
