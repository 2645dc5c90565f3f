"""Offer files of the AWS price list, in the shape in which AWS publishes them."""

from typing import Any, NamedTuple

import msgspec

TERM, RATE = "JRTCETTUXM", "6YS6EN2CT7"


class Sold(NamedTuple):
    """A product for a unit such as ``1K tokens``; ``kind`` is such as ``Input tokens``."""

    model: str
    usage: str
    region: str
    unit: str
    dollars: str
    kind: str = ""


def offer_file(*products: Sold) -> bytes:
    """Return the file of these products."""
    listed: dict[str, Any] = {}
    terms: dict[str, Any] = {}
    for number, one in enumerate(products):
        sku = f"SKU{number}"
        listed[sku] = {
            "sku": sku,
            "productFamily": "Amazon Bedrock",
            "attributes": {
                "servicecode": "AmazonBedrock",
                "locationType": "AWS Region",
                "usagetype": one.usage,
                "operation": "",
                "model": one.model,
                "inferenceType": one.kind,
                "feature": "On-demand Inference",
                "regionCode": one.region,
            },
        }
        dimension = {
            "rateCode": f"{sku}.{TERM}.{RATE}",
            "description": f"${one.dollars} for {one.unit}",
            "beginRange": "0",
            "endRange": "Inf",
            "unit": one.unit,
            "pricePerUnit": {"USD": one.dollars},
            "appliesTo": [],
        }
        terms[sku] = {
            f"{sku}.{TERM}": {
                "offerTermCode": TERM,
                "sku": sku,
                "effectiveDate": "2026-11-01T00:00:00Z",
                "priceDimensions": {f"{sku}.{TERM}.{RATE}": dimension},
                "termAttributes": {},
            }
        }
    return msgspec.json.encode(
        {
            "formatVersion": "v1.0",
            "disclaimer": "This pricing list is for informational purposes only.",
            "offerCode": "AmazonBedrock",
            "version": "20261101000000",
            "publicationDate": "2026-11-01T00:00:00Z",
            "products": listed,
            "terms": {"OnDemand": terms},
            "attributesList": {},
        }
    )
