"""What every test shares."""

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run async tests on plain asyncio; a test of uvloop asks for it by overriding this fixture."""
    return "asyncio", {"use_uvloop": False}
