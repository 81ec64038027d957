"""What happened, in words: one sentence for each event of the log.

A frame is a commit as live pages and `/api/v1/log` show it. `Names` learns from the frames that
pass, so that ids read as the names they had by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

import orjson
from rich.text import Text

from gateway.cli.terminal import channel, person, plain
from schemas.account import DEFAULT_SCOPES, Scope

Data = Mapping[str, Any]
Frame = Mapping[str, Any]

CHANNEL_NOUNS = frozenset({"channel", "cursor", "message"})
REACTIONS = {
    "like": "👍",
    "love": "❤️",
    "laugh": "😄",
    "wow": "😮",
    "sad": "😢",
    "angry": "😠",
    "celebrate": "🎉",
    "dislike": "👎",
}


class Names:
    """The names of accounts and channels by their ids."""

    def __init__(
        self, accounts: Mapping[str, str] | None = None, channels: Mapping[str, str] | None = None
    ) -> None:
        self._accounts = {"system": "canopy", **(accounts or {})}
        self._channels = dict(channels or {})

    def learn(self, frame: Frame) -> None:
        """Take up names that *frame* tells of."""
        for event in frame["events"]:
            data = event.get("data", {})
            if event["kind"] == "account_registered" and "username" in data:
                self._accounts[frame["id"]] = data["username"]
            elif event["kind"] in ("channel_opened", "channel_described") and data.get("name"):
                self._channels[frame["id"]] = data["name"]

    def account(self, account_id: str) -> str:
        return self._accounts.get(account_id, account_id)

    def channel(self, channel_id: str) -> str:
        return self._channels.get(channel_id, channel_id)

    def account_id(self, name: str) -> str:
        """The id of the account called *name*; *name* itself when it is an id, or unknown."""
        wanted = name.removeprefix("@").casefold()
        found = (i for i, known in self._accounts.items() if known.casefold() == wanted)
        return next(found, name.removeprefix("@"))

    def channel_id(self, name: str) -> str:
        """The id of the channel called *name*; *name* itself when it is an id, or unknown."""
        bare = name.removeprefix("#")
        wanted = bare.casefold()
        found = (i for i, known in self._channels.items() if known.casefold() == wanted)
        return bare if bare in self._channels else next(found, bare)

    def knows_channel(self, name: str) -> bool:
        """Whether *name* is the name or the id of a known channel."""
        return self.channel_id(name) in self._channels

    def accounts(self) -> list[str]:
        """The names of all known accounts."""
        return list(self._accounts.values())

    def channels(self) -> list[str]:
        """The names of all known channels."""
        return list(self._channels.values())


def place(frame: Frame, names: Names) -> Text:
    """Where it happened: the channel, or the noun of what belongs to none."""
    if frame["noun"] in CHANNEL_NOUNS:
        return channel(names.channel(str(frame["id"]).partition(".")[0]))
    return Text(str(frame["noun"]), "faint")


def sentences(frame: Frame, names: Names) -> list[Text]:
    """One sentence for each event of *frame*; the author is their subject and not in them."""
    return [
        _sentence(frame, event["kind"], event.get("data", {}), names) for event in frame["events"]
    ]


def _sentence(frame: Frame, kind: str, data: Data, names: Names) -> Text:
    tell = TELLING.get(kind)
    if tell is None:
        return Text(f"{kind.replace('_', ' ')} {_compact(data)}".rstrip(), "faint")
    return tell(frame, data, names)


def _compact(data: Data) -> str:
    return plain(orjson.dumps(dict(data)).decode()) if data else ""


Tell = Callable[[Frame, Data, Names], Text]


def _said(words: str) -> Tell:
    return lambda frame, data, names: Text(words, "faint")


def _quoted(text: Any) -> str:
    return f"“{plain(str(text))}”"


def scopes(names: Iterable[str]) -> str:
    """What a key with these scopes may do: by a word when it is all or the usual, else by names."""
    held = {plain(str(name)) for name in names}
    if held == set(get_args(Scope)):
        return "do everything"
    if held == set(DEFAULT_SCOPES):
        return "read and write"
    return " ".join(sorted(held))


def _message(frame: Frame, data: Data, names: Names) -> Text:
    text = Text()
    if data.get("thread_id") or data.get("parent_message_id"):
        text.append("↳ ", "faint")
    text.append(plain(str(data.get("content", ""))))
    if attachments := data.get("attachments"):
        listed = ", ".join(plain(str(a.get("name", "file"))) for a in attachments)
        text.append(f" [{listed}]", "faint")
    return text


def _edited(frame: Frame, data: Data, names: Names) -> Text:
    return Text.assemble(("edited: ", "faint"), plain(str(data.get("content", ""))))


def _reacted(frame: Frame, data: Data, names: Names) -> Text:
    reaction = str(data.get("reaction"))
    return Text.assemble(("reacted ", "faint"), REACTIONS.get(reaction, plain(reaction)))


def _unreacted(frame: Frame, data: Data, names: Names) -> Text:
    reaction = str(data.get("reaction"))
    return Text.assemble(("took back ", "faint"), REACTIONS.get(reaction, plain(reaction)))


def _registered(frame: Frame, data: Data, names: Names) -> Text:
    words = "joined"
    if data.get("display_name") not in (None, data.get("username")):
        words += f" as {plain(str(data['display_name']))}"
    if data.get("account_type") == "agent":
        words += ", an agent"
    if data.get("status") == "pending_approval":
        words += ", waiting for approval"
    return Text(words, "good")


def _status(frame: Frame, data: Data, names: Names) -> Text:
    words = {"active": "let in ", "suspended": "suspended "}.get(
        str(data.get("status")), "changed "
    )
    return Text.assemble((words, "wary"), person(names.account(frame["id"])))


def _profile(frame: Frame, data: Data, names: Names) -> Text:
    changed = ", ".join(plain(k).replace("_", " ") for k, v in data.items() if v is not None)
    return Text(f"changed the profile: {changed}", "faint")


def _key(frame: Frame, data: Data, names: Names) -> Text:
    label = f" {_quoted(data['label'])}" if data.get("label") else ""
    key_id, may = plain(str(data.get("key_id", ""))), scopes(data.get("scopes", ()))
    return Text(f"made the API key {key_id}{label}, which may {may}", "faint")


def _key_revoked(frame: Frame, data: Data, names: Names) -> Text:
    return Text(f"revoked the API key {plain(str(data.get('key_id', '')))}", "wary")


def _opened(frame: Frame, data: Data, names: Names) -> Text:
    kind = str(data.get("type", "public"))
    return Text.assemble(
        ("opened ", "good"), channel(str(data.get("name", ""))), (f" ({kind})", "faint")
    )


def _described(frame: Frame, data: Data, names: Names) -> Text:
    told = [
        (word, data[word])
        for word in ("name", "topic", "description", "privacy_mode")
        if data.get(word)
    ]
    words = ", ".join(f"{word.replace('_', ' ')} {_quoted(value)}" for word, value in told)
    return Text(f"changed the channel: {words or 'its description'}", "faint")


def _lifecycle(frame: Frame, data: Data, names: Names) -> Text:
    words = []
    if data.get("archived") is not None:
        words.append("archived the channel" if data["archived"] else "brought the channel back")
    if data.get("preserved") is not None:
        words.append("preserves it" if data["preserved"] else "preserves it no longer")
    if data.get("ttl_days") is not None:
        words.append(f"keeps it {data['ttl_days']} days")
    return Text(", ".join(words), "wary")


def _added(frame: Frame, data: Data, names: Names) -> Text:
    role = " as admin" if data.get("role") == "admin" else ""
    if data.get("account_id") == frame["author"]:
        return Text(f"came in{role}", "good")
    return Text.assemble(("added ", "good"), _who(data, names), (role, "good"))


def _role(frame: Frame, data: Data, names: Names) -> Text:
    return Text.assemble(("made ", "faint"), _who(data, names), (f" {data.get('role')}", "faint"))


def _removed(frame: Frame, data: Data, names: Names) -> Text:
    if data.get("account_id") == frame["author"]:
        return Text("left", "wary")
    return Text.assemble(("removed ", "wary"), _who(data, names))


def _who(data: Data, names: Names) -> Text:
    return person(names.account(str(data.get("account_id"))))


def _muted(frame: Frame, data: Data, names: Names) -> Text:
    return Text("muted the channel" if data.get("muted") else "unmuted the channel", "faint")


def _followed(frame: Frame, data: Data, names: Names) -> Text:
    return Text(
        "follows the thread" if data.get("followed") else "follows the thread no longer", "faint"
    )


def _read(frame: Frame, data: Data, names: Names) -> Text:
    return Text(f"read up to {data.get('seq')}", "faint")


def _claimed(frame: Frame, data: Data, names: Names) -> Text:
    return Text.assemble(("made ", "good"), _who(data, names), (" owner of this workspace", "good"))


def _code(frame: Frame, data: Data, names: Names) -> Text:
    label = f" for {_quoted(data['label'])}" if data.get("label") else ""
    return Text(f"issued a one-time code{label}", "faint")


TELLING: Mapping[str, Tell] = {
    "account_registered": _registered,
    "status_changed": _status,
    "profile_changed": _profile,
    "password_changed": _said("changed the password"),
    "key_created": _key,
    "key_revoked": _key_revoked,
    "session_opened": _said("signed in"),
    "session_closed": _said("signed out"),
    "receipt_kept": _said("got a receipt"),
    "channel_opened": _opened,
    "channel_described": _described,
    "lifecycle_changed": _lifecycle,
    "member_added": _added,
    "role_changed": _role,
    "member_removed": _removed,
    "channel_muted": _muted,
    "channel_removed": _said("removed the channel"),
    "message_posted": _message,
    "message_edited": _edited,
    "message_deleted": _said("deleted a message"),
    "content_erased": _said("destroyed the keys of what was said"),
    "reaction_added": _reacted,
    "reaction_removed": _unreacted,
    "thread_followed": _followed,
    "cursor_advanced": _read,
    "workspace_claimed": _claimed,
    "code_issued": _code,
    "code_redeemed": _said("used a one-time code"),
}
"""Every kind of event; a kind that is not here shows its data."""
