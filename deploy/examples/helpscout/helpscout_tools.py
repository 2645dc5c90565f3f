"""What a support agent does at Help Scout, as tools. Their docstrings are what a model reads."""

from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Annotated, Any, Literal

from helpscout_api import ApiError, HelpScout, Params, embedded
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import Field

Id = Annotated[int, Field(ge=1, description="The id, as a search or a listing has told it.")]
Page = Annotated[int, Field(ge=1, le=10_000, description="The page, from 1.")]
Query = Annotated[str, Field(min_length=1, max_length=500)]
Text = Annotated[str, Field(min_length=1, max_length=50_000)]
Status = Literal["active", "pending", "closed", "spam"]

MOST_CHARACTERS = 8000
"""Of one message; what is more is cut off, and said to be."""

READS = ToolAnnotations(read_only_hint=True, open_world_hint=True)
ADDS = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=True
)
SETS = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=True
)


class Tools:
    """The tools; ``server`` gives them the names that other servers for Help Scout use."""

    def __init__(self, api: HelpScout) -> None:
        self._api = api

    async def search_conversations(
        self,
        query: Query | None = None,
        status: Status | Literal["all"] = "all",
        inbox_id: Annotated[int, Field(ge=1)] | None = None,
        tag: Annotated[str, Field(max_length=100)] | None = None,
        page: Page = 1,
    ) -> dict[str, Any]:
        """Find conversations by words, status, inbox and tag, the newest change first.

        ``query`` is plain words, or an expression of Help Scout in parentheses such as
        (email:"ann@example.com").
        """
        params: dict[str, str | int] = {
            "status": status,
            "page": page,
            "sortField": "modifiedAt",
            "sortOrder": "desc",
        }
        given = {"query": query and _expression(query), "mailbox": inbox_id, "tag": tag}
        params |= {name: value for name, value in given.items() if value is not None}
        return await self._page("/conversations", "conversations", _conversation, params)

    async def get_conversation(self, conversation_id: Id) -> dict[str, Any]:
        """Read one conversation: subject, status, customer, assignee, tags; not its messages."""
        return _conversation(await self._one("conversation", conversation_id))

    async def get_threads(self, conversation_id: Id) -> dict[str, Any]:
        """Read the messages of a conversation, the newest first: who wrote what, and when."""
        threads, more = await self._threads(conversation_id)
        return {"threads": [_thread(one) for one in threads], "more": more}

    async def get_conversation_summary(
        self,
        conversation_id: Id,
    ) -> dict[str, Any]:
        """Read what matters of a conversation: the first message, and the latest of each side."""
        conversation = _conversation(await self._one("conversation", conversation_id))
        threads, _ = await self._threads(conversation_id)
        shown = [_thread(one) for one in threads if one.get("type") != "lineitem"]
        asked = [one for one in shown if one["type"] == "customer"]
        answered = [one for one in shown if one["type"] in {"message", "reply"}]
        return {
            "conversation": conversation,
            "firstFromCustomer": asked[-1] if asked else None,
            "latestFromCustomer": asked[0] if asked else None,
            "latestReply": answered[0] if answered else None,
            "messages": len(shown),
        }

    async def get_customer(self, customer_id: Id) -> dict[str, Any]:
        """Read a customer: name, organization, addresses."""
        return _customer(await self._one("customer", customer_id))

    async def search_customers_by_email(
        self, email: Annotated[str, Field(min_length=3, max_length=254)], page: Page = 1
    ) -> dict[str, Any]:
        """Find customers by their e-mail address."""
        params: Params = {"query": f'(email:"{_quoted(email)}")', "page": page}
        return await self._page("/customers", "customers", _customer, params)

    async def list_all_inboxes(self) -> dict[str, Any]:
        """List all inboxes with their ids and addresses."""
        rows, more = await _told(self._api.all_of("/mailboxes", "mailboxes", "inboxes"))
        return {"inboxes": [_picked(row, "id", "name", "email") for row in rows], "more": more}

    async def search_docs_articles(self, query: Query, page: Page = 1) -> dict[str, Any]:
        """Search the articles of the help centre."""
        found = (await _told(self._api.articles(query, page))).get("articles", {})
        names = ("id", "number", "name", "preview", "url", "status")
        items = [_picked(row, *names) for row in found.get("items", [])]
        return {"articles": items, "page": page, "pages": found.get("pages", 1)}

    async def create_reply(
        self,
        conversation_id: Id,
        text: Text,
        *,
        draft: bool = True,
        status: Status | None = None,
    ) -> dict[str, Any]:
        """Reply to a conversation's customer. Unless it is a draft, an e-mail goes out at once."""
        conversation = await self._one("conversation", conversation_id)
        body: dict[str, Any] = {
            "customer": {"id": conversation["primaryCustomer"]["id"]},
            "text": text,
            "draft": draft,
        }
        if status is not None:
            body["status"] = status
        return await self._add(f"/conversations/{conversation_id}/reply", "reply", body)

    async def create_note(self, conversation_id: Id, text: Text) -> dict[str, Any]:
        """Add a note to a conversation, which the team sees and the customer does not."""
        return await self._add(f"/conversations/{conversation_id}/notes", "note", {"text": text})

    async def update_conversation_status(
        self,
        conversation_id: Id,
        status: Status,
    ) -> dict[str, Any]:
        """Set the status of a conversation."""
        body = {"op": "replace", "path": "/status", "value": status}
        path, what = f"/conversations/{conversation_id}", f"conversation {conversation_id}"
        await _told(self._api.send("PATCH", path, what, body))
        return {"id": conversation_id, "status": status}

    async def _one(self, kind: str, number: int) -> Any:
        return await _told(self._api.get(f"/{kind}s/{number}", f"{kind} {number}"))

    async def _threads(self, number: int) -> tuple[list[dict[str, Any]], bool]:
        path = f"/conversations/{number}/threads"
        threads, more = await _told(self._api.all_of(path, "threads", f"conversation {number}"))
        return sorted(threads, key=lambda one: str(one.get("createdAt", "")), reverse=True), more

    async def _page(self, path: str, name: str, shown: Any, params: Params) -> dict[str, Any]:
        found = await _told(self._api.get(path, name, params))
        place = found.get("page", {})
        return {
            name: [shown(row) for row in embedded(found, name)],
            "page": place.get("number", 1),
            "pages": place.get("totalPages", 1),
            "total": place.get("totalElements", 0),
        }

    async def _add(self, path: str, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return {"id": await _told(self._api.send("POST", path, what, body))}


def server(api: HelpScout) -> MCPServer:
    """Return a server that offers the tools, with true hints of what each does."""
    tools = Tools(api)
    offered = MCPServer("helpscout", instructions="A help desk: conversations with customers.")
    offers: tuple[tuple[str, Any, ToolAnnotations], ...] = (
        ("searchConversations", tools.search_conversations, READS),
        ("getConversation", tools.get_conversation, READS),
        ("getThreads", tools.get_threads, READS),
        ("getConversationSummary", tools.get_conversation_summary, READS),
        ("getCustomer", tools.get_customer, READS),
        ("searchCustomersByEmail", tools.search_customers_by_email, READS),
        ("listAllInboxes", tools.list_all_inboxes, READS),
        ("searchDocsArticles", tools.search_docs_articles, READS),
        ("createReply", tools.create_reply, ADDS),
        ("createNote", tools.create_note, ADDS),
        ("updateConversationStatus", tools.update_conversation_status, SETS),
    )
    for name, call, hints in offers:
        offered.add_tool(call, name=name, annotations=hints)
    return offered


async def _told(asked: Any) -> Any:
    """Await what the API says; what it refuses is an error that the model reads."""
    try:
        return await asked
    except ApiError as error:
        raise ToolError(str(error)) from None


# What is shown of each


def _picked(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: row[name] for name in names if row.get(name) not in (None, "", [])}


def _conversation(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("id", "number", "subject", "status", "mailboxId", "preview", "createdAt")
    shown = _picked(row, *names, "userUpdatedAt", "closedAt")
    person = ("id", "first", "last", "email")
    shown["customer"] = _picked(row.get("primaryCustomer") or {}, *person)
    shown["assignee"] = _picked(row.get("assignee") or {}, *person)
    tags: list[dict[str, Any]] = row.get("tags") or []
    shown["tags"] = [tag.get("tag") for tag in tags]
    return shown


def _thread(row: Mapping[str, Any]) -> dict[str, Any]:
    by = _picked(row.get("createdBy") or {}, "id", "type", "first", "last", "email")
    shown = _picked(row, "id", "type", "status", "createdAt") | {"by": by}
    text = _plain(str(row.get("body") or ""))
    shown["text"] = text[:MOST_CHARACTERS]
    if len(text) > MOST_CHARACTERS:
        shown["truncated"] = True
    return shown


def _customer(row: Mapping[str, Any]) -> dict[str, Any]:
    shown = _picked(row, "id", "firstName", "lastName", "organization", "jobTitle", "createdAt")
    emails = row.get("_embedded", {}).get("emails", [])
    shown["emails"] = [each.get("value") for each in emails]
    return shown


def _expression(query: str) -> str:
    """Return a search expression of Help Scout: one that is given, or one of plain words."""
    if query.startswith("(") and query.endswith(")"):
        return query
    words = _quoted(query)
    return f'(subject:"{words}" OR body:"{words}")'


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


class _Words(HTMLParser):
    """Gathers the text of a message."""

    _ENDS = frozenset(("br", "p", "div", "li", "tr", "blockquote"))

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag == "br":
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._ENDS:
            self.parts.append("\n")


def _plain(html: str) -> str:
    words = _Words()
    words.feed(html)
    words.close()
    lines = (line.strip() for line in "".join(words.parts).splitlines())
    return "\n".join(line for line in lines if line)
