"""Writes the files of the example: 300 labeled tickets, new tickets without labels, and the labels that were held back.

    python make_data.py --data DATA --out .

`tickets.csv` and `new.csv` have the columns of an export of a help desk: a number, a date and the message; `tickets.csv` also
has the queue that a person chose. The messages are questions of bank customers from BANKING77 (Casanueva et al. 2020, arXiv
2003.04807, CC BY 4.0); 49 of its intents form five queues. Labeled tickets are from its train split, new ones from its test
split.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from pathlib import Path

INTENTS = {
    "cards": (
        "card_arrival card_linking card_delivery_estimate card_not_working lost_or_stolen_card card_about_to_expire "
        "order_physical_card getting_spare_card activate_my_card compromised_card contactless_not_working getting_virtual_card"
    ),
    "cash": (
        "pending_cash_withdrawal wrong_amount_of_cash_received declined_cash_withdrawal cash_withdrawal_not_recognised "
        "cash_withdrawal_charge wrong_exchange_rate_for_cash_withdrawal atm_support card_swallowed"
    ),
    "transfers": (
        "cancel_transfer transfer_not_received_by_recipient declined_transfer pending_transfer transfer_timing "
        "beneficiary_not_allowed transfer_fee_charged failed_transfer transfer_into_account receiving_money"
    ),
    "top-ups": (
        "automatic_top_up top_up_by_bank_transfer_charge pending_top_up top_up_limits top_up_reverted topping_up_by_card "
        "verify_top_up top_up_by_cash_or_cheque top_up_failed top_up_by_card_charge"
    ),
    "account": (
        "verify_my_identity why_verify_identity unable_to_verify_identity verify_source_of_funds edit_personal_details "
        "age_limit passcode_forgotten change_pin pin_blocked"
    ),
}
"""Queue -> the intents of its tickets, separated by spaces."""
QUEUES = {intent: queue for queue, intents in INTENTS.items() for intent in intents.split()}
"""Intent -> queue."""
PER_QUEUE = 60
"""Labeled tickets of each queue."""
NEW = 200
"""New tickets, which have the shares of queues of the test split."""
FIRST_DAY = date(2026, 3, 2)

Ticket = tuple[str, str]
"""The message and the queue."""


def main() -> None:
    """Writes tickets.csv, new.csv and new_gold.csv."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="Folder that contains banking77/train.jsonl and test.jsonl.")
    parser.add_argument("--out", type=Path, default=Path(), help="Folder for the three files.")
    options = parser.parse_args()
    folder = options.data / "banking77"
    if not (folder / "train.jsonl").is_file():
        parser.exit(3, f"skipped: there is no {folder / 'train.jsonl'}; give the folder that contains banking77 with --data\n")
    train = read(folder / "train.jsonl")
    labeled = [ticket for queue in INTENTS for ticket in [each for each in train if each[1] == queue][:PER_QUEUE]]
    known = {message for message, _ in labeled}
    new = [ticket for ticket in read(folder / "test.jsonl") if ticket[0] not in known][:NEW]
    options.out.mkdir(parents=True, exist_ok=True)
    rows = [*enumerate(by_hash(labeled, "order"), start=1042)]
    write(options.out / "tickets.csv", [(number, day(number), *ticket) for number, ticket in rows], "queue")
    rows = [*enumerate(new, start=2001)]
    write(options.out / "new.csv", [(number, day(number), message) for number, (message, _) in rows])
    write(options.out / "new_gold.csv", [(number, day(number), *ticket) for number, ticket in rows], "queue")


def read(path: Path) -> list[Ticket]:
    """Returns the tickets of a split in an order that does not depend on that of the file."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    messages = {" ".join(row["text"].split()): row["label_text"] for row in rows}
    return by_hash([(text, QUEUES[intent]) for text, intent in messages.items() if intent in QUEUES], "tickets")


def by_hash(tickets: Iterable[Ticket], purpose: str) -> list[Ticket]:
    """Returns tickets in the order of a hash of their messages."""
    return sorted(tickets, key=lambda ticket: hashlib.sha256(f"{purpose} {ticket[0]}".encode()).digest())


def day(number: int) -> str:
    """Returns a date for a ticket; about 40 arrive on each day."""
    return (FIRST_DAY + timedelta(days=number // 40)).isoformat()


def write(path: Path, rows: Iterable[Sequence[object]], *label: str) -> None:
    """Writes a csv file."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("ticket", "opened", "message", *label), *rows])


if __name__ == "__main__":
    main()
