"""A client of its own process that sends many large requests at once: its loop is not the test's.

``python -m tests.flooding URL SUBJECT COUNT MEBIBYTES`` prints how many answers of each kind came.
"""

import sys
from collections import Counter

import anyio
import msgspec
import nats
from nats.errors import Error

SECONDS = 90


def request(mebibytes: int) -> bytes:
    """Return a request with an image of so many MiB."""
    image = {"type": "image", "media_type": "image/png", "data": "A" * (mebibytes * 1024**2)}
    return msgspec.json.encode(
        {
            "provider": {"type": "scripted", "responses": ["hi"], "delay_ms": 0},
            "messages": [{"role": "user", "content": [image]}],
        }
    )


async def flood(url: str, subject: str, count: int, mebibytes: int) -> Counter[str]:
    """Send all at once, and count the answers by their status or code."""
    client, body = await nats.connect(url, pending_size=2**30), request(mebibytes)
    answers = Counter[str]()

    async def one() -> None:
        try:
            reply = await client.request(subject, body, timeout=SECONDS)
            answer = msgspec.json.decode(reply.data)
        except Error as error:
            answers[type(error).__name__] += 1
        else:
            answers[str(answer.get("code") or answer.get("status"))] += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(one)
    await client.close()
    return answers


if __name__ == "__main__":
    _, address, target, requests, size = sys.argv
    counted = anyio.run(flood, address, target, int(requests), int(size))
    print(msgspec.json.encode(counted).decode())  # noqa: T201  its answer
