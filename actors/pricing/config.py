"""The settings of a pricing process."""

import msgspec


class PricingConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What bounds the answers of a pricing process."""

    request_timeout: float = 10.0
    """Seconds a request waits for whoever has the answer."""
