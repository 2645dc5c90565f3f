"""How Google's models are named in paths, by the Gemini API and by Vertex AI."""

from urllib.parse import quote

from schemas.providers import Google


def model_path(provider: Google) -> str:
    """Return a model's path; a name with slashes is a path of its own, as tuned models have."""
    name = quote(provider.model, safe="/@")
    if provider.project is None:
        return name if "/" in name else f"models/{name}"
    place = f"projects/{quote(provider.project, safe='')}/locations/{provider.location}"
    return f"{place}/{name if '/' in name else f'publishers/google/models/{name}'}"
