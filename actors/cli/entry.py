"""Where the command begins: Ctrl-C ends it with one line, also while it is being imported."""

from importlib import import_module

EXIT_INTERRUPTED = 130


def run() -> None:
    """Import the command line and run it."""
    try:
        import_module("actors.cli.commands").main()
    except KeyboardInterrupt:
        import_module("actors.cli.rendering").line("interrupted", err=True)
        raise SystemExit(EXIT_INTERRUPTED) from None
