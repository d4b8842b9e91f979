"""The formats that issuers of keys document, each with a literal that is looked for first, which costs next to nothing.

Formats are those of the issuers' own pages, as of 2026-11.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

__all__ = ["FORMATS", "LEAST", "REACH", "Format", "of"]

LEAST: Final = 15  # characters of the shortest: a token of Slack's
REACH: Final = 4096  # characters of the longest: a token of JSON in Base64
_RUN = f"{string.ascii_letters}{string.digits}_-"
_FREE = f"{string.ascii_letters}{string.digits}_"
_compiled = lru_cache(maxsize=None)(re.compile)  # when a sign is found; a hundred of them take 20 ms


class Format(NamedTuple):
    """How a kind of key is written.

    Attributes:
        kind: its name in scores.
        sign: what stands in each.
        before: most characters before the sign: letters, digits and dashes.
        pattern: of the whole key.
        alone: whether a dash before it makes it a part of another word.
        around: the sign, and what else is near it that a text of nothing but signs has not; for those that texts hold
            often.
    """

    kind: str
    sign: str
    before: int
    pattern: str
    alone: bool = False
    around: str = ""

    def find(self, text: str) -> Iterator[tuple[int, int]]:
        """Start and end of each; they may overlap."""
        before, other = self.before, _RUN if self.alone else _FREE
        pattern: re.Pattern[str] = _compiled(self.pattern)
        for at in self._places(text):
            start = at
            if before:  # a key begins where the run of such characters does
                head = text[max(0, at - before) : at]
                start -= len(head) - len(head.rstrip(_RUN))
            if (not start or text[start - 1] not in other) and (match := pattern.match(text, start)):
                yield match.span()

    def _places(self, text: str) -> Iterator[int]:
        if self.around:
            yield from [match.start() for match in _compiled(self.around).finditer(text)]
            return
        at = text.find(self.sign)
        while at >= 0:
            yield at
            at = text.find(self.sign, at + 1)


def of(kind: str) -> tuple[Format, ...]:
    """The formats of this kind."""
    return tuple(one for one in FORMATS if one.kind == kind)


def _all(
    kind: str, pattern: str, *signs: str, before: int = 0, alone: bool = False, around: str = ""
) -> Iterator[Format]:
    return (Format(kind, sign, before, pattern, alone, around and re.escape(sign) + around) for sign in signs)


A, X, W, END = "[A-Za-z0-9]", "[0-9a-f]", r"[A-Za-z0-9_\-]", "(?![A-Za-z0-9])"
# A capital or a digit somewhere, or a word of twenty letters. What the first look-ahead takes it does not give back.
_NO_WORDS: Final = r"(?=([a-z_\-]{0,99}))\1[A-Z0-9]|[a-z]{20}"
# fmt: off
FORMATS: Final = (
    *_all("ADAFRUIT_KEY", f"aio_{A}{{28}}{END}", "aio_"),
    *_all("AGE_SECRET_KEY", "AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}", "AGE-SECRET-KEY-1"),
    *_all("AIRTABLE_TOKEN", rf"pat{A}{{14}}\.{X}{{64}}{END}", "pat"),
    *_all("ALIBABA_ACCESS_KEY", f"LTAI{A}{{12,20}}{END}", "LTAI"),
    *_all("ANTHROPIC_API_KEY", f"sk-ant-{W}{{20,250}}", "sk-ant-"),
    *_all("ARTIFACTORY_KEY", f"AKCp{A}{{60,80}}{END}", "AKCp"),
    *_all(
        "ASANA_TOKEN",
        f"[0-2]/[0-9]{{10,20}}(?:/[0-9]{{10,20}})?:{X}{{32}}{END}",
        "0/", "1/", "2/",
        around="(?=[0-9]{10})",
    ),
    *_all(
        "ATLASSIAN_TOKEN",
        r"ATATT3[A-Za-z0-9_\-=]{60,250}|AT(?:CTT3|BB)[A-Za-z0-9_\-=]{20,250}",
        "ATATT3", "ATCTT3", "ATBB",
    ),
    *_all("AWS_ACCESS_KEY", f"A(?:KIA|SIA|BIA|CCA)[0-9A-Z]{{16}}{END}", "AKIA", "ASIA", "ABIA", "ACCA"),
    *_all("AZURE_CLIENT_SECRET", rf"[A-Za-z0-9_~.\-]{{3}}[0-9]Q~[A-Za-z0-9_~.\-]{{31,34}}{END}", "Q~", before=4),
    *_all("BREVO_API_KEY", f"xkeysib-{X}{{64}}-{A}{{16}}{END}", "xkeysib-"),
    *_all("CLOJARS_TOKEN", f"CLOJARS_[a-z0-9]{{60}}{END}", "CLOJARS_"),
    *_all("CLOUDFLARE_ORIGIN_KEY", rf"v1\.0-{X}{{24}}-{X}{{146}}{END}", "v1.0-"),
    *_all("CRATES_TOKEN", f"cio{A}{{32}}{END}", "cio"),
    *_all("DATABRICKS_TOKEN", f"dapi{X}{{32}}(?:-[0-9]{{1,2}})?{END}", "dapi"),
    *_all("DIGITALOCEAN_TOKEN", f"do[opr]_v1_{X}{{64}}{END}", "doo_v1_", "dop_v1_", "dor_v1_"),
    *_all(
        "DISCORD_TOKEN",
        rf"[MNO]{W}{{23,27}}\.{W}{{6}}\.{W}{{27,40}}{END}",
        ".",
        before=28,
        around=rf"(?={W}{{6}}\.)(?<={W}{{24}}\.)",
    ),
    *_all(
        "DISCORD_WEBHOOK",
        rf"discord(?:app)?\.com/api/webhooks/[0-9]{{17,20}}/{W}{{60,80}}",
        "discord.com/api", "discordapp.com/api",
    ),
    *_all("DOCKER_TOKEN", f"dckr_[po]at_{W}{{27,64}}", "dckr_"),
    *_all("DOPPLER_TOKEN", rf"dp\.(?:pt|st|ct|sa|scim|audit)\.(?:[a-z0-9_\-]{{2,35}}\.)?{A}{{40,44}}{END}", "dp."),
    *_all("DROPBOX_TOKEN", rf"sl\.(?:u\.)?{W}{{130,2000}}", "sl."),
    *_all("DYNATRACE_TOKEN", r"dt0[a-z][0-9]{2}\.[A-Z0-9]{24}\.[A-Z0-9]{64}", "dt0"),
    *_all("EASYPOST_KEY", f"EZ[AT]K{A}{{54}}{END}", "EZAK", "EZTK"),
    *_all("FACEBOOK_TOKEN", f"EAA[CM]?{A}{{90,400}}{END}", "EAA"),
    *_all("FIGMA_TOKEN", f"fig[doru]h?_{W}{{40,50}}", "figd_", "figo", "figu"),
    *_all("FIREWORKS_API_KEY", f"fw_(?=[A-Za-z]{{0,47}}[0-9]){A}{{20,48}}{END}", "fw_"),
    *_all("FLUTTERWAVE_KEY", f"FLWSECK(?:_TEST)?-{A}{{12,40}}-X", "FLWSECK"),
    *_all("FLYIO_TOKEN", f"fo1_{W}{{43}}|fm[12][ar]?_[A-Za-z0-9+/]{{100,2000}}={{0,3}}", "fo1_", "fm1", "fm2_"),
    *_all(
        "GITHUB_TOKEN",
        f"gh[pousr]_{A}{{36,255}}|github_pat_{A}{{22}}_{A}{{59}}",
        "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_",
    ),
    *_all(
        "GITLAB_TOKEN",
        rf"gl(?:pat|dt|rt|rtr|ptt|ft|imt|agent|oas|soat|ffct|cbt)-(?:t[0-9]_)?{W}{{20,300}}(?:\.[0-9a-z]{{2,9}}){{0,2}}"
        rf"|GR1348941{W}{{20}}",
        "glpat-", "gldt-", "glrt-", "glrtr-", "glptt-", "glft-", "glimt-", "glagent-", "gloas-", "glsoat-",
        "glffct-", "glcbt-",
        "GR1348941",
    ),
    *_all("GOOGLE_API_KEY", f"AIza{W}{{35}}", "AIza"),
    *_all("GOOGLE_OAUTH", rf"ya29\.[A-Za-z0-9_.\-]{{20,1000}}|GOCSPX-{W}{{28}}", "ya29.", "GOCSPX-"),
    *_all("GRAFANA_TOKEN", f"glc_[A-Za-z0-9+/]{{32,400}}={{0,2}}|glsa_{A}{{32}}_[A-Fa-f0-9]{{8}}", "glc_", "glsa_"),
    *_all("GROQ_API_KEY", f"gsk_{A}{{52}}{END}", "gsk_"),
    *_all("HEROKU_API_KEY", f"HRKU-AA{W}{{58}}", "HRKU-AA"),
    *_all("HUGGINGFACE_TOKEN", f"(?:hf_|api_org_){A}{{34,40}}{END}", "hf_", "api_org_"),
    *_all("JWT", rf"eyJ{W}{{10,1000}}\.eyJ{W}{{10,2500}}\.{W}{{10,512}}", "eyJ"),
    *_all("LANGFUSE_KEY", f"sk-lf-{X}{{8}}(?:-{X}{{4}}){{3}}-{X}{{12}}", "sk-lf-"),
    *_all("LANGSMITH_KEY", f"lsv2_(?:pt|sk)_{X}{{32}}_{X}{{10}}{END}|ls__{X}{{32}}{END}", "lsv2_", "ls__"),
    *_all("LINEAR_API_KEY", f"lin_(?:api|oauth)_{A}{{32,64}}{END}", "lin_"),
    *_all("MAILCHIMP_API_KEY", f"{X}{{32}}-us[0-9]{{1,2}}{END}", "-us", before=32),
    *_all("MAILGUN_API_KEY", f"(?:pub)?key-{X}{{32}}{END}", "key-", "pubkey-", alone=True),
    *_all("NETLIFY_TOKEN", f"nf[pou]_{A}{{36,64}}{END}", "nfp_", "nfo_", "nfu_"),
    *_all("NEW_RELIC_KEY", f"NR(?:AK|JS|II|RA)-{A}{{19,40}}{END}", "NRAK-", "NRJS-", "NRII-", "NRRA-"),
    *_all("NOTION_TOKEN", f"ntn_{A}{{40,50}}{END}|secret_{A}{{43}}{END}", "ntn_", "secret_"),
    *_all("NPM_TOKEN", f"npm_{A}{{36}}{END}", "npm_"),
    *_all("NVIDIA_API_KEY", f"nvapi-{W}{{60,70}}", "nvapi-"),
    *_all("ONEPASSWORD_TOKEN", r"ops_eyJ[A-Za-z0-9+/=_\-]{100,2000}", "ops_eyJ"),
    *_all(
        "OPENAI_API_KEY",
        rf"sk-(?!ant-|or-v1-|lf-)(?={_NO_WORDS}){W}{{20,509}}",
        "sk-",
        around=rf"(?<![{_FREE}]sk-)(?=[A-Za-z0-9_\-]{{20}})(?={_NO_WORDS})",
    ),
    *_all("OPENROUTER_API_KEY", f"sk-or-v1-{X}{{64}}{END}", "sk-or-v1-"),
    *_all(
        "PAYPAL_BRAINTREE_TOKEN",
        rf"access_token\$(?:production|sandbox)\$[0-9a-z]{{16}}\${X}{{32}}",
        "access_token$",
    ),
    *_all("PERPLEXITY_API_KEY", f"pplx-{A}{{48}}{END}", "pplx-"),
    *_all("PINECONE_API_KEY", f"pcsk_{A}{{5,8}}_{A}{{60,70}}", "pcsk_"),
    *_all("PLANETSCALE_TOKEN", r"pscale_(?:tkn|oauth|pw)_[A-Za-z0-9=._\-]{32,64}", "pscale_"),
    *_all("POSTMAN_API_KEY", f"PMAK-{X}{{24}}-{X}{{34}}{END}", "PMAK-"),
    *_all("PREFECT_KEY", f"pn[ub]_{A}{{36}}{END}", "pnu_", "pnb_"),
    *_all("PULUMI_TOKEN", f"pul-{X}{{40}}{END}", "pul-"),
    *_all("PYPI_TOKEN", f"pypi-A[gA]{W}{{50,1000}}", "pypi-A"),
    *_all("RAZORPAY_KEY", f"rzp_(?:live|test)_{A}{{14}}{END}", "rzp_"),
    *_all("README_KEY", f"rdme_[a-z0-9]{{70}}{END}", "rdme_"),
    *_all("REPLICATE_TOKEN", f"r8_{A}{{37}}{END}", "r8_"),
    *_all("RUBYGEMS_KEY", f"rubygems_{X}{{48}}{END}", "rubygems_"),
    *_all("SENDGRID_API_KEY", rf"SG\.{W}{{16,32}}\.{W}{{16,64}}", "SG."),
    *_all("SENTRY_TOKEN", rf"sntry[us]_(?:{X}{{64}}|eyJ[A-Za-z0-9+/=_\-]{{40,400}})", "sntrys_", "sntryu_"),
    *_all("SHIPPO_TOKEN", f"shippo_(?:live|test)_{X}{{40}}{END}", "shippo_"),
    *_all(
        "SHOPIFY_TOKEN",
        "shp(?:at|ca|pa|ss|tka|ua)_[A-Fa-f0-9]{32}",
        "shpat_", "shpca_", "shppa_", "shpss_", "shptka_", "shpua_",
    ),
    *_all(
        "SLACK_TOKEN",
        rf"xox[abeoprs]-[A-Za-z0-9\-]{{10,250}}|xapp-[0-9]-[A-Za-z0-9\-]{{20,250}}|xoxe\.xox[bp]-[0-9]-{A}{{100,250}}",
        "xox", "xapp-",
    ),
    *_all(
        "SLACK_WEBHOOK",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9+/]{40,80}",
        "hooks.slack.com/",
    ),
    *_all("SONAR_TOKEN", f"sq[pua]_{X}{{40}}{END}", "sqp_", "squ_", "sqa_"),
    *_all("SOURCEGRAPH_TOKEN", f"sgp_(?:(?:{X}{{16}}|local)_)?{X}{{40}}{END}", "sgp_"),
    *_all("SQUARE_TOKEN", f"sq0[a-z]{{3}}-{W}{{22,43}}|EAAA{W}{{60}}", "sq0", "EAAA"),
    *_all("STRIPE_KEY", f"[srp]k_(?:live|test|prod)_{A}{{10,247}}{END}", "sk_", "rk_"),
    *_all("STRIPE_WEBHOOK_SECRET", "whsec_[A-Za-z0-9+/]{32,64}={0,2}", "whsec_"),
    *_all("SUPABASE_KEY", f"sbp_{X}{{40}}{END}|sb_secret_{W}{{31}}", "sbp_", "sb_secret_"),
    *_all("TAVILY_API_KEY", f"tvly-(?:dev-|prod-)?{W}{{28,64}}", "tvly-"),
    *_all(
        "TEAMS_WEBHOOK",
        rf"webhook\.office\.com/webhookb2/[A-Za-z0-9@\-]{{73}}/IncomingWebhook/{X}{{32}}/[0-9a-f\-]{{36}}",
        "webhook.office.com/",
    ),
    *_all("TELEGRAM_TOKEN", f"[0-9]{{6,12}}:AA{W}{{32,34}}{END}", ":AA", before=12),
    *_all("TENCENT_SECRET_ID", f"AKID{A}{{32}}{END}", "AKID"),
    *_all("TERRAFORM_TOKEN", rf"{A}{{14}}\.atlasv1\.[A-Za-z0-9=_\-]{{60,70}}", ".atlasv1.", before=14),
    *_all("TWILIO_KEY", f"SK{X}{{32}}{END}", "SK"),
    *_all("TYPEFORM_TOKEN", r"tfp_[A-Za-z0-9_.\-]{40,80}", "tfp_"),
    *_all("VAULT_TOKEN", rf"hv[sbr]\.{W}{{24,300}}", "hvs.", "hvb.", "hvr."),
    *_all("VERCEL_TOKEN", f"vc[aikprd]_{A}{{24,64}}{END}", "vca_", "vci_", "vck_", "vcp_", "vcr_"),
    *_all("VOYAGE_API_KEY", f"pa-{W}{{43}}{END}", "pa-", alone=True),
    *_all("XAI_API_KEY", f"xai-{A}{{70,90}}{END}", "xai-"),
)
