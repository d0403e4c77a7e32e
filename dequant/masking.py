"""What may be shown and stored of a text: no secrets, and nothing that a terminal or a log takes for its own."""

import logging
import os
import re
from collections.abc import Mapping
from typing import Any

MASK = "***"

STRONG = ("token", "secret", "password", "passwd", "passphrase", "credential", "credentials", "signature", "apikey")
WEAK = ("key", "pwd", "sig", "auth", "accesskey")
ALL = STRONG + WEAK
"""Words in the name of a secret. The weak ones are words of prose as well: not before a colon and a space."""

_VALUE = re.compile(r""""[^"]*"|'[^']*'|[^\s"'&;,}\]]+""")
_ASSIGNED = re.compile(r"""([\w.-]+)(?:["']?\s*(?:=|:(?=\S))\s*|["']\s*:\s*)""")
_TOLD = re.compile(r"([\w.-]+):\s+")
_HEADER = re.compile(r"(?i)\b(x-[\w-]+):\s*")
_FLAG = re.compile(r"(?<![\w-])--?([\w-]+)\s+")
_YAML_KEY = re.compile(r"(?m)^[ \t-]*([\w.-]+):[ \t]+(?!null$)")
_YAML_VALUE = re.compile(r".+")

_PATTERNS = (
    (re.compile(r"(?<=://)[^\s/'\"]+@"), f"{MASK}@"),  # user:password of a URL
    (re.compile(r"(?<![\w/.])([\w.-]+):[^\s@/:'\"]+@(?=[\w-]+\.\w)"), rf"\1:{MASK}@"),
    (re.compile(r"(?i)\b(authorization['\"]?\s*[:=]\s*['\"]?(?:(?:basic|bearer|token)\s+)?)[^\s'\"]+"), rf"\1{MASK}"),
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{8,}"), rf"\1{MASK}"),
    (re.compile(r"(?<!\S)(['\"]?(?:-u|--user|--proxy-user)[\s=]*['\"]?[^\s:'\"]+:)[^\s'\"]+"), rf"\1{MASK}"),  # of curl
    (re.compile(r"\b(?:hf_|gh[pousr]_|github_pat_|glpat-|xox[abprs]-|sk-)[\w-]{16,}"), MASK),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bAIza[\w-]{35}"), MASK),
)

_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def is_secret(name: str, words: tuple[str, ...] = ALL) -> bool:
    """Whether a name, such as `AWS_SECRET_ACCESS_KEY` or `X-Amz-Signature`, says that its value is a secret."""
    parts = re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    return any(part in words for part in parts)


def mask(text: str) -> str:
    """Replace secrets in a text: passwords in URLs, tokens, what is assigned to a name that says key, and the like.

    The values of environment variables with such a name are masked wherever they are.
    """
    for name, value in os.environ.items():
        if len(value) >= 6 and is_secret(name) and not os.path.exists(value):  # a path, as of PWD, is none
            text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", MASK, text)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    for named, words in ((_ASSIGNED, ALL), (_FLAG, ALL), (_HEADER, ALL), (_TOLD, STRONG)):
        text = _hide(text, named, words)
    return text


def mask_yaml(text: str) -> str:
    """`mask` of a YAML file: also lines whose key says that the value is a secret."""
    return mask(_hide(text, _YAML_KEY, ALL, _YAML_VALUE))


def masked(value: Any) -> Any:
    """`mask` of all strings in dictionaries and lists, at any depth, and of what has the name of a secret."""
    if isinstance(value, Mapping):
        return {k: MASK if is_secret(str(k)) and isinstance(v, str) else masked(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(masked, value))
    return mask(value) if isinstance(value, str) else value


def escape(text: str) -> str:
    """Show control characters, such as a line break in a file's name, as escapes."""
    return _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


class Formatter(logging.Formatter):
    """Formats log records without secrets, each message on one line; tracebacks keep theirs."""

    def format(self, record: logging.LogRecord) -> str:
        """A record as text."""
        shown = logging.makeLogRecord(record.__dict__ | {"msg": escape(record.getMessage()), "args": None})
        return mask(super().format(shown))


def _hide(text: str, named: re.Pattern[str], words: tuple[str, ...], values: re.Pattern[str] = _VALUE) -> str:
    """Mask the value behind each name that says that it is a secret."""
    pieces, end = [], 0
    for found in named.finditer(text):
        value = values.match(text, found.end())
        if found.start() >= end and value is not None and is_secret(found.group(1), words):
            pieces += [text[end : found.end()], MASK]
            end = value.end()
    return "".join([*pieces, text[end:]])
