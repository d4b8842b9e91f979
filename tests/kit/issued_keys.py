"""Keys as their issuers document them, made by chance, and what only looks like one."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import string
import uuid

__all__ = ["DOCUMENTED", "NEAR_MISSES", "issued"]

_SETS = {
    "a": string.ascii_letters + string.digits,
    "w": string.ascii_letters + string.digits + "_-",
    "x": string.digits + "abcdef",
    "X": string.digits + "ABCDEF",
    "d": string.digits,
    "l": string.ascii_lowercase + string.digits,
    "U": string.ascii_uppercase + string.digits,
    "2": string.ascii_uppercase + "234567",
    "b": string.ascii_letters + string.digits + "+/",
    "q": "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L",
}
_PLACE = re.compile(r"\{(\w):(\d+)(?:-(\d+))?\}")

# Kind, and how its issuer writes it: {a:20} stands for twenty letters or digits, and so on by `_SETS`.
DOCUMENTED: tuple[tuple[str, str], ...] = (
    ("AWS_ACCESS_KEY", "AKIA{2:16}"),
    ("AWS_ACCESS_KEY", "ASIA{2:16}"),
    ("GOOGLE_API_KEY", "AIza{w:35}"),
    ("GOOGLE_OAUTH", "GOCSPX-{w:28}"),
    ("GOOGLE_OAUTH", "ya29.{w:120}"),
    ("AZURE_CLIENT_SECRET", "{a:3}8Q~{a:34}"),
    ("ALIBABA_ACCESS_KEY", "LTAI{a:20}"),
    ("TENCENT_SECRET_ID", "AKID{a:32}"),
    ("DIGITALOCEAN_TOKEN", "dop_v1_{x:64}"),
    ("HEROKU_API_KEY", "HRKU-AA{w:58}"),
    ("FLYIO_TOKEN", "fm2_{b:300}"),
    ("NETLIFY_TOKEN", "nfp_{a:36}"),
    ("SUPABASE_KEY", "sbp_{x:40}"),
    ("PLANETSCALE_TOKEN", "pscale_tkn_{w:43}"),
    ("DATABRICKS_TOKEN", "dapi{x:32}"),
    ("VAULT_TOKEN", "hvs.{w:95}"),
    ("TERRAFORM_TOKEN", "{a:14}.atlasv1.{a:67}"),
    ("PULUMI_TOKEN", "pul-{x:40}"),
    ("DOPPLER_TOKEN", "dp.pt.{a:43}"),
    ("GITHUB_TOKEN", "ghp_{a:36}"),
    ("GITHUB_TOKEN", "ghs_{a:36}"),
    ("GITHUB_TOKEN", "github_pat_{a:22}_{a:59}"),
    ("GITLAB_TOKEN", "glpat-{w:20}"),
    ("GITLAB_TOKEN", "glpat-{w:27}.01.{l:9}"),
    ("NPM_TOKEN", "npm_{a:36}"),
    ("PYPI_TOKEN", "pypi-AgEIcHlwaS5vcmc{w:120}"),
    ("RUBYGEMS_KEY", "rubygems_{x:48}"),
    ("DOCKER_TOKEN", "dckr_pat_{w:27}"),
    ("ARTIFACTORY_KEY", "AKCp{a:69}"),
    ("SONAR_TOKEN", "squ_{x:40}"),
    ("SOURCEGRAPH_TOKEN", "sgp_{x:16}_{x:40}"),
    ("CLOJARS_TOKEN", "CLOJARS_{l:60}"),
    ("CRATES_TOKEN", "cio{a:32}"),
    ("ANTHROPIC_API_KEY", "sk-ant-api03-{w:93}AA"),
    ("OPENROUTER_API_KEY", "sk-or-v1-{x:64}"),
    ("LANGFUSE_KEY", "sk-lf-{x:8}-{x:4}-{x:4}-{x:4}-{x:12}"),
    ("OPENAI_API_KEY", "sk-{a:20}T3BlbkFJ{a:20}"),
    ("OPENAI_API_KEY", "sk-proj-{w:74}T3BlbkFJ{w:74}"),
    ("OPENAI_API_KEY", "sk-svcacct-{w:58}T3BlbkFJ{w:58}"),
    ("HUGGINGFACE_TOKEN", "hf_{a:34}"),
    ("GROQ_API_KEY", "gsk_{a:52}"),
    ("PERPLEXITY_API_KEY", "pplx-{a:48}"),
    ("XAI_API_KEY", "xai-{a:80}"),
    ("REPLICATE_TOKEN", "r8_{a:37}"),
    ("LANGSMITH_KEY", "lsv2_pt_{x:32}_{x:10}"),
    ("NVIDIA_API_KEY", "nvapi-{w:64}"),
    ("PINECONE_API_KEY", "pcsk_{a:6}_{a:63}"),
    ("TAVILY_API_KEY", "tvly-dev-{a:32}"),
    ("SLACK_TOKEN", "xoxb-{d:12}-{d:13}-{a:24}"),
    ("SLACK_TOKEN", "xoxp-{d:12}-{d:12}-{d:13}-{x:32}"),
    ("SLACK_TOKEN", "xapp-1-A{U:10}-{d:13}-{x:64}"),
    ("SLACK_WEBHOOK", "https://hooks.slack.com/services/T{U:8}/B{U:10}/{a:24}"),
    ("DISCORD_TOKEN", "MT{w:24}.{w:6}.{w:38}"),
    ("DISCORD_WEBHOOK", "https://discord.com/api/webhooks/{d:19}/{w:68}"),
    ("TELEGRAM_TOKEN", "{d:10}:AA{w:33}"),
    ("TWILIO_KEY", "SK{x:32}"),
    ("SENDGRID_API_KEY", "SG.{w:22}.{w:43}"),
    ("MAILGUN_API_KEY", "key-{x:32}"),
    ("MAILCHIMP_API_KEY", "{x:32}-us14"),
    ("BREVO_API_KEY", "xkeysib-{x:64}-{a:16}"),
    ("STRIPE_KEY", "sk_live_{a:24}"),
    ("STRIPE_KEY", "sk_test_{a:99}"),
    ("STRIPE_KEY", "rk_live_{a:99}"),
    ("STRIPE_WEBHOOK_SECRET", "whsec_{a:32}"),
    ("SQUARE_TOKEN", "sq0atp-{w:22}"),
    ("SQUARE_TOKEN", "EAAA{w:60}"),
    ("SHOPIFY_TOKEN", "shpat_{x:32}"),
    ("PAYPAL_BRAINTREE_TOKEN", "access_token$production${l:16}${x:32}"),
    ("EASYPOST_KEY", "EZAK{a:54}"),
    ("SHIPPO_TOKEN", "shippo_live_{x:40}"),
    ("FLUTTERWAVE_KEY", "FLWSECK_TEST-{a:12}-X"),
    ("RAZORPAY_KEY", "rzp_live_{a:14}"),
    ("NEW_RELIC_KEY", "NRAK-{U:27}"),
    ("GRAFANA_TOKEN", "glsa_{a:32}_{x:8}"),
    ("GRAFANA_TOKEN", "glc_{b:120}"),
    ("DYNATRACE_TOKEN", "dt0c01.{2:24}.{2:64}"),
    ("SENTRY_TOKEN", "sntryu_{x:64}"),
    ("POSTMAN_API_KEY", "PMAK-{x:24}-{x:34}"),
    ("ATLASSIAN_TOKEN", "ATATT3{w:186}"),
    ("LINEAR_API_KEY", "lin_api_{a:40}"),
    ("NOTION_TOKEN", "secret_{a:43}"),
    ("NOTION_TOKEN", "ntn_{d:11}{a:35}"),
    ("AIRTABLE_TOKEN", "pat{a:14}.{x:64}"),
    ("ASANA_TOKEN", "1/{d:16}:{x:32}"),
    ("FIGMA_TOKEN", "figd_{w:40}"),
    ("DROPBOX_TOKEN", "sl.{w:140}"),
    ("FACEBOOK_TOKEN", "EAAC{a:180}"),
    ("AGE_SECRET_KEY", "AGE-SECRET-KEY-1{q:58}"),
    ("TYPEFORM_TOKEN", "tfp_{w:59}"),
    ("README_KEY", "rdme_{l:70}"),
    ("PREFECT_KEY", "pnu_{a:36}"),
    ("ADAFRUIT_KEY", "aio_{a:28}"),
    ("JWT", "eyJ{w:33}.eyJ{w:120}.{w:43}"),
    ("API_KEY", "AWS_SECRET_ACCESS_KEY={b:40}"),
    ("API_KEY", "AccountName=shop;AccountKey={b:86}==;EndpointSuffix=core.windows.net"),
    ("API_KEY", 'DD_API_KEY: "{x:32}"'),
    ("API_KEY", 'MISTRAL_API_KEY="{a:32}"'),
    ("API_KEY", "COHERE_API_KEY={a:40}"),
    ("API_KEY", "heroku_key = {x:8}-{x:4}-{x:4}-{x:4}-{x:12}"),
    ("ACCESS_TOKEN", "CLOUDFLARE_API_TOKEN={w:40}"),
    ("ACCESS_TOKEN", "twilio auth token: {x:32}"),
    ("BEARER_TOKEN", "Bearer {a:40}"),
    ("PASSWORD", "Server=db;Uid=hong;Pwd={a:10}1!;Database=x"),
    ("CONNECTION_STRING", "postgres://hong:{a:16}@db.internal:5432/shop"),
    ("CONNECTION_STRING", "mongodb+srv://hong:{a:16}@cluster0.abcde.mongodb.net"),
    ("PRIVATE_KEY", "-----BEGIN RSA PRIVATE KEY-----\n{b:64}\n{b:64}\n{b:40}==\n-----END RSA PRIVATE KEY-----"),
    ("PRIVATE_KEY", "-----BEGIN OPENSSH PRIVATE KEY-----\\n{b:70}\\n{b:70}\\n-----END OPENSSH PRIVATE KEY-----\\n"),
)


def issued(template: str, chance: random.Random) -> str:
    """A key of this form."""

    def fill(place: re.Match[str]) -> str:
        kind, least, most = place.groups()
        return "".join(chance.choices(_SETS[kind], k=chance.randint(int(least), int(most or least))))

    return _PLACE.sub(fill, template)


def _hash(algorithm: str) -> str:
    return "".join(("{x:", str(hashlib.new(algorithm).digest_size * 2), "}"))


def _image(chance: random.Random) -> str:
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + chance.randbytes(300)).decode()


def _integrity(chance: random.Random) -> str:
    return "sha512-" + base64.b64encode(chance.randbytes(64)).decode()


def _npm_lock(chance: random.Random) -> str:
    name = chance.choice(("js-tokens", "csrf-token", "keygrip", "secret-stack", "password-prompt", "oauth-sign", "pat"))
    resolved = f"https://registry.npmjs.invalid/{name}/-/{name}-4.0.{chance.randint(0, 9)}.tgz"
    entry = {f"node_modules/{name}": {"version": "4.0.0", "resolved": resolved, "integrity": _integrity(chance)}}
    return json.dumps(entry, indent=2)


NEAR_MISSES = {
    "uuid": lambda chance: str(uuid.UUID(int=chance.getrandbits(128), version=4)),
    "request id": lambda chance: f"request_id={uuid.UUID(int=chance.getrandbits(128), version=4)} status=200",
    "primary key": lambda chance: f'"primary_key": "{uuid.UUID(int=chance.getrandbits(128), version=4)}"',
    "md5": lambda chance: issued(f"{_hash('md5')}  archive.tar.gz", chance),
    "git": lambda chance: issued(f"commit {_hash('sha1')}", chance),
    "sha256": lambda chance: issued(f"sha256:{_hash('sha256')}", chance),
    "cache key": lambda chance: issued(f"cache-key-{_hash('md5')}", chance),
    "etag": lambda chance: issued(f'ETag: "{_hash("md5")}"', chance),
    "image": _image,
    "npm lock": _npm_lock,
    "yarn lock": lambda chance: f'js-tokens@^4.0.0:\n  version "4.0.0"\n  integrity {_integrity(chance)}',
    "poetry lock": lambda chance: issued(
        '[[package]]\nname = "secretstorage"\nversion = "3.3.3"\nfiles = [\n'
        '    {file = "SecretStorage-3.3.3.whl", hash = "sha256:{x:64}"},\n]',
        chance,
    ),
    "cargo lock": lambda chance: issued('name = "token-stream"\nversion = "0.1.0"\nchecksum = "{x:64}"', chance),
    "go.sum": lambda chance: f"golang.org/x/oauth2 v0.21.0 h1:{base64.b64encode(chance.randbytes(32)).decode()}",
    "pip": lambda chance: issued("requests==2.32.3 --hash=sha256:{x:64}", chance),
    "variable": lambda _: 'api_key = os.environ["OPENAI_API_KEY"]; token: str = get_token(user_id)',
    "shell": lambda _: 'curl -H "Authorization: Bearer ${GITHUB_TOKEN}" -u "$USER:$PASSWORD" https://api.example.com',
    "placeholder": lambda _: "OPENAI_API_KEY=sk-your-key-here PASSWORD=<your password> token: xxxxxxxxxxxxxxxxxxxx",
    "prose": lambda _: "Your password is required. The secret is patience; a token of 4096 characters costs nothing.",
    "korean": lambda _: "비밀번호는 여덟 글자 이상이어야 합니다. 토큰은 만료되었고 인증키는 마이페이지에서 발급됩니다.",
    "css": lambda _: '<div class="sk-estimator-doc-link sk-toggleable__label sk-parallel-item">',
    "environment": lambda chance: issued(
        "PWD=/home/hong{d:2}/src OLDPWD=~/x1/y2 TOKEN_FILE=/run/secrets/token-shop", chance
    ),
    "types": lambda _: "password: string; accessToken?: string; secretKey: Uint8Array; tokenizer: bert-base-uncased-v2",
    "public key": lambda chance: issued("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{b:43} hong@host", chance),
    "certificate": lambda chance: issued(
        "-----BEGIN CERTIFICATE-----\n{b:64}\n{b:64}\n-----END CERTIFICATE-----", chance
    ),
    "header": lambda _: "A file that begins with -----BEGIN PRIVATE KEY----- holds a key, as everybody knows by now.",
    "identifier": lambda chance: issued("arn:aws:iam::{d:12}:role/deploy-{l:8} vpc-{x:17} i-{x:17}", chance),
    "url": lambda chance: issued("https://cdn.example.com/assets/index-{w:8}.js?v={x:20}#section", chance),
}
