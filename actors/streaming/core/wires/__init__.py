"""The wire formats: one package each, pure, and none knowing another.

Each has two modules (files named here lie in ``core``):

``request.py``
    ``body(request, …) -> dict[str, Any]`` builds the JSON body of one streaming call from a
    ``GenerateRequest``. Which settings a model takes is decided before, by the table in
    ``schemas.capabilities``; whatever is still set is written. ``config.extra`` goes under what we
    write. Assistant messages replay their ``blocks`` of this ``Wire`` unchanged and in their
    places, and pass over those of others.

``reader.py``
    A ``Reader`` (``reading/reader.py``) over a ``Framing`` (``framing/protocol.py``): SSE, NDJSON,
    or the AWS event stream, each of which gives way to plain JSON (``framing/wrapping.py``). It
    says what one event means, in ``_event``, by calling ``_say``, ``_think``, ``_keep`` and
    ``self._fragments`` (``reading/fragments.py``: whose fragment of a call it is), by setting
    ``_model``, and by handing on the provider's usage with ``_account`` (``_buckets`` reads it,
    ``SHAPE`` names its counts) and the word for the end with ``_ends``, or with ``_closes`` where
    the event itself is the end. What words mean is in ``reading/finish_words.py``. It sets
    ``done`` where nothing more will come. Unknown events and fields are passed over; an unreadable
    one is a ``GarbledError``; an error object raises
    ``ProviderFaultError(failure_in_stream(error))``.

Whoever drives a reader only does this, and everything about time-outs, connections and status codes
is elsewhere (``adapters/http_call.py``)::

    while not reader.done:
        deltas = reader.feed(await read())  # b"" at the end of the stream
    calls = reader.finish()  # raises what went wrong
    answer = reader.answer()

The framing is a parameter of a reader where a format travels in another one, as Anthropic's events
do inside Bedrock's.
"""
