"""Patterns of subjects in definitions: ``*`` is one token, ``>`` all that follow. Pure."""


def fits(pattern: str, subject: str) -> bool:
    """Say whether a pattern catches a subject, both below the tenant's own."""
    wanted, given = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted, given = wanted[:-1], given[: len(wanted) - 1] if len(given) >= len(wanted) else []
    return len(wanted) == len(given) and all(
        want in ("*", token) for want, token in zip(wanted, given, strict=True)
    )
