"""Finds credentials where none may be: a definition is stored and read by many, a key is not.

What is found is never repeated, only where it was found.
"""

import re

KEY_SHAPES = re.compile(
    r"""
    (?<![\w-])(?:
        sk-[A-Za-z0-9_-]{20,}                      # OpenAI, Anthropic and those who followed
      | gsk_[A-Za-z0-9]{20,}                       # Groq
      | (?:AKIA|ASIA)[A-Z0-9]{16}(?!\w)            # AWS access key id
      | AIza[A-Za-z0-9_-]{35}                      # Google
      | hf_[A-Za-z0-9]{30,}                        # Hugging Face
      | gh[opsur]_[A-Za-z0-9]{36,}                 # GitHub
      | github_pat_[A-Za-z0-9_]{22,}
      | glpat-[A-Za-z0-9_-]{20,}                   # GitLab
      | xox[abeoprs]-[A-Za-z0-9-]{10,}             # Slack
      | eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}   # a signed JSON web token
    )
    | -----BEGIN\ [A-Z\ ]{0,20}PRIVATE\ KEY-----
    """,
    re.VERBOSE,
)
"""The shapes in which well-known issuers hand out keys: precise enough to look for in any text."""

_SCHEME = re.compile(r"\s*(?:bearer\s+\S|(?:basic|token|apikey)\s+\S{16,}\s*\Z)", re.IGNORECASE)
_RANDOM = re.compile(r"[A-Za-z0-9+/=_-]{32,}")

_SENSITIVE_ENDINGS = (
    "apikey",
    "accesskey",
    "privatekey",
    "secretkey",
    "subscriptionkey",
    "authorization",
    "credential",
    "credentials",
    "cookie",
    "passwd",
    "password",
    "secret",
    "token",
)


def is_key_shaped(text: str) -> bool:
    """Say whether a text holds a key of a well-known shape."""
    return KEY_SHAPES.search(text) is not None


def is_credential_value(text: str) -> bool:
    """Say whether a header's value looks like a key or a bearer token.

    Stricter than ``is_key_shaped``: also an authorization scheme, and 32 or more characters that
    mix upper case, lower case and digits without a space.
    """
    return is_key_shaped(text) or _SCHEME.match(text) is not None or _is_random(text)


def is_sensitive_name(name: str) -> bool:
    """Say whether a header or field of this name usually holds a credential."""
    return re.sub(r"[-_.\s]", "", name[-64:]).lower().endswith(_SENSITIVE_ENDINGS)


def _is_random(text: str) -> bool:
    return any(
        any(map(str.isupper, run)) and any(map(str.islower, run)) and any(map(str.isdigit, run))
        for run in _RANDOM.findall(text)
    )
