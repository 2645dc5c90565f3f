"""What models refuse, as data: the rules of each maker, which ``schemas.provider_specs`` names.

A definition is held to them when it is stored, and a request again before it is sent
(``schemas.refusals``). They hold for the providers' own services: a ``custom`` server may be
anything, so that nothing is known of it, and a script ignores all settings.
"""
