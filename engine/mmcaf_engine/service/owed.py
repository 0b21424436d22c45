"""Images that were refused since the disk had no room: their study is not whole before they have come after all."""

import sqlite3
from collections.abc import Iterable

from .database import transaction
from .studies import Arrival


def owe(connection: sqlite3.Connection, refused: Iterable[Arrival], now: float) -> None:
    """Their senders were told that they are not stored; who retries may do so only after a while."""
    with transaction(connection):
        for one in refused:
            connection.execute(
                "insert or replace into owed select ?, ?, ? where not exists(select 1 from instance where uid = ?)",
                (one.uid, one.study, now, one.uid),
            )
