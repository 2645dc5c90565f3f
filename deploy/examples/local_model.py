"""The demo's model, for programs that start it by its file: `callboard local-model` is the same."""

from actors.cli.local_model import MODEL, local_model, missing

__all__ = ["MODEL", "local_model", "missing"]

if __name__ == "__main__":
    local_model()
