"""litellm's table of prices as a file, and the overlays that are made of it.

The table is in the package litellm as ``model_prices_and_context_window_backup.json``. It can be
read without its code, with exact decimals.
"""

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from actors.pricing.adapters import genai, shipped
from actors.pricing.core.cross_check import Table, disputed, plain, regional
from actors.pricing.core.uplifts import uplifts
from bus import files
from bus.errors import problem
from schemas import bounds
from schemas.pricing.book import canonical
from schemas.pricing.overlay import Overlay, laid_over
from schemas.pricing.prices import Prices

FOLDER = Path(__file__).parent / "overlays"

_table: bounds.Decoder[dict[str, dict[str, Any]]] = bounds.Decoder(
    dict[str, dict[str, Any]], float_hook=Decimal
)


def read_table(path: Path) -> Table:
    """Read the table.

    Raises:
        ProblemError: ``validation``, if this is none.
    """
    try:
        table = _table.decode(files.read(path))
    except msgspec.DecodeError as error:
        raise problem("validation", f"{path}: {error}") from None
    table.pop("sample_spec", None)
    return table


def cross_checked(table: Table, source: str) -> tuple[Overlay, Overlay]:
    """Return the overlay of regions and that of disputed rows.

    Raises:
        ProblemError: ``unavailable``, if the first price source is not installed.
    """
    book = laid_over(genai.book(), shipped.overlay("callboard.toml"))
    prices = Prices(canonical(book))
    regions = regional(book, prices, table, source)
    regions = msgspec.structs.replace(regions, uplifts=uplifts(prices, table))
    whole = Prices(canonical(laid_over(book, regions)))
    doubts = Overlay(
        name="disputed",
        source=source,
        disputed=disputed(whole, table),
        plain=plain(whole, table),
    )
    return regions, doubts


def write(regions: Overlay, doubts: Overlay) -> None:
    """Write both where they are compiled from."""
    for name, overlay in (("regions.json", regions), ("disputed.json", doubts)):
        text = msgspec.json.format(msgspec.json.encode(overlay, order="deterministic"), indent=1)
        (FOLDER / name).write_bytes(text + b"\n")
